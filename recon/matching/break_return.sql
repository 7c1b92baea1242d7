-- Money that came back, and policy did not post (unknown payment, other amount, or policy off).
SELECT item_id AS group_id, item_id FROM line WHERE amount_minor < 0 AND return_reason IS NOT NULL
