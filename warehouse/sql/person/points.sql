-- Purpose: the loyalty points of one recipient, for that recipient.
-- Input: points_entries. Parameter: $recipient, the pseudonym.
-- Output: one row per movement.
SELECT benefit_id, merchant_id, authorisation_id, occurred_at, points
FROM points_entries
WHERE recipient = $recipient
ORDER BY occurred_at, authorisation_id, benefit_id;
