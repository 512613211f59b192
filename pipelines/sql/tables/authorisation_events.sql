-- Purpose: one row per transition: captured, voided, expired, refunded.
-- Input: authorisation_records, type authorisation_changed.
-- Output: authorisation_events.
-- Key: authorisation_id, source_partition, source_offset.
-- Watermark: none; each record is a row by itself.
-- Late data: knows none; a record that comes late is a row like any other.
CREATE TABLE authorisation_events WITH (
  connector = 'delta',
  path = 'authorisation_events',
  type = 'sink',
  format = 'parquet'
);

INSERT INTO authorisation_events
SELECT
  authorisation_id,
  transition,
  status,
  terminal_id,
  merchant_id,
  place_id,
  receipt_number,
  occurred_at,
  recorded_at,
  source_partition,
  source_offset,
  date
FROM authorisation_records
WHERE type = 'authorisation_changed';
