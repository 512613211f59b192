-- Purpose: names, numbers and accounts of grantors and merchants as they were known at an instant.
-- Inputs: registry_grantors, registry_merchants, every version. Parameter: $at.
-- Output: one row per party and part it plays: its newest version known by then; one that became known only
--   later counts by its first version, and an account that is missing by the first that came later; one that
--   was taken out of the registry is never paid to.
WITH versions AS (
  SELECT
    'grantor' AS part,
    entry_id,
    name_lv,
    name_en,
    reg_no,
    iban,
    recorded_at,
    source_offset
  FROM registry_grantors
  WHERE NOT removed
  UNION ALL
  SELECT
    'merchant' AS part,
    entry_id,
    name_lv,
    name_en,
    reg_no,
    iban,
    recorded_at,
    source_offset
  FROM registry_merchants
  WHERE NOT removed
),
-- What was known by then counts first, the newest before the others; then what came later, in its order.
ranked AS (
  SELECT
    part,
    entry_id,
    name_lv,
    name_en,
    reg_no,
    iban,
    recorded_at > $at AS is_later,
    ROW_NUMBER() OVER (
      PARTITION BY part, entry_id
      ORDER BY recorded_at > $at, CASE WHEN recorded_at > $at THEN source_offset ELSE -source_offset END
    ) AS place
  FROM versions
),
paid AS (
  SELECT
    part,
    entry_id,
    name_lv,
    name_en,
    reg_no,
    FIRST_VALUE(iban) OVER (
      PARTITION BY part, entry_id ORDER BY CASE WHEN iban IS NULL THEN 1 ELSE 0 END, place
    ) AS iban,
    place
  FROM ranked
  WHERE place = 1 OR is_later
)
SELECT part, entry_id, name_lv, name_en, reg_no, iban
FROM paid
WHERE place = 1
ORDER BY part, entry_id;
