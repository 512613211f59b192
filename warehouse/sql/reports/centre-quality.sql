-- Purpose: how well service centres serve, and the subsidy that follows.
-- Inputs: centre_quality_current, registry_centres_current. Parameters: $from, $to, local days; the months
--   that they touch; $fewest, the smallest count of clients of whom a mean is shown.
-- Output: one row per month, centre and service, and one of the whole centre, without a service. How fewer
--   clients waited is left empty, and what fewer rated, however many were answered; so is the whole centre's
--   where it would tell that of those few. What was done is counted for all: the subsidy is paid by it.
WITH few AS (
  -- How many clients of a centre waited or rated in a month, of all services of which no mean is shown.
  SELECT
    month,
    centre_id,
    SUM(CASE WHEN answered < $fewest THEN answered ELSE 0 END) AS waited,
    SUM(CASE WHEN ratings < $fewest THEN ratings ELSE 0 END) AS rated
  FROM centre_quality_current
  WHERE month >= date_trunc('month', CAST($from AS DATE)) AND month <= $to
    AND service_id IS NOT NULL
  GROUP BY month, centre_id
)
SELECT
  quality.month AS month,
  quality.centre_id AS centre,
  centres.name_lv AS name_lv,
  centres.name_en AS name_en,
  quality.service_id AS service,
  quality.completed AS completed,
  quality.requested AS calls,
  quality.answered AS answered,
  CASE WHEN quality.answered >= $fewest
    AND (few.waited IS NULL OR few.waited = 0 OR few.waited >= $fewest)
    THEN quality.mean_wait_seconds END AS mean_wait_seconds,
  CASE WHEN quality.ratings >= $fewest
    AND (few.rated IS NULL OR few.rated = 0 OR few.rated >= $fewest)
    THEN quality.mean_rating END AS mean_rating,
  quality.criteria_met AS criteria_met,
  quality.criteria_asked AS criteria_asked,
  CAST(quality.quality_bp / 100.0 AS DECIMAL(5, 2)) AS quality_percent,
  quality.subsidy AS subsidy_eur
FROM centre_quality_current AS quality
-- Only the whole centre's mean would tell that of those few.
LEFT JOIN few ON quality.service_id IS NULL
  AND few.month = quality.month AND few.centre_id = quality.centre_id
LEFT JOIN registry_centres_current AS centres ON centres.entry_id = quality.centre_id
WHERE quality.month >= date_trunc('month', CAST($from AS DATE)) AND quality.month <= $to
ORDER BY month, centre, service NULLS FIRST;
