-- Purpose: sales by minute and merchant; what the peers compute at once.
CREATE TABLE sales (
  event_time TIMESTAMP(6) NOT NULL,
  merchant_id TEXT NOT NULL,
  cents BIGINT NOT NULL,
  WATERMARK FOR event_time AS event_time - INTERVAL '5 seconds'
) WITH (connector = 'single_file', path = 'sales', format = 'json', type = 'source');

CREATE TABLE minutes WITH (connector = 'single_file', path = 'minutes', format = 'json', type = 'sink');

INSERT INTO minutes
SELECT minute.start AS begins, merchant_id, sales, cents
FROM (
  SELECT TUMBLE(INTERVAL '1 minute') AS minute, merchant_id, COUNT(*) AS sales, SUM(cents) AS cents
  FROM sales
  GROUP BY minute, merchant_id
) AS minutes;
