-- The reference agrees, the amount does not, and nothing explains the difference.
SELECT expected_id AS group_id, unnest(list_append(line_ids, expected_id)) AS item_id
FROM reference_group
WHERE residual_minor <> 0
