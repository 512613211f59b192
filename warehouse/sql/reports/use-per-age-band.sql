-- Purpose: who uses benefits, by age band and municipality of the recipient.
-- Inputs: benefit_lines, persons; a former pseudonym keeps the age band of its last version.
-- Parameters: $from, $to, local days, both included; $fewest, the smallest count of people shown.
-- Output: one row per age band and municipality; where fewer people stand behind a row its figures are
--   left empty. What was given without a known person has neither.
WITH known AS (
  SELECT
    recipient,
    age_band,
    municipality,
    ROW_NUMBER() OVER (PARTITION BY recipient ORDER BY source_offset DESC) AS newest
  FROM persons
),
counted AS (
  SELECT
    known.age_band AS age_band,
    known.municipality AS municipality,
    COUNT(DISTINCT benefit_lines.recipient) AS recipients,
    COUNT(DISTINCT CASE WHEN benefit_lines.kind = 'captured' AND benefit_lines.amount <> 0
      THEN benefit_lines.authorisation_id END) AS uses,
    SUM(benefit_lines.amount) AS benefit_eur
  FROM benefit_lines
  LEFT JOIN known ON known.recipient = benefit_lines.recipient AND known.newest = 1
  WHERE benefit_lines.date BETWEEN $from AND $to
  GROUP BY known.age_band, known.municipality
)
SELECT
  age_band,
  municipality,
  CASE WHEN recipients >= $fewest THEN recipients END AS recipients,
  CASE WHEN recipients >= $fewest THEN uses END AS uses,
  CASE WHEN recipients >= $fewest THEN benefit_eur END AS benefit_eur
FROM counted
ORDER BY age_band NULLS LAST, municipality NULLS LAST;
