-- Purpose: what the statements before a closing leave to it: numbers that are taken, sums to carry.
-- Input: settlement_statements. Parameter: $before, the closing's record.
-- Output: one row per statement, in the order in which they were closed.
SELECT
  grantor_id,
  merchant_id,
  period,
  correction,
  carried_out
FROM settlement_statements
WHERE source_offset = closing_offset
  AND closing_offset < $before
ORDER BY closing_offset, grantor_id, merchant_id;
