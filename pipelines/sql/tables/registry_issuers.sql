-- Purpose: who issues identification means. One row per change.
-- Input: registry_records. Output: registry_issuers.
-- Key: entry_id, source_offset.
-- Watermark: that of the source.
-- Late data: has no window, so nothing is late.
CREATE TABLE registry_issuers WITH (
  connector = 'delta',
  path = 'registry_issuers',
  format = 'parquet',
  type = 'sink'
);

INSERT INTO registry_issuers
SELECT
  id AS entry_id,
  document['name']['lv'] AS name_lv,
  document['name']['en'] AS name_en,
  ARRAY_TO_STRING(document['means'], ',') AS means,
  document IS NULL AS removed,
  event_time AS changed_at,
  sequence,
  recorded_at,
  source_partition,
  source_offset
FROM registry_records
WHERE kind = 'issuers';
