-- Purpose: what was given, by merchant.
-- Inputs: benefit_lines, registry_merchants_current. Parameters: $from, $to, local days, both included;
--   $fewest, the smallest count of people shown.
-- Output: one row per merchant. A refund lowers sums, not uses.
SELECT
  benefit_lines.merchant_id AS merchant,
  MAX(named.name_lv) AS name_lv,
  MAX(named.name_en) AS name_en,
  COUNT(DISTINCT CASE WHEN benefit_lines.kind = 'captured' AND benefit_lines.amount <> 0
    THEN benefit_lines.authorisation_id END) AS uses,
  CASE WHEN COUNT(DISTINCT benefit_lines.recipient) >= $fewest
    THEN COUNT(DISTINCT benefit_lines.recipient) END AS recipients,
  SUM(benefit_lines.amount) AS benefit_eur,
  SUM(benefit_lines.grantor_amount) AS grantor_eur,
  SUM(benefit_lines.merchant_amount) AS merchant_eur,
  SUM(benefit_lines.excess_amount) AS excess_eur
FROM benefit_lines
LEFT JOIN registry_merchants_current AS named ON named.entry_id = benefit_lines.merchant_id
WHERE benefit_lines.date BETWEEN $from AND $to
GROUP BY benefit_lines.merchant_id
ORDER BY merchant;
