-- Purpose: what was given, by grantor.
-- Inputs: benefit_lines, registry_grantors_current. Parameters: $from, $to, local days, both included;
--   $fewest, the smallest count of people shown.
-- Output: one row per grantor. A refund lowers sums, not uses.
-- Memory: groups go to the disk where it ends; a set of all that are counted cannot.
WITH given AS (
  SELECT
    grantor_id,
    SUM(amount) AS benefit_eur,
    SUM(grantor_amount) AS grantor_eur,
    SUM(merchant_amount) AS merchant_eur,
    SUM(excess_amount) AS excess_eur
  FROM benefit_lines
  WHERE date BETWEEN $from AND $to
  GROUP BY grantor_id
),
used AS (
  SELECT
    grantor_id,
    COUNT(authorisation_id) AS uses
  FROM (
    SELECT DISTINCT grantor_id, authorisation_id
    FROM benefit_lines
    WHERE date BETWEEN $from AND $to AND kind = 'captured' AND amount <> 0
  ) AS baskets
  GROUP BY grantor_id
),
people AS (
  SELECT
    grantor_id,
    COUNT(recipient) AS recipients
  FROM (
    SELECT DISTINCT grantor_id, recipient
    FROM benefit_lines
    WHERE date BETWEEN $from AND $to
  ) AS recipients
  GROUP BY grantor_id
)
SELECT
  given.grantor_id AS grantor,
  named.name_lv AS name_lv,
  named.name_en AS name_en,
  COALESCE(used.uses, 0) AS uses,
  CASE WHEN people.recipients >= $fewest THEN people.recipients END AS recipients,
  given.benefit_eur AS benefit_eur,
  given.grantor_eur AS grantor_eur,
  given.merchant_eur AS merchant_eur,
  given.excess_eur AS excess_eur
FROM given
JOIN people ON people.grantor_id = given.grantor_id
LEFT JOIN used ON used.grantor_id = given.grantor_id
LEFT JOIN registry_grantors_current AS named ON named.entry_id = given.grantor_id
ORDER BY grantor;
