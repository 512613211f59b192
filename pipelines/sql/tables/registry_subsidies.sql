-- Purpose: what the state pays to centres: a base by kind, a rate by service, and the least quality. One row per change.
-- Input: registry_records. Output: registry_subsidies.
-- Key: entry_id, source_offset.
-- Watermark: that of the source.
-- Late data: has no window, so nothing is late.
CREATE TABLE registry_subsidies WITH (
  connector = 'delta',
  path = 'registry_subsidies',
  format = 'parquet',
  type = 'sink'
);

INSERT INTO registry_subsidies
SELECT
  id AS entry_id,
  document['from'] AS valid_from,
  document['to'] AS valid_to,
  CAST(document['base_cents']['centre'] * CAST('0.01' AS DECIMAL(3, 2)) AS DECIMAL(18, 2)) AS base_centre,
  CAST(document['base_cents']['library'] * CAST('0.01' AS DECIMAL(3, 2)) AS DECIMAL(18, 2)) AS base_library,
  CAST(document['base_cents']['mobile'] * CAST('0.01' AS DECIMAL(3, 2)) AS DECIMAL(18, 2)) AS base_mobile,
  CAST(document['per_service_cents']['PAK_01'] * CAST('0.01' AS DECIMAL(3, 2)) AS DECIMAL(18, 2)) AS pak_01,
  CAST(document['per_service_cents']['PAK_02'] * CAST('0.01' AS DECIMAL(3, 2)) AS DECIMAL(18, 2)) AS pak_02,
  CAST(document['per_service_cents']['PAK_03'] * CAST('0.01' AS DECIMAL(3, 2)) AS DECIMAL(18, 2)) AS pak_03,
  CAST(document['per_service_cents']['PAK_04'] * CAST('0.01' AS DECIMAL(3, 2)) AS DECIMAL(18, 2)) AS pak_04,
  CAST(document['per_service_cents']['PAK_05'] * CAST('0.01' AS DECIMAL(3, 2)) AS DECIMAL(18, 2)) AS pak_05,
  CAST(document['per_service_cents']['PAK_06'] * CAST('0.01' AS DECIMAL(3, 2)) AS DECIMAL(18, 2)) AS pak_06,
  CAST(document['per_service_cents']['PAK_07'] * CAST('0.01' AS DECIMAL(3, 2)) AS DECIMAL(18, 2)) AS pak_07,
  CAST(document['per_service_cents']['PAK_08'] * CAST('0.01' AS DECIMAL(3, 2)) AS DECIMAL(18, 2)) AS pak_08,
  CAST(document['per_service_cents']['PAK_09'] * CAST('0.01' AS DECIMAL(3, 2)) AS DECIMAL(18, 2)) AS pak_09,
  CAST(document['per_service_cents']['PAK_10'] * CAST('0.01' AS DECIMAL(3, 2)) AS DECIMAL(18, 2)) AS pak_10,
  document['quality']['floor_bp'] AS floor_bp,
  document IS NULL AS removed,
  event_time AS changed_at,
  sequence,
  recorded_at,
  source_partition,
  source_offset
FROM registry_records
WHERE kind = 'subsidies';
