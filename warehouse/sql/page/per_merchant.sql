-- Purpose: what was given at each merchant.
-- Inputs: authorisations, registry_merchants_current. Parameters: $from, $to, local days, both included.
-- Output: one row per merchant, the largest first.
SELECT
  COALESCE(MAX(merchants.name_en), authorisations.merchant_id) AS name,
  SUM(CASE WHEN authorisations.decision = 'approved' THEN 1 ELSE 0 END) AS uses,
  SUM(authorisations.benefit) AS benefit
FROM authorisations
LEFT JOIN registry_merchants_current AS merchants ON merchants.entry_id = authorisations.merchant_id
WHERE authorisations.date BETWEEN $from AND $to
GROUP BY authorisations.merchant_id
ORDER BY benefit DESC, authorisations.merchant_id;
