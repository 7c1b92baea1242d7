-- What the break queries read, on top of views.sql: lines and expectations that name each other.
CREATE VIEW reference_pair AS
WITH naming AS (
    SELECT line_id, expected_id FROM named WHERE kind IN ('INSTRUCTION', 'RECEIPT')
    UNION
    SELECT l.item_id, e.item_id
    FROM expected e JOIN line l ON l.uetr = e.uetr
    WHERE e.kind = 'INSTRUCTION'
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
       abs(coalesce(l.charges_minor, 0)) AS charges_minor, abs(l.day - e.day) AS days,
       e.age_days AS expected_age
FROM rated n
JOIN open_item e ON e.item_id = n.expected_id
JOIN open_item l ON l.item_id = n.line_id
WHERE n.rivals = 1 AND sign(e.amount_minor) = -sign(l.amount_minor);

-- One row for each expectation that lines on its own account name. `residual_minor` is what clearing them
-- would leave on T: positive when the bank gave less, or took more, than expected.
CREATE VIEW reference_group AS
SELECT expected_id, any_value(kind) AS kind, count(*) AS lines, list(line_id) AS line_ids,
       any_value(expected_minor) + sum(line_minor) AS residual_minor,
       sum(charges_minor) AS charges_minor, max(days) AS days, any_value(expected_age) AS expected_age
FROM reference_pair
WHERE same_account AND same_currency
GROUP BY expected_id;

-- Batch lines with the open members of the file they name.
CREATE VIEW batch_group AS
WITH member AS (
    SELECT account, currency, payment_information_id, msg_id, count(*) AS members, min(item_id) AS group_id,
           sum(amount_minor) AS amount_minor, max(day) AS last_day, min(day) AS first_day,
           list(item_id) AS item_ids
    FROM expected
    WHERE kind = 'INSTRUCTION' AND payment_information_id IS NOT NULL
    GROUP BY ALL
)
SELECT m.group_id, any_value(m.members) AS members, list_concat(any_value(m.item_ids), list(l.item_id)) AS item_ids,
       count(*) AS lines, any_value(m.amount_minor) + sum(l.amount_minor) AS residual_minor,
       bool_and(l.batch_count IS NULL OR l.batch_count = m.members) AS count_agrees
FROM line l
JOIN member m
  ON m.account = l.account AND m.currency = l.currency
 AND (m.payment_information_id = l.payment_information_id
      OR (l.payment_information_id IS NULL AND m.msg_id = l.msg_id))
WHERE l.end_to_end_id IS NULL AND l.uetr IS NULL AND l.amount_minor > 0
GROUP BY m.group_id;
