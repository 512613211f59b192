-- Purpose: the transactions of one recipient, for that recipient.
-- Input: authorisations. Parameter: $recipient, the pseudonym.
-- Output: one row per decision.
SELECT
  authorisation_id,
  occurred_at,
  merchant_id,
  place_id,
  decision,
  status,
  receipt_number,
  total,
  benefit,
  payable,
  points_earned,
  points_spent
FROM authorisations
WHERE recipient = $recipient
ORDER BY occurred_at, authorisation_id;
