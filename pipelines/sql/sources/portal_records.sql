-- Purpose: e-services of merchants on the state portal, their uses, and logins to them.
-- Input: stream portal-events (types portal_event, heartbeat).
-- Key: record_id, a hash of the source's own id.
-- Watermark: none is declared; no pipeline groups these records by time.
-- Late data: knows none.
CREATE TABLE portal_records (
  record_id TEXT NOT NULL,
  source_partition INT NOT NULL,
  source_offset BIGINT NOT NULL,
  event_time TIMESTAMP(6) NOT NULL,
  recorded_at TIMESTAMP(6) NOT NULL,
  type TEXT NOT NULL,
  event_type TEXT,
  e_service_id TEXT,
  merchant_id TEXT,
  login_basket TEXT,
  identity_means TEXT,
  user TEXT,
  date DATE
) WITH (
  connector = 'stream',
  topic = 'portal-events',
  format = 'json',
  type = 'source'
);
