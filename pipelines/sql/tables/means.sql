-- Purpose: versions of identification means, by keyed hash.
-- Input: means_records.
-- Output: means.
-- Key: token, source_partition, source_offset; the newest version is the means.
-- Watermark: none; each record is a row by itself.
-- Late data: knows none; a record that comes late is a row like any other.
CREATE TABLE means WITH (
  connector = 'delta',
  path = 'means',
  type = 'sink',
  format = 'parquet'
);

INSERT INTO means
SELECT
  token,
  issuer_id,
  kind,
  recipient,
  valid_from,
  valid_to,
  blocked,
  recorded_at,
  source_partition,
  source_offset
FROM means_records
WHERE type = 'means_changed';
