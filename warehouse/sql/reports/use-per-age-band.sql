-- Purpose: who uses benefits, by age band and municipality of the recipient.
-- Inputs: benefit_lines, persons; a former pseudonym keeps the age band of its last version.
-- Parameters: $from, $to, local days, both included; $fewest, the smallest count of people shown.
-- Output: one row per age band and municipality; where fewer people stand behind a row its figures are
--   left empty. What was given without a known person has neither.
SELECT
  persons.age_band AS age_band,
  persons.municipality AS municipality,
  CASE WHEN COUNT(DISTINCT benefit_lines.recipient) >= $fewest
    THEN COUNT(DISTINCT benefit_lines.recipient) END AS recipients,
  CASE WHEN COUNT(DISTINCT benefit_lines.recipient) >= $fewest
    THEN COUNT(DISTINCT CASE WHEN benefit_lines.kind = 'captured' AND benefit_lines.amount <> 0
      THEN benefit_lines.authorisation_id END) END AS uses,
  CASE WHEN COUNT(DISTINCT benefit_lines.recipient) >= $fewest
    THEN SUM(benefit_lines.amount) END AS benefit_eur
FROM benefit_lines
LEFT JOIN (
  SELECT
    recipient,
    age_band,
    municipality,
    ROW_NUMBER() OVER (PARTITION BY recipient ORDER BY source_offset DESC) AS newest
  FROM persons
) AS persons ON persons.recipient = benefit_lines.recipient AND persons.newest = 1
WHERE benefit_lines.date BETWEEN $from AND $to
GROUP BY persons.age_band, persons.municipality
ORDER BY age_band NULLS LAST, municipality NULLS LAST;
