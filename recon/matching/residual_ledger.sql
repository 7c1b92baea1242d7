-- Ledger items that the first pass left, whole rows.
CREATE TABLE open_ledger AS
SELECT e.* FROM raw_ledger e ANTI JOIN exact_pair p ON p.expected_id = e.item_id
