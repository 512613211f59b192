-- Purpose: what each instruction gave, under the label that the public knows.
-- Inputs: benefit_lines, registry_instructions_current. Parameters: $from, $to, local days, both included.
-- Output: one row per instruction, the largest first.
SELECT
  COALESCE(MAX(labels.label_en), benefit_lines.instruction_id) AS name,
  COUNT(DISTINCT CASE WHEN benefit_lines.kind = 'captured' THEN benefit_lines.authorisation_id END) AS uses,
  SUM(benefit_lines.amount) AS benefit
FROM benefit_lines
LEFT JOIN registry_instructions_current AS labels
  ON labels.instruction_id = benefit_lines.instruction_id
  AND labels.version = benefit_lines.instruction_version
WHERE benefit_lines.date BETWEEN $from AND $to
  AND benefit_lines.amount <> 0
GROUP BY benefit_lines.instruction_id
ORDER BY benefit DESC, benefit_lines.instruction_id;
