-- Purpose: how many entries of points have landed.
SELECT COUNT(*) FROM points_entries;
