-- Purpose: what somebody should look at: a person's means used in two territories within ten minutes,
--   and terminals that take back unusually many of their sales in a day.
-- Input: authorisation_records.
-- Output: anomalies. Observed of compared: other territories of uses; refunds of sales.
-- Key: kind, subject, window_start; date is the local day of the first use.
-- Watermark: as authorisation_records declares it.
-- Late data: dropped and counted; the facts stand in authorisations whenever they come.
CREATE TABLE anomalies WITH (
  connector = 'delta',
  path = 'anomalies',
  type = 'sink',
  format = 'parquet'
);

-- A session goes on while uses follow each other within ten minutes, so that where it changes its
-- territory two uses are that near to each other.
INSERT INTO anomalies
SELECT
  'distant_use' AS kind,
  recipient AS subject,
  CAST(stay.start AS TIMESTAMP(6)) AS window_start,
  CAST(stay."end" AS TIMESTAMP(6)) AS window_end,
  territories - 1 AS observed,
  uses AS compared,
  date
FROM (
  SELECT
    SESSION(INTERVAL '10 minutes') AS stay,
    recipient,
    COUNT(DISTINCT territory) AS territories,
    COUNT(*) AS uses,
    MIN(date) AS date
  FROM authorisation_records
  WHERE type = 'authorisation_decided' AND recipient IS NOT NULL AND decision = 'approved'
  GROUP BY stay, recipient
) AS stays
WHERE territories > 1;

-- A fifth, and at least five: few enough for a person to look at each.
INSERT INTO anomalies
SELECT
  'refund_share' AS kind,
  terminal_id AS subject,
  CAST(day.start AS TIMESTAMP(6)) AS window_start,
  CAST(day."end" AS TIMESTAMP(6)) AS window_end,
  refunds AS observed,
  sales AS compared,
  date
FROM (
  SELECT
    TUMBLE(INTERVAL '1 day') AS day,
    terminal_id,
    COUNT(CASE WHEN transition = 'refund' THEN 1 END) AS refunds,
    COUNT(CASE WHEN type = 'authorisation_decided' THEN 1 END) AS sales,
    MIN(date) AS date
  FROM authorisation_records
  WHERE terminal_id IS NOT NULL
  GROUP BY day, terminal_id
) AS days
WHERE refunds >= 5 AND refunds * 5 >= sales;
