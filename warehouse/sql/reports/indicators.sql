-- Purpose: the project's indicators RR1 to RR6 against their targets.
-- Input: indicators_current. Parameters: $from, $to, local days; the quarters that begin between them, and the
--   one that they begin in.
-- Output: one row per indicator and quarter; of the newest quarter told of, how much of the target for two
--   years has been reached, in whole percent.
SELECT
  indicator,
  quarter,
  definition_lv,
  definition_en,
  unit,
  baseline,
  measured,
  to_date,
  target_2_years,
  target_3_years,
  CASE WHEN quarter = MAX(quarter) OVER (PARTITION BY indicator)
    THEN CAST(to_date * 100.0 / target_2_years AS BIGINT) END AS percent_of_target
FROM indicators_current
WHERE quarter >= date_trunc('quarter', CAST($from AS DATE)) AND quarter <= $to
ORDER BY indicator, quarter;
