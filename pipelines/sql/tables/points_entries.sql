-- Purpose: by how much a recipient's points of a benefit moved; a balance is their sum.
-- Input: authorisation_records: decisions and what became of them, whatever moves points.
-- Output: points_entries.
-- Key: authorisation_id, benefit_id, source_partition, source_offset.
-- Watermark: none; each record is a row by itself.
-- Late data: knows none; a record that comes late is a row like any other.
CREATE TABLE points_entries WITH (
  connector = 'delta',
  path = 'points_entries',
  type = 'sink',
  format = 'parquet'
);

INSERT INTO points_entries
SELECT
  authorisation_id,
  moved.benefit_id AS benefit_id,
  merchant_id,
  recipient,
  moved.change AS points,
  occurred_at,
  recorded_at,
  source_partition,
  source_offset,
  date
FROM (
  SELECT
    authorisation_id,
    merchant_id,
    recipient,
    UNNEST(points) AS moved,
    occurred_at,
    recorded_at,
    source_partition,
    source_offset,
    date
  FROM authorisation_records
  WHERE type IN ('authorisation_decided', 'authorisation_changed')
) AS moves;
