-- What a batch run found, one row a leg, a set, an open item. `leg` holds the sets of the later passes (frames of
-- the cascade), `exact_pair` those of the first; `coded` the open items' codes.
CREATE MACRO first_rule(is_receipt) AS
    CASE WHEN is_receipt THEN (SELECT code FROM rule WHERE wide = 'RECEIPT')
         ELSE (SELECT code FROM rule WHERE wide = 'INSTRUCTION') END;
CREATE MACRO first_version(is_receipt) AS
    CASE WHEN is_receipt THEN (SELECT version FROM rule WHERE wide = 'RECEIPT')
         ELSE (SELECT version FROM rule WHERE wide = 'INSTRUCTION') END;

CREATE VIEW match_at AS
SELECT expected_id AS set_ordinal, first_rule(is_receipt) AS rule, first_version(is_receipt) AS rule_version,
       line_id AS item_id, line_minor AS amount_minor, line_hash AS row_hash, account
FROM exact_pair
UNION ALL
SELECT expected_id, first_rule(is_receipt), first_version(is_receipt), expected_id, -line_minor, expected_hash,
       account
FROM exact_pair
UNION ALL
SELECT g.set_ordinal, r.code, r.version, g.item_id, i.amount_minor, i.row_hash, i.account
FROM leg g JOIN rule r USING (position) JOIN item i USING (item_id);

CREATE VIEW match AS SELECT * EXCLUDE (account) FROM match_at;

CREATE TABLE late_proof AS
SELECT g.set_ordinal, r.code AS rule, r.version AS rule_version, any_value(i.account) AS account,
       any_value(i.currency) AS currency, count(*)::INTEGER AS legs,
       coalesce(sum(i.amount_minor) FILTER (WHERE i.kind IN ('LINE', 'PENDING')), 0)::BIGINT AS bank_minor,
       coalesce(sum(i.amount_minor) FILTER (WHERE i.kind NOT IN ('LINE', 'PENDING')), 0)::BIGINT AS ledger_minor,
       any_value(g.explained_code) AS explained_code, any_value(g.rivals)::INTEGER AS rivals,
       any_value(g.margin)::INTEGER AS margin, r.is_fungible
FROM leg g JOIN rule r USING (position) JOIN item i USING (item_id)
GROUP BY ALL;

-- The equation of a set: bank_minor + ledger_minor = explained_minor (0 unless policy lets a difference clear).
CREATE VIEW proof AS
SELECT expected_id AS set_ordinal, first_rule(is_receipt) AS rule, first_version(is_receipt) AS rule_version, account,
       currency, 2::INTEGER AS legs, line_minor AS bank_minor, -line_minor AS ledger_minor,
       0::BIGINT AS explained_minor, NULL::VARCHAR AS explained_code, 0::INTEGER AS rivals, NULL::INTEGER AS margin,
       false AS is_fungible
FROM exact_pair
UNION ALL
SELECT set_ordinal, rule, rule_version, account, currency, legs, bank_minor, ledger_minor,
       bank_minor + ledger_minor, explained_code, rivals, margin, is_fungible
FROM late_proof;

CREATE TABLE break_item AS
SELECT o.item_id, c.code, c.break_id, o.kind, o.account, o.currency, o.amount_minor, o.date, o.age_days, o.row_hash,
       coalesce(s.items, 1)::INTEGER AS items, coalesce(s.residual_minor, o.amount_minor)::BIGINT AS residual_minor,
       s.days
FROM rest o
JOIN coded c USING (item_id)
LEFT JOIN (SELECT c.break_id, count(*) AS items, sum(o.amount_minor) AS residual_minor,
                  max(o.day) FILTER (WHERE o.kind IN ('LINE', 'PENDING'))
                  - min(o.day) FILTER (WHERE o.kind NOT IN ('LINE', 'PENDING')) AS days
           FROM rest o JOIN coded c USING (item_id) WHERE c.break_id IS NOT NULL
           GROUP BY c.break_id) s USING (break_id);

