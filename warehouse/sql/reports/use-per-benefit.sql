-- Purpose: what each benefit gave, and what of it the grantor bears.
-- Inputs: benefit_lines, registry_benefits_current. Parameters: $from, $to, local days, both included;
--   $fewest, the smallest count of people shown.
-- Output: one row per grantor and benefit. A refund lowers units and sums, not uses.
-- Memory: groups go to the disk where it ends; a set of all that are counted cannot.
WITH given AS (
  SELECT
    grantor_id,
    benefit_id,
    SUM(units) AS units,
    SUM(amount) AS benefit_eur,
    SUM(grantor_amount) AS grantor_eur,
    SUM(merchant_amount) AS merchant_eur
  FROM benefit_lines
  WHERE date BETWEEN $from AND $to
  GROUP BY grantor_id, benefit_id
),
used AS (
  SELECT
    grantor_id,
    benefit_id,
    COUNT(authorisation_id) AS uses
  FROM (
    SELECT DISTINCT grantor_id, benefit_id, authorisation_id
    FROM benefit_lines
    WHERE date BETWEEN $from AND $to AND kind = 'captured' AND amount <> 0
  ) AS baskets
  GROUP BY grantor_id, benefit_id
),
people AS (
  SELECT
    grantor_id,
    benefit_id,
    COUNT(recipient) AS recipients
  FROM (
    SELECT DISTINCT grantor_id, benefit_id, recipient
    FROM benefit_lines
    WHERE date BETWEEN $from AND $to
  ) AS recipients
  GROUP BY grantor_id, benefit_id
)
SELECT
  given.grantor_id AS grantor,
  given.benefit_id AS benefit,
  benefits.name_lv AS name_lv,
  benefits.name_en AS name_en,
  COALESCE(used.uses, 0) AS uses,
  CASE WHEN people.recipients >= $fewest THEN people.recipients END AS recipients,
  given.units AS units,
  given.benefit_eur AS benefit_eur,
  given.grantor_eur AS grantor_eur,
  given.merchant_eur AS merchant_eur
FROM given
JOIN people
  ON people.grantor_id = given.grantor_id
  AND people.benefit_id = given.benefit_id
LEFT JOIN used
  ON used.grantor_id = given.grantor_id
  AND used.benefit_id = given.benefit_id
LEFT JOIN registry_benefits_current AS benefits ON benefits.entry_id = given.benefit_id
ORDER BY grantor, benefit;
