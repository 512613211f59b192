-- Purpose: the rules of benefits, by version. One row per change.
-- Input: registry_records. Output: registry_instructions.
-- Key: entry_id, source_offset.
-- Watermark: that of the source.
-- Late data: has no window, so nothing is late.
CREATE TABLE registry_instructions WITH (
  connector = 'delta',
  path = 'registry_instructions',
  format = 'parquet',
  type = 'sink'
);

INSERT INTO registry_instructions
SELECT
  id AS entry_id,
  document['id'] AS instruction_id,
  document['version'] AS version,
  document['benefit'] AS benefit_id,
  document['label']['lv'] AS label_lv,
  document['label']['en'] AS label_en,
  document['priority'] AS priority,
  document['valid']['from'] AS valid_from,
  document['valid']['to'] AS valid_to,
  document IS NULL AS removed,
  event_time AS changed_at,
  sequence,
  recorded_at,
  source_partition,
  source_offset
FROM registry_records
WHERE kind = 'instructions';
