-- Purpose: the days on which a person is in a group, as known from an instant on.
-- Input: entitlement_records.
-- Output: entitlements.
-- Key: recipient, known_from, group_id, valid_from, source_partition, source_offset.
-- Watermark: none; each record is a row by itself.
-- Late data: knows none; a record that comes late is a row like any other.
CREATE TABLE entitlements WITH (
  connector = 'delta',
  path = 'entitlements',
  type = 'sink',
  format = 'parquet'
);

INSERT INTO entitlements
SELECT
  recipient,
  days.group_id AS group_id,
  days."from" AS valid_from,
  days.until AS valid_until,
  known_from,
  registry_version,
  recorded_at,
  source_partition,
  source_offset
FROM (
  SELECT
    recipient,
    UNNEST(groups) AS days,
    known_from,
    registry_version,
    recorded_at,
    source_partition,
    source_offset
  FROM entitlement_records
  WHERE type = 'entitlement_evaluated'
) AS memberships;
