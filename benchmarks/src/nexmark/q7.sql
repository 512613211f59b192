-- Purpose: Nexmark's q7, highest bid: the bids of the highest price in each ten seconds.
-- Nexmark joins bids without a window to one, which Arroyo refuses: here bids are grouped by all of
-- their columns, so that both sides have the window.
CREATE TABLE q7 WITH (
  connector = 'single_file', path = '{folder}/q7.ndjson', format = 'json', type = 'sink'
);

INSERT INTO q7
SELECT bid.auction, bid.price, bid.bidder, bid.date_time, bid.extra
FROM (
  SELECT auction, price, bidder, date_time, extra, TUMBLE(INTERVAL '10 seconds') AS span
  FROM bids
  GROUP BY auction, price, bidder, date_time, extra, span
) AS bid
JOIN (
  SELECT MAX(price) AS highest, TUMBLE(INTERVAL '10 seconds') AS span
  FROM bids
  GROUP BY span
) AS max_bid
ON bid.span = max_bid.span AND bid.price = max_bid.highest;
