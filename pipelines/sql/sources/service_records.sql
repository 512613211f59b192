-- Purpose: calls, availability and services of the service centres.
-- Input: stream service-events (types service_event, heartbeat).
-- Key: record_id, a hash of the source's own id.
-- Watermark: five minutes behind the newest event of a partition; a heartbeat says it outright.
-- Late data: dropped by windows and counted; other pipelines know no lateness.
CREATE TABLE service_records (
  record_id TEXT NOT NULL,
  source_partition INT NOT NULL,
  source_offset BIGINT NOT NULL,
  event_time TIMESTAMP NOT NULL,
  recorded_at TIMESTAMP(6) NOT NULL,
  type TEXT NOT NULL,
  event_type TEXT,
  call_id TEXT,
  centre_id TEXT,
  service_id TEXT,
  channel TEXT,
  language TEXT,
  outcome TEXT,
  official_id TEXT,
  institution_id TEXT,
  started_at TIMESTAMP(6),
  completed_at TIMESTAMP(6),
  rating INT,
  resolved BOOLEAN,
  date DATE,
  until TIMESTAMP,
  WATERMARK FOR event_time AS COALESCE(until, event_time - INTERVAL '5 minutes')
) WITH (
  connector = 'stream',
  topic = 'service-events',
  format = 'json',
  type = 'source'
);
