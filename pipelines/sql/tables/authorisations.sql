-- Purpose: one row per decision, approved or not.
-- Input: authorisation_records, type authorisation_decided.
-- Output: authorisations.
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
  date
FROM authorisation_records
WHERE type = 'authorisation_decided';
