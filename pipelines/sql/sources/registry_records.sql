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
    lat DOUBLE,
    lon DOUBLE
  >
) WITH (
  connector = 'stream',
  topic = 'registry-changes',
  format = 'json',
  type = 'source'
);
