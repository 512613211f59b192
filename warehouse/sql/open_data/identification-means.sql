-- Purpose: how many identification means are in use on a day, by issuer and kind.
-- Input: means_current. Parameters: $base, where identifiers live; $fewest, the smallest count of people shown;
--   $day, the local day.
-- Output: one row per issuer and kind; where fewer people stand behind a count it is left empty and marked
--   suppressed. No total is published, so what is left empty cannot be worked out from the rest.
SELECT
  $base || '/issuer/' || issuer_id AS issuer_uri,
  issuer_id,
  kind,
  CASE WHEN COUNT(DISTINCT COALESCE(recipient, token)) >= $fewest THEN COUNT(token) END AS means,
  COUNT(DISTINCT COALESCE(recipient, token)) < $fewest AS suppressed
FROM means_current
WHERE NOT blocked
  AND valid_from <= $day
  AND (valid_to IS NULL OR valid_to >= $day)
GROUP BY issuer_id, kind
ORDER BY issuer_id, kind;
