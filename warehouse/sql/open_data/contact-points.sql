-- Purpose: the contact points of the centres' network.
-- Input: registry_centres_current. Parameter: $base, where identifiers live.
-- Output: one row per centre, library or mobile team.
SELECT
  $base || '/centre/' || entry_id AS uri,
  entry_id AS id,
  name_lv,
  name_en,
  kind,
  territory,
  lat AS latitude,
  lon AS longitude
FROM registry_centres_current
ORDER BY id;
