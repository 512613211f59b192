WITH sums AS (SELECT benefit_id, sum(amount_cents) AS cents FROM benefit_lines WHERE occurred_at >= '2025-01-01' GROUP BY benefit_id)
SELECT b.benefit_id, b.cents FROM sums b WHERE b.cents > 100 ORDER BY 2 DESC LIMIT 10
