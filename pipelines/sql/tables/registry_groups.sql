-- Purpose: who may be meant by an instruction; members are not told. One row per change.
-- Input: registry_records. Output: registry_groups.
-- Key: entry_id, source_offset.
-- Watermark: that of the source.
-- Late data: has no window, so nothing is late.
CREATE TABLE registry_groups WITH (
  connector = 'delta',
  path = 'registry_groups',
  format = 'parquet',
  type = 'sink'
);

INSERT INTO registry_groups
SELECT
  id AS entry_id,
  document['name']['lv'] AS name_lv,
  document['name']['en'] AS name_en,
  document['where'] AS condition,
  document IS NULL AS removed,
  event_time AS changed_at,
  sequence,
  recorded_at,
  source_partition,
  source_offset
FROM registry_records
WHERE kind = 'groups';
