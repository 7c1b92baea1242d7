-- A known payer sent more than expected.
SELECT expected_id AS group_id, unnest(list_append(line_ids, expected_id)) AS item_id
FROM reference_group
WHERE kind = 'RECEIPT' AND residual_minor < 0
