-- Purpose: one row per use of a merchant's e-service, and per login to one.
-- Input: portal_records, event types lv.portal.e-service.used and lv.portal.login.
-- Output: portal_usage; unique users of any span are COUNT(DISTINCT user_pseudonym) over it.
-- Key: record_id.
-- Watermark: none; each record is a row by itself.
-- Late data: knows none; a record that comes late is a row like any other.
CREATE TABLE portal_usage WITH (
  connector = 'delta',
  path = 'portal_usage',
  type = 'sink',
  format = 'parquet'
);

INSERT INTO portal_usage
SELECT
  record_id,
  event_type,
  e_service_id,
  merchant_id,
  login_basket,
  identity_means,
  portal_records.user AS user_pseudonym,
  event_time AS occurred_at,
  recorded_at,
  source_partition,
  source_offset,
  date
FROM portal_records
WHERE event_type IN ('lv.portal.e-service.used', 'lv.portal.login');
