-- Purpose: the statements of one closing as they were closed, and the state that each is in.
-- Input: settlement_statements_current. Parameter: $closing, the closing's record.
-- Output: one row per statement, by grantor and merchant.
SELECT
  statement,
  grantor_id,
  merchant_id,
  period,
  correction,
  state,
  reason,
  refusals,
  payment_order,
  carried_in,
  payable,
  carried_out
FROM settlement_statements_current
WHERE closing_offset = $closing
ORDER BY grantor_id, merchant_id;
