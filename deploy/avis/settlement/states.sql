-- How many statements stand where, as operators see it.
-- Input: settlement_statements; a row for each state that has some.
SELECT state, COUNT(*) AS statements
FROM settlement_statements_current
GROUP BY state
ORDER BY state
