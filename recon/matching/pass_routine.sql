-- P0: a line and what policy posted for it (a net return has two answers: the payable and the charge).
WITH answer AS (
    SELECT corrects_id AS line_id, sum(amount_minor) AS amount_minor, list(item_id) AS item_ids
    FROM open_item
    WHERE kind = 'ROUTINE' AND rule = $rule
    GROUP BY corrects_id
)
SELECT l.item_id AS group_id, unnest(list_append(a.item_ids, l.item_id)) AS item_id
FROM answer a
JOIN line l ON l.item_id = a.line_id
WHERE l.amount_minor + a.amount_minor = 0
