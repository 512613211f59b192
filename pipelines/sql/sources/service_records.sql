-- Purpose: calls, availability and services of the service centres.
-- Input: stream service-events (type service_event).
-- Key: record_id, a hash of the source's own id.
-- Watermark: none is declared; no pipeline groups these records by time.
-- Late data: knows none.
CREATE TABLE service_records (
  record_id TEXT NOT NULL,
  source_partition INT NOT NULL,
  source_offset BIGINT NOT NULL,
  event_time TIMESTAMP(6) NOT NULL,
  recorded_at TIMESTAMP(6) NOT NULL,
  type TEXT NOT NULL,
  event_type TEXT,
  centre_id TEXT,
  service_id TEXT,
  channel TEXT,
  outcome TEXT,
  official_id TEXT,
  institution_id TEXT,
  started_at TIMESTAMP(6),
  completed_at TIMESTAMP(6),
  date DATE
) WITH (
  connector = 'stream',
  topic = 'service-events',
  format = 'json',
  type = 'source'
);
