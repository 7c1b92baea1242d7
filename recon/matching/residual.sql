-- What the first pass left; every later pass reads only this. `open_item` shrinks as sets are taken, `item` keeps who
-- was there.
CREATE VIEW raw_open AS FROM open_bank UNION ALL FROM open_ledger;
CREATE TABLE open_item AS FROM with_hash('raw_open');
DROP VIEW raw_open;
DROP TABLE open_bank;
DROP TABLE open_ledger;

CREATE TABLE item AS
SELECT item_id, kind, account, currency, amount_minor, day, end_to_end_id, uetr, servicer_ref, payment_information_id,
       batch_count, corrects_id, row_hash
FROM open_item;
