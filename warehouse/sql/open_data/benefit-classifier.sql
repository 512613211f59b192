-- Purpose: the classifier of benefits: what is granted, by whom, on what basis.
-- Inputs: registry_benefits_current, registry_grantors_current. Parameter: $base, where identifiers live.
-- Output: one row per benefit.
SELECT
  $base || '/benefit/' || benefits.entry_id AS uri,
  benefits.entry_id AS id,
  benefits.name_lv AS name_lv,
  benefits.name_en AS name_en,
  benefits.kind AS kind,
  benefits.legal_basis AS legal_basis,
  $base || '/grantor/' || benefits.grantor_id AS grantor_uri,
  benefits.grantor_id AS grantor_id,
  grantors.name_lv AS grantor_name_lv,
  grantors.name_en AS grantor_name_en
FROM registry_benefits_current AS benefits
LEFT JOIN registry_grantors_current AS grantors ON grantors.entry_id = benefits.grantor_id
ORDER BY id;
