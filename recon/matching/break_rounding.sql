-- Off by no more than the rounding tolerance for each line.
SELECT expected_id AS group_id, unnest(list_append(line_ids, expected_id)) AS item_id
FROM reference_group CROSS JOIN parameter p
WHERE residual_minor <> 0 AND abs(residual_minor) <= p.rounding_minor * lines
