-- Purpose: each grantor's budgets against what was settled of them.
-- Inputs: registry_limits, registry_instructions_current, registry_benefits_current, benefit_lines,
--   settlement_lines. Parameter: $to, the local day on which the budgets are looked at.
-- Output: one row per instruction in force on that day and limit in money across all recipients. Used is counted
--   from the first day of the limit's period; settled is what closed statements of its months have of that,
--   corrections included. Budgets of a day or a week are left out: statements are of months.
WITH budgets AS (
  SELECT
    benefits.grantor_id AS grantor,
    instructions.benefit_id AS benefit,
    instructions.instruction_id AS instruction,
    limits.period AS period,
    limits.most / 100.0 AS budget,
    CASE limits.period
      WHEN 'month' THEN CAST(date_trunc('month', CAST($to AS DATE)) AS DATE)
      WHEN 'year' THEN CAST(date_trunc('year', CAST($to AS DATE)) AS DATE)
      ELSE instructions.valid_from
    END AS first_day
  FROM registry_instructions_current AS instructions
  JOIN registry_limits AS limits
    ON limits.entry_id = instructions.entry_id AND limits.source_offset = instructions.source_offset
  LEFT JOIN registry_benefits_current AS benefits
    ON benefits.entry_id = instructions.benefit_id
  WHERE limits.per = 'instruction'
    AND limits.measure = 'amount_cents'
    AND limits.period IN ('month', 'year', 'validity')
    AND instructions.valid_from <= $to
    AND (instructions.valid_to IS NULL OR instructions.valid_to >= $to)
),
used AS (
  SELECT
    budgets.instruction AS instruction,
    budgets.period AS period,
    SUM(lines.amount) AS amount
  FROM budgets
  JOIN benefit_lines AS lines
    ON lines.instruction_id = budgets.instruction
    AND lines.date BETWEEN budgets.first_day AND $to
  GROUP BY budgets.instruction, budgets.period
),
settled AS (
  SELECT
    budgets.instruction AS instruction,
    budgets.period AS period,
    SUM(lines.benefit) AS amount
  FROM budgets
  JOIN settlement_lines AS lines
    ON lines.instruction_id = budgets.instruction
    AND lines.period >= SUBSTR(CAST(budgets.first_day AS VARCHAR), 1, 7)
    AND lines.period <= SUBSTR(CAST($to AS VARCHAR), 1, 7)
  GROUP BY budgets.instruction, budgets.period
)
SELECT
  budgets.grantor AS grantor,
  budgets.benefit AS benefit,
  budgets.instruction AS instruction,
  budgets.period AS period,
  budgets.first_day AS first_day,
  CAST(budgets.budget AS DECIMAL(18, 2)) AS budget_eur,
  CAST(COALESCE(used.amount, 0) AS DECIMAL(18, 2)) AS used_eur,
  CAST(COALESCE(settled.amount, 0) AS DECIMAL(18, 2)) AS settled_eur,
  CAST(COALESCE(used.amount, 0) - COALESCE(settled.amount, 0) AS DECIMAL(18, 2)) AS unsettled_eur,
  CAST(budgets.budget - COALESCE(used.amount, 0) AS DECIMAL(18, 2)) AS left_eur
FROM budgets
LEFT JOIN used
  ON used.instruction = budgets.instruction AND used.period = budgets.period
LEFT JOIN settled
  ON settled.instruction = budgets.instruction AND settled.period = budgets.period
ORDER BY grantor, benefit, instruction, period;
