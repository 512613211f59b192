-- Purpose: every closed statement with its amounts and the state that it is in, for people.
-- Input: settlement_statements_current.
-- Output: one row per statement, the newest periods first.
SELECT
  statement,
  grantor_id,
  merchant_id,
  period,
  state,
  reason,
  benefit,
  grantor_part + grantor_excess AS owed,
  carried_in,
  payable,
  carried_out,
  closed_at,
  recorded_at AS changed_at
FROM settlement_statements_current
ORDER BY period DESC, grantor_id, merchant_id, correction;
