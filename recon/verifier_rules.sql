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

-- Each row that came in and where it went: legs of sets and open items are the rows that came in. Accounts with their
-- currencies and rules with their versions are numbered, so that ten million rows are kept as numbers alone.
CREATE TABLE place AS
SELECT row_number() OVER ()::INTEGER AS place, account, currency FROM (SELECT DISTINCT account, currency FROM input);

CREATE TABLE rule_seen AS
SELECT row_number() OVER ()::INTEGER AS rule_number, rule, rule_version FROM (SELECT DISTINCT rule, rule_version FROM match);

CREATE TABLE went AS
SELECT i.item_id, p.place, i.is_bank, i.kind = 'LINE' AS is_line, i.kind = 'PENDING' AS is_pending,
       i.kind IN ('LINE', 'INSTRUCTION', 'RECEIPT') AS is_offered, i.amount_minor, w.set_ordinal, w.rule_number,
       w.item_id IS NULL OR w.row_hash IS NOT DISTINCT FROM i.row_hash AS same_hash,
       w.item_id IS NULL OR w.amount_minor IS NOT DISTINCT FROM i.amount_minor AS same_amount
FROM input i
JOIN place p ON p.account IS NOT DISTINCT FROM i.account AND p.currency IS NOT DISTINCT FROM i.currency
LEFT JOIN (SELECT m.item_id, m.set_ordinal, s.rule_number, m.amount_minor, m.row_hash
           FROM match m
           JOIN rule_seen s ON s.rule IS NOT DISTINCT FROM m.rule AND s.rule_version IS NOT DISTINCT FROM m.rule_version
           UNION ALL
           SELECT item_id, NULL, NULL, amount_minor, row_hash FROM break_item) w ON w.item_id = i.item_id;

INSERT INTO finding
SELECT 'row-hash', item_id::VARCHAR,
       'the row that came in has another hash than the ' || CASE WHEN set_ordinal IS NULL THEN 'open item' ELSE 'proof' END
FROM went WHERE NOT same_hash
UNION ALL
SELECT 'leg-amount', item_id::VARCHAR, 'the leg has another amount than the row that came in'
FROM went WHERE set_ordinal IS NOT NULL AND NOT same_amount
UNION ALL
SELECT 'pending-cleared', item_id::VARCHAR, 'a line that is only announced was cleared'
FROM went WHERE set_ordinal IS NOT NULL AND is_pending;

-- Every set proves itself: its equation over the rows that came in, its rule, one account, one currency.
CREATE TABLE summed AS
SELECT set_ordinal, count(*) AS legs, coalesce(sum(amount_minor) FILTER (WHERE is_bank), 0) AS bank_minor,
       coalesce(sum(amount_minor) FILTER (WHERE NOT is_bank), 0) AS ledger_minor, min(place) AS place,
       max(place) AS place_max, min(rule_number) AS rule_number, max(rule_number) AS rule_number_max
FROM went WHERE set_ordinal IS NOT NULL GROUP BY set_ordinal;

-- Every doubt in one pass over sets and proofs: a set, its proof, and what does not fit.
CREATE TABLE doubt AS
FROM (
    SELECT coalesce(s.set_ordinal, p.set_ordinal) AS set_ordinal, s.place, s.place_max, s.legs AS found_legs,
           s.bank_minor AS found_bank_minor, s.ledger_minor AS found_ledger_minor, p.legs, p.bank_minor, p.ledger_minor,
           p.explained_minor, p.set_ordinal IS NULL AS is_unproven, s.set_ordinal IS NULL AS is_empty,
           s.place <> s.place_max AS is_on_two_accounts,
           (p.account, p.currency) IS DISTINCT FROM (a.account, a.currency) AS is_on_another_account,
           (s.bank_minor, s.ledger_minor) IS DISTINCT FROM (p.bank_minor, p.ledger_minor)
               OR p.bank_minor + p.ledger_minor IS DISTINCT FROM p.explained_minor AS is_unequal,
           p.explained_minor <> 0 AND coalesce(p.explained_code, '') NOT IN (SELECT code FROM code_permitted) AS is_unexplained,
           s.legs IS DISTINCT FROM p.legs OR s.legs < 2 AS has_other_legs,
           k.code IS NULL OR s.rule_number <> s.rule_number_max OR k.is_fungible IS DISTINCT FROM p.is_fungible
               OR (r.rule, r.rule_version) IS DISTINCT FROM (p.rule, p.rule_version) AS has_other_rule
    FROM summed s
    FULL JOIN proof p USING (set_ordinal)
    LEFT JOIN place a ON a.place = s.place
    LEFT JOIN rule_seen r ON r.rule_number = s.rule_number
    LEFT JOIN rule_known k ON k.code = p.rule AND k.version = p.rule_version)
WHERE is_unproven OR is_empty OR is_on_two_accounts OR is_on_another_account OR is_unequal OR is_unexplained
   OR has_other_legs OR has_other_rule;
DROP TABLE summed;

