-- Who is left after the first pass.
CREATE TABLE residual_line AS SELECT item_id FROM raw_bank WHERE item_id NOT IN (SELECT line_id FROM exact_pair);
CREATE TABLE residual_expected AS SELECT item_id FROM raw_ledger WHERE item_id NOT IN (SELECT expected_id FROM exact_pair);
