-- Purpose: what is used of each budget and what is left, with a forecast.
-- Inputs: registry_limits, registry_instructions_current, benefit_lines. Parameters: $from, not used by
--   anything but the days shown; $to, the local day on which the budgets are looked at.
-- Output: one row per instruction in force on that day and limit across all recipients. Used is counted from
--   the first day of the limit's period, as limits count it: a refund gives back to the period of its sale, and
--   a use only when all its cents are back; expected is what it comes to by the period's last day at the same
--   pace; a period without end has no forecast. Amounts in euro, uses and units as counts.
WITH budgets AS (
  SELECT
    instructions.instruction_id AS instruction,
    instructions.benefit_id AS benefit,
    limits.measure AS measure,
    limits.period AS period,
    CASE WHEN limits.measure = 'amount_cents' THEN limits.most / 100.0 ELSE limits.most * 1.0 END AS budget,
    CASE limits.period
      WHEN 'day' THEN CAST($to AS DATE)
      WHEN 'week' THEN CAST(date_trunc('week', CAST($to AS DATE)) AS DATE)
      WHEN 'month' THEN CAST(date_trunc('month', CAST($to AS DATE)) AS DATE)
      WHEN 'year' THEN CAST(date_trunc('year', CAST($to AS DATE)) AS DATE)
      ELSE instructions.valid_from
    END AS first_day,
    CASE limits.period
      WHEN 'day' THEN CAST($to AS DATE)
      WHEN 'week' THEN CAST(date_trunc('week', CAST($to AS DATE)) + INTERVAL '6 days' AS DATE)
      WHEN 'month' THEN CAST(date_trunc('month', CAST($to AS DATE)) + INTERVAL '1 month' - INTERVAL '1 day' AS DATE)
      WHEN 'year' THEN CAST(date_trunc('year', CAST($to AS DATE)) + INTERVAL '1 year' - INTERVAL '1 day' AS DATE)
      ELSE instructions.valid_to
    END AS last_day
  FROM registry_instructions_current AS instructions
  JOIN registry_limits AS limits
    ON limits.entry_id = instructions.entry_id AND limits.source_offset = instructions.source_offset
  WHERE limits.per = 'instruction'
    AND limits.period <> 'basket'
    AND instructions.valid_from <= $to
    AND (instructions.valid_to IS NULL OR instructions.valid_to >= $to)
    AND CAST($from AS DATE) <= $to
),
sold AS (
  SELECT
    budgets.instruction AS instruction,
    budgets.measure AS measure,
    budgets.period AS period,
    lines.authorisation_id AS authorisation_id,
    SUM(lines.amount) AS amount,
    SUM(lines.units) AS units
  FROM budgets
  JOIN benefit_lines AS lines
    ON lines.instruction_id = budgets.instruction
    AND lines.date BETWEEN budgets.first_day AND $to
    AND lines.amount <> 0
  GROUP BY budgets.instruction, budgets.measure, budgets.period, lines.authorisation_id
  -- What was sold before the period is given back to that.
  HAVING COUNT(CASE WHEN lines.kind = 'captured' THEN lines.line END) > 0
),
used AS (
  SELECT
    sold.instruction AS instruction,
    sold.measure AS measure,
    sold.period AS period,
    CASE sold.measure
      WHEN 'amount_cents' THEN SUM(sold.amount) * 1.0
      WHEN 'units' THEN SUM(sold.units) * 1.0
      ELSE COUNT(CASE WHEN sold.amount > 0 THEN sold.authorisation_id END) * 1.0
    END AS used
  FROM sold
  GROUP BY sold.instruction, sold.measure, sold.period
),
paced AS (
  SELECT
    budgets.benefit AS benefit,
    budgets.instruction AS instruction,
    budgets.measure AS measure,
    budgets.period AS period,
    budgets.first_day AS first_day,
    budgets.last_day AS last_day,
    budgets.budget AS budget,
    COALESCE(used.used, 0.0) AS used,
    CAST($to AS DATE) - budgets.first_day + 1 AS days_gone,
    budgets.last_day - budgets.first_day + 1 AS days_in_all
  FROM budgets
  LEFT JOIN used
    ON used.instruction = budgets.instruction
    AND used.measure = budgets.measure
    AND used.period = budgets.period
)
SELECT
  benefit,
  instruction,
  measure,
  period,
  first_day,
  last_day,
  CAST(budget AS DECIMAL(18, 2)) AS budget,
  CAST(used AS DECIMAL(18, 2)) AS used,
  CAST(budget - used AS DECIMAL(18, 2)) AS left_over,
  CAST(used * days_in_all / days_gone AS DECIMAL(18, 2)) AS expected,
  used * days_in_all / days_gone > budget AS runs_out
FROM paced
ORDER BY benefit, instruction, measure, period;
