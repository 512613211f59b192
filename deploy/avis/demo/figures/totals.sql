-- Purpose: the demonstration's totals, from the landed decisions.
-- Input: authorisations. Output: one row.
SELECT
    COUNT(*) AS transactions,
    COALESCE(SUM(total), 0) AS total,
    COALESCE(SUM(benefit), 0) AS benefit,
    COALESCE(SUM(points_earned), 0) AS points_earned,
    MIN(date) AS first_day,
    MAX(date) AS last_day
FROM authorisations
