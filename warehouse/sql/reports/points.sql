-- Purpose: loyalty points issued, spent and owed.
-- Inputs: points_entries; authorisation_events, since an entry of such a record undoes what the decision moved.
--   Parameters: $from, $to, local days, both included.
-- Output: one row per benefit and merchant: what moved in those days, and what is owed at the end of the last
--   one. What a refund takes back or returns counts against what it undoes, as does what a void or an expiry
--   returns. Days whose events are no longer kept are told as if nothing had been undone.
SELECT
  benefit,
  merchant,
  SUM(CASE WHEN date >= $from AND is_issued THEN points ELSE 0 END) AS issued,
  -SUM(CASE WHEN date >= $from AND NOT is_issued THEN points ELSE 0 END) AS spent,
  SUM(points) AS owed
FROM (
  SELECT
    entries.benefit_id AS benefit,
    entries.merchant_id AS merchant,
    entries.date AS date,
    entries.points AS points,
    -- A decision issues what it adds; whatever undoes it takes that off.
    CASE WHEN events.source_offset IS NULL THEN entries.points > 0 ELSE entries.points < 0 END AS is_issued
  FROM points_entries AS entries
  LEFT JOIN authorisation_events AS events
    ON events.source_partition = entries.source_partition
    AND events.source_offset = entries.source_offset
    AND events.date BETWEEN $from AND $to
  WHERE entries.date <= $to
) AS moved
GROUP BY benefit, merchant
ORDER BY benefit, merchant;
