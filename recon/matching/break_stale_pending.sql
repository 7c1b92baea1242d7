-- The bank announced it and has not booked it for longer than the rail takes.
SELECT item_id AS group_id, item_id FROM open_item WHERE kind = 'PENDING' AND age_days > sla_days
