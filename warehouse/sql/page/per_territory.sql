-- Purpose: what was given in each territory.
-- Input: authorisations. Parameters: $from, $to, local days, both included.
-- Output: one row per territory of the place, by its ATVK code, the largest first.
SELECT
  territory AS name,
  SUM(CASE WHEN decision = 'approved' THEN 1 ELSE 0 END) AS uses,
  SUM(benefit) AS benefit
FROM authorisations
WHERE date BETWEEN $from AND $to
GROUP BY territory
ORDER BY benefit DESC, territory;
