-- A batch line whose sum, or count, is not that of the file's open instructions; and a line that names several
-- expectations of its account, none of which is its amount, and is not their sum.
WITH several AS (
    SELECT n.line_id, list(n.expected_id) AS expected_ids
    FROM named n
    JOIN line l ON l.item_id = n.line_id
    JOIN expected e ON e.item_id = n.expected_id
    WHERE n.same_account AND n.same_currency AND sign(n.line_minor) = -sign(n.expected_minor)
    GROUP BY n.line_id HAVING count(*) > 1
)
SELECT group_id, unnest(item_ids) AS item_id FROM batch_group
UNION ALL
SELECT list_min(expected_ids), unnest(list_append(expected_ids, line_id)) FROM several
