-- What names what, and what is left for weaker evidence.

-- Lines and the expectations that they name, one row a pair. `agrees`: nothing that both state speaks against it (the
-- names of parties apart, which other_names.py judges). `is_weak`: it names by a number of four figures or fewer in its
-- text, which could be a room, a year or an amount as well. A key that very many lines and very many expectations share
-- names nothing; it is left out here.
CREATE TABLE named AS
WITH crowd AS (
    SELECT key FROM (SELECT key, count(*) AS lines FROM line_key GROUP BY key) l
    JOIN (SELECT key, count(*) AS expectations FROM expected_key GROUP BY key) e USING (key)
    WHERE least(lines, expectations) > 1 AND lines * expectations > 10000
),
pair AS (
    SELECT l.item_id AS line_id, e.item_id AS expected_id, min(l.key) AS key, min(l.source) AS source,
           bool_and(l.source = 'text' AND regexp_full_match(l.key, '[0-9]{1,4}')) AS is_weak
    FROM line_key l JOIN expected_key e USING (key)
    WHERE l.key NOT IN (SELECT key FROM crowd)
    GROUP BY l.item_id, e.item_id
)
SELECT p.*, e.kind, l.account = e.account AS same_account, l.currency = e.currency AS same_currency,
       l.amount_minor AS line_minor, e.amount_minor AS expected_minor, l.day - e.day AS days,
       is_plain(l.return_reason, l.is_reversal, l.bank_tx_code)
           AND coalesce(l.uetr = e.uetr, true)
           AND (coalesce(l.party_account = e.party_account, true)
                OR e.kind <> 'INSTRUCTION' AND k.party_account IS NULL)
           AND coalesce(l.payment_information_id = e.payment_information_id, true)
           AND coalesce(l.msg_id = e.msg_id, true) AS agrees
FROM pair p
JOIN open_item l ON l.item_id = p.line_id
JOIN open_item e ON e.item_id = p.expected_id
LEFT JOIN known_party k ON k.party_account = l.party_account;

-- Lines that name a reference of ours, whole.
CREATE TABLE naming_line AS
SELECT DISTINCT line_id AS item_id FROM named
UNION
SELECT item_id FROM line_key WHERE key IN (SELECT norm(reference) FROM cleared_reference);

-- Lines that nobody named: no reference of ours (or the beginning of one), not a batch, not the bank's own.
CREATE VIEW nameless_line AS
SELECT * FROM line l
WHERE coalesce(l.batch_count, 1) <= 1
  AND is_plain(l.return_reason, l.is_reversal, l.bank_tx_code)
  AND l.item_id NOT IN (SELECT item_id FROM naming_line);

-- Lines that as good as name an expectation. They begin to: 12 characters and more, with its amount, from its party, or
-- short by what the line charges.
CREATE TABLE beginning AS
WITH word AS (
    SELECT k.key, l.item_id, l.account, l.amount_minor, l.party_account, abs(l.charges_minor) AS charged
    FROM line_key k JOIN line l USING (item_id)
    WHERE length(k.key) >= 12 AND l.item_id NOT IN (SELECT item_id FROM naming_line)
),
whole AS (
    SELECT item_id, account, amount_minor, party_account, own_key AS reference
    FROM expected WHERE length(end_to_end_id) > 12
)
SELECT w.item_id AS line_id, e.item_id AS expected_id, true AS is_equal
FROM word w JOIN whole e ON e.account = w.account AND e.amount_minor = -w.amount_minor
WHERE starts_with(e.reference, w.key)
UNION
SELECT w.item_id, e.item_id, e.amount_minor = -w.amount_minor
FROM word w JOIN whole e ON e.account = w.account AND e.party_account = w.party_account
WHERE starts_with(e.reference, w.key)
UNION
SELECT w.item_id, e.item_id, w.charged = 0
FROM word w JOIN whole e ON e.account = w.account AND e.amount_minor = w.charged - w.amount_minor
WHERE starts_with(e.reference, w.key);

-- Or they differ from it by exactly what is stated: charges on the line, what the provider's report deducted, the same
-- instructed amount in the same currency; and they do not come from another party.
CREATE TABLE stated_difference AS
WITH meeting AS (
    SELECT l.item_id AS line_id, e.item_id AS expected_id
    FROM nameless_line l JOIN expected e ON e.account = l.account AND e.amount_minor = abs(l.charges_minor) - l.amount_minor
    WHERE l.charges_minor <> 0
    UNION
    SELECT l.item_id, e.item_id
    FROM nameless_line l
    JOIN (SELECT item_id, account, amount_minor, unnest([fees_minor, reserve_minor, chargebacks_minor]) AS deducted
          FROM expected WHERE coalesce(fees_minor, reserve_minor, chargebacks_minor) IS NOT NULL) e
      ON e.account = l.account AND l.amount_minor = e.deducted - e.amount_minor
    WHERE e.deducted <> 0
    UNION
    SELECT l.item_id, e.item_id
    FROM nameless_line l
    JOIN expected e ON e.account = l.account AND e.instructed_amount_minor = l.instructed_amount_minor
                   AND e.instructed_currency = l.instructed_currency
)
SELECT m.line_id, m.expected_id, coalesce(l.party_account = e.party_account, true) AS same_party
FROM meeting m
JOIN open_item l ON l.item_id = m.line_id
JOIN open_item e ON e.item_id = m.expected_id
CROSS JOIN parameter p
WHERE e.currency = l.currency AND sign(e.amount_minor) = -sign(l.amount_minor)
  AND abs(l.day - e.day) <= p.window_days AND e.amount_minor + l.amount_minor <> 0;

-- What another open line names is spoken for: amounts and parties say nothing about it.
CREATE VIEW spoken_for AS
SELECT n.expected_id FROM named n JOIN line l ON l.item_id = n.line_id
UNION
SELECT e.item_id FROM expected e JOIN line l ON l.uetr = e.uetr;

-- What another open line as good as names may be that line's: it begins the reference, differs by what is stated, or is
-- the line of its batch. No line that is silent about it takes it, alone or in a sum; but it may be a silent line's all
-- the same, so it stays in the way of every other choice.
CREATE VIEW half_spoken_for AS
SELECT b.line_id, b.expected_id FROM beginning b JOIN line l ON l.item_id = b.line_id
UNION
SELECT d.line_id, d.expected_id FROM stated_difference d JOIN line l ON l.item_id = d.line_id WHERE d.same_party
UNION
SELECT l.item_id, e.item_id
FROM line l
JOIN expected e ON e.account = l.account AND e.currency = l.currency
               AND e.payment_information_id = l.payment_information_id
WHERE l.batch_count > 1;

-- And so is what has the amount of a line that states something like a reference, and may be its party's: the reference
-- may be spoilt beyond what is taken for a letter wrong.
CREATE VIEW alike_spoken_for AS
SELECT l.item_id AS line_id, e.item_id AS expected_id
FROM nameless_line l
JOIN expected e ON e.account = l.account AND e.currency = l.currency AND e.amount_minor = -l.amount_minor
CROSS JOIN parameter p
WHERE states_reference(l.end_to_end_id, l.structured_ref, l.remittance)
  AND coalesce(l.party_account = e.party_account, true) AND abs(l.day - e.day) <= p.window_days;

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
