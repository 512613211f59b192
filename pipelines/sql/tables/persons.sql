-- Purpose: versions of what tables may know of a person: pseudonym, age band, municipality.
-- Input: entitlement_records.
-- Output: persons.
-- Key: recipient, sequence, source_partition, source_offset; the newest version is the person.
-- Watermark: none; each record is a row by itself.
-- Late data: knows none; a record that comes late is a row like any other.
CREATE TABLE persons WITH (
  connector = 'delta',
  path = 'persons',
  type = 'sink',
  format = 'parquet'
);

INSERT INTO persons
SELECT
  recipient,
  NULLIF(age_band, '') AS age_band,
  NULLIF(municipality, '') AS municipality,
  alive,
  removed,
  known_from AS valid_from,
  person_sequence AS sequence,
  recorded_at,
  source_partition,
  source_offset
FROM entitlement_records
WHERE type = 'entitlement_evaluated';
