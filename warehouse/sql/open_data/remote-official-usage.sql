-- Purpose: how often remote officials were consulted, by centre, service and month.
-- Inputs: services, registry_centres_current. Parameters: $base, where identifiers live; $fewest, the
--   smallest count of people shown.
-- Output: one row per month, centre and service; a smaller count is left empty and marked suppressed.
SELECT
  SUBSTR(CAST(services.date AS VARCHAR), 1, 7) AS month,
  $base || '/centre/' || services.centre_id AS centre_uri,
  services.centre_id AS centre_id,
  MAX(centres.name_lv) AS centre_name_lv,
  MAX(centres.name_en) AS centre_name_en,
  services.service_id AS service_id,
  CASE WHEN COUNT(services.record_id) >= $fewest THEN COUNT(services.record_id) END AS consultations,
  COUNT(services.record_id) < $fewest AS suppressed
FROM services
LEFT JOIN registry_centres_current AS centres ON centres.entry_id = services.centre_id
WHERE services.channel = 'remote'
GROUP BY SUBSTR(CAST(services.date AS VARCHAR), 1, 7), services.centre_id, services.service_id
ORDER BY month, centre_id, service_id;
