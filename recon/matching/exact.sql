-- P1, over everything at once: one line and one expectation that carry the same EndToEndId and amount, nobody else
-- does, and nothing else they both state differs. Narrow columns only. Keys that more than one item of a side
-- carries are left to the passes over what remains (the caller takes them out: it counts ids), and so are items
-- that an answer of our own (reject, routine) is about.
CREATE TABLE answered AS
SELECT DISTINCT corrects_id AS item_id FROM ledger WHERE corrects_id IS NOT NULL;

CREATE TABLE exact_pair AS
WITH line AS (
    SELECT item_id, account, currency, amount_minor, day, end_to_end_id, uetr, party_account, payment_information_id,
           msg_id, row_hash, hash(end_to_end_id, account, currency, amount_minor) AS key,
           return_reason IS NULL AND NOT is_reversal AND coalesce(batch_count, 1) <= 1 AS is_plain
    FROM bank
    WHERE kind = 'LINE' AND end_to_end_id IS NOT NULL
),
expectation AS (
    SELECT item_id, kind, account, currency, amount_minor, day, end_to_end_id, uetr, party_account,
           payment_information_id, msg_id, row_hash, hash(end_to_end_id, account, currency, -amount_minor) AS key
    FROM ledger
    WHERE kind IN ('INSTRUCTION', 'RECEIPT') AND end_to_end_id IS NOT NULL
)
SELECT l.item_id AS line_id, e.item_id AS expected_id, l.amount_minor AS line_minor, l.account, l.currency,
       l.row_hash AS line_hash, e.row_hash AS expected_hash, e.kind = 'RECEIPT' AS is_receipt,
       l.is_plain AND abs(l.day - e.day) <= p.window_days
           AND coalesce(l.uetr = e.uetr, true)
           AND coalesce(l.party_account = e.party_account, true)
           AND coalesce(l.payment_information_id = e.payment_information_id, true)
           AND coalesce(l.msg_id = e.msg_id, true) AS agrees
FROM line l
JOIN expectation e
  ON e.key = l.key AND e.end_to_end_id = l.end_to_end_id AND e.account = l.account AND e.currency = l.currency
 AND e.amount_minor = -l.amount_minor
CROSS JOIN parameter p
WHERE l.item_id NOT IN (SELECT item_id FROM answered) AND e.item_id NOT IN (SELECT item_id FROM answered);
