-- Ours alone, and older than the rail's promise. What is younger is in flight (TIMING).
SELECT item_id AS group_id, item_id FROM open_item WHERE kind NOT IN ('LINE', 'PENDING') AND age_days > sla_days
