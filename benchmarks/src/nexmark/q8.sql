-- Purpose: Nexmark's q8, monitor new users: who has come and opened an auction in the same ten
-- seconds.
CREATE TABLE q8 WITH (
  connector = 'single_file', path = '{folder}/q8.ndjson', format = 'json', type = 'sink'
);

INSERT INTO q8
SELECT person.id, person.name, person.span.start AS starts
FROM (
  SELECT id, name, TUMBLE(INTERVAL '10 seconds') AS span
  FROM persons
  GROUP BY id, name, span
) AS person
JOIN (
  SELECT seller, TUMBLE(INTERVAL '10 seconds') AS span
  FROM auctions
  GROUP BY seller, span
) AS auction
ON person.id = auction.seller AND person.span = auction.span;
