-- Purpose: sales by window and merchant; {window} is TUMBLE(…) or HOP(…).
CREATE TABLE sales (
  event_time TIMESTAMP(6) NOT NULL,
  merchant_id TEXT NOT NULL,
  cents BIGINT NOT NULL,
  WATERMARK FOR event_time AS event_time - INTERVAL '5 seconds'
) WITH (connector = 'single_file', path = 'sales', format = 'json', type = 'source');

CREATE TABLE spans WITH (connector = 'single_file', path = 'spans', format = 'json', type = 'sink');

INSERT INTO spans
SELECT span.start AS begins, merchant_id, sales, cents
FROM (
  SELECT {window} AS span, merchant_id, COUNT(*) AS sales, SUM(cents) AS cents
  FROM sales
  GROUP BY span, merchant_id
) AS spans;
