-- Purpose: what has landed, in counts and sums; the peer is asked the same of its own file.
-- Input: authorisations.
-- Output: one row per decision.
SELECT
  decision,
  COUNT(*) AS decisions,
  COUNT(DISTINCT authorisation_id) AS authorisations,
  COUNT(DISTINCT recipient) AS recipients,
  COUNT(DISTINCT terminal_id) AS terminals,
  CAST(SUM(total) * 100 AS BIGINT) AS total_cents,
  CAST(SUM(benefit) * 100 AS BIGINT) AS benefit_cents,
  CAST(SUM(payable) * 100 AS BIGINT) AS payable_cents,
  CAST(SUM(source_partition) AS BIGINT) AS partitions,
  CAST(SUM(source_offset) AS BIGINT) AS offsets,
  MIN(occurred_at) AS begins,
  MAX(occurred_at) AS ends,
  MAX(date) AS last_day
FROM authorisations
GROUP BY decision
ORDER BY decision;
