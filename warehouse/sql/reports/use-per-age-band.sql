-- Purpose: who uses benefits, by age band and municipality of the recipient.
-- Inputs: benefit_lines, persons; a former pseudonym keeps the age band of its last version.
-- Parameters: $from, $to, local days, both included; $fewest, the smallest count of people shown.
-- Output: one row per age band and municipality; where fewer people stand behind a row its figures are
--   left empty. What was given without a known person has neither.
-- Memory: groups go to the disk where it ends; a set of all that are counted cannot.
WITH known AS (
  SELECT
    recipient,
    age_band,
    municipality,
    ROW_NUMBER() OVER (PARTITION BY recipient ORDER BY source_offset DESC) AS newest
  FROM persons
),
lines AS (
  SELECT
    known.age_band AS age_band,
    known.municipality AS municipality,
    benefit_lines.recipient AS recipient,
    benefit_lines.authorisation_id AS authorisation_id,
    benefit_lines.kind AS kind,
    benefit_lines.amount AS amount
  FROM benefit_lines
  LEFT JOIN known ON known.recipient = benefit_lines.recipient AND known.newest = 1
  WHERE benefit_lines.date BETWEEN $from AND $to
),
given AS (
  SELECT
    age_band,
    municipality,
    SUM(amount) AS benefit_eur
  FROM lines
  GROUP BY age_band, municipality
),
used AS (
  SELECT
    age_band,
    municipality,
    COUNT(authorisation_id) AS uses
  FROM (
    SELECT DISTINCT age_band, municipality, authorisation_id
    FROM lines
    WHERE kind = 'captured' AND amount <> 0
  ) AS baskets
  GROUP BY age_band, municipality
),
people AS (
  SELECT
    age_band,
    municipality,
    COUNT(recipient) AS recipients
  FROM (SELECT DISTINCT age_band, municipality, recipient FROM lines) AS recipients
  GROUP BY age_band, municipality
)
SELECT
  given.age_band AS age_band,
  given.municipality AS municipality,
  CASE WHEN people.recipients >= $fewest THEN people.recipients END AS recipients,
  CASE WHEN people.recipients >= $fewest THEN COALESCE(used.uses, 0) END AS uses,
  CASE WHEN people.recipients >= $fewest THEN given.benefit_eur END AS benefit_eur
FROM given
JOIN people
  ON (people.age_band IS NOT DISTINCT FROM given.age_band)
  AND (people.municipality IS NOT DISTINCT FROM given.municipality)
LEFT JOIN used
  ON (used.age_band IS NOT DISTINCT FROM given.age_band)
  AND (used.municipality IS NOT DISTINCT FROM given.municipality)
ORDER BY age_band NULLS LAST, municipality NULLS LAST;
