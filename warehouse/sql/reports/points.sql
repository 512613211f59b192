-- Purpose: loyalty points issued, spent and owed.
-- Input: points_entries. Parameters: $from, $to, local days, both included.
-- Output: one row per benefit and merchant: what moved in those days, and what is owed at the end of the last
--   one. What a refund takes back or returns counts against what it undoes.
SELECT
  benefit_id AS benefit,
  merchant_id AS merchant,
  SUM(CASE WHEN date >= $from AND points > 0 THEN points ELSE 0 END) AS issued,
  -SUM(CASE WHEN date >= $from AND points < 0 THEN points ELSE 0 END) AS spent,
  SUM(points) AS owed
FROM points_entries
WHERE date <= $to
GROUP BY benefit_id, merchant_id
ORDER BY benefit, merchant;
