-- What the passes and the break queries read. Everything is a view over `item`, so a query sees at once
-- what an earlier one has taken.
CREATE VIEW open_item AS
SELECT i.* FROM item i ANTI JOIN taken t ON t.item_id = i.item_id;

CREATE VIEW line AS
SELECT * FROM open_item WHERE kind = 'LINE';

-- What we expect of the bank: payments to be booked, payouts to arrive.
CREATE VIEW expected AS
SELECT * FROM open_item WHERE kind IN ('INSTRUCTION', 'RECEIPT');

-- Every text on an incoming line that could name a payout: exact references, and the words of the
-- remittance text. Receipts only, so that nothing is split into words without need.
CREATE VIEW receipt_key AS
SELECT DISTINCT l.item_id, k.key
FROM line l,
     unnest(list_concat(
         [l.end_to_end_id, l.structured_ref],
         regexp_extract_all(coalesce(l.remittance, ''), '[A-Za-z0-9][A-Za-z0-9_./-]*[A-Za-z0-9]')
     )) AS k(key)
WHERE l.amount_minor < 0 AND k.key IS NOT NULL;

CREATE VIEW receipt_line AS
SELECT r.item_id AS receipt_id, r.account AS receipt_account, r.currency AS receipt_currency,
       r.amount_minor AS expected_minor, r.day AS due_day, l.*
FROM expected r
JOIN receipt_key k ON k.key = r.end_to_end_id
JOIN line l ON l.item_id = k.item_id
WHERE r.kind = 'RECEIPT';

-- Lines that nobody named: no EndToEndId (or the beginning of one), not a batch, not the bank's own.
CREATE VIEW nameless_line AS
SELECT * FROM line l
WHERE coalesce(l.batch_count, 1) <= 1
  AND l.return_reason IS NULL AND NOT l.is_reversal
  AND NOT regexp_matches(coalesce(l.bank_tx_code, ''), '/(CHRG|INTR|COMM|FEES)$')
  AND NOT EXISTS (SELECT 1 FROM item o
                  WHERE o.kind IN ('INSTRUCTION', 'RECEIPT') AND o.end_to_end_id = l.end_to_end_id);

-- Lines that could be an expectation by amount and date alone, and say nothing against it.
CREATE VIEW weak_candidate AS
SELECT l.item_id AS line_id, e.item_id AS expected_id
FROM nameless_line l
JOIN expected e
  ON e.account = l.account AND e.currency = l.currency AND e.amount_minor = -l.amount_minor
CROSS JOIN parameter p
WHERE l.day - e.day BETWEEN 0 AND p.window_days
  AND (l.end_to_end_id IS NULL
       OR (length(l.end_to_end_id) >= 8 AND starts_with(e.end_to_end_id, l.end_to_end_id)))
  AND (l.uetr IS NULL OR e.uetr IS NULL OR l.uetr = e.uetr)
  AND (l.party_account IS NULL OR e.party_account IS NULL OR l.party_account = e.party_account)
  AND (l.payment_information_id IS NULL OR e.payment_information_id IS NULL
       OR l.payment_information_id = e.payment_information_id)
  AND (e.kind = 'INSTRUCTION' OR (l.remittance IS NULL AND l.structured_ref IS NULL));
