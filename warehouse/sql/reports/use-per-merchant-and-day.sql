-- Purpose: what was sold and given at each merchant on each day.
-- Input: authorisations. Parameters: $from, $to, local days, both included.
-- Output: one row per merchant and local day.
SELECT
  merchant_id AS merchant,
  date,
  COUNT(authorisation_id) AS authorisations,
  SUM(CASE WHEN decision = 'approved' THEN 1 ELSE 0 END) AS approved,
  SUM(CASE WHEN decision = 'no_benefit' THEN 1 ELSE 0 END) AS no_benefit,
  SUM(CASE WHEN decision = 'declined' THEN 1 ELSE 0 END) AS declined,
  SUM(total) AS total_eur,
  SUM(benefit) AS benefit_eur,
  SUM(payable) AS payable_eur
FROM authorisations
WHERE date BETWEEN $from AND $to
GROUP BY merchant_id, date
ORDER BY merchant, date;
