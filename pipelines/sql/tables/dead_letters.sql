-- Purpose: what was refused and why; what it held stays in the stream, sealed.
-- Input: dead_letter_records.
-- Output: dead_letters.
-- Key: record_id.
-- Watermark: none; each record is a row by itself.
-- Late data: knows none; a record that comes late is a row like any other.
CREATE TABLE dead_letters WITH (
  connector = 'delta',
  path = 'dead_letters',
  type = 'sink',
  format = 'parquet'
);

INSERT INTO dead_letters
SELECT
  record_id,
  connector,
  reason,
  detail,
  origin,
  line AS origin_line,
  payload_bytes,
  recorded_at,
  source_partition,
  source_offset,
  date
FROM dead_letter_records
WHERE type = 'dead_letter';
