-- Purpose: what each instruction gave, and what of it the grantor bears.
-- Inputs: benefit_lines, registry_instructions_current. Parameters: $from, $to, local days, both included;
--   $fewest, the smallest count of people shown.
-- Output: one row per grantor, benefit and instruction. A refund lowers units and sums, not uses.
-- Memory: groups go to the disk where it ends; a set of all that are counted cannot.
WITH given AS (
  SELECT
    benefit_lines.grantor_id AS grantor_id,
    benefit_lines.benefit_id AS benefit_id,
    benefit_lines.instruction_id AS instruction_id,
    MAX(labels.label_lv) AS label_lv,
    MAX(labels.label_en) AS label_en,
    SUM(benefit_lines.units) AS units,
    SUM(benefit_lines.amount) AS benefit_eur,
    SUM(benefit_lines.grantor_amount) AS grantor_eur,
    SUM(benefit_lines.merchant_amount) AS merchant_eur,
    SUM(benefit_lines.excess_amount) AS excess_eur
  FROM benefit_lines
  LEFT JOIN registry_instructions_current AS labels
    ON labels.instruction_id = benefit_lines.instruction_id
    AND labels.version = benefit_lines.instruction_version
  WHERE benefit_lines.date BETWEEN $from AND $to
  GROUP BY benefit_lines.grantor_id, benefit_lines.benefit_id, benefit_lines.instruction_id
),
used AS (
  SELECT
    grantor_id,
    benefit_id,
    instruction_id,
    COUNT(authorisation_id) AS uses
  FROM (
    SELECT DISTINCT grantor_id, benefit_id, instruction_id, authorisation_id
    FROM benefit_lines
    WHERE date BETWEEN $from AND $to AND kind = 'captured' AND amount <> 0
  ) AS baskets
  GROUP BY grantor_id, benefit_id, instruction_id
),
people AS (
  SELECT
    grantor_id,
    benefit_id,
    instruction_id,
    COUNT(recipient) AS recipients
  FROM (
    SELECT DISTINCT grantor_id, benefit_id, instruction_id, recipient
    FROM benefit_lines
    WHERE date BETWEEN $from AND $to
  ) AS recipients
  GROUP BY grantor_id, benefit_id, instruction_id
)
SELECT
  given.grantor_id AS grantor,
  given.benefit_id AS benefit,
  given.instruction_id AS instruction,
  given.label_lv AS label_lv,
  given.label_en AS label_en,
  COALESCE(used.uses, 0) AS uses,
  CASE WHEN people.recipients >= $fewest THEN people.recipients END AS recipients,
  given.units AS units,
  given.benefit_eur AS benefit_eur,
  given.grantor_eur AS grantor_eur,
  given.merchant_eur AS merchant_eur,
  given.excess_eur AS excess_eur
FROM given
JOIN people
  ON people.grantor_id = given.grantor_id
  AND people.benefit_id = given.benefit_id
  AND people.instruction_id = given.instruction_id
LEFT JOIN used
  ON used.grantor_id = given.grantor_id
  AND used.benefit_id = given.benefit_id
  AND used.instruction_id = given.instruction_id
ORDER BY grantor, benefit, instruction;
