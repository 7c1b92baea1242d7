-- Every fault of a finished run's sets, proofs and breaks, from the rows that it read and what it wrote. `input` has
-- the rows with their hashes; `match`, `proof` and `break_item` what was written; rule_known and code_known what the
-- run declared. Sets of people (position below 0) have no rivals: nobody counted. Rows that `aside` names were not
-- offered to the rules, and `held` says which rule would have taken a row if it did more than suggest.
CREATE TABLE finding (fault VARCHAR, place VARCHAR, message VARCHAR);

-- Every item is in one place.
INSERT INTO finding
SELECT 'item-in-two-places', item_id::VARCHAR, 'is in ' || count(*) || ' places (sets and open items); it must be in one'
FROM (SELECT item_id FROM match UNION ALL SELECT item_id FROM break_item)
GROUP BY item_id HAVING count(*) > 1;

INSERT INTO finding
SELECT CASE WHEN p.item_id IS NULL THEN 'item-nowhere' ELSE 'item-unknown' END, coalesce(p.item_id, i.item_id)::VARCHAR,
       CASE WHEN p.item_id IS NULL THEN 'came in and is neither cleared nor open' ELSE 'is in the result and did not come in' END
FROM (SELECT item_id FROM input) i
FULL JOIN (SELECT DISTINCT item_id FROM (SELECT item_id FROM match UNION ALL SELECT item_id FROM break_item)) p
  ON p.item_id = i.item_id
WHERE p.item_id IS NULL OR i.item_id IS NULL;

INSERT INTO finding
SELECT 'input-item-twice', item_id::VARCHAR, 'came in ' || count(*) || ' times' FROM input GROUP BY item_id HAVING count(*) > 1;

-- Legs are the rows that came in.
CREATE TABLE leg AS
SELECT m.set_ordinal, m.rule, m.rule_version, m.item_id, i.kind, i.is_bank, i.account, i.currency, i.amount_minor, i.day,
       m.row_hash = i.row_hash AS same_hash, m.amount_minor = i.amount_minor AS same_amount
FROM match m JOIN input i USING (item_id);

INSERT INTO finding
SELECT 'row-hash', item_id::VARCHAR, 'the row that came in has another hash than the proof' FROM leg WHERE NOT same_hash
UNION ALL
SELECT 'row-hash', b.item_id::VARCHAR, 'the row that came in has another hash than the open item'
FROM break_item b JOIN input i USING (item_id) WHERE b.row_hash <> i.row_hash
UNION ALL
SELECT 'leg-amount', item_id::VARCHAR, 'the leg has another amount than the row that came in' FROM leg WHERE NOT same_amount
UNION ALL
SELECT 'pending-cleared', item_id::VARCHAR, 'a line that is only announced was cleared' FROM leg WHERE kind = 'PENDING';

-- Every set proves itself: its equation over the rows that came in, its rule, one account, one currency.
CREATE TABLE summed AS
SELECT set_ordinal, count(*) AS legs, coalesce(sum(amount_minor) FILTER (WHERE is_bank), 0) AS bank_minor,
       coalesce(sum(amount_minor) FILTER (WHERE NOT is_bank), 0) AS ledger_minor, min(account) AS account,
       max(account) AS account_max, min(currency) AS currency, max(currency) AS currency_max, min(rule) AS rule,
       max(rule) AS rule_max, min(rule_version) AS rule_version, max(rule_version) AS rule_version_max
FROM leg GROUP BY set_ordinal;

INSERT INTO finding
SELECT 'set-without-proof', s.set_ordinal::VARCHAR, 'a cleared set has no proof'
FROM summed s ANTI JOIN proof p USING (set_ordinal)
UNION ALL
SELECT 'proof-without-set', p.set_ordinal::VARCHAR, 'a proof has no set' FROM proof p ANTI JOIN summed s USING (set_ordinal)
UNION ALL
SELECT 'proof-twice', set_ordinal::VARCHAR, 'a set has more than one proof' FROM proof GROUP BY set_ordinal HAVING count(*) > 1
UNION ALL
SELECT 'set-account', set_ordinal::VARCHAR, 'its legs are on ' || account || ' and ' || account_max || ', in ' || currency || ' and ' || currency_max
FROM summed WHERE account <> account_max OR currency <> currency_max
UNION ALL
SELECT 'proof-account', set_ordinal::VARCHAR, 'the proof names another account or currency than the legs'
FROM summed s JOIN proof p USING (set_ordinal) WHERE p.account <> s.account OR p.currency <> s.currency
UNION ALL
SELECT 'equation', set_ordinal::VARCHAR,
       'bank ' || s.bank_minor || ' and books ' || s.ledger_minor || ' by the rows that came in; the proof says '
       || p.bank_minor || ', ' || p.ledger_minor || ', explained ' || p.explained_minor
