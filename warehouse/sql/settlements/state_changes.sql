-- Purpose: the new state of statements that a payment order or a bank's file tells of.
-- Inputs: settlement_statements_current; told, one row per statement with its new state.
-- Parameter: $offset, the record that tells.
-- Output: rows for settlement_statements: everything as it was, but for the state; what the bank refused
--   is ordered anew, by an order that no bank has seen.
SELECT
  kept.statement AS statement,
  kept.grantor_id AS grantor_id,
  kept.merchant_id AS merchant_id,
  kept.period AS period,
  kept.correction AS correction,
  told.state AS state,
  told.reason AS reason,
  kept.refusals + told.refusals AS refusals,
  kept.lines AS lines,
  kept.benefit AS benefit,
  kept.grantor_part AS grantor_part,
  kept.grantor_excess AS grantor_excess,
  kept.vat AS vat,
  kept.carried_in AS carried_in,
  kept.payable AS payable,
  kept.carried_out AS carried_out,
  CASE
    WHEN told.refusals = 0 THEN kept.payment_order
    -- One order is of one grantor, so the grantors of a closing are numbered.
    ELSE CONCAT(
      'AVIS-', CAST(kept.closing_offset AS TEXT), '-R', CAST($offset AS TEXT), '-',
      CAST(DENSE_RANK() OVER (
        PARTITION BY kept.closing_offset, told.refusals ORDER BY kept.grantor_id
      ) AS TEXT)
    )
  END AS payment_order,
  kept.closing_offset AS closing_offset,
  kept.closed_at AS closed_at
FROM settlement_statements_current AS kept
JOIN told ON told.statement = kept.statement
-- A bank may say only after the payment that it had taken the order.
WHERE NOT (kept.state = 'paid' AND told.state = 'sent')
ORDER BY kept.statement;
