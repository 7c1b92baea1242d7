-- The reference agrees, the amount does not (or its sign), and nothing explains the difference.
SELECT expected_id AS group_id, unnest(list_append(line_ids, expected_id)) AS item_id
FROM reference_group
WHERE residual_minor <> 0
UNION ALL
SELECT expected_id, unnest([expected_id, line_id])
FROM reference_pair
WHERE same_account AND same_currency AND NOT opposite AND is_plain
