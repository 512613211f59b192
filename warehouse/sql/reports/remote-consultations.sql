-- Purpose: consultations with remote officials.
-- Input: services. Parameters: $from, $to, local days, both included; $fewest, the smallest count shown.
-- Output: one row per month, centre, service and institution; a smaller count is left empty.
SELECT
  SUBSTR(CAST(date AS VARCHAR), 1, 7) AS month,
  centre_id AS centre,
  service_id AS service,
  institution_id AS institution,
  CASE WHEN COUNT(record_id) >= $fewest THEN COUNT(record_id) END AS consultations
FROM services
WHERE channel = 'remote' AND date BETWEEN $from AND $to
GROUP BY SUBSTR(CAST(date AS VARCHAR), 1, 7), centre_id, service_id, institution_id
ORDER BY month, centre, service, institution NULLS FIRST;
