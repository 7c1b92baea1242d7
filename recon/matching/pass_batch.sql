-- P2: one batch line, debit or credit, against every open instruction of the batch that the line names. Rejected
-- members are gone by now (P0). All or nothing: a different sum or a different count leaves everything open.
-- A line that names a file of several batches by its MsgId alone is the only choice of them that comes to its amount (and
-- count): one, some, or all together; no other line may fit any of these. A batch that a line names itself is not to be
-- had this way. Of a file of more than ten such batches the choices are one or all.
WITH RECURSIVE member AS (
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
asked AS (
    SELECT b.* EXCLUDE (item_ids), row_number() OVER w AS n, count(*) OVER (PARTITION BY b.account, b.currency, b.msg_id) AS free
    FROM batch b
    WHERE b.batches > 1
      AND b.payment_information_id NOT IN (SELECT named FROM batch_line WHERE named IS NOT NULL)
      AND b.msg_id IN (SELECT file FROM batch_line WHERE named IS NULL)
    WINDOW w AS (PARTITION BY b.account, b.currency, b.msg_id ORDER BY b.payment_information_id)
),
choice AS (
    SELECT account, currency, msg_id, n AS last, free, [payment_information_id] AS taken, members, amount_minor, last_day, first_day
    FROM asked
    UNION ALL
    SELECT c.account, c.currency, c.msg_id, a.n, c.free, list_append(c.taken, a.payment_information_id), c.members + a.members,
           c.amount_minor + a.amount_minor, greatest(c.last_day, a.last_day), least(c.first_day, a.first_day)
    FROM choice c JOIN asked a ON a.account = c.account AND a.currency = c.currency AND a.msg_id = c.msg_id AND a.n > c.last
    WHERE c.free <= 10
),
every_choice AS (
    SELECT * EXCLUDE (last, free) FROM choice
    UNION ALL BY NAME
    SELECT account, currency, msg_id, list(payment_information_id) AS taken, sum(members) AS members,
           sum(amount_minor) AS amount_minor, max(last_day) AS last_day, min(first_day) AS first_day
    FROM asked WHERE free > 10 GROUP BY account, currency, msg_id
),
chosen AS (
    SELECT l.line_id, l.line_minor, l.day, l.batch_count, c.*, count(*) OVER (PARTITION BY l.line_id) AS choices
    FROM batch_line l
    JOIN every_choice c ON c.account = l.account AND c.currency = l.currency AND c.msg_id = l.file
    WHERE l.named IS NULL AND l.line_minor + c.amount_minor = 0 AND (l.batch_count IS NULL OR l.batch_count = c.members)
),
part AS (
    SELECT line_id, account, currency, msg_id, unnest(taken) AS payment_information_id FROM chosen
),
contested AS (
    SELECT line_id FROM part JOIN (
        SELECT account, currency, msg_id, payment_information_id FROM part GROUP BY ALL HAVING count(DISTINCT line_id) > 1)
        USING (account, currency, msg_id, payment_information_id)
),
whole AS (
    SELECT c.line_id, c.line_minor, c.day, c.batch_count, c.members, c.amount_minor, c.last_day, c.first_day,
           flatten(list(m.item_ids)) AS item_ids
    FROM chosen c
    JOIN part USING (line_id)
    JOIN member m ON m.account = part.account AND m.currency = part.currency AND m.msg_id = part.msg_id
                 AND m.payment_information_id = part.payment_information_id
    WHERE c.choices = 1 AND c.line_id NOT IN (SELECT line_id FROM contested)
    GROUP BY ALL
)
SELECT line_id AS group_id, unnest(list_append(item_ids, line_id)) AS item_id
FROM (
    SELECT line_id, line_minor, day, batch_count, members, amount_minor, last_day, first_day, item_ids FROM pair
    WHERE lines = 1 AND choices = 1
    UNION ALL BY NAME
    SELECT * FROM whole
) CROSS JOIN parameter p
WHERE line_minor + amount_minor = 0
  AND (batch_count IS NULL OR batch_count = members)
  AND day - last_day >= -p.window_days AND day - first_day <= p.window_days
