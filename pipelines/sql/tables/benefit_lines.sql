-- Purpose: one row per authorisation, line and instruction once it is final: captured at the sale or by
--   the capture of a reservation, refunded with negative amounts, so that a statement is a sum.
--   What is captured later counts for the instant and the local day of its reservation.
-- Input: authorisation_records: decisions that captured at once, captures and refunds.
-- Output: benefit_lines.
-- Key: authorisation_id, line, instruction_id, kind, source_partition, source_offset.
-- Watermark: none; each record is a row by itself.
-- Late data: knows none; a record that comes late is a row like any other.
CREATE TABLE benefit_lines WITH (
  connector = 'delta',
  path = 'benefit_lines',
  type = 'sink',
  format = 'parquet'
);

INSERT INTO benefit_lines
SELECT
  authorisation_id,
  line,
  benefit.instruction_id AS instruction_id,
  benefit.instruction_version AS instruction_version,
  benefit.benefit_id AS benefit_id,
  benefit.grantor_id AS grantor_id,
  merchant_id,
  place_id,
  territory,
  terminal_id,
  recipient,
  item,
  category,
  quantity,
  unit_price,
  benefit.units AS units,
  CAST(benefit.amount_cents * CAST('0.01' AS DECIMAL(3, 2)) AS DECIMAL(18, 2)) AS amount,
  CAST(benefit.grantor_cents * CAST('0.01' AS DECIMAL(3, 2)) AS DECIMAL(18, 2)) AS grantor_amount,
  CAST(benefit.merchant_cents * CAST('0.01' AS DECIMAL(3, 2)) AS DECIMAL(18, 2)) AS merchant_amount,
  CAST(benefit.excess_cents * CAST('0.01' AS DECIMAL(3, 2)) AS DECIMAL(18, 2)) AS excess_amount,
  NULLIF(benefit.excess_borne_by, '') AS excess_borne_by,
  kind,
  mode,
  given_at AS occurred_at,
  recorded_at,
  source_partition,
  source_offset,
  given_on AS date
FROM (
  SELECT
    authorisation_id,
    taken.line AS line,
    merchant_id,
    place_id,
    territory,
    terminal_id,
    recipient,
    taken.item AS item,
    NULLIF(taken.category, '') AS category,
    CAST(taken.quantity_thousandths * CAST('0.001' AS DECIMAL(4, 3)) AS DECIMAL(18, 3)) AS quantity,
    CAST(taken.unit_price_cents * CAST('0.01' AS DECIMAL(3, 2)) AS DECIMAL(18, 2)) AS unit_price,
    UNNEST(taken.benefits) AS benefit,
    kind,
    mode,
    given_at,
    recorded_at,
    source_partition,
    source_offset,
    given_on
  FROM (
    SELECT
      authorisation_id,
      merchant_id,
      place_id,
      territory,
      terminal_id,
      recipient,
      UNNEST(lines) AS taken,
      CASE WHEN transition = 'refund' THEN 'refunded' ELSE 'captured' END AS kind,
      mode,
      COALESCE(lines_occurred_at, occurred_at) AS given_at,
      recorded_at,
      source_partition,
      source_offset,
      COALESCE(lines_date, date) AS given_on
    FROM authorisation_records
    WHERE (type = 'authorisation_decided' AND status = 'captured')
      OR (type = 'authorisation_changed' AND transition IN ('capture', 'refund'))
  ) AS final_lines
) AS final_benefits;
