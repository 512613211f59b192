-- Purpose: who gives benefits at the till. One row per change.
-- Input: registry_records. Output: registry_merchants.
-- Key: entry_id, source_offset.
-- Watermark: that of the source.
-- Late data: has no window, so nothing is late.
CREATE TABLE registry_merchants WITH (
  connector = 'delta',
  path = 'registry_merchants',
  format = 'parquet',
  type = 'sink'
);

INSERT INTO registry_merchants
SELECT
  id AS entry_id,
  document['name']['lv'] AS name_lv,
  document['name']['en'] AS name_en,
  document['reg_no'] AS reg_no,
  document['vat_no'] AS vat_no,
  document['iban'] AS iban,
  document IS NULL AS removed,
  event_time AS changed_at,
  sequence,
  recorded_at,
  source_partition,
  source_offset
FROM registry_records
WHERE kind = 'merchants';
