-- Everything open that one reference names on one account: lines on one side, expectations and adjusting entries on
-- the other, any number of each. All or nothing: it clears when the whole adds up and every day is within the window.
WITH line_part AS (
    SELECT k.key, l.account, l.currency, count(*) AS lines, sum(l.amount_minor) AS amount_minor,
           min(l.day) AS first_day, max(l.day) AS last_day, list(l.item_id) AS item_ids,
           bool_and(is_plain(l.return_reason, l.is_reversal, l.bank_tx_code)) AS is_plain
    FROM line_key k JOIN line l USING (item_id)
    WHERE k.key IN (SELECT key FROM expected_key)
    GROUP BY k.key, l.account, l.currency
),
expected_part AS (
    SELECT k.key, e.account, e.currency, count(*) AS expectations, sum(e.amount_minor) AS amount_minor,
           min(e.day) AS first_day, max(e.day) AS last_day, list(e.item_id) AS item_ids
    FROM expected_key k JOIN open_item e USING (item_id)
    GROUP BY k.key, e.account, e.currency
)
SELECT list_min(e.item_ids) AS group_id, unnest(list_concat(e.item_ids, l.item_ids)) AS item_id
FROM line_part l
JOIN expected_part e ON e.key = l.key AND e.account = l.account AND e.currency = l.currency
CROSS JOIN parameter p
WHERE l.amount_minor + e.amount_minor = 0 AND l.is_plain AND lines + expectations > 2
  AND l.last_day - e.first_day <= p.window_days AND e.last_day - l.first_day <= p.window_days
