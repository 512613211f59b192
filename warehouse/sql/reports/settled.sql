-- Purpose: what grantors have settled, owe and paid.
-- Input: settlement_statements_current. Parameters: $from, $to, local days; the months that lie between them.
-- Output: one row per grantor and month.
SELECT
  grantor_id AS grantor,
  period,
  COUNT(statement) AS statements,
  SUM(benefit) AS benefit_eur,
  SUM(grantor_part) + SUM(grantor_excess) AS owed_eur,
  SUM(payable) AS payable_eur,
  SUM(CASE WHEN state = 'paid' THEN payable ELSE 0 END) AS paid_eur,
  SUM(CASE WHEN state <> 'paid' THEN payable ELSE 0 END) AS unpaid_eur
FROM settlement_statements_current
WHERE period BETWEEN SUBSTR(CAST($from AS VARCHAR), 1, 7) AND SUBSTR(CAST($to AS VARCHAR), 1, 7)
GROUP BY grantor_id, period
ORDER BY grantor, period;
