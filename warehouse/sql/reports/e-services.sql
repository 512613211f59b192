-- Purpose: how merchants' services on the portal are used.
-- Inputs: portal_usage, registry_e_services_current. Parameters: $from, $to, local days, both included;
--   $fewest, the smallest count of people shown.
-- Output: one row per merchant and service; fewer users than that are left empty.
SELECT
  portal.merchant_id AS merchant,
  portal.e_service_id AS e_service,
  MAX(services.name_lv) AS name_lv,
  MAX(services.name_en) AS name_en,
  COUNT(portal.record_id) AS uses,
  CASE WHEN COUNT(DISTINCT portal.user_pseudonym) >= $fewest
    THEN COUNT(DISTINCT portal.user_pseudonym) END AS users
FROM portal_usage AS portal
LEFT JOIN registry_e_services_current AS services ON services.entry_id = portal.e_service_id
WHERE portal.date BETWEEN $from AND $to AND portal.e_service_id IS NOT NULL
GROUP BY portal.merchant_id, portal.e_service_id
ORDER BY merchant, e_service;
