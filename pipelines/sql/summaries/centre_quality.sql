-- Purpose: how well each centre serves by month and service, and what the state pays for it.
-- Input: calls, services, and of the registry services, centres and subsidies as they are now.
-- Output: centre_quality, of which a row that changed takes the place of the one before.
-- Key: month, centre_id, service_id; the row without a service is the whole centre's.
-- Late data: counts in its month whenever it comes, until the month's subsidy is paid by whoever pays.
--
-- Quality is the share of the service's criteria that were met, of those that could be measured, and
-- at least the floor: mean wait, calls answered, solved at the first contact, mean rating. A service
-- is paid by its rate for each time, times quality; a centre has its kind's base beside. What a
-- call's client says of being helped goes before what the specialist noted of the service.
WITH called AS (
  SELECT
    CAST(DATE_TRUNC('month', date) AS DATE) AS month,
    centre_id,
    service_id,
    -- A call that ended or was rated hours after the rest has a second row, and was asked for once.
    COUNT(
      CASE
        WHEN abandoned
          OR COALESCE(requested_at, offered_at, accepted_at, connected_at) IS NOT NULL
          THEN 1
      END
    ) AS requested,
    COUNT(connected_at) AS answered,
    COUNT(CASE WHEN abandoned THEN 1 END) AS abandoned,
    SUM(CASE WHEN connected_at IS NOT NULL THEN waiting_seconds END) AS waited,
    SUM(talking_seconds) AS talked,
    COUNT(rating) AS ratings,
    SUM(rating) AS rated,
    COUNT(resolved) AS judged,
    COUNT(CASE WHEN resolved THEN 1 END) AS resolved
  FROM calls
  WHERE centre_id IS NOT NULL AND service_id IS NOT NULL
  GROUP BY 1, 2, 3
),
served AS (
  SELECT
    CAST(DATE_TRUNC('month', date) AS DATE) AS month,
    centre_id,
    service_id,
    COUNT(*) AS completed,
    COUNT(outcome) AS judged,
    COUNT(CASE WHEN outcome = 'resolved' THEN 1 END) AS resolved
  FROM services
  WHERE centre_id IS NOT NULL AND service_id IS NOT NULL
  GROUP BY 1, 2, 3
),
measured AS (
  SELECT
    COALESCE(served.month, called.month) AS month,
    COALESCE(served.centre_id, called.centre_id) AS centre_id,
    COALESCE(served.service_id, called.service_id) AS service_id,
    COALESCE(completed, 0) AS completed,
    COALESCE(requested, 0) AS requested,
    COALESCE(answered, 0) AS answered,
    COALESCE(abandoned, 0) AS abandoned,
    waited,
    talked,
    COALESCE(ratings, 0) AS ratings,
    rated,
    CASE WHEN called.judged > 0 THEN called.judged ELSE served.judged END AS judged,
    CASE WHEN called.judged > 0 THEN called.resolved ELSE served.resolved END AS resolved
  FROM served
  FULL JOIN called
    ON served.month = called.month
    AND served.centre_id = called.centre_id
    AND served.service_id = called.service_id
),
judged AS (
  SELECT
    measured.*,
    CASE WHEN answered > 0 THEN waited / answered END AS mean_wait_seconds,
    CASE WHEN answered > 0 THEN talked / answered END AS mean_talk_seconds,
    CASE WHEN requested > 0 THEN answered * 10000 / requested END AS answered_bp,
    CASE WHEN judged > 0 THEN resolved * 10000 / judged END AS resolved_bp,
    CASE
      WHEN ratings > 0
        THEN CAST(ROUND(CAST(rated AS DECIMAL(18, 3)) / ratings, 3) AS DECIMAL(18, 3))
    END AS mean_rating,
    max_wait_seconds,
    min_answered_bp,
    min_resolved_bp,
    min_rating
  FROM measured
  LEFT JOIN registry_services_current AS registered
    ON registered.entry_id = measured.service_id
),
weighed AS (
  SELECT
    judged.*,
    CASE WHEN mean_wait_seconds IS NULL OR max_wait_seconds IS NULL THEN 0 ELSE 1 END
    + CASE WHEN answered_bp IS NULL OR min_answered_bp IS NULL THEN 0 ELSE 1 END
    + CASE WHEN resolved_bp IS NULL OR min_resolved_bp IS NULL THEN 0 ELSE 1 END
    + CASE WHEN mean_rating IS NULL OR min_rating IS NULL THEN 0 ELSE 1 END AS criteria_asked,
    -- Without dividing: a mean of half a second more than allowed is more, however it is shown.
    CASE WHEN answered > 0 AND waited <= max_wait_seconds * answered THEN 1 ELSE 0 END
    + CASE WHEN requested > 0 AND answered * 10000 >= min_answered_bp * requested THEN 1 ELSE 0 END
    + CASE WHEN judged.judged > 0 AND resolved * 10000 >= min_resolved_bp * judged.judged THEN 1 ELSE 0 END
    + CASE WHEN ratings > 0 AND rated >= min_rating * ratings THEN 1 ELSE 0 END AS criteria_met
  FROM judged
),
-- What the state pays in a month: of tariffs that hold at once, the one that began last.
tariffs AS (
  SELECT holding.*
  FROM (
    SELECT
      months.month AS month,
      subsidies.*,
      ROW_NUMBER() OVER (PARTITION BY months.month ORDER BY subsidies.valid_from DESC) AS newest
    FROM (SELECT DISTINCT month FROM measured) AS months
    JOIN registry_subsidies_current AS subsidies
      ON subsidies.valid_from <= months.month
      AND (subsidies.valid_to IS NULL OR subsidies.valid_to >= months.month)
  ) AS holding
  WHERE newest = 1
),
paid AS (
  SELECT
    weighed.*,
    floor_bp,
    GREATEST(
      CASE
        WHEN criteria_asked = 0 THEN 10000
        -- Rounded half up.
        ELSE (criteria_met * 20000 / criteria_asked + 1) / 2
      END,
      COALESCE(floor_bp, 0)
    ) AS quality_bp,
    CASE weighed.service_id
      WHEN 'PAK_01' THEN tariffs.pak_01
      WHEN 'PAK_02' THEN tariffs.pak_02
      WHEN 'PAK_03' THEN tariffs.pak_03
      WHEN 'PAK_04' THEN tariffs.pak_04
      WHEN 'PAK_05' THEN tariffs.pak_05
      WHEN 'PAK_06' THEN tariffs.pak_06
      WHEN 'PAK_07' THEN tariffs.pak_07
      WHEN 'PAK_08' THEN tariffs.pak_08
      WHEN 'PAK_09' THEN tariffs.pak_09
      WHEN 'PAK_10' THEN tariffs.pak_10
    END AS rate
  FROM weighed
  LEFT JOIN tariffs
    ON tariffs.month = weighed.month
),
each AS (
  SELECT
    paid.*,
    -- The share itself, rounded once, where it is not below the floor.
    CAST(
      CASE
        WHEN criteria_asked > 0 AND criteria_met * 10000 >= COALESCE(floor_bp, 0) * criteria_asked
          THEN ROUND(CAST(completed * criteria_met AS DECIMAL(18, 0)) * rate / criteria_asked, 2)
        ELSE ROUND(CAST(completed * quality_bp AS DECIMAL(18, 0)) * rate / 10000, 2)
      END AS DECIMAL(18, 2)
    ) AS subsidy
  FROM paid
),
whole AS (
  SELECT
    months.month,
    centres.entry_id AS centre_id,
    CAST(NULL AS TEXT) AS service_id,
    COALESCE(SUM(completed), 0) AS completed,
    COALESCE(SUM(requested), 0) AS requested,
    COALESCE(SUM(answered), 0) AS answered,
    COALESCE(SUM(abandoned), 0) AS abandoned,
    CASE WHEN SUM(answered) > 0 THEN SUM(waited) / SUM(answered) END AS mean_wait_seconds,
    CASE WHEN SUM(answered) > 0 THEN SUM(talked) / SUM(answered) END AS mean_talk_seconds,
    CASE WHEN SUM(requested) > 0 THEN SUM(answered) * 10000 / SUM(requested) END AS answered_bp,
    CASE WHEN SUM(judged) > 0 THEN SUM(resolved) * 10000 / SUM(judged) END AS resolved_bp,
    CASE
      WHEN SUM(ratings) > 0
        THEN CAST(ROUND(CAST(SUM(rated) AS DECIMAL(18, 3)) / SUM(ratings), 3) AS DECIMAL(18, 3))
    END AS mean_rating,
    SUM(criteria_asked) AS criteria_asked,
    SUM(criteria_met) AS criteria_met,
    CAST(NULL AS BIGINT) AS quality_bp,
    COALESCE(SUM(ratings), 0) AS ratings,
    MAX(centres.kind) AS kind,
    SUM(subsidy) AS for_services
  FROM (SELECT DISTINCT month FROM measured) AS months
  CROSS JOIN registry_centres_current AS centres
  LEFT JOIN each
    ON each.month = months.month
    AND each.centre_id = centres.entry_id
  GROUP BY months.month, centres.entry_id
)
SELECT
  month,
  centre_id,
  service_id,
  completed,
  requested,
  answered,
  abandoned,
  mean_wait_seconds,
  mean_talk_seconds,
  answered_bp,
  resolved_bp,
  mean_rating,
  criteria_asked,
  criteria_met,
  quality_bp,
  subsidy,
  ratings
FROM each
UNION ALL
SELECT
  whole.month,
  centre_id,
  service_id,
  completed,
  requested,
  answered,
  abandoned,
  mean_wait_seconds,
  mean_talk_seconds,
  answered_bp,
  resolved_bp,
  mean_rating,
  criteria_asked,
  criteria_met,
  quality_bp,
  CAST(
    CASE kind
      WHEN 'centre' THEN base_centre
      WHEN 'library' THEN base_library
      WHEN 'mobile' THEN base_mobile
    END + COALESCE(for_services, 0) AS DECIMAL(18, 2)
  ) AS subsidy,
  ratings
FROM whole
LEFT JOIN tariffs
  ON tariffs.month = whole.month;
