-- The difference is exactly what the provider keeps as a reserve.
SELECT expected_id AS group_id, unnest(list_append(line_ids, expected_id)) AS item_id
FROM reference_group
WHERE residual_minor > 0 AND residual_minor = reserve_minor
UNION ALL
SELECT expected_id, unnest([expected_id, line_id])
FROM explained_pair
WHERE code = 'RESERVE_HELD' AND line_id IN (SELECT item_id FROM open_item) AND expected_id IN (SELECT item_id FROM open_item)
