SELECT item_id AS group_id, item_id FROM line WHERE amount_minor < 0
