-- Purpose: the benefits that one recipient got, for that recipient.
-- Input: benefit_lines. Parameter: $recipient, the pseudonym.
-- Output: one row per line and instruction; what was refunded is negative.
SELECT
  authorisation_id,
  occurred_at,
  line,
  item,
  benefit_id,
  instruction_id,
  grantor_id,
  kind,
  units,
  amount
FROM benefit_lines
WHERE recipient = $recipient
ORDER BY occurred_at, authorisation_id, line, instruction_id, kind;
