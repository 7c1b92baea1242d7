-- Who is left after the first pass.
CREATE TABLE residual_line AS
SELECT b.item_id FROM raw_bank b ANTI JOIN exact_pair p ON p.line_id = b.item_id;
CREATE TABLE residual_expected AS
SELECT e.item_id FROM raw_ledger e ANTI JOIN exact_pair p ON p.expected_id = e.item_id;
