-- Purpose: what merchants sell, and what kind of thing it is. One row per change.
-- Input: registry_records. Output: registry_catalogue.
-- Key: entry_id, source_offset.
-- Watermark: that of the source.
-- Late data: has no window, so nothing is late.
CREATE TABLE registry_catalogue WITH (
  connector = 'delta',
  path = 'registry_catalogue',
  format = 'parquet',
  type = 'sink'
);

INSERT INTO registry_catalogue
SELECT
  id AS entry_id,
  document['merchant'] AS merchant_id,
  document['item'] AS item,
  document['category'] AS category,
  document['name']['lv'] AS name_lv,
  document['name']['en'] AS name_en,
  document IS NULL AS removed,
  event_time AS changed_at,
  sequence,
  recorded_at,
  source_partition,
  source_offset
FROM registry_records
WHERE kind = 'catalogue';
