-- P3: a payout that arrives whole, named by its payout id. Twice the same: the first is the payout.
WITH pair AS (
    SELECT r.item_id AS line_id, r.receipt_id,
           row_number() OVER (PARTITION BY r.receipt_id ORDER BY r.day, r.servicer_ref, r.item_id) AS choice,
           count(*) OVER (PARTITION BY r.item_id) AS rivals
    FROM receipt_line r CROSS JOIN parameter p
    WHERE r.account = r.receipt_account AND r.currency = r.receipt_currency
      AND r.expected_minor + r.amount_minor = 0
      AND abs(r.day - r.due_day) <= p.window_days
)
SELECT receipt_id AS group_id, unnest([receipt_id, line_id]) AS item_id
FROM pair
WHERE choice = 1 AND rivals = 1
