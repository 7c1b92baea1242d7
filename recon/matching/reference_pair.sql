-- Lines and the one expectation that each names, as things stand: made again when items were taken, because a line
-- that named two names one now. What one of them instructed is what the other got, at a rate within the band:
CREATE OR REPLACE MACRO is_exchanged(line_instructed, line_currency, line_rate, line_minor, expected_instructed,
                         expected_currency, expected_rate, band_ppm) AS
    line_instructed = expected_instructed AND line_currency = expected_currency
    AND abs(line_rate - expected_rate)::HUGEINT * 1000000 <= expected_rate::HUGEINT * band_ppm
    AND abs(abs(line_minor)::HUGEINT * 1000000000 - line_instructed::HUGEINT * line_rate) <= 1000000000;

CREATE OR REPLACE TABLE reference_pair AS
WITH naming AS (
    SELECT line_id, expected_id FROM named WHERE kind IN ('INSTRUCTION', 'RECEIPT')
    UNION
    SELECT l.item_id, e.item_id
    FROM expected e JOIN line l ON l.uetr = e.uetr
    WHERE e.kind = 'INSTRUCTION' AND l.item_id NOT IN (SELECT line_id FROM named)
),
rated AS (
    SELECT n.*, count(*) OVER (PARTITION BY line_id) AS rivals
    FROM naming n
    JOIN expected e ON e.item_id = n.expected_id
    JOIN line l ON l.item_id = n.line_id
)
SELECT n.expected_id, n.line_id,
       e.kind, e.account = l.account AS same_account, e.currency = l.currency AS same_currency,
       e.amount_minor AS expected_minor, l.amount_minor AS line_minor,
       sign(e.amount_minor) = -sign(l.amount_minor) AS opposite,
       is_plain(l.return_reason, l.is_reversal, l.bank_tx_code) AS is_plain,
       abs(coalesce(l.charges_minor, 0)) AS charges_minor,
       coalesce(e.fees_minor, 0) AS fees_minor, coalesce(e.reserve_minor, 0) AS reserve_minor,
       coalesce(e.chargebacks_minor, 0) AS chargebacks_minor,
       coalesce(is_exchanged(l.instructed_amount_minor, l.instructed_currency, l.rate_e9, l.amount_minor,
                             e.instructed_amount_minor, e.instructed_currency, e.rate_e9, p.fx_band_ppm), false)
           AS is_exchanged,
       abs(l.day - e.day) AS days, e.age_days AS expected_age
FROM rated n
JOIN open_item e ON e.item_id = n.expected_id
JOIN open_item l ON l.item_id = n.line_id
CROSS JOIN parameter p
WHERE n.rivals = 1;
