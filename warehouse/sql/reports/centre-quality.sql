-- Purpose: how well service centres serve, and the subsidy that follows.
-- Inputs: centre_quality_current, registry_centres_current. Parameters: $from, $to, local days; the months
--   that they touch.
-- Output: one row per month, centre and service, and one of the whole centre, without a service.
SELECT
  quality.month AS month,
  quality.centre_id AS centre,
  centres.name_lv AS name_lv,
  centres.name_en AS name_en,
  quality.service_id AS service,
  quality.completed AS completed,
  quality.requested AS calls,
  quality.answered AS answered,
  quality.mean_wait_seconds AS mean_wait_seconds,
  quality.mean_rating AS mean_rating,
  quality.criteria_met AS criteria_met,
  quality.criteria_asked AS criteria_asked,
  CAST(quality.quality_bp / 100.0 AS DECIMAL(5, 2)) AS quality_percent,
  quality.subsidy AS subsidy_eur
FROM centre_quality_current AS quality
LEFT JOIN registry_centres_current AS centres ON centres.entry_id = quality.centre_id
WHERE quality.month >= date_trunc('month', CAST($from AS DATE)) AND quality.month <= $to
ORDER BY month, centre, service NULLS FIRST;
