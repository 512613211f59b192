-- Purpose: the groups of one recipient, for that recipient.
-- Input: entitlements_current. Parameter: $recipient, the pseudonym.
-- Output: one row per group and run of days.
SELECT group_id, valid_from, valid_until
FROM entitlements_current
WHERE recipient = $recipient
ORDER BY group_id, valid_from;
