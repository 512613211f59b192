-- Purpose: how many identification means one person has at most, by issuer and kind: by so much a single
--   person may change a count of identification-means.
-- Input: means_current; those that are blocked or over as well, since they were in use once.
-- Output: one row per issuer and kind.
SELECT
  issuer_id,
  kind,
  MAX(means) AS most
FROM (
  SELECT
    issuer_id,
    kind,
    COUNT(token) AS means
  FROM means_current
  GROUP BY issuer_id, kind, COALESCE(recipient, token)
) AS people
GROUP BY issuer_id, kind
ORDER BY issuer_id, kind;
