-- Money from an acquirer we know, for a payout that no report announced.
SELECT l.item_id AS group_id, l.item_id
FROM line l
WHERE l.amount_minor < 0
  AND EXISTS (SELECT 1 FROM acquirer a
              WHERE a.iban = l.party_account
                 OR (l.party_account IS NULL AND lower(a.name) = lower(l.party_name)))
