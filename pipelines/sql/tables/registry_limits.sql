-- Purpose: the limits of instructions, by version. One row per limit and change.
-- Input: registry_records. Output: registry_limits.
-- Key: entry_id, per, period, measure, source_offset.
-- Watermark: that of the source.
-- Late data: has no window, so nothing is late.
CREATE TABLE registry_limits WITH (
  connector = 'delta',
  path = 'registry_limits',
  format = 'parquet',
  type = 'sink'
);

INSERT INTO registry_limits
SELECT
  entry_id,
  instruction_id,
  of_limit['per'] AS per,
  of_limit['period'] AS period,
  of_limit['measure'] AS measure,
  of_limit['max'] AS most,
  FALSE AS removed,
  changed_at,
  sequence,
  recorded_at,
  source_partition,
  source_offset
FROM (
  SELECT
    id AS entry_id,
    document['id'] AS instruction_id,
    UNNEST(document['limits']) AS of_limit,
    event_time AS changed_at,
    sequence,
    recorded_at,
    source_partition,
    source_offset
  FROM registry_records
  WHERE kind = 'instructions'
) AS limits;
