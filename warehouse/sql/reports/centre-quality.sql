-- Purpose: how well service centres serve, and the subsidy that follows.
-- Inputs: centre_quality_current, registry_centres_current. Parameters: $from, $to, local days; the months
--   that they touch; $fewest, the smallest count of clients of whom a mean is shown.
-- Output: one row per month, centre and service, and one of the whole centre, without a service. How fewer
--   clients waited and what they rated is left empty; so is the whole centre's where it would tell that of
--   those few. What was done is counted for all: the subsidy is paid by it.
SELECT
  quality.month AS month,
  quality.centre_id AS centre,
  centres.name_lv AS name_lv,
  centres.name_en AS name_en,
  quality.service_id AS service,
  quality.completed AS completed,
  quality.requested AS calls,
  quality.answered AS answered,
  CASE WHEN quality.is_told THEN quality.mean_wait_seconds END AS mean_wait_seconds,
  CASE WHEN quality.is_told THEN quality.mean_rating END AS mean_rating,
  quality.criteria_met AS criteria_met,
  quality.criteria_asked AS criteria_asked,
  CAST(quality.quality_bp / 100.0 AS DECIMAL(5, 2)) AS quality_percent,
  quality.subsidy AS subsidy_eur
FROM (
  SELECT
    month,
    centre_id,
    service_id,
    completed,
    requested,
    answered,
    mean_wait_seconds,
    mean_rating,
    criteria_met,
    criteria_asked,
    quality_bp,
    subsidy,
    answered >= $fewest AND (service_id IS NOT NULL OR few = 0 OR few >= $fewest) AS is_told
  FROM (
    SELECT
      month,
      centre_id,
      service_id,
      completed,
      requested,
      answered,
      mean_wait_seconds,
      mean_rating,
      criteria_met,
      criteria_asked,
      quality_bp,
      subsidy,
      -- The clients of those services of the centre of which no mean is shown.
      SUM(CASE WHEN service_id IS NOT NULL AND answered < $fewest THEN answered ELSE 0 END)
        OVER (PARTITION BY month, centre_id) AS few
    FROM centre_quality_current
    WHERE month >= date_trunc('month', CAST($from AS DATE)) AND month <= $to
  ) AS counted
) AS quality
LEFT JOIN registry_centres_current AS centres ON centres.entry_id = quality.centre_id
ORDER BY month, centre, service NULLS FIRST;