FROM summed s JOIN proof p USING (set_ordinal)
WHERE s.bank_minor <> p.bank_minor OR s.ledger_minor <> p.ledger_minor
   OR p.bank_minor + p.ledger_minor <> p.explained_minor
UNION ALL
SELECT 'unexplained', set_ordinal::VARCHAR, 'leaves ' || explained_minor || ' and no policy permits it'
FROM proof WHERE explained_minor <> 0 AND coalesce(explained_code, '') NOT IN (SELECT code FROM code_permitted)
UNION ALL
SELECT 'leg-count', set_ordinal::VARCHAR, s.legs || ' legs, the proof says ' || p.legs
FROM summed s JOIN proof p USING (set_ordinal) WHERE s.legs <> p.legs OR s.legs < 2
UNION ALL
SELECT 'rule', set_ordinal::VARCHAR, 'rule or version differ among legs, proof and declaration'
FROM summed s JOIN proof p USING (set_ordinal) LEFT JOIN rule_known k ON k.code = p.rule AND k.version = p.rule_version
WHERE k.code IS NULL OR s.rule <> s.rule_max OR s.rule_version <> s.rule_version_max OR s.rule <> p.rule
   OR s.rule_version <> p.rule_version OR k.is_fungible <> p.is_fungible;

-- Rivals again: items that could stand in for a member, on its side of its account, of its amount, with its value of
-- the rule's key (no key: within the window), that no rule up to this one took.
CREATE TABLE placed AS
SELECT i.item_id, i.kind = 'LINE' AS is_line, i.account, i.currency, i.amount_minor, i.day, i.end_to_end_id, i.uetr,
       i.servicer_ref, i.payment_information_id, i.corrects_id, m.set_ordinal,
       coalesce(k.position, h.position, 1000000) AS position, k.key
FROM input i
LEFT JOIN match m USING (item_id)
LEFT JOIN rule_known k ON k.code = m.rule
LEFT JOIN held h USING (item_id)
WHERE i.kind IN ('LINE', 'INSTRUCTION', 'RECEIPT') AND i.item_id NOT IN (SELECT item_id FROM aside);

-- Only amounts that somebody else has too can have rivals, and only those who came later can be one.
CREATE TABLE crowded AS
SELECT p.* FROM placed p
JOIN (SELECT account, currency, amount_minor, is_line FROM placed
      GROUP BY ALL HAVING count(*) > 1 AND max(position) > min(position)) c
USING (account, currency, amount_minor, is_line);

CREATE TABLE rival AS
SELECT m.set_ordinal, count(DISTINCT o.item_id) AS rivals
FROM crowded m
JOIN crowded o ON o.account = m.account AND o.currency = m.currency AND o.amount_minor = m.amount_minor
              AND o.is_line = m.is_line AND o.position > m.position
WHERE m.set_ordinal IS NOT NULL
  AND CASE m.key WHEN 'end_to_end_id' THEN o.end_to_end_id = m.end_to_end_id
                 WHEN 'uetr' THEN o.uetr = m.uetr
                 WHEN 'servicer_ref' THEN o.servicer_ref = m.servicer_ref
                 WHEN 'payment_information_id' THEN o.payment_information_id = m.payment_information_id
                 WHEN 'corrects_id' THEN o.corrects_id = m.corrects_id
                 ELSE abs(o.day - m.day) <= (SELECT window_days FROM setting) END
GROUP BY m.set_ordinal;

