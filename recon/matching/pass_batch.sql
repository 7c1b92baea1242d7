-- P2: one batch line, debit or credit, against every open instruction of the batch that the line names. Rejected
-- members are gone by now (P0). All or nothing: a different sum or a different count leaves everything open.
-- A line that names a file of several batches by its MsgId alone is the only batch, or all of them together, that
-- comes to its amount; no other line may fit there. A batch that a line names itself is not to be had this way.
WITH member AS (
    SELECT account, currency, payment_information_id, msg_id, count(*) AS members,
           sum(amount_minor) AS amount_minor, max(day) AS last_day, min(day) AS first_day,
           list(item_id) AS item_ids
    FROM expected
    WHERE kind = 'INSTRUCTION' AND payment_information_id IS NOT NULL
    GROUP BY ALL
),
batch AS (
    SELECT *, count(*) OVER (PARTITION BY account, currency, msg_id) AS batches FROM member
),
batch_line AS (
    SELECT item_id AS line_id, account, currency, amount_minor AS line_minor, day, batch_count,
           payment_information_id AS named, msg_id AS file
    FROM line
    WHERE end_to_end_id IS NULL AND uetr IS NULL AND is_plain(return_reason, is_reversal, bank_tx_code)
      AND coalesce(payment_information_id, msg_id) IS NOT NULL
),
pair AS (
    SELECT l.line_id, l.line_minor, l.day, l.batch_count, m.*,
           count(*) OVER (PARTITION BY m.account, m.currency, m.payment_information_id, m.msg_id) AS lines,
           count(*) OVER (PARTITION BY l.line_id) AS choices
    FROM batch_line l
    JOIN batch m
      ON m.account = l.account AND m.currency = l.currency
     AND (m.payment_information_id = l.named OR (l.named IS NULL AND m.msg_id = l.file AND m.batches = 1))
    WHERE sign(l.line_minor) = -sign(m.amount_minor) AND coalesce(l.file = m.msg_id, true)
),
free AS (
    SELECT * FROM batch WHERE batches > 1 AND payment_information_id NOT IN (SELECT named FROM batch_line WHERE named IS NOT NULL)
),
choice AS (
    SELECT * FROM free
    UNION ALL BY NAME
    SELECT account, currency, NULL AS payment_information_id, msg_id, sum(members) AS members, sum(amount_minor) AS amount_minor,
           max(last_day) AS last_day, min(first_day) AS first_day, flatten(list(item_ids)) AS item_ids, any_value(batches) AS batches
    FROM free GROUP BY account, currency, msg_id HAVING count(*) = any_value(batches)
),
chosen AS (
    SELECT l.line_id, l.line_minor, l.day, l.batch_count, c.*,
           count(*) OVER (PARTITION BY c.account, c.currency, c.payment_information_id, c.msg_id) AS lines,
           count(*) OVER (PARTITION BY l.line_id) AS choices
    FROM batch_line l
    JOIN choice c ON c.account = l.account AND c.currency = l.currency AND c.msg_id = l.file
    WHERE l.named IS NULL AND l.line_minor + c.amount_minor = 0 AND (l.batch_count IS NULL OR l.batch_count = c.members)
)
SELECT line_id AS group_id, unnest(list_append(item_ids, line_id)) AS item_id
FROM (SELECT * FROM pair UNION ALL BY NAME SELECT * FROM chosen) CROSS JOIN parameter p
WHERE lines = 1 AND choices = 1
  AND line_minor + amount_minor = 0
  AND (batch_count IS NULL OR batch_count = members)
  AND day - last_day >= -p.window_days AND day - first_day <= p.window_days
