-- Purpose: services of merchants on the portal. One row per change.
-- Input: registry_records. Output: registry_e_services.
-- Key: entry_id, source_offset.
-- Watermark: that of the source.
-- Late data: has no window, so nothing is late.
CREATE TABLE registry_e_services WITH (
  connector = 'delta',
  path = 'registry_e_services',
  format = 'parquet',
  type = 'sink'
);

INSERT INTO registry_e_services
SELECT
  id AS entry_id,
  document['name']['lv'] AS name_lv,
  document['name']['en'] AS name_en,
  document['merchant'] AS merchant_id,
  document['url'] AS url,
  document['login_basket'] AS login_basket,
  document IS NULL AS removed,
  event_time AS changed_at,
  sequence,
  recorded_at,
  source_partition,
  source_offset
FROM registry_records
WHERE kind = 'e_services';
