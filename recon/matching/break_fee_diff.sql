-- The difference is exactly the charges that the bank's own line states.
SELECT expected_id AS group_id, unnest(list_append(line_ids, expected_id)) AS item_id
FROM reference_group
WHERE residual_minor > 0 AND charges_minor = residual_minor
