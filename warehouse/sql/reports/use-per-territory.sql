-- Purpose: where benefits are used.
-- Input: authorisations. Parameters: $from, $to, local days, both included;
--   $fewest, the smallest count of people shown.
-- Output: one row per territory of the place, by its ATVK code.
SELECT
  territory,
  COUNT(DISTINCT place_id) AS places,
  CASE WHEN COUNT(DISTINCT recipient) >= $fewest THEN COUNT(DISTINCT recipient) END AS recipients,
  COUNT(authorisation_id) AS authorisations,
  SUM(CASE WHEN decision = 'approved' THEN 1 ELSE 0 END) AS approved,
  SUM(total) AS total_eur,
  SUM(benefit) AS benefit_eur,
  SUM(payable) AS payable_eur
FROM authorisations
WHERE date BETWEEN $from AND $to
GROUP BY territory
ORDER BY territory;
