-- Purpose: who is in which group now.
-- Inputs: entitlements, persons_current. An evaluation lists all groups of a person in one record, and the
--   person in the same one, so the rows of the person's newest record are the whole answer.
-- Output: one row per recipient, group and run of days.
SELECT
  entitlements.recipient AS recipient,
  entitlements.group_id AS group_id,
  entitlements.valid_from AS valid_from,
  entitlements.valid_until AS valid_until,
  entitlements.known_from AS known_from,
  entitlements.registry_version AS registry_version,
  entitlements.recorded_at AS recorded_at,
  entitlements.source_partition AS source_partition,
  entitlements.source_offset AS source_offset
FROM entitlements
JOIN persons_current
  ON persons_current.recipient = entitlements.recipient
  AND persons_current.source_partition = entitlements.source_partition
  AND persons_current.source_offset = entitlements.source_offset;
