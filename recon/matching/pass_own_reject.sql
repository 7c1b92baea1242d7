-- P0: our own correction. A reject's debit undoes exactly one instruction's credit.
SELECT i.item_id AS group_id, unnest([i.item_id, r.item_id]) AS item_id
FROM open_item r
JOIN expected i ON i.item_id = r.corrects_id AND i.kind = 'INSTRUCTION' AND i.account = r.account
WHERE r.kind = 'REJECT' AND i.amount_minor + r.amount_minor = 0
