-- Purpose: what grantors and merchants agreed. One row per change.
-- Input: registry_records. Output: registry_contracts.
-- Key: entry_id, source_offset.
-- Watermark: that of the source.
-- Late data: has no window, so nothing is late.
CREATE TABLE registry_contracts WITH (
  connector = 'delta',
  path = 'registry_contracts',
  format = 'parquet',
  type = 'sink'
);

INSERT INTO registry_contracts
SELECT
  id AS entry_id,
  document['grantor'] AS grantor_id,
  document['merchant'] AS merchant_id,
  document['from'] AS valid_from,
  document['to'] AS valid_to,
  document['vat_bp'] AS vat_bp,
  document IS NULL AS removed,
  event_time AS changed_at,
  sequence,
  recorded_at,
  source_partition,
  source_offset
FROM registry_records
WHERE kind = 'contracts';
