-- The bank's own reference, which an earlier answer of the bank gave us, and the amount.
WITH pair AS (
    SELECT l.item_id AS line_id, e.item_id AS expected_id,
           count(*) OVER (PARTITION BY l.item_id) AS expectations, count(*) OVER (PARTITION BY e.item_id) AS lines
    FROM line l
    JOIN expected e ON e.servicer_ref = l.servicer_ref AND e.account = l.account AND e.currency = l.currency
                   AND e.amount_minor = -l.amount_minor
    CROSS JOIN parameter p
    WHERE abs(l.day - e.day) <= p.window_days AND is_plain(l.return_reason, l.is_reversal, l.bank_tx_code)
      AND l.item_id NOT IN (SELECT item_id FROM naming_line)
      AND coalesce(l.uetr = e.uetr, true) AND coalesce(l.party_account = e.party_account, true)
)
SELECT expected_id AS group_id, unnest([expected_id, line_id]) AS item_id
FROM pair
WHERE expectations = 1 AND lines = 1
