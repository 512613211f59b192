-- Purpose: what grantors owe merchants for a month, by instruction and by the rate of VAT agreed on the day.
-- Inputs: benefit_lines; closing_offsets, of every partition of authorisations where the closing begins and
--   where it ends; closing_contracts, every contract as it was known at the closing.
-- Parameters: $from, $to, the month's first and last local day.
-- Output: one row per grantor, merchant, instruction and rate. Amounts are signed, so a sum is what is
--   owed. Uses are baskets with a captured line; refunds lower units and sums. What a terminal gave beyond our
--   decision is owed where the contract says that the grantor bears it.
-- Late data: a line at or past the end offset is not of this statement, whenever it is asked for.
WITH month_lines AS (
  SELECT
    benefit_lines.grantor_id AS grantor_id,
    benefit_lines.merchant_id AS merchant_id,
    benefit_lines.instruction_id AS instruction_id,
    benefit_lines.authorisation_id AS authorisation_id,
    benefit_lines.date AS date,
    CASE WHEN benefit_lines.amount <> 0 THEN benefit_lines.kind END AS kind,
    benefit_lines.units AS units,
    benefit_lines.amount AS amount,
    benefit_lines.grantor_amount AS grantor_amount,
    CASE
      WHEN benefit_lines.excess_borne_by = 'grantor' THEN benefit_lines.excess_amount
      ELSE 0
    END AS grantor_excess
  FROM closing_offsets
  JOIN benefit_lines ON benefit_lines.source_partition = closing_offsets.source_partition
  WHERE benefit_lines.date BETWEEN $from AND $to
    AND benefit_lines.source_offset >= closing_offsets.from_offset
    AND benefit_lines.source_offset < closing_offsets.end_offset
    -- A line without an amount says what a terminal gave in excess, which mostly owes nobody anything, or is a
    -- refund in which only a cent of the grantor's moves.
    AND (
      benefit_lines.amount <> 0
      OR benefit_lines.grantor_amount <> 0
      OR (benefit_lines.excess_borne_by = 'grantor' AND benefit_lines.excess_amount <> 0)
    )
),
-- Baskets are grouped before they are counted: groups go to the disk where memory ends, a set of all that are
-- distinct cannot. A basket is captured on one day.
baskets AS (
  SELECT
    grantor_id,
    merchant_id,
    instruction_id,
    date,
    authorisation_id,
    COUNT(CASE WHEN kind = 'captured' THEN 1 END) AS captured_lines,
    SUM(units) AS units,
    SUM(amount) AS amount,
    SUM(grantor_amount) AS grantor_amount,
    SUM(grantor_excess) AS grantor_excess
  FROM month_lines
  GROUP BY grantor_id, merchant_id, instruction_id, date, authorisation_id
),
days AS (
  SELECT
    grantor_id,
    merchant_id,
    instruction_id,
    date,
    COUNT(CASE WHEN captured_lines > 0 THEN 1 END) AS uses,
    SUM(captured_lines) AS captured_lines,
    SUM(units) AS units,
    SUM(amount) AS amount,
    SUM(grantor_amount) AS grantor_amount,
    SUM(grantor_excess) AS grantor_excess
  FROM baskets
  GROUP BY grantor_id, merchant_id, instruction_id, date
),
-- Two contracts of a pair never overlap; should they, the higher rate is taken, and the day counts once.
rated AS (
  SELECT
    days.grantor_id AS grantor_id,
    days.merchant_id AS merchant_id,
    days.instruction_id AS instruction_id,
    MAX(closing_contracts.vat_bp) AS vat_bp,
    MAX(days.uses) AS uses,
    MAX(days.captured_lines) AS captured_lines,
    MAX(days.units) AS units,
    MAX(days.amount) AS amount,
    MAX(days.grantor_amount) AS grantor_amount,
    MAX(days.grantor_excess) AS grantor_excess
  FROM days
  LEFT JOIN closing_contracts
    ON closing_contracts.grantor_id = days.grantor_id
    AND closing_contracts.merchant_id = days.merchant_id
    AND closing_contracts.valid_from <= days.date
    AND (closing_contracts.valid_to IS NULL OR closing_contracts.valid_to >= days.date)
  GROUP BY days.grantor_id, days.merchant_id, days.instruction_id, days.date
)
SELECT
  grantor_id,
  merchant_id,
  instruction_id,
  vat_bp,
  SUM(uses) AS uses,
  SUM(captured_lines) AS captured_lines,
  SUM(units) AS units,
  SUM(amount) AS benefit,
  SUM(grantor_amount) AS grantor_part,
  SUM(grantor_excess) AS grantor_excess
FROM rated
GROUP BY grantor_id, merchant_id, instruction_id, vat_bp
ORDER BY grantor_id, merchant_id, instruction_id, vat_bp NULLS FIRST;
