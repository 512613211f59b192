-- Purpose: Nexmark's q5, hot items: the auctions with the most bids in the last ten seconds, every
-- two seconds. As Arroyo's own test has it.
CREATE TABLE q5 WITH (
  connector = 'single_file', path = '{folder}/q5.ndjson', format = 'json', type = 'sink'
);

INSERT INTO q5
SELECT auction_bids.auction, auction_bids.num
FROM (
  SELECT auction, COUNT(*) AS num, HOP(INTERVAL '2 seconds', INTERVAL '10 seconds') AS span
  FROM bids
  GROUP BY auction, span
) AS auction_bids
JOIN (
  SELECT MAX(count_bids.num) AS most, count_bids.span
  FROM (
    SELECT COUNT(*) AS num, HOP(INTERVAL '2 seconds', INTERVAL '10 seconds') AS span
    FROM bids
    GROUP BY auction, span
  ) AS count_bids
  GROUP BY count_bids.span
) AS max_bids
ON auction_bids.span = max_bids.span AND auction_bids.num >= max_bids.most;
