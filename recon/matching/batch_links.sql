-- Accounts between which something names something: what happens on one can change what the other's items are.
SELECT DISTINCT l.account AS line_account, e.account AS expected_account
FROM named n
JOIN item l ON l.item_id = n.line_id
JOIN item e ON e.item_id = n.expected_id
WHERE NOT n.same_account
UNION
SELECT l.account, e.account
FROM item l JOIN item e ON e.uetr = l.uetr
WHERE l.kind = 'LINE' AND e.kind = 'INSTRUCTION' AND l.account <> e.account
ORDER BY line_account, expected_account
