-- Purpose: merchants' services on the portal.
-- Inputs: registry_e_services_current, registry_merchants_current. Parameter: $base, where identifiers live.
-- Output: one row per service.
SELECT
  $base || '/e-service/' || services.entry_id AS uri,
  services.entry_id AS id,
  services.name_lv AS name_lv,
  services.name_en AS name_en,
  services.url AS url,
  services.login_basket AS login_basket,
  services.merchant_id AS merchant_id,
  merchants.name_lv AS merchant_name_lv,
  merchants.name_en AS merchant_name_en
FROM registry_e_services_current AS services
LEFT JOIN registry_merchants_current AS merchants ON merchants.entry_id = services.merchant_id
ORDER BY id;
