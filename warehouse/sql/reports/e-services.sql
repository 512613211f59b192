-- Purpose: how merchants' services on the portal are used.
-- Inputs: portal_usage, registry_e_services_current. Parameters: $from, $to, local days, both included;
--   $fewest, the smallest count of people shown.
-- Output: one row per merchant and service; fewer users than that are left empty.
-- Memory: groups go to the disk where it ends; a set of all that are counted cannot.
WITH people AS (
  SELECT
    merchant_id,
    e_service_id,
    user_pseudonym,
    COUNT(record_id) AS uses
  FROM portal_usage
  WHERE date BETWEEN $from AND $to AND e_service_id IS NOT NULL
  GROUP BY merchant_id, e_service_id, user_pseudonym
),
counted AS (
  SELECT
    merchant_id,
    e_service_id,
    SUM(uses) AS uses,
    COUNT(user_pseudonym) AS users
  FROM people
  GROUP BY merchant_id, e_service_id
)
SELECT
  counted.merchant_id AS merchant,
  counted.e_service_id AS e_service,
  services.name_lv AS name_lv,
  services.name_en AS name_en,
  counted.uses AS uses,
  CASE WHEN counted.users >= $fewest THEN counted.users END AS users
FROM counted
LEFT JOIN registry_e_services_current AS services ON services.entry_id = counted.e_service_id
ORDER BY merchant, e_service;
