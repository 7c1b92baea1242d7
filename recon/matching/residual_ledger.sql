-- Ledger items that the first pass left, whole rows.
CREATE VIEW left_ledger AS
SELECT e.* FROM raw_ledger e ANTI JOIN exact_pair p ON p.expected_id = e.item_id;
INSERT INTO open_item FROM with_hash('left_ledger');
