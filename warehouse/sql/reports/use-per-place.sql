-- Purpose: what was given, by place.
-- Inputs: benefit_lines, registry_places_current. Parameters: $from, $to, local days, both included;
--   $fewest, the smallest count of people shown.
-- Output: one row per place. A refund lowers sums, not uses.
-- Memory: groups go to the disk where it ends; a set of all that are counted cannot.
WITH given AS (
  SELECT
    place_id,
    SUM(amount) AS benefit_eur,
    SUM(grantor_amount) AS grantor_eur,
    SUM(merchant_amount) AS merchant_eur,
    SUM(excess_amount) AS excess_eur
  FROM benefit_lines
  WHERE date BETWEEN $from AND $to
  GROUP BY place_id
),
used AS (
  SELECT
    place_id,
    COUNT(authorisation_id) AS uses
  FROM (
    SELECT DISTINCT place_id, authorisation_id
    FROM benefit_lines
    WHERE date BETWEEN $from AND $to AND kind = 'captured' AND amount <> 0
  ) AS baskets
  GROUP BY place_id
),
people AS (
  SELECT
    place_id,
    COUNT(recipient) AS recipients
  FROM (
    SELECT DISTINCT place_id, recipient
    FROM benefit_lines
    WHERE date BETWEEN $from AND $to
  ) AS recipients
  GROUP BY place_id
)
SELECT
  given.place_id AS place,
  named.name_lv AS name_lv,
  named.name_en AS name_en,
  COALESCE(used.uses, 0) AS uses,
  CASE WHEN people.recipients >= $fewest THEN people.recipients END AS recipients,
  given.benefit_eur AS benefit_eur,
  given.grantor_eur AS grantor_eur,
  given.merchant_eur AS merchant_eur,
  given.excess_eur AS excess_eur
FROM given
JOIN people ON people.place_id = given.place_id
LEFT JOIN used ON used.place_id = given.place_id
LEFT JOIN registry_places_current AS named ON named.entry_id = given.place_id
ORDER BY place;