-- Conservation, each side by itself: what came in = what cleared + what is open, in minor units and in items, and
-- what cleared is even between the sides but for what is explained.
CREATE TABLE certificate AS
WITH input AS (
    SELECT account, currency, sum(amount_minor) AS bank_minor, count(*) AS bank_items, 0 AS ledger_minor, 0 AS ledger_items
    FROM raw_bank GROUP BY account, currency
    UNION ALL
    SELECT account, currency, 0, 0, sum(amount_minor), count(*) FROM raw_ledger GROUP BY account, currency
),
cleared AS (
    SELECT account, currency, sum(line_minor) AS bank_minor, count(*) AS bank_items, -sum(line_minor) AS ledger_minor,
           count(*) AS ledger_items, 0 AS explained_minor
    FROM exact_pair GROUP BY account, currency
    UNION ALL
    SELECT i.account, i.currency,
           coalesce(sum(i.amount_minor) FILTER (WHERE i.kind IN ('LINE', 'PENDING')), 0),
           count(*) FILTER (WHERE i.kind IN ('LINE', 'PENDING')),
           coalesce(sum(i.amount_minor) FILTER (WHERE i.kind NOT IN ('LINE', 'PENDING')), 0),
           count(*) FILTER (WHERE i.kind NOT IN ('LINE', 'PENDING')), 0
    FROM leg g JOIN item i USING (item_id) GROUP BY i.account, i.currency
    UNION ALL
    SELECT account, currency, 0, 0, 0, 0, sum(bank_minor + ledger_minor) FROM late_proof GROUP BY account, currency
),
open AS (
    SELECT account, currency,
           coalesce(sum(amount_minor) FILTER (WHERE kind IN ('LINE', 'PENDING')), 0) AS bank_minor,
           count(*) FILTER (WHERE kind IN ('LINE', 'PENDING')) AS bank_items,
           coalesce(sum(amount_minor) FILTER (WHERE kind NOT IN ('LINE', 'PENDING')), 0) AS ledger_minor,
           count(*) FILTER (WHERE kind NOT IN ('LINE', 'PENDING')) AS ledger_items
    FROM break_item GROUP BY account, currency
),
total AS (
    SELECT account, currency, sum(i.bank_minor)::BIGINT AS bank_minor, sum(i.bank_items)::BIGINT AS bank_items,
           sum(i.ledger_minor)::BIGINT AS ledger_minor, sum(i.ledger_items)::BIGINT AS ledger_items
    FROM input i GROUP BY account, currency
),
taken AS (
    SELECT account, currency, sum(bank_minor)::BIGINT AS bank_cleared_minor,
           sum(bank_items)::BIGINT AS bank_cleared_items, sum(ledger_minor)::BIGINT AS ledger_cleared_minor,
           sum(ledger_items)::BIGINT AS ledger_cleared_items, sum(explained_minor)::BIGINT AS explained_minor
    FROM cleared GROUP BY account, currency
)
SELECT t.account, t.currency, t.bank_minor, t.bank_items, t.ledger_minor, t.ledger_items,
       coalesce(c.bank_cleared_minor, 0) AS bank_cleared_minor, coalesce(c.bank_cleared_items, 0) AS bank_cleared_items,
       coalesce(c.ledger_cleared_minor, 0) AS ledger_cleared_minor,
       coalesce(c.ledger_cleared_items, 0) AS ledger_cleared_items,
       coalesce(c.explained_minor, 0) AS explained_minor,
       coalesce(o.bank_minor, 0)::BIGINT AS bank_open_minor, coalesce(o.bank_items, 0)::BIGINT AS bank_open_items,
       coalesce(o.ledger_minor, 0)::BIGINT AS ledger_open_minor,
       coalesce(o.ledger_items, 0)::BIGINT AS ledger_open_items,
       (abs(t.bank_minor - coalesce(c.bank_cleared_minor, 0) - coalesce(o.bank_minor, 0))
        + abs(t.ledger_minor - coalesce(c.ledger_cleared_minor, 0) - coalesce(o.ledger_minor, 0))
        + abs(coalesce(c.bank_cleared_minor, 0) + coalesce(c.ledger_cleared_minor, 0) - coalesce(c.explained_minor, 0))
        + abs(t.bank_items - coalesce(c.bank_cleared_items, 0) - coalesce(o.bank_items, 0))
        + abs(t.ledger_items - coalesce(c.ledger_cleared_items, 0) - coalesce(o.ledger_items, 0)))::BIGINT
           AS residual_minor
FROM total t LEFT JOIN taken c USING (account, currency) LEFT JOIN open o USING (account, currency)
ORDER BY t.account, t.currency;
