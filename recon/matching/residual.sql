-- What the first pass left, whole rows; every later pass reads only this. `open_item` shrinks as sets are taken,
-- `item` keeps who was there.
CREATE TABLE raw_open AS
SELECT b.* FROM raw_bank b JOIN residual_line r ON r.item_id = b.item_id
UNION ALL
SELECT e.* FROM raw_ledger e JOIN residual_expected r ON r.item_id = e.item_id;

CREATE TABLE open_item AS FROM with_hash('raw_open');
DROP TABLE raw_open;

CREATE TABLE item AS
SELECT item_id, kind, account, currency, amount_minor, day, end_to_end_id, uetr, servicer_ref, payment_information_id,
       batch_count, row_hash
FROM open_item;
