-- Purpose: institutions whose officials consult remotely. One row per change.
-- Input: registry_records. Output: registry_institutions.
-- Key: entry_id, source_offset.
-- Watermark: that of the source.
-- Late data: has no window, so nothing is late.
CREATE TABLE registry_institutions WITH (
  connector = 'delta',
  path = 'registry_institutions',
  format = 'parquet',
  type = 'sink'
);

INSERT INTO registry_institutions
SELECT
  id AS entry_id,
  document['name']['lv'] AS name_lv,
  document['name']['en'] AS name_en,
  document IS NULL AS removed,
  event_time AS changed_at,
  sequence,
  recorded_at,
  source_partition,
  source_offset
FROM registry_records
WHERE kind = 'institutions';
