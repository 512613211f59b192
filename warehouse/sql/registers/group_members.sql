-- Purpose: how many people are in a group on a day, for whose group it is.
-- Input: entitlements_current. Parameters: $group, the group; $day, the local day.
-- Output: one row; a membership ends before its last day.
-- Memory: groups go to the disk where it ends; a set of all that are counted cannot.
SELECT COUNT(recipient) AS members
FROM (
  SELECT DISTINCT recipient
  FROM entitlements_current
  WHERE group_id = $group
    AND valid_from <= $day
    AND (valid_until IS NULL OR valid_until > $day)
) AS people;
