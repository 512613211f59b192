-- Purpose: the figures at the head of the page.
-- Input: authorisations. Parameters: $from, $to, local days, both included.
-- Output: one row.
-- Memory: groups go to the disk where it ends; a set of all that are counted cannot.
WITH asked AS (
  SELECT
    COUNT(authorisation_id) AS authorisations,
    COALESCE(SUM(CASE WHEN decision = 'approved' THEN 1 ELSE 0 END), 0) AS approved,
    COUNT(DISTINCT merchant_id) AS merchants,
    COUNT(DISTINCT place_id) AS places,
    COALESCE(SUM(points_earned), 0) AS points,
    COALESCE(SUM(total), 0) AS total,
    COALESCE(SUM(benefit), 0) AS benefit
  FROM authorisations
  WHERE date BETWEEN $from AND $to
),
people AS (
  SELECT COUNT(recipient) AS recipients
  FROM (
    SELECT DISTINCT recipient
    FROM authorisations
    WHERE date BETWEEN $from AND $to
  ) AS recipients
)
SELECT
  asked.authorisations AS authorisations,
  asked.approved AS approved,
  people.recipients AS recipients,
  asked.merchants AS merchants,
  asked.places AS places,
  asked.points AS points,
  asked.total AS total,
  asked.benefit AS benefit
FROM asked
CROSS JOIN people;
