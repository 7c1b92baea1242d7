-- We expect it twice: another instruction with the same EndToEndId and amount has been booked by the bank.
SELECT e.item_id AS group_id, e.item_id
FROM expected e
WHERE e.kind = 'INSTRUCTION'
  AND EXISTS (SELECT 1 FROM cleared_expected c
              WHERE c.end_to_end_id = e.end_to_end_id AND c.account = e.account AND c.currency = e.currency
                AND c.amount_minor = e.amount_minor AND c.item_id <> e.item_id)
