-- Purpose: how many decisions of each kind.
-- Input: authorisations. Output: one row per decision.
SELECT decision, COUNT(*) AS decisions
FROM authorisations
GROUP BY decision
ORDER BY decision
