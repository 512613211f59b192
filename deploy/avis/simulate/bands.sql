-- Purpose: the age band of every recipient, for a simulation.
-- Input: persons; a former pseudonym keeps the age band of its last version.
-- Output: one row per recipient.
SELECT recipient, age_band
FROM (
  SELECT
    recipient,
    age_band,
    ROW_NUMBER() OVER (PARTITION BY recipient ORDER BY source_offset DESC) AS newest
  FROM persons
) AS versions
WHERE newest = 1
ORDER BY recipient;
