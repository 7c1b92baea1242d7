-- P4: a payout that arrives in several lines, all of them named by its payout id, all of them counted.
WITH total AS (
    SELECT r.receipt_id, any_value(r.expected_minor) AS expected_minor, count(*) AS lines,
           sum(r.amount_minor) AS amount_minor, list(r.item_id) AS item_ids,
           max(abs(r.day - r.due_day)) AS days
    FROM receipt_line r
    WHERE r.account = r.receipt_account AND r.currency = r.receipt_currency
    GROUP BY r.receipt_id
)
SELECT receipt_id AS group_id, unnest(list_append(item_ids, receipt_id)) AS item_id
FROM total CROSS JOIN parameter p
WHERE lines >= 2 AND expected_minor + amount_minor = 0 AND days <= p.window_days