INSERT INTO finding
SELECT 'proof-twice', set_ordinal::VARCHAR, 'a set has more than one proof' FROM proof GROUP BY set_ordinal HAVING count(*) > 1
UNION ALL
SELECT 'set-without-proof', set_ordinal::VARCHAR, 'a cleared set has no proof' FROM doubt WHERE is_unproven
UNION ALL
SELECT 'proof-without-set', set_ordinal::VARCHAR, 'a proof has no set' FROM doubt WHERE is_empty
UNION ALL
SELECT 'set-account', d.set_ordinal::VARCHAR,
       'its legs are on ' || a.account || ' and ' || z.account || ', in ' || a.currency || ' and ' || z.currency
FROM doubt d JOIN place a ON a.place = d.place JOIN place z ON z.place = d.place_max WHERE is_on_two_accounts
UNION ALL
SELECT 'unexplained', set_ordinal::VARCHAR, 'leaves ' || explained_minor || ' and no policy permits it'
FROM doubt WHERE is_unexplained;

INSERT INTO finding
SELECT 'proof-account', set_ordinal::VARCHAR, 'the proof names another account or currency than the legs'
FROM doubt WHERE is_on_another_account AND NOT is_unproven AND NOT is_empty
UNION ALL
SELECT 'equation', set_ordinal::VARCHAR,
       'bank ' || found_bank_minor || ' and books ' || found_ledger_minor || ' by the rows that came in; the proof says '
       || coalesce(bank_minor::VARCHAR, 'nothing') || ', ' || coalesce(ledger_minor::VARCHAR, 'nothing') || ', explained '
       || coalesce(explained_minor::VARCHAR, 'nothing')
FROM doubt WHERE is_unequal AND NOT is_unproven AND NOT is_empty
UNION ALL
SELECT 'leg-count', set_ordinal::VARCHAR, found_legs || ' legs, the proof says ' || coalesce(legs::VARCHAR, 'nothing')
FROM doubt WHERE has_other_legs AND NOT is_unproven AND NOT is_empty
UNION ALL
SELECT 'rule', set_ordinal::VARCHAR, 'rule or version differ among legs, proof and declaration'
FROM doubt WHERE has_other_rule AND NOT is_unproven AND NOT is_empty;

-- Rivals again: items that could stand in for a member, on its side of its account, of its amount, with its value of
-- the rule's key (no key: within the window), that no rule up to this one took.
CREATE VIEW placed AS
SELECT w.item_id, w.place, w.is_line, w.amount_minor, w.set_ordinal,
       coalesce(k.position, h.position, 1000000) AS position, k.key
FROM went w
LEFT JOIN rule_seen s USING (rule_number)
LEFT JOIN rule_known k ON k.code = s.rule
LEFT JOIN held h USING (item_id)
WHERE w.is_offered AND w.item_id NOT IN (SELECT item_id FROM aside);

-- Only amounts that somebody else has too can have rivals, and only those who came later can be one.
CREATE TABLE crowded AS
SELECT p.*, i.day, i.end_to_end_id, i.uetr, i.servicer_ref, i.payment_information_id, i.corrects_id
FROM placed p
JOIN (SELECT place, amount_minor, is_line FROM placed
      GROUP BY ALL HAVING count(*) > 1 AND max(position) > min(position)) c USING (place, amount_minor, is_line)
JOIN input i USING (item_id);

CREATE TABLE rival AS
SELECT m.set_ordinal, count(DISTINCT o.item_id) AS rivals
FROM crowded m
JOIN crowded o ON o.place = m.place AND o.amount_minor = m.amount_minor
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
SELECT 'break-code', b.item_id::VARCHAR, coalesce(b.code, 'nothing') || ' cannot be the code of this item'
FROM break_item b JOIN input i USING (item_id)
WHERE coalesce(b.code, '') NOT IN (SELECT code FROM code_known)
   OR (b.kind, b.account, b.currency, b.amount_minor) IS DISTINCT FROM (i.kind, i.account, i.currency, i.amount_minor)
   OR NOT coalesce(CASE b.code
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
        ELSE true END, false);

INSERT INTO finding
SELECT 'break-sum', b.item_id::VARCHAR, b.break_id || ' has ' || s.items || ' items worth ' || s.residual_minor
       || '; this one says ' || b.items || ' and ' || b.residual_minor
FROM break_item b
JOIN (SELECT break_id, count(*) AS items, sum(amount_minor) AS residual_minor, min(code) AS code, max(code) AS other
      FROM break_item WHERE break_id IS NOT NULL GROUP BY break_id) s USING (break_id)
LEFT JOIN (SELECT break_id, list(residual_minor) AS each_account  -- a break over accounts may say what one of them is off by
      FROM (SELECT break_id, account, currency, sum(amount_minor) AS residual_minor FROM break_item
            WHERE code IN ('WRONG_ACCOUNT', 'CURRENCY_MISMATCH') GROUP BY break_id, account, currency) GROUP BY break_id) t USING (break_id)
WHERE s.items IS DISTINCT FROM b.items OR s.code <> s.other
   OR (s.residual_minor IS DISTINCT FROM b.residual_minor AND NOT coalesce(list_contains(t.each_account, b.residual_minor), false))
UNION ALL
SELECT 'break-sum', item_id::VARCHAR, code || ' belongs to no break' FROM break_item WHERE break_id IS NULL AND code <> 'TIMING';
