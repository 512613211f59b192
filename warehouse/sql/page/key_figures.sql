-- Purpose: the figures at the head of the page.
-- Input: authorisations. Parameters: $from, $to, local days, both included.
-- Output: one row.
SELECT
  COUNT(authorisation_id) AS authorisations,
  COALESCE(SUM(CASE WHEN decision = 'approved' THEN 1 ELSE 0 END), 0) AS approved,
  COUNT(DISTINCT recipient) AS recipients,
  COUNT(DISTINCT merchant_id) AS merchants,
  COUNT(DISTINCT place_id) AS places,
  COALESCE(SUM(points_earned), 0) AS points,
  COALESCE(SUM(total), 0) AS total,
  COALESCE(SUM(benefit), 0) AS benefit
FROM authorisations
WHERE date BETWEEN $from AND $to;
