-- Money from an acquirer we know, for a payout that no report announced.
SELECT l.item_id AS group_id, l.item_id
FROM line l
WHERE l.amount_minor < 0
  AND EXISTS (SELECT 1 FROM acquirer a
              WHERE a.iban = l.party_account
                 OR (l.party_account IS NULL AND lower(a.name) = lower(l.party_name)))
UNION ALL
-- A payment of a file of ours that does not have it.
SELECT l.item_id, l.item_id
FROM line l
WHERE l.amount_minor > 0 AND coalesce(l.batch_count, 1) <= 1
  AND l.payment_information_id IN (SELECT payment_information_id FROM known_file)
  AND l.item_id NOT IN (SELECT item_id FROM naming_line)
