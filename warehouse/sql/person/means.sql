-- Purpose: the means of identification of one recipient, for that recipient.
-- Input: means_current. Parameter: $recipient, the pseudonym.
-- Output: one row per means, without its value, which is kept nowhere.
SELECT issuer_id, kind, valid_from, valid_to, blocked
FROM means_current
WHERE recipient = $recipient
ORDER BY issuer_id, kind, valid_from;
