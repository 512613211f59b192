-- Purpose: remote officials, by the identifiers of their institutions. One row per change.
-- Input: registry_records. Output: registry_officials.
-- Key: entry_id, source_offset.
-- Watermark: that of the source.
-- Late data: has no window, so nothing is late.
CREATE TABLE registry_officials WITH (
  connector = 'delta',
  path = 'registry_officials',
  format = 'parquet',
  type = 'sink'
);

INSERT INTO registry_officials
SELECT
  id AS entry_id,
  document['institution'] AS institution_id,
  array_to_string(document['services'], ' ') AS services,
  array_to_string(document['languages'], ' ') AS languages,
  document IS NULL AS removed,
  event_time AS changed_at,
  sequence,
  recorded_at,
  source_partition,
  source_offset
FROM registry_records
WHERE kind = 'officials';
