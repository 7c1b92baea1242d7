-- P1, over everything at once: one line and one expectation that carry the same EndToEndId and amount, nobody else
-- does, and nothing else they both state differs. Keys that more than one item of a side
-- carries are left to the passes over what remains (the caller takes them out: it counts ids), and so are items
-- that an answer of our own (reject, routine) is about.
CREATE TABLE answered AS
SELECT DISTINCT corrects_id AS item_id FROM raw_ledger WHERE corrects_id IS NOT NULL;

CREATE MACRO mark(text) AS CASE WHEN text IS NOT NULL THEN hash(text) END;

-- Joined by a hash of the whole key, so that wide texts stay out of the join; the references themselves are compared
-- on what the join finds, where `starts_with` keeps the comparison from becoming one more join key. Each side is read
-- once: the hash of the whole row, by which a proof names it, is taken along; account and currency are kept as one
-- hash (`place`), which batch_first.sql resolves.
CREATE TABLE exact_pair AS
WITH line AS (
    SELECT item_id, account, currency, amount_minor, day, end_to_end_id, mark(uetr) AS uetr,
           mark(party_account) AS party, mark(payment_information_id) AS batch, mark(msg_id) AS file,
           hash(end_to_end_id, account, currency, amount_minor) AS key, hash(account, currency) AS place,
           return_reason IS NULL AND NOT is_reversal AND coalesce(batch_count, 1) <= 1 AS is_plain,
           row_hash
    FROM bank
    WHERE kind = 'LINE' AND end_to_end_id IS NOT NULL
),
expectation AS (
    SELECT item_id, kind = 'RECEIPT' AS is_receipt, amount_minor, day, end_to_end_id, mark(uetr) AS uetr,
           mark(party_account) AS party, mark(payment_information_id) AS batch, mark(msg_id) AS file,
           hash(end_to_end_id, account, currency, -amount_minor) AS key, hash(account, currency) AS place,
           row_hash
    FROM ledger
    WHERE kind IN ('INSTRUCTION', 'RECEIPT') AND end_to_end_id IS NOT NULL
)
SELECT l.item_id AS line_id, e.item_id AS expected_id, l.amount_minor AS line_minor, l.place,
       l.row_hash AS line_hash, e.row_hash AS expected_hash, e.is_receipt,
       coalesce(l.is_plain AND abs(l.day - e.day) <= p.window_days
           AND coalesce(l.uetr = e.uetr, true)
           AND coalesce(l.party = e.party, true)
           AND coalesce(l.batch = e.batch, true)
           AND coalesce(l.file = e.file, true), true) AS agrees
FROM line l
JOIN expectation e ON e.key = l.key
CROSS JOIN parameter p
WHERE xor(l.place, e.place) = 0 AND l.amount_minor + e.amount_minor = 0
  AND length(l.end_to_end_id) - length(e.end_to_end_id) = 0 AND starts_with(l.end_to_end_id, e.end_to_end_id);

DELETE FROM exact_pair
WHERE line_id IN (SELECT item_id FROM answered) OR expected_id IN (SELECT item_id FROM answered);
