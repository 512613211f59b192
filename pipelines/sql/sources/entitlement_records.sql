-- Purpose: what the evaluation of groups says of people, without direct identifiers.
-- Input: stream entitlements (type entitlement_evaluated).
-- Key: source_partition, source_offset.
-- Watermark: none is declared; no pipeline groups these records by time.
-- Late data: knows none.
CREATE TABLE entitlement_records (
  source_partition INT NOT NULL,
  source_offset BIGINT NOT NULL,
  recorded_at TIMESTAMP(6) NOT NULL,
  type TEXT NOT NULL,
  recipient TEXT,
  age_band TEXT,
  municipality TEXT,
  alive BOOLEAN,
  removed BOOLEAN,
  known_from TIMESTAMP(6),
  person_sequence BIGINT,
  registry_version BIGINT,
  groups STRUCT<group_id TEXT, from DATE, until DATE>[]
) WITH (
  connector = 'stream',
  topic = 'entitlements',
  format = 'json',
  type = 'source'
);
