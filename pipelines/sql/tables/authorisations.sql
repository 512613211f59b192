-- Purpose: one row per decision, approved or not.
-- Input: authorisation_records, type authorisation_decided.
-- Output: authorisations. Where nothing was given, `no_benefit_reason` is that of the instruction that came
--   nearest to giving: reasons are looked for in the order in which instructions are refused, the last first.
-- Key: authorisation_id.
-- Watermark: none; each record is a row by itself.
-- Late data: knows none; a record that comes late is a row like any other.
CREATE TABLE authorisations WITH (
  connector = 'delta',
  path = 'authorisations',
  type = 'sink',
  format = 'parquet'
);

INSERT INTO authorisations
SELECT
  authorisation_id,
  decision,
  decline_reason,
  means_status,
  status,
  mode,
  terminal_id,
  merchant_id,
  place_id,
  territory,
  recipient,
  receipt_number,
  CAST(total_cents * CAST('0.01' AS DECIMAL(3, 2)) AS DECIMAL(18, 2)) AS total,
  CAST(benefit_cents * CAST('0.01' AS DECIMAL(3, 2)) AS DECIMAL(18, 2)) AS benefit,
  CAST(payable_cents * CAST('0.01' AS DECIMAL(3, 2)) AS DECIMAL(18, 2)) AS payable,
  CAST(excess_cents * CAST('0.01' AS DECIMAL(3, 2)) AS DECIMAL(18, 2)) AS excess,
  points_earned,
  points_spent,
  registry_version,
  occurred_at,
  expires_at,
  recorded_at,
  source_partition,
  source_offset,
  CASE
    WHEN decision <> 'no_benefit' THEN NULL
    WHEN array_has(instructions, named_struct('reason', 'best_of')) THEN 'best_of'
    WHEN array_has(instructions, named_struct('reason', 'nothing_payable')) THEN 'nothing_payable'
    WHEN array_has(instructions, named_struct('reason', 'limit')) THEN 'limit'
    WHEN array_has(instructions, named_struct('reason', 'exclusive')) THEN 'exclusive'
    WHEN array_has(instructions, named_struct('reason', 'content')) THEN 'content'
    WHEN array_has(instructions, named_struct('reason', 'contract')) THEN 'contract'
    WHEN array_has(instructions, named_struct('reason', 'scope')) THEN 'scope'
    WHEN array_has(instructions, named_struct('reason', 'schedule')) THEN 'schedule'
    WHEN array_has(instructions, named_struct('reason', 'validity')) THEN 'validity'
  END AS no_benefit_reason,
  date
FROM authorisation_records
WHERE type = 'authorisation_decided';
