-- Purpose: one row per line of what was finally sold; lines that came back are negative.
-- Input: authorisation_records: decisions that captured at once, captures and refunds.
-- Output: transaction_lines.
-- Key: authorisation_id, line, source_partition, source_offset.
-- Watermark: none; each record is a row by itself.
-- Late data: knows none; a record that comes late is a row like any other.
CREATE TABLE transaction_lines WITH (
  connector = 'delta',
  path = 'transaction_lines',
  type = 'sink',
  format = 'parquet'
);

INSERT INTO transaction_lines
SELECT
  authorisation_id,
  taken.line AS line,
  merchant_id,
  place_id,
  terminal_id,
  taken.item AS item,
  NULLIF(taken.category, '') AS category,
  CAST(taken.quantity_thousandths * CAST('0.001' AS DECIMAL(4, 3)) AS DECIMAL(18, 3)) AS quantity,
  CAST(taken.unit_price_cents * CAST('0.01' AS DECIMAL(3, 2)) AS DECIMAL(18, 2)) AS unit_price,
  CAST(taken.total_cents * CAST('0.01' AS DECIMAL(3, 2)) AS DECIMAL(18, 2)) AS total,
  CAST(
    (taken.total_cents - taken.payable_cents) * CAST('0.01' AS DECIMAL(3, 2)) AS DECIMAL(18, 2)
  ) AS benefit,
  CAST(taken.payable_cents * CAST('0.01' AS DECIMAL(3, 2)) AS DECIMAL(18, 2)) AS payable,
  occurred_at,
  recorded_at,
  source_partition,
  source_offset,
  date
FROM (
  SELECT
    authorisation_id,
    merchant_id,
    place_id,
    terminal_id,
    UNNEST(lines) AS taken,
    occurred_at,
    recorded_at,
    source_partition,
    source_offset,
    date
  FROM authorisation_records
  WHERE (type = 'authorisation_decided' AND status = 'captured')
    OR (type = 'authorisation_changed' AND transition IN ('capture', 'refund'))
) AS final_lines;
