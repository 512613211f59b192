-- Purpose: where benefits are used.
-- Input: authorisations. Parameters: $from, $to, local days, both included;
--   $fewest, the smallest count of people shown.
-- Output: one row per territory of the place, by its ATVK code.
-- Memory: groups go to the disk where it ends; a set of all that are counted cannot.
WITH asked AS (
  SELECT
    territory,
    COUNT(DISTINCT place_id) AS places,
    COUNT(authorisation_id) AS authorisations,
    SUM(CASE WHEN decision = 'approved' THEN 1 ELSE 0 END) AS approved,
    SUM(total) AS total_eur,
    SUM(benefit) AS benefit_eur,
    SUM(payable) AS payable_eur
  FROM authorisations
  WHERE date BETWEEN $from AND $to
  GROUP BY territory
),
people AS (
  SELECT
    territory,
    COUNT(recipient) AS recipients
  FROM (
    SELECT DISTINCT territory, recipient
    FROM authorisations
    WHERE date BETWEEN $from AND $to
  ) AS recipients
  GROUP BY territory
)
SELECT
  asked.territory AS territory,
  asked.places AS places,
  CASE WHEN people.recipients >= $fewest THEN people.recipients END AS recipients,
  asked.authorisations AS authorisations,
  asked.approved AS approved,
  asked.total_eur AS total_eur,
  asked.benefit_eur AS benefit_eur,
  asked.payable_eur AS payable_eur
FROM asked
JOIN people ON people.territory = asked.territory
ORDER BY territory;
