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
placed AS (
  SELECT
    part,
    entry_id,
    name_lv,
    name_en,
    reg_no,
    iban,
    CASE WHEN recorded_at <= $at THEN 0 ELSE 1 END AS is_later,
    CASE WHEN recorded_at <= $at THEN -source_offset ELSE source_offset END AS distance
  FROM versions
),
ranked AS (
  SELECT
    part,
    entry_id,
    name_lv,
    name_en,
    reg_no,
    CASE
      WHEN is_later = 1 OR ROW_NUMBER() OVER (
        PARTITION BY part, entry_id ORDER BY is_later, distance
      ) = 1 THEN iban
    END AS iban,
    is_later,
    distance,
    ROW_NUMBER() OVER (PARTITION BY part, entry_id ORDER BY is_later, distance) AS newest
  FROM placed
),
paid AS (
  SELECT
    part,
    entry_id,
    name_lv,
    name_en,
    reg_no,
    FIRST_VALUE(iban) OVER (
      PARTITION BY part, entry_id
      ORDER BY CASE WHEN iban IS NULL THEN 1 ELSE 0 END, is_later, distance
    ) AS iban,
    newest
  FROM ranked
)
SELECT part, entry_id, name_lv, name_en, reg_no, iban
FROM paid
WHERE newest = 1
ORDER BY part, entry_id;
