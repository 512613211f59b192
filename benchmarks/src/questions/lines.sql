-- Purpose: benefit lines of one day, drawn from nothing, always the same.
-- Input: none. Parameters: $day; $rows and $before are put in as text.
-- Output: the columns of benefit_lines.
SELECT
  'grantor-' || CAST(value * 31 % 7 AS TEXT) AS grantor_id,
  'merchant-' || CAST(value * 17 % 13 AS TEXT) AS merchant_id,
  'instruction-' || CAST(value * 13 % 29 AS TEXT) AS instruction_id,
  1 AS instruction_version,
  'benefit-' || CAST(value * 13 % 29 % 11 AS TEXT) AS benefit_id,
  'P-' || CAST(value * 37 % 331 AS TEXT) AS place_id,
  'LV' || CAST(value * 37 % 331 % 43 AS TEXT) AS territory,
  'T-' || CAST(value * 37 % 1009 AS TEXT) AS terminal_id,
  'A-' || CAST($before + value AS TEXT) AS authorisation_id,
  1 AS line,
  'R-' || CAST(value * 7919 % 100003 AS TEXT) AS recipient,
  'item-' || CAST(value * 101 % 4999 AS TEXT) AS item,
  'category-' || CAST(value * 101 % 4999 % 53 AS TEXT) AS category,
  CAST(1 AS DECIMAL(18, 3)) AS quantity,
  CAST(value * 43 % 997 * 0.01 AS DECIMAL(18, 2)) AS unit_price,
  1 AS units,
  CAST(value * 43 % 199 * 0.01 AS DECIMAL(18, 2)) AS amount,
  CAST(value * 43 % 199 * 0.01 AS DECIMAL(18, 2)) AS grantor_amount,
  CAST(0 AS DECIMAL(18, 2)) AS merchant_amount,
  CAST(0 AS DECIMAL(18, 2)) AS excess_amount,
  CAST(NULL AS TEXT) AS excess_borne_by,
  CASE WHEN value % 50 = 0 THEN 'refund' ELSE 'capture' END AS kind,
  'sale' AS mode,
  to_timestamp_seconds(
    CAST(date_part('epoch', CAST($day AS TIMESTAMP)) AS BIGINT) + value % 50000 + 10000
  ) AS occurred_at,
  to_timestamp_seconds(
    CAST(date_part('epoch', CAST($day AS TIMESTAMP)) AS BIGINT) + value % 50000 + 10001
  ) AS recorded_at,
  0 AS source_partition,
  $before + value AS source_offset,
  $day AS date
FROM generate_series(1, $rows)
ORDER BY merchant_id;
