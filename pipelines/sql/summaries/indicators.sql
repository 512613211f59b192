-- Purpose: the indicators RR1 to RR6 by quarter, with definition, baseline, and the aims for two and
--   three years after the project's end.
-- Input: benefit_lines, services, portal_usage, registry_e_services.
-- Output: indicators, of which a row that changed takes the place of the one before.
-- Key: indicator, quarter (its first day).
-- Late data: counts in its quarter whenever it comes.
--
-- measured is the quarter's, to_date that of all quarters up to it. RR1's baseline are the users of the
-- first quarter in which anybody used an e-service; the other five begin at nothing. Baskets and users are
-- grouped before they are counted: groups go to the disk where memory ends, a set of all of them cannot. They
-- are counted for the indicator that tells of them, not for each.
WITH definitions (indicator, definition_lv, definition_en, unit, target_2_years, target_3_years) AS (
  VALUES
    ('RR1', 'komersantu e-pakalpojumu unikālo lietotāju skaita pieaugums pret pirmo ceturksni', 'growth of unique users of merchants'' e-services against the first quarter', 'percent', 20, 70),
    ('RR2', 'komersanti, kuriem ir e-pakalpojumi portālā', 'merchants with e-services on the portal', 'merchants', 2, 5),
    ('RR3', 'darījumi, kuros piemērots atbalsts', 'transactions in which a benefit was given', 'transactions', 100000, 1000000),
    ('RR4', 'komersanti, kas izmanto atbalsta pārvaldību', 'merchants that use benefit management', 'merchants', 2, 5),
    ('RR5', 'piemērotā atbalsta summa', 'amount of benefits given', 'EUR', 10000, 100000),
    ('RR6', 'attālinātās konsultācijas', 'remote consultations', 'consultations', 100, 500)
),
given AS (
  SELECT
    CAST(DATE_TRUNC('quarter', date) AS DATE) AS quarter,
    SUM(amount) AS amount
  FROM benefit_lines
  GROUP BY 1
),
used AS (
  SELECT
    quarter,
    COUNT(authorisation_id) AS uses
  FROM (
    SELECT DISTINCT
      CAST(DATE_TRUNC('quarter', date) AS DATE) AS quarter,
      authorisation_id
    FROM benefit_lines
    WHERE kind = 'captured' AND amount > 0
  ) AS baskets
  GROUP BY quarter
),
managing AS (
  SELECT
    merchant_id,
    CAST(DATE_TRUNC('quarter', date) AS DATE) AS quarter
  FROM benefit_lines
  WHERE kind = 'captured'
  GROUP BY 1, 2
),
consulted AS (
  SELECT
    CAST(DATE_TRUNC('quarter', date) AS DATE) AS quarter,
    COUNT(*) AS consultations
  FROM services
  WHERE channel = 'remote'
  GROUP BY 1
),
visited AS (
  SELECT
    quarter,
    COUNT(user_pseudonym) AS users
  FROM (
    SELECT DISTINCT
      CAST(DATE_TRUNC('quarter', date) AS DATE) AS quarter,
      user_pseudonym
    FROM portal_usage
    WHERE event_type = 'lv.portal.e-service.used'
  ) AS people
  GROUP BY quarter
),
quarters AS (
  SELECT quarter FROM given
  UNION
  SELECT quarter FROM consulted
  UNION
  SELECT CAST(DATE_TRUNC('quarter', date) AS DATE) AS quarter
  FROM portal_usage
  WHERE event_type = 'lv.portal.e-service.used'
),
offering AS (
  SELECT
    quarters.quarter,
    COUNT(DISTINCT CASE WHEN NOT removed THEN merchant_id END) AS merchants
  FROM quarters
  LEFT JOIN (
    SELECT
      entry_id,
      merchant_id,
      removed,
      changed_at,
      LEAD(changed_at) OVER (PARTITION BY entry_id ORDER BY source_offset) AS changed_again_at
    FROM registry_e_services
  ) AS versions
    ON versions.changed_at < quarters.quarter + INTERVAL '3 months'
    AND (
      versions.changed_again_at IS NULL
      OR versions.changed_again_at >= quarters.quarter + INTERVAL '3 months'
    )
  GROUP BY quarters.quarter
),
managing_to_date AS (
  SELECT
    quarters.quarter,
    COUNT(DISTINCT CASE WHEN managing.quarter = quarters.quarter THEN merchant_id END) AS merchants,
    COUNT(DISTINCT merchant_id) AS to_date
  FROM quarters
  LEFT JOIN managing ON managing.quarter <= quarters.quarter
  GROUP BY quarters.quarter
),
counted AS (
  SELECT
    quarters.quarter,
    offering.merchants AS offering,
    managing_to_date.merchants AS managing,
    managing_to_date.to_date AS managing_to_date,
    COALESCE(amount, 0) AS amount,
    COALESCE(consultations, 0) AS consultations
  FROM quarters
  LEFT JOIN offering ON offering.quarter = quarters.quarter
  LEFT JOIN managing_to_date ON managing_to_date.quarter = quarters.quarter
  LEFT JOIN given ON given.quarter = quarters.quarter
  LEFT JOIN consulted ON consulted.quarter = quarters.quarter
),
transactions AS (
  SELECT
    quarters.quarter,
    COALESCE(uses, 0) AS uses
  FROM quarters
  LEFT JOIN used ON used.quarter = quarters.quarter
),
visitors AS (
  SELECT
    quarters.quarter,
    COALESCE(users, 0) AS users
  FROM quarters
  LEFT JOIN visited ON visited.quarter = quarters.quarter
),
first_visited AS (
  SELECT users AS baseline FROM visited ORDER BY quarter LIMIT 1
),
growth AS (
  SELECT
    quarter,
    baseline,
    CASE
      WHEN baseline > 0 THEN CAST((users - baseline) * 100 AS DECIMAL(18, 2)) / baseline
    END AS percent
  FROM visitors
  LEFT JOIN first_visited ON TRUE
),
told AS (
  SELECT 'RR1' AS indicator, quarter, baseline, percent AS measured, percent AS to_date FROM growth
  UNION ALL
  SELECT 'RR2', quarter, 0, offering, offering AS to_date FROM counted
  UNION ALL
  SELECT 'RR3', quarter, 0, uses, SUM(uses) OVER (ORDER BY quarter) FROM transactions
  UNION ALL
  SELECT 'RR4', quarter, 0, managing, managing_to_date FROM counted
  UNION ALL
  SELECT 'RR5', quarter, 0, amount, SUM(amount) OVER (ORDER BY quarter) FROM counted
  UNION ALL
  SELECT 'RR6', quarter, 0, consultations, SUM(consultations) OVER (ORDER BY quarter) FROM counted
)
SELECT
  definitions.indicator,
  quarter,
  definition_lv,
  definition_en,
  unit,
  CAST(baseline AS DECIMAL(18, 2)) AS baseline,
  CAST(ROUND(measured, 2) AS DECIMAL(18, 2)) AS measured,
  CAST(ROUND(to_date, 2) AS DECIMAL(18, 2)) AS to_date,
  CAST(target_2_years AS DECIMAL(18, 2)) AS target_2_years,
  CAST(target_3_years AS DECIMAL(18, 2)) AS target_3_years
FROM told
JOIN definitions ON definitions.indicator = told.indicator;
