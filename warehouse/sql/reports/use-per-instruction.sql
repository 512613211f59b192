-- Purpose: what each instruction gave, and what of it the grantor bears.
-- Inputs: benefit_lines, registry_instructions_current. Parameters: $from, $to, local days, both included;
--   $fewest, the smallest count of people shown.
-- Output: one row per grantor, benefit and instruction. A refund lowers units and sums, not uses.
SELECT
  benefit_lines.grantor_id AS grantor,
  benefit_lines.benefit_id AS benefit,
  benefit_lines.instruction_id AS instruction,
  MAX(labels.label_lv) AS label_lv,
  MAX(labels.label_en) AS label_en,
  COUNT(DISTINCT CASE WHEN benefit_lines.kind = 'captured' AND benefit_lines.amount <> 0
    THEN benefit_lines.authorisation_id END) AS uses,
  CASE WHEN COUNT(DISTINCT benefit_lines.recipient) >= $fewest THEN COUNT(DISTINCT benefit_lines.recipient) END AS recipients,
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
ORDER BY grantor, benefit, instruction;
