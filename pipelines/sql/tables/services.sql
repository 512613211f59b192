-- Purpose: one row per service that a centre completed.
-- Input: service_records, event type lv.vpvkac.service.completed.
-- Output: services.
-- Key: record_id.
-- Watermark: none; each record is a row by itself.
-- Late data: knows none; a record that comes late is a row like any other.
CREATE TABLE services WITH (
  connector = 'delta',
  path = 'services',
  type = 'sink',
  format = 'parquet'
);

INSERT INTO services
SELECT
  record_id,
  event_type,
  centre_id,
  service_id,
  channel,
  outcome,
  official_id,
  institution_id,
  started_at,
  completed_at,
  CAST(event_time AS TIMESTAMP(6)) AS occurred_at,
  recorded_at,
  source_partition,
  source_offset,
  date
FROM service_records
WHERE event_type = 'lv.vpvkac.service.completed';
