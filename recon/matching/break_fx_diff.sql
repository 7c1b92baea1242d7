-- The instructed amount agrees in its own currency; the bank's rate is another one than ours, within the band.
SELECT expected_id AS group_id, unnest(list_append(line_ids, expected_id)) AS item_id
FROM reference_group
WHERE residual_minor <> 0 AND lines = 1 AND is_exchanged
UNION ALL
SELECT expected_id, unnest([expected_id, line_id])
FROM explained_pair
WHERE code = 'FX_DIFF' AND line_id IN (SELECT item_id FROM open_item) AND expected_id IN (SELECT item_id FROM open_item)
