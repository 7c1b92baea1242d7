-- Every fault of a nightly run beyond those of `verifier_rules.sql`, which runs first. `run` is the run; `item`, `later`
-- and `decided` what it kept of its inputs, `booked` the ledger's postings of those ids; `due` the postings that it should
-- have looked at; `break_head` its breaks; `leg_live` how often each leg's posting is in a set that nobody took back.

INSERT INTO finding
SELECT 'input-ledger', i.item_id::VARCHAR,
       CASE WHEN b.posting_id IS NULL THEN 'the ledger has no such posting on cash in transit'
            ELSE 'the ledger has ' || b.amount_minor || ' ' || b.currency || ' on ' || b.account || ', the run saw '
                 || i.amount_minor || ' ' || i.currency || ' on ' || i.account END
FROM input i LEFT JOIN booked b ON b.posting_id = i.item_id
WHERE (b.posting_id, b.amount_minor, b.account, b.currency) IS DISTINCT FROM (i.item_id, i.amount_minor, i.account, i.currency)
UNION ALL
SELECT 'input-line', i.item_id::VARCHAR, 'the run saw another kind, reference or date than the statement''s line has'
FROM input i JOIN booked b ON b.posting_id = i.item_id
WHERE (i.kind = 'LINE') <> b.is_line
   OR b.is_line AND (b.end_to_end_id IS DISTINCT FROM i.end_to_end_id OR b.uetr IS DISTINCT FROM i.uetr
                     OR b.booking_date <> i.date OR b.return_reason IS DISTINCT FROM i.return_reason)
UNION ALL
SELECT 'input-missing', d.posting_id::VARCHAR, 'was open on cash in transit of ' || d.account || ' and the run did not look at it'
FROM due d ANTI JOIN input i ON i.item_id = d.posting_id
UNION ALL
SELECT 'input-cleared', i.item_id::VARCHAR, 'was not open, or not known, when the run looked at it'
FROM input i ANTI JOIN due d ON d.posting_id = i.item_id
UNION ALL
SELECT 'later-cleared', item_id::VARCHAR, 'was set aside for a later day''s set, which is not there'
FROM later WHERE item_id NOT IN (SELECT posting_id FROM due WHERE is_cleared_later)
UNION ALL
SELECT 'later-cleared', m.item_id::VARCHAR, 'was cleared, and a later day''s set has it' FROM match m JOIN later l USING (item_id);

-- People's sets are what they decided, whole.
INSERT INTO finding
SELECT 'decision', m.item_id::VARCHAR, m.rule || ' took this item, which nobody decided'
FROM match m JOIN rule_known k ON k.code = m.rule AND k.position < 0
ANTI JOIN decided d ON d.item_id = m.item_id AND d.rule = m.rule
UNION ALL
SELECT 'decision', d.item_id::VARCHAR, 'people decided about this item (' || d.decision || ') and the run did not do it'
FROM decided d JOIN item i USING (item_id)
ANTI JOIN match m ON m.item_id = d.item_id AND m.rule = d.rule;

INSERT INTO finding
SELECT 'leg-not-exclusive', item_id::VARCHAR, 'is in ' || live || ' sets at once' FROM leg_live WHERE live > 1
UNION ALL
SELECT 'break-empty', h.break_id, h.code || ' has no item and is about no statement'
FROM break_head h ANTI JOIN break_item b USING (break_id) WHERE h.finding_id IS NULL
UNION ALL
SELECT 'break-code', b.item_id::VARCHAR, 'has ' || b.code || ', its break ' || h.break_id || ' has ' || h.code
FROM break_item b JOIN break_head h USING (break_id) WHERE h.code <> b.code
UNION ALL
SELECT 'run-count', 'run', 'says ' || item_count || ' items; it has ' || (SELECT count(*) FROM match) || ' legs and '
       || (SELECT count(*) FROM break_item) || ' open items'
FROM run WHERE item_count <> (SELECT count(*) FROM match) + (SELECT count(*) FROM break_item)
UNION ALL
SELECT 'material-hash', 'run', 'the kept inputs are not those whose hash was kept with them' FROM run WHERE NOT is_material_whole;

-- The exact keys once more: carried by one line and one expectation, nobody else, and answered by nothing of ours.
WITH offered AS (
    SELECT * FROM item WHERE item_id NOT IN (SELECT item_id FROM aside)
      AND item_id NOT IN (SELECT corrects_id FROM item WHERE corrects_id IS NOT NULL AND item_id NOT IN (SELECT item_id FROM aside))),
line AS (
    SELECT account, currency, end_to_end_id, amount_minor FROM offered
    WHERE kind = 'LINE' AND end_to_end_id IS NOT NULL GROUP BY ALL HAVING count(*) = 1),
expectation AS (
    SELECT account, currency, end_to_end_id, -amount_minor AS amount_minor FROM offered
    WHERE kind IN ('INSTRUCTION', 'RECEIPT') AND end_to_end_id IS NOT NULL GROUP BY ALL HAVING count(*) = 1)
INSERT INTO finding
SELECT 'exact-keys', 'run', 'says ' || r.exact_keys || ' and ' || r.exact_keys_again || ' exact keys; there are ' || c.n
FROM run r, (SELECT count(*) AS n FROM line JOIN expectation USING (account, currency, end_to_end_id, amount_minor)) c
WHERE r.exact_keys <> c.n OR r.exact_keys_again <> c.n;
