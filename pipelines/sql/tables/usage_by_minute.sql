-- Purpose: decisions and their sums by minute, merchant, place, territory and decision, for those who watch.
-- Input: authorisation_records, type authorisation_decided.
-- Output: usage_by_minute.
-- Key: window_start, merchant_id, place_id, territory, decision; date is the local day, and a minute
--   lies in one.
-- Watermark: as authorisation_records declares it.
-- Late data: dropped and counted; the facts stand in authorisations whenever they come.
CREATE TABLE usage_by_minute WITH (
  connector = 'delta',
  path = 'usage_by_minute',
  type = 'sink',
  format = 'parquet'
);

INSERT INTO usage_by_minute
SELECT
  CAST(minute.start AS TIMESTAMP(6)) AS window_start,
  CAST(minute."end" AS TIMESTAMP(6)) AS window_end,
  merchant_id,
  place_id,
  territory,
  decision,
  authorisations,
  CAST(total_cents * CAST('0.01' AS DECIMAL(3, 2)) AS DECIMAL(18, 2)) AS total,
  CAST(benefit_cents * CAST('0.01' AS DECIMAL(3, 2)) AS DECIMAL(18, 2)) AS benefit,
  CAST(payable_cents * CAST('0.01' AS DECIMAL(3, 2)) AS DECIMAL(18, 2)) AS payable,
  date
FROM (
  SELECT
    TUMBLE(INTERVAL '1 minute') AS minute,
    merchant_id,
    place_id,
    territory,
    decision,
    date,
    COUNT(*) AS authorisations,
    SUM(total_cents) AS total_cents,
    SUM(benefit_cents) AS benefit_cents,
    SUM(payable_cents) AS payable_cents
  FROM authorisation_records
  WHERE type = 'authorisation_decided'
  GROUP BY minute, merchant_id, place_id, territory, decision, date
) AS minutes;
