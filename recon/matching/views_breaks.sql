-- What the break queries read, on top of views.sql: lines and expectations that name each other.
-- One row for each expectation that lines on its own account name. `residual_minor` is what clearing them
-- would leave on T: positive when the bank gave less, or took more, than expected.
CREATE OR REPLACE VIEW reference_group AS
SELECT expected_id, any_value(kind) AS kind, count(*) AS lines, list(line_id) AS line_ids,
       any_value(expected_minor) + sum(line_minor) AS residual_minor,
       sum(charges_minor) AS charges_minor, any_value(fees_minor) AS fees_minor,
       any_value(reserve_minor) AS reserve_minor, any_value(chargebacks_minor) AS chargebacks_minor,
       bool_and(is_exchanged) AS is_exchanged, max(days) AS days, any_value(expected_age) AS expected_age
FROM reference_pair
WHERE same_account AND same_currency AND opposite
GROUP BY expected_id;

-- A line that names nobody whole, and the one expectation whose difference from it something states exactly: the
-- charges on the line, what the provider's report deducted, the same instructed amount in the same currency. The
-- party's account must agree too, or its name or the reference be alike (`alike_pair`), and nobody else may fit.
CREATE OR REPLACE TABLE explained_pair AS
WITH pair AS (
    SELECT l.item_id AS line_id, e.item_id AS expected_id,
           CASE WHEN coalesce(is_exchanged(l.instructed_amount_minor, l.instructed_currency, l.rate_e9, l.amount_minor,
                                           e.instructed_amount_minor, e.instructed_currency, e.rate_e9, p.fx_band_ppm),
                              false) THEN 'FX_DIFF'
                WHEN e.amount_minor + l.amount_minor = abs(l.charges_minor) THEN 'FEE_DIFF'
                WHEN e.amount_minor + l.amount_minor = e.fees_minor THEN 'FEE_DIFF'
                WHEN e.amount_minor + l.amount_minor = e.reserve_minor THEN 'RESERVE_HELD'
                WHEN e.amount_minor + l.amount_minor = e.chargebacks_minor THEN 'CHARGEBACK' END AS code,
           coalesce(l.party_account = e.party_account, false)
               OR (m.line_id, m.expected_id) IN (SELECT (line_id, expected_id) FROM alike_pair) AS is_known
    FROM stated_difference m
    JOIN nameless_line l ON l.item_id = m.line_id
    JOIN expected e ON e.item_id = m.expected_id
    CROSS JOIN parameter p
),
counted AS (
    SELECT *, count(*) OVER (PARTITION BY line_id) AS of_line, count(*) OVER (PARTITION BY expected_id) AS of_expected
    FROM pair WHERE code IS NOT NULL AND is_known
)
SELECT line_id, expected_id, code FROM counted WHERE of_line = 1 AND of_expected = 1;

-- Batch lines with the open members of what they name: a batch, or, by MsgId alone, all of the file's batches that no line
-- names itself.
CREATE OR REPLACE VIEW batch_group AS
WITH batch_line AS (
    SELECT * FROM line
    WHERE end_to_end_id IS NULL AND uetr IS NULL AND coalesce(payment_information_id, msg_id) IS NOT NULL
),
batch AS (
    SELECT account, currency, payment_information_id, msg_id, count(*) AS members, min(item_id) AS group_id,
           sum(amount_minor) AS amount_minor, list(item_id) AS item_ids
    FROM expected
    WHERE kind = 'INSTRUCTION' AND payment_information_id IS NOT NULL
    GROUP BY ALL
),
file AS (
    SELECT account, currency, msg_id, sum(members) AS members, min(group_id) AS group_id,
           sum(amount_minor) AS amount_minor, flatten(list(item_ids)) AS item_ids
    FROM batch
    WHERE payment_information_id NOT IN (
        SELECT payment_information_id FROM batch_line WHERE payment_information_id IS NOT NULL)
    GROUP BY ALL
),
named AS (
    SELECT m.group_id, m.members, m.amount_minor, m.item_ids, l.item_id, l.amount_minor AS line_minor, l.batch_count
    FROM batch_line l
    JOIN batch m ON m.account = l.account AND m.currency = l.currency
                AND m.payment_information_id = l.payment_information_id
    UNION ALL
    SELECT m.group_id, m.members, m.amount_minor, m.item_ids, l.item_id, l.amount_minor, l.batch_count
    FROM batch_line l
    JOIN file m ON m.account = l.account AND m.currency = l.currency AND m.msg_id = l.msg_id
    WHERE l.payment_information_id IS NULL
)
SELECT group_id, any_value(members) AS members, list_concat(any_value(item_ids), list(item_id)) AS item_ids,
       count(*) AS lines, any_value(amount_minor) + sum(line_minor) AS residual_minor,
       bool_and(batch_count IS NULL OR batch_count = members) AS count_agrees
FROM named
WHERE sign(line_minor) = -sign(amount_minor)
GROUP BY group_id;
