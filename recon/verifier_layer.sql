-- A run with a layer over it: of the accounts that the layer has, its rows; of all others, the run's. An item that no
-- input has is kept, so that it is found.
CREATE TABLE replaced AS
SELECT item_id FROM bank_file WHERE account IN (FROM touched)
UNION ALL
SELECT item_id FROM ledger_file WHERE account IN (FROM touched);

CREATE VIEW match AS
FROM run_match WHERE item_id NOT IN (FROM replaced) UNION ALL FROM layer_match;
CREATE VIEW break_item AS
FROM run_break_item WHERE item_id NOT IN (FROM replaced) UNION ALL FROM layer_break_item;
CREATE VIEW proof AS
FROM run_proof WHERE account NOT IN (FROM touched) UNION ALL FROM layer_proof;
CREATE VIEW certificate AS
FROM run_certificate WHERE account NOT IN (FROM touched) UNION ALL FROM layer_certificate;
