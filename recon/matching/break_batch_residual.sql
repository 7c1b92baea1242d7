-- A batch line whose sum, or count, is not that of the file's open instructions.
SELECT group_id, unnest(item_ids) AS item_id FROM batch_group