INSERT INTO finding
SELECT 'rivals', p.set_ordinal::VARCHAR, 'has ' || coalesce(r.rivals, 0) || ' rivals, the proof says ' || coalesce(p.rivals::VARCHAR, 'nothing')
FROM proof p LEFT JOIN rival r USING (set_ordinal)
LEFT JOIN rule_known k ON k.code = p.rule
WHERE CASE WHEN k.position < 0 THEN p.rivals IS NOT NULL ELSE p.rivals IS DISTINCT FROM coalesce(r.rivals, 0) END
UNION ALL
SELECT 'margin', p.set_ordinal::VARCHAR, 'is scored and not clearly ahead of its rivals'
FROM proof p WHERE NOT is_fungible AND margin < (SELECT margin FROM setting);

-- Open items: one known code each, which the row itself does not contradict, and whole breaks.
INSERT INTO finding
SELECT 'break-code', b.item_id::VARCHAR, b.code || ' cannot be the code of this item'
FROM break_item b JOIN input i USING (item_id)
WHERE b.code NOT IN (SELECT code FROM code_known)
   OR b.kind <> i.kind OR b.account <> i.account OR b.currency <> i.currency OR b.amount_minor <> i.amount_minor
   OR NOT CASE b.code
        WHEN 'TIMING' THEN i.kind <> 'LINE' AND i.age_days <= i.sla_days
        WHEN 'MISSING_BANK' THEN NOT i.is_bank AND i.age_days > i.sla_days
        WHEN 'STALE_PENDING' THEN i.kind = 'PENDING' AND i.age_days > i.sla_days
        WHEN 'UNIDENTIFIED_RECEIPT' THEN i.kind = 'LINE' AND i.amount_minor < 0
        WHEN 'UNAUTHORISED_DEBIT' THEN i.kind = 'LINE' AND i.amount_minor > 0
        WHEN 'RETURN' THEN i.kind = 'LINE' AND i.return_reason IS NOT NULL
        WHEN 'REVERSAL' THEN i.kind = 'LINE' AND i.is_reversal
        WHEN 'BANK_ORIGINATED' THEN i.kind = 'LINE' AND i.bank_tx_code IS NOT NULL
        WHEN 'MISSING_LEDGER' THEN i.kind = 'LINE'
        WHEN 'DUP_BANK' THEN i.kind = 'LINE'
        WHEN 'DUP_LEDGER' THEN NOT i.is_bank
        WHEN 'DATE_OUT_OF_WINDOW' THEN b.residual_minor = 0 AND b.items > 1
        WHEN 'FEE_DIFF' THEN b.residual_minor > 0 AND b.items > 1
        WHEN 'RESERVE_HELD' THEN b.residual_minor > 0 AND b.items > 1
        WHEN 'CHARGEBACK' THEN b.residual_minor > 0
        WHEN 'ROUNDING' THEN b.residual_minor <> 0 AND abs(b.residual_minor) <= (SELECT rounding_minor FROM setting) * b.items
        WHEN 'OVERPAYMENT' THEN b.residual_minor < 0
        WHEN 'PARTIAL' THEN b.residual_minor > 0 AND b.items > 2
        WHEN 'FX_DIFF' THEN b.residual_minor <> 0 AND b.items > 1
        WHEN 'AMOUNT_MISMATCH' THEN b.residual_minor <> 0 AND b.items > 1
        ELSE true END;

INSERT INTO finding
SELECT 'break-sum', b.item_id::VARCHAR, b.break_id || ' has ' || s.items || ' items worth ' || s.residual_minor
       || '; this one says ' || b.items || ' and ' || b.residual_minor
FROM break_item b
JOIN (SELECT break_id, count(*) AS items, sum(amount_minor) AS residual_minor, min(code) AS code, max(code) AS other
      FROM break_item WHERE break_id IS NOT NULL GROUP BY break_id) s USING (break_id)
LEFT JOIN (SELECT break_id, list(residual_minor) AS each_account  -- a break over accounts may say what one of them is off by
      FROM (SELECT break_id, account, currency, sum(amount_minor) AS residual_minor FROM break_item
            WHERE code IN ('WRONG_ACCOUNT', 'CURRENCY_MISMATCH') GROUP BY break_id, account, currency) GROUP BY break_id) t USING (break_id)
WHERE s.items <> b.items OR s.code <> s.other
   OR (s.residual_minor <> b.residual_minor AND NOT coalesce(list_contains(t.each_account, b.residual_minor), false))
UNION ALL
SELECT 'break-sum', item_id::VARCHAR, code || ' belongs to no break' FROM break_item WHERE break_id IS NULL AND code <> 'TIMING';
