-- Purpose: where terminals stand. One row per change.
-- Input: registry_records. Output: registry_places.
-- Key: entry_id, source_offset.
-- Watermark: that of the source.
-- Late data: has no window, so nothing is late.
CREATE TABLE registry_places WITH (
  connector = 'delta',
  path = 'registry_places',
  format = 'parquet',
  type = 'sink'
);

INSERT INTO registry_places
SELECT
  id AS entry_id,
  document['name']['lv'] AS name_lv,
  document['name']['en'] AS name_en,
  document['merchant'] AS merchant_id,
  document['territory'] AS territory,
  document IS NULL AS removed,
  event_time AS changed_at,
  sequence,
  recorded_at,
  source_partition,
  source_offset
FROM registry_records
WHERE kind = 'places';
