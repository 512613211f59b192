-- Purpose: what was given on each day.
-- Input: authorisations. Parameters: $from, $to, local days, both included.
-- Output: one row per local day on which somebody asked.
SELECT
  CAST(date AS VARCHAR) AS name,
  SUM(CASE WHEN decision = 'approved' THEN 1 ELSE 0 END) AS uses,
  SUM(benefit) AS benefit
FROM authorisations
WHERE date BETWEEN $from AND $to
GROUP BY date
ORDER BY date;
