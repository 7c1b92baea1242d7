-- Of the groups in `found`: those whose items nobody else claims, that are whole, on one account and zero (or leave
-- a difference that is explained, when $explained).
WITH contested AS (
    SELECT item_id FROM found GROUP BY item_id HAVING count(*) > 1
),
kept AS (
    SELECT f.group_id
    FROM found f LEFT JOIN open_item o ON o.item_id = f.item_id
    GROUP BY f.group_id
    HAVING (sum(o.amount_minor) = 0) <> $explained AND count(*) = count(o.item_id) AND count(*) > 1
       AND min(o.account) = max(o.account) AND min(o.currency) = max(o.currency)
       AND bool_and(o.kind <> 'PENDING')
       AND count(*) FILTER (WHERE f.item_id IN (SELECT item_id FROM contested)) = 0
)
SELECT group_id, item_id FROM found WHERE group_id IN (SELECT group_id FROM kept)
