-- Purpose: what each instruction gave, under the label that the public knows.
-- Inputs: benefit_lines, registry_instructions_current. Parameters: $from, $to, local days, both included.
-- Output: one row per instruction, the largest first.
-- Memory: groups go to the disk where it ends; a set of all that are counted cannot.
WITH given AS (
  SELECT
    benefit_lines.instruction_id AS instruction_id,
    COALESCE(MAX(labels.label_en), benefit_lines.instruction_id) AS name,
    SUM(benefit_lines.amount) AS benefit
  FROM benefit_lines
  LEFT JOIN registry_instructions_current AS labels
    ON labels.instruction_id = benefit_lines.instruction_id
    AND labels.version = benefit_lines.instruction_version
  WHERE benefit_lines.date BETWEEN $from AND $to
    AND benefit_lines.amount <> 0
  GROUP BY benefit_lines.instruction_id
),
used AS (
  SELECT
    instruction_id,
    COUNT(authorisation_id) AS uses
  FROM (
    SELECT DISTINCT instruction_id, authorisation_id
    FROM benefit_lines
    WHERE date BETWEEN $from AND $to AND kind = 'captured' AND amount <> 0
  ) AS baskets
  GROUP BY instruction_id
)
SELECT
  given.name AS name,
  COALESCE(used.uses, 0) AS uses,
  given.benefit AS benefit
FROM given
LEFT JOIN used ON used.instruction_id = given.instruction_id
ORDER BY benefit DESC, given.instruction_id;
