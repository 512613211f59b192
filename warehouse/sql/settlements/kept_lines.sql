-- Purpose: what instructions add to the statements of one closing.
-- Input: settlement_lines. Parameter: $closing, the closing's record.
-- Output: one row per statement, instruction and rate, in the order of the statements.
SELECT
  grantor_id,
  merchant_id,
  instruction_id,
  vat_bp,
  uses,
  lines AS captured_lines,
  units,
  benefit,
  grantor_part,
  grantor_excess
FROM settlement_lines
WHERE source_offset = $closing
ORDER BY grantor_id, merchant_id, instruction_id, vat_bp NULLS FIRST;
