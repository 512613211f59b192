-- Purpose: the age band of every recipient, for a simulation.
-- Input: persons_current. Output: one row per recipient.
SELECT recipient, age_band
FROM persons_current
ORDER BY recipient;
