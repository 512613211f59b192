-- Purpose: who issues identification means, and of which kinds.
-- Input: registry_issuers_current. Parameter: $base, where identifiers live.
-- Output: one row per issuer.
SELECT
  $base || '/issuer/' || entry_id AS uri,
  entry_id AS id,
  name_lv,
  name_en,
  means AS kinds
FROM registry_issuers_current
ORDER BY id;
