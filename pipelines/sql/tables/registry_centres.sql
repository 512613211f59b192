-- Purpose: contact points of the centres' network. One row per change.
-- Input: registry_records. Output: registry_centres.
-- Key: entry_id, source_offset.
-- Watermark: that of the source.
-- Late data: has no window, so nothing is late.
CREATE TABLE registry_centres WITH (
  connector = 'delta',
  path = 'registry_centres',
  format = 'parquet',
  type = 'sink'
);

INSERT INTO registry_centres
SELECT
  id AS entry_id,
  document['name']['lv'] AS name_lv,
  document['name']['en'] AS name_en,
  document['kind'] AS kind,
  document['territory'] AS territory,
  document['lat'] AS lat,
  document['lon'] AS lon,
  document IS NULL AS removed,
  event_time AS changed_at,
  sequence,
  recorded_at,
  source_partition,
  source_offset
FROM registry_records
WHERE kind = 'centres';
