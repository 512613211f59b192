-- Purpose: the project's indicators RR1 to RR6 against their targets.
-- Input: indicators_current. Parameters: $from, $to, local days; the quarters that begin between them, and the
--   one that they begin in.
-- Output: one row per indicator and quarter.
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
  target_3_years
FROM indicators_current
WHERE quarter >= date_trunc('quarter', CAST($from AS DATE)) AND quarter <= $to
ORDER BY indicator, quarter;
