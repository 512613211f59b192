-- Purpose: Nexmark's events as files, one for each kind; {folder} is where they are.
-- Watermark: four seconds behind, as Nexmark has it; events come in order, so none is late.
CREATE TABLE persons (
  id BIGINT NOT NULL,
  name TEXT NOT NULL,
  email_address TEXT NOT NULL,
  credit_card TEXT NOT NULL,
  city TEXT NOT NULL,
  state TEXT NOT NULL,
  date_time TIMESTAMP(3) NOT NULL,
  extra TEXT NOT NULL,
  WATERMARK FOR date_time AS date_time - INTERVAL '4 seconds'
) WITH (
  connector = 'single_file', path = '{folder}/persons.ndjson', format = 'json', type = 'source'
);

CREATE TABLE auctions (
  id BIGINT NOT NULL,
  item_name TEXT NOT NULL,
  description TEXT NOT NULL,
  initial_bid BIGINT NOT NULL,
  reserve BIGINT NOT NULL,
  date_time TIMESTAMP(3) NOT NULL,
  expires TIMESTAMP(3) NOT NULL,
  seller BIGINT NOT NULL,
  category BIGINT NOT NULL,
  extra TEXT NOT NULL,
  WATERMARK FOR date_time AS date_time - INTERVAL '4 seconds'
) WITH (
  connector = 'single_file', path = '{folder}/auctions.ndjson', format = 'json', type = 'source'
);

CREATE TABLE bids (
  auction BIGINT NOT NULL,
  bidder BIGINT NOT NULL,
  price BIGINT NOT NULL,
  channel TEXT NOT NULL,
  url TEXT NOT NULL,
  date_time TIMESTAMP(3) NOT NULL,
  extra TEXT NOT NULL,
  WATERMARK FOR date_time AS date_time - INTERVAL '4 seconds'
) WITH (
  connector = 'single_file', path = '{folder}/bids.ndjson', format = 'json', type = 'source'
);
