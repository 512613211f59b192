-- Purpose: Nexmark's q2, selection: bids for every 123rd auction.
CREATE TABLE q2 WITH (
  connector = 'single_file', path = '{folder}/q2.ndjson', format = 'json', type = 'sink'
);

INSERT INTO q2
SELECT auction, price
FROM bids
WHERE auction % 123 = 0;
