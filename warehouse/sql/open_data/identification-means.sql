-- Purpose: how many identification means are in use on a day, by issuer and kind.
-- Input: means_current. Parameters: $base, where identifiers live; $fewest, the smallest count of people shown;
--   $day, the local day.
-- Output: one row per issuer and kind; where fewer people stand behind a count it is left empty and marked
--   suppressed. No total is published, so what is left empty cannot be worked out from the rest.
-- Memory: groups go to the disk where it ends; a set of all that are counted cannot.
WITH people AS (
  SELECT
    issuer_id,
    kind,
    COALESCE(recipient, token) AS person,
    COUNT(token) AS means
  FROM means_current
  WHERE NOT blocked
    AND valid_from <= $day
    AND (valid_to IS NULL OR valid_to >= $day)
  GROUP BY issuer_id, kind, COALESCE(recipient, token)
)
SELECT
  $base || '/issuer/' || issuer_id AS issuer_uri,
  issuer_id,
  kind,
  CASE WHEN COUNT(person) >= $fewest THEN SUM(means) END AS means,
  COUNT(person) < $fewest AS suppressed
FROM people
GROUP BY issuer_id, kind
ORDER BY issuer_id, kind;
