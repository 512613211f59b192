-- Purpose: the terminals at which benefits are given, and where they stand.
-- Inputs: registry_terminals_current, registry_places_current, registry_merchants_current.
--   Parameter: $base, where identifiers live.
-- Output: one row per terminal.
SELECT
  $base || '/terminal/' || terminals.entry_id AS uri,
  terminals.entry_id AS id,
  terminals.kind AS kind,
  terminals.place_id AS place_id,
  places.name_lv AS place_name_lv,
  places.name_en AS place_name_en,
  places.territory AS territory,
  places.merchant_id AS merchant_id,
  merchants.name_lv AS merchant_name_lv,
  merchants.name_en AS merchant_name_en
FROM registry_terminals_current AS terminals
LEFT JOIN registry_places_current AS places ON places.entry_id = terminals.place_id
LEFT JOIN registry_merchants_current AS merchants ON merchants.entry_id = places.merchant_id
ORDER BY id;
