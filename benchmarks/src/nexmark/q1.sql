-- Purpose: Nexmark's q1, currency conversion: each bid in euros, exactly.
CREATE TABLE q1 WITH (
  connector = 'single_file', path = '{folder}/q1.ndjson', format = 'json', type = 'sink'
);

INSERT INTO q1
SELECT
  auction,
  bidder,
  CAST(CAST(price AS DECIMAL(19, 0)) * CAST(0.908 AS DECIMAL(3, 3)) AS DECIMAL(23, 3)) AS price,
  date_time,
  extra
FROM bids;
