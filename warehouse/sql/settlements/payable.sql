-- Purpose: the statements that a bank may speak of.
-- Input: settlement_statements_current.
-- Output: one row per statement with something to pay.
SELECT
  statement,
  state,
  refusals,
  payment_order,
  payable
FROM settlement_statements_current
WHERE payable > 0
ORDER BY statement;
