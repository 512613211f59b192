-- Purpose: what was refused, what came too late, and what somebody should look at.
-- Inputs: dead_letters, late_rows, anomalies. Parameters: $from, $to, local days, both included.
-- Output: one row per day, finding and its kind.
SELECT date, 'refused' AS finding, connector || ': ' || reason AS kind, COUNT(record_id) AS found
FROM dead_letters
WHERE date BETWEEN $from AND $to
GROUP BY date, connector || ': ' || reason
UNION ALL
SELECT date, 'late' AS finding, pipeline AS kind, COUNT(pipeline) AS found
FROM late_rows
WHERE date BETWEEN $from AND $to
GROUP BY date, pipeline
UNION ALL
SELECT date, 'flagged' AS finding, kind, COUNT(kind) AS found
FROM anomalies
WHERE date BETWEEN $from AND $to
GROUP BY date, kind
ORDER BY date, finding, kind;
