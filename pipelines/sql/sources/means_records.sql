-- Purpose: identification means as their issuers registered them, by keyed hash.
-- Input: stream means-changes (type means_changed).
-- Key: source_partition, source_offset.
-- Watermark: none is declared; no pipeline groups these records by time.
-- Late data: knows none.
CREATE TABLE means_records (
  source_partition INT NOT NULL,
  source_offset BIGINT NOT NULL,
  recorded_at TIMESTAMP(6) NOT NULL,
  type TEXT NOT NULL,
  token TEXT,
  issuer_id TEXT,
  kind TEXT,
  recipient TEXT,
  valid_from DATE,
  valid_to DATE,
  blocked BOOLEAN
) WITH (
  connector = 'stream',
  topic = 'means-changes',
  format = 'json',
  type = 'source'
);
