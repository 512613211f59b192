-- Purpose: why baskets got nothing, for whoever trains cashiers.
-- Input: authorisations. Parameters: $from, $to, local days, both included.
-- Output: one row per merchant, decision, reason and state of the means, the most frequent first; the share
--   is of the merchant's baskets.
SELECT
  merchant_id AS merchant,
  decision,
  COALESCE(decline_reason, CASE WHEN means_status = 'valid' THEN 'nothing applies' ELSE 'no valid means' END)
    AS reason,
  means_status,
  COUNT(authorisation_id) AS authorisations,
  CAST(
    COUNT(authorisation_id) * 100.0
      / SUM(COUNT(authorisation_id)) OVER (PARTITION BY merchant_id) AS DECIMAL(5, 2)
  ) AS percent
FROM authorisations
WHERE date BETWEEN $from AND $to
GROUP BY
  merchant_id,
  decision,
  COALESCE(decline_reason, CASE WHEN means_status = 'valid' THEN 'nothing applies' ELSE 'no valid means' END),
  means_status
HAVING decision <> 'approved'
ORDER BY merchant, authorisations DESC, decision, reason, means_status;
