-- Purpose: Nexmark's q0, pass through: what reading and writing cost.
CREATE TABLE q0 WITH (
  connector = 'single_file', path = '{folder}/q0.ndjson', format = 'json', type = 'sink'
);

INSERT INTO q0
SELECT auction, bidder, price, date_time, extra
FROM bids;
