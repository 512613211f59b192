-- Purpose: why baskets got nothing, for whoever trains cashiers.
-- Input: authorisations. Parameters: $from, $to, local days, both included.
-- Output: one row per merchant, decision, reason and state of the means, the most frequent first; the share
--   is of the merchant's baskets. Whoever shows no valid means is told so; else the reason is that of the
--   instruction that came nearest to giving, and 'nothing applies' where none is for the recipient, or the
--   row is of before reasons were kept.
WITH reasons AS (
  SELECT
    merchant_id AS merchant,
    decision,
    COALESCE(
      decline_reason,
      CASE
        WHEN means_status = 'valid' THEN COALESCE(no_benefit_reason, 'nothing applies')
        ELSE 'no valid means'
      END
    ) AS reason,
    means_status,
    authorisation_id
  FROM authorisations
  WHERE date BETWEEN $from AND $to
),

counted AS (
  SELECT
    merchant,
    decision,
    reason,
    means_status,
    COUNT(authorisation_id) AS authorisations,
    CAST(
      COUNT(authorisation_id) * 100.0
        / SUM(COUNT(authorisation_id)) OVER (PARTITION BY merchant) AS DECIMAL(5, 2)
    ) AS percent
  FROM reasons
  GROUP BY merchant, decision, reason, means_status
)

SELECT
  merchant,
  decision,
  reason,
  means_status,
  authorisations,
  percent,
  CASE reason
    WHEN 'means_blocked' THEN 'līdzeklis ir bloķēts'
    WHEN 'recipient_dead' THEN 'līdzekļa turētājs ir miris'
    WHEN 'no valid means' THEN 'nav uzrādīts derīgs līdzeklis'
    WHEN 'nothing applies' THEN 'saņēmējam nav piemērojamu atvieglojumu'
    WHEN 'validity' THEN 'atvieglojums šajā dienā nav spēkā'
    WHEN 'schedule' THEN 'atvieglojums šajā laikā nav spēkā'
    WHEN 'scope' THEN 'atvieglojums neattiecas uz šo vietu'
    WHEN 'contract' THEN 'starp devēju un tirgotāju nav spēkā esoša līguma'
    WHEN 'content' THEN 'grozā nav preču, uz kurām atvieglojums attiecas'
    WHEN 'exclusive' THEN 'cits atvieglojums to izslēdz'
    WHEN 'limit' THEN 'limits ir izsmelts'
    WHEN 'nothing_payable' THEN 'nav ko samazināt vai summa ir pārāk maza'
    WHEN 'best_of' THEN 'cits atvieglojums deva vairāk'
    ELSE reason
  END AS reason_lv,
  CASE reason
    WHEN 'means_blocked' THEN 'the means is blocked'
    WHEN 'recipient_dead' THEN 'the holder of the means has died'
    WHEN 'no valid means' THEN 'no valid means was shown'
    WHEN 'nothing applies' THEN 'no benefit is for the recipient'
    WHEN 'validity' THEN 'the benefit is not valid on that day'
    WHEN 'schedule' THEN 'the benefit is not given at that time'
    WHEN 'scope' THEN 'the benefit is not given at that place'
    WHEN 'contract' THEN 'no contract between grantor and merchant is in force'
    WHEN 'content' THEN 'nothing in the basket is what the benefit is for'
    WHEN 'exclusive' THEN 'another benefit excludes it'
    WHEN 'limit' THEN 'a limit is used up'
    WHEN 'nothing_payable' THEN 'nothing was left to pay, or the sum was too small'
    WHEN 'best_of' THEN 'another benefit gave more'
    ELSE reason
  END AS reason_en
FROM counted
WHERE decision <> 'approved'
ORDER BY merchant, authorisations DESC, decision, reason, means_status;
