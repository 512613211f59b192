-- Purpose: whether an official is free for a call. One row per change.
-- Input: service_records, event types lv.vpvkac.official.*.
-- Output: official_availability.
-- Key: official_id, source_offset.
-- Watermark: none; each record is a row by itself.
-- Late data: knows none; what is newest by its place in the stream holds.
CREATE TABLE official_availability WITH (
  connector = 'delta',
  path = 'official_availability',
  type = 'sink',
  format = 'parquet'
);

INSERT INTO official_availability
SELECT
  official_id,
  institution_id,
  SUBSTR(event_type, LENGTH('lv.vpvkac.official.') + 1) AS availability,
  CAST(event_time AS TIMESTAMP(6)) AS occurred_at,
  recorded_at,
  source_partition,
  source_offset
FROM service_records
WHERE event_type LIKE 'lv.vpvkac.official.%';
