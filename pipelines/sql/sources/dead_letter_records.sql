-- Purpose: what connectors refused, and why, without what it held.
-- Input: stream dead-letters (type dead_letter).
-- Key: record_id.
-- Watermark: none is declared; no pipeline groups these records by time.
-- Late data: knows none.
CREATE TABLE dead_letter_records (
  record_id TEXT NOT NULL,
  source_partition INT NOT NULL,
  source_offset BIGINT NOT NULL,
  recorded_at TIMESTAMP(6) NOT NULL,
  type TEXT NOT NULL,
  connector TEXT,
  reason TEXT,
  detail TEXT,
  origin TEXT,
  line BIGINT,
  payload_bytes BIGINT,
  date DATE
) WITH (
  connector = 'stream',
  topic = 'dead-letters',
  format = 'json',
  type = 'source'
);
