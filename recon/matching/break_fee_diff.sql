-- The difference is exactly the charges that the bank's own line states, or the fees of the provider's report.
SELECT expected_id AS group_id, unnest(list_append(line_ids, expected_id)) AS item_id
FROM reference_group
WHERE residual_minor > 0 AND residual_minor IN (charges_minor, fees_minor)
UNION ALL
SELECT expected_id, unnest([expected_id, line_id])
FROM explained_pair
WHERE code = 'FEE_DIFF' AND line_id IN (SELECT item_id FROM open_item) AND expected_id IN (SELECT item_id FROM open_item)
