-- Purpose: every contract as it was known when a period was closed, so that a statement never changes.
-- Input: registry_contracts, every version. Parameter: $closed_at.
-- Output: one row per contract: its newest version known by then; one that became known only later
--   counts by its first version, which does not change any more either.
SELECT
  grantor_id,
  merchant_id,
  valid_from,
  valid_to,
  vat_bp
FROM (
  SELECT
    grantor_id,
    merchant_id,
    valid_from,
    valid_to,
    vat_bp,
    removed,
    ROW_NUMBER() OVER (
      PARTITION BY entry_id
      ORDER BY
        CASE WHEN recorded_at <= $closed_at THEN 0 ELSE 1 END,
        CASE WHEN recorded_at <= $closed_at THEN -source_offset ELSE source_offset END
    ) AS newest
  FROM registry_contracts
) AS versions
WHERE newest = 1 AND NOT removed
ORDER BY grantor_id, merchant_id, valid_from;
