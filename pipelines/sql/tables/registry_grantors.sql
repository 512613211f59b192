-- Purpose: who funds benefits. One row per change.
-- Input: registry_records. Output: registry_grantors.
-- Key: entry_id, source_offset.
-- Watermark: that of the source.
-- Late data: has no window, so nothing is late.
CREATE TABLE registry_grantors WITH (
  connector = 'delta',
  path = 'registry_grantors',
  format = 'parquet',
  type = 'sink'
);

INSERT INTO registry_grantors
SELECT
  id AS entry_id,
  document['name']['lv'] AS name_lv,
  document['name']['en'] AS name_en,
  document['kind'] AS kind,
  document['reg_no'] AS reg_no,
  document['iban'] AS iban,
  document IS NULL AS removed,
  event_time AS changed_at,
  sequence,
  recorded_at,
  source_partition,
  source_offset
FROM registry_records
WHERE kind = 'grantors';
