-- Reference and amount agree; only the date does not. (Whatever is inside the window has cleared.)
SELECT expected_id AS group_id, unnest(list_append(line_ids, expected_id)) AS item_id
FROM reference_group CROSS JOIN parameter p
WHERE residual_minor = 0 AND days > p.window_days
UNION ALL
SELECT group_id, unnest(item_ids) AS item_id
FROM batch_group
WHERE lines = 1 AND residual_minor = 0 AND count_agrees
