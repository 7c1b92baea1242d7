-- Lines that the first pass left, whole rows.
CREATE VIEW left_bank AS
SELECT b.* FROM raw_bank b ANTI JOIN exact_pair p ON p.line_id = b.item_id;
INSERT INTO open_item FROM with_hash('left_bank');
