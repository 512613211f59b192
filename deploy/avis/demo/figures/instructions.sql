-- Purpose: what each instruction gave.
-- Input: benefit_lines. Output: one row per instruction.
SELECT
    instruction_id,
    COUNT(DISTINCT authorisation_id) AS uses,
    COUNT(*) AS lines,
    SUM(units) AS units,
    SUM(amount) AS amount,
    SUM(grantor_amount) AS grantor_amount
FROM benefit_lines
WHERE kind = 'captured'
GROUP BY instruction_id
ORDER BY instruction_id
