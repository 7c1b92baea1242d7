-- The difference is exactly the disputed payments that the provider took back; or the scheme took a payment back.
SELECT expected_id AS group_id, unnest(list_append(line_ids, expected_id)) AS item_id
FROM reference_group
WHERE residual_minor > 0 AND residual_minor = chargebacks_minor
UNION ALL
SELECT expected_id, unnest([expected_id, line_id])
FROM explained_pair
WHERE code = 'CHARGEBACK' AND line_id IN (SELECT item_id FROM open_item) AND expected_id IN (SELECT item_id FROM open_item)
UNION ALL
SELECT item_id, item_id FROM line WHERE amount_minor > 0 AND coalesce(bank_tx_code, '') LIKE '%/CHBK'
