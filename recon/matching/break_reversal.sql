-- The bank reversed a booking of its own.
SELECT item_id AS group_id, item_id FROM line WHERE is_reversal
