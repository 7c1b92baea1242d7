-- P2: one batch line, debit or credit, against every open instruction of the batch that the line names. Rejected
-- members are gone by now (P0). All or nothing: a different sum or a different count leaves everything open.
WITH member AS (
    SELECT account, currency, payment_information_id, msg_id, count(*) AS members,
           sum(amount_minor) AS amount_minor, max(day) AS last_day, min(day) AS first_day,
           list(item_id) AS item_ids
    FROM expected
    WHERE kind = 'INSTRUCTION' AND payment_information_id IS NOT NULL
    GROUP BY ALL
),
pair AS (
    SELECT l.item_id AS line_id, l.amount_minor AS line_minor, l.day, l.batch_count, m.*,
           count(*) OVER (PARTITION BY m.account, m.currency, m.payment_information_id, m.msg_id) AS lines,
           count(*) OVER (PARTITION BY l.item_id) AS files
    FROM line l
    JOIN member m
      ON m.account = l.account AND m.currency = l.currency
     AND (m.payment_information_id = l.payment_information_id
          OR (l.payment_information_id IS NULL AND m.msg_id = l.msg_id))
    WHERE l.end_to_end_id IS NULL AND l.uetr IS NULL AND sign(l.amount_minor) = -sign(m.amount_minor)
      AND coalesce(l.msg_id = m.msg_id, true) AND is_plain(l.return_reason, l.is_reversal, l.bank_tx_code)
)
SELECT line_id AS group_id, unnest(list_append(item_ids, line_id)) AS item_id
FROM pair CROSS JOIN parameter p
WHERE lines = 1 AND files = 1
  AND line_minor + amount_minor = 0
  AND (batch_count IS NULL OR batch_count = members)
  AND day - last_day >= -p.window_days AND day - first_day <= p.window_days
