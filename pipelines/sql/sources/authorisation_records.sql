-- Purpose: decisions, and what became of them, as the authoriser recorded them.
-- Input: stream authorisations (types authorisation_decided, authorisation_changed, heartbeat).
-- Key: source_partition, source_offset.
-- Watermark: five minutes behind the newest event of a partition; a heartbeat says it outright.
-- Late data: dropped by windows and counted; other pipelines know no lateness.
CREATE TABLE authorisation_records (
  record_id TEXT NOT NULL,
  source_partition INT NOT NULL,
  source_offset BIGINT NOT NULL,
  event_time TIMESTAMP NOT NULL,
  recorded_at TIMESTAMP(6) NOT NULL,
  type TEXT NOT NULL,
  authorisation_id TEXT,
  transition TEXT,
  terminal_id TEXT,
  mode TEXT,
  status TEXT,
  decision TEXT,
  decline_reason TEXT,
  means_status TEXT,
  occurred_at TIMESTAMP(6),
  date DATE,
  expires_at TIMESTAMP(6),
  lines_occurred_at TIMESTAMP(6),
  lines_date DATE,
  merchant_id TEXT,
  place_id TEXT,
  territory TEXT,
  recipient TEXT,
  receipt_number TEXT,
  total_cents BIGINT,
  benefit_cents BIGINT,
  payable_cents BIGINT,
  excess_cents BIGINT,
  points_earned BIGINT,
  points_spent BIGINT,
  registry_version BIGINT,
  lines STRUCT<
    line INT,
    item TEXT,
    category TEXT,
    quantity_thousandths BIGINT,
    unit_price_cents BIGINT,
    total_cents BIGINT,
    payable_cents BIGINT,
    benefits STRUCT<
      instruction_id TEXT,
      instruction_version INT,
      benefit_id TEXT,
      grantor_id TEXT,
      units BIGINT,
      amount_cents BIGINT,
      grantor_cents BIGINT,
      merchant_cents BIGINT,
      excess_cents BIGINT,
      excess_borne_by TEXT
    >[]
  >[],
  instructions STRUCT<reason TEXT>[],
  points STRUCT<benefit_id TEXT, change BIGINT>[],
  until TIMESTAMP,
  WATERMARK FOR event_time AS COALESCE(until, event_time - INTERVAL '5 minutes')
) WITH (
  connector = 'stream',
  topic = 'authorisations',
  format = 'json',
  type = 'source'
);
