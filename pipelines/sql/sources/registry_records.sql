-- Purpose: changes of the registry, one entry each; document is NULL where an entry was removed.
-- Input: stream registry-changes (type registry_changed).
-- Key: source_partition, source_offset.
-- Watermark: none is declared; no pipeline groups these records by time.
-- Late data: knows none.
CREATE TABLE registry_records (
  source_partition INT NOT NULL,
  source_offset BIGINT NOT NULL,
  event_time TIMESTAMP(6) NOT NULL,
  recorded_at TIMESTAMP(6) NOT NULL,
  sequence BIGINT NOT NULL,
  type TEXT NOT NULL,
  kind TEXT,
  id TEXT,
  document STRUCT<
    name STRUCT<lv TEXT, en TEXT>,
    label STRUCT<lv TEXT, en TEXT>,
    kind TEXT,
    reg_no TEXT,
    iban TEXT,
    vat_no TEXT,
    merchant TEXT,
    grantor TEXT,
    benefit TEXT,
    place TEXT,
    territory TEXT,
    legal_basis TEXT,
    url TEXT,
    login_basket TEXT,
    id TEXT,
    version INT,
    priority INT,
    vat_bp INT,
    from DATE,
    to DATE,
    valid STRUCT<from DATE, to DATE>,
    means TEXT[],
    item TEXT,
    category TEXT,
    where TEXT,
    institution TEXT,
    services TEXT[],
    languages TEXT[],
    criteria STRUCT<
      max_wait_seconds BIGINT,
      min_answered_bp INT,
      min_resolved_bp INT,
      min_rating DOUBLE
    >,
    base_cents STRUCT<centre BIGINT, library BIGINT, mobile BIGINT>,
    per_service_cents STRUCT<
      PAK_01 BIGINT,
      PAK_02 BIGINT,
      PAK_03 BIGINT,
      PAK_04 BIGINT,
      PAK_05 BIGINT,
      PAK_06 BIGINT,
      PAK_07 BIGINT,
      PAK_08 BIGINT,
      PAK_09 BIGINT,
      PAK_10 BIGINT
    >,
    quality STRUCT<floor_bp INT>,
    limits STRUCT<per TEXT, period TEXT, measure TEXT, max BIGINT>[],
    lat DOUBLE,
    lon DOUBLE
  >
) WITH (
  connector = 'stream',
  topic = 'registry-changes',
  format = 'json',
  type = 'source'
);
