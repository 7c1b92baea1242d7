-- Who was there when the later passes began, whoever is taken.
CREATE TABLE item AS
SELECT item_id, kind, account, currency, amount_minor, day, end_to_end_id, own_key, uetr, servicer_ref, payment_information_id,
       batch_count, corrects_id, row_hash
FROM open_item;
