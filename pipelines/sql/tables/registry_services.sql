-- Purpose: services of the centres with their quality criteria. One row per change.
-- Input: registry_records. Output: registry_services.
-- Key: entry_id, source_offset.
-- Watermark: that of the source.
-- Late data: has no window, so nothing is late.
CREATE TABLE registry_services WITH (
  connector = 'delta',
  path = 'registry_services',
  format = 'parquet',
  type = 'sink'
);

INSERT INTO registry_services
SELECT
  id AS entry_id,
  document['name']['lv'] AS name_lv,
  document['name']['en'] AS name_en,
  document['criteria']['max_wait_seconds'] AS max_wait_seconds,
  document['criteria']['min_answered_bp'] AS min_answered_bp,
  document['criteria']['min_resolved_bp'] AS min_resolved_bp,
  CAST(document['criteria']['min_rating'] AS DECIMAL(18, 3)) AS min_rating,
  document IS NULL AS removed,
  event_time AS changed_at,
  sequence,
  recorded_at,
  source_partition,
  source_offset
FROM registry_records
WHERE kind = 'services';
