-- Lines that the first pass left, whole rows.
CREATE TABLE open_bank AS
SELECT b.* FROM raw_bank b ANTI JOIN exact_pair p ON p.line_id = b.item_id
