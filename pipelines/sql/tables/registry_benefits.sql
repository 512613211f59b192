-- Purpose: what grantors fund. One row per change.
-- Input: registry_records. Output: registry_benefits.
-- Key: entry_id, source_offset.
-- Watermark: that of the source.
-- Late data: has no window, so nothing is late.
CREATE TABLE registry_benefits WITH (
  connector = 'delta',
  path = 'registry_benefits',
  format = 'parquet',
  type = 'sink'
);

INSERT INTO registry_benefits
SELECT
  id AS entry_id,
  document['name']['lv'] AS name_lv,
  document['name']['en'] AS name_en,
  document['grantor'] AS grantor_id,
  document['legal_basis'] AS legal_basis,
  document['kind'] AS kind,
  document IS NULL AS removed,
  event_time AS changed_at,
  sequence,
  recorded_at,
  source_partition,
  source_offset
FROM registry_records
WHERE kind = 'benefits';
