-- What tells which rules have anything to work with among the open items (stock.py).
SELECT item_id, kind, account, currency, amount_minor, end_to_end_id, uetr, servicer_ref, payment_information_id, msg_id,
       party_account, party_name IS NOT NULL AS has_name
FROM open_item
