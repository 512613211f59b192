-- Purpose: the devices that ask. One row per change.
-- Input: registry_records. Output: registry_terminals.
-- Key: entry_id, source_offset.
-- Watermark: that of the source.
-- Late data: has no window, so nothing is late.
CREATE TABLE registry_terminals WITH (
  connector = 'delta',
  path = 'registry_terminals',
  format = 'parquet',
  type = 'sink'
);

INSERT INTO registry_terminals
SELECT
  id AS entry_id,
  document['place'] AS place_id,
  document['kind'] AS kind,
  document IS NULL AS removed,
  event_time AS changed_at,
  sequence,
  recorded_at,
  source_partition,
  source_offset
FROM registry_records
WHERE kind = 'terminals';
