-- What a batch run left open, one row an item, and the certificate over all of it. `coded` has the open items' codes,
-- `exact_pair` the sets of the first pass (batch_first.sql), batch_sets.sql those of the later ones.
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
WITH cleared AS (
    SELECT w.account, w.currency, f.minor AS bank_minor, f.items AS bank_items, -f.minor AS ledger_minor,
           f.items AS ledger_items, 0 AS explained_minor
    FROM (SELECT place, sum(line_minor) AS minor, count(*) AS items FROM exact_pair GROUP BY place) f
    JOIN place w USING (place)
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
    SELECT account, currency, bank_minor::BIGINT AS bank_minor, bank_items, ledger_minor::BIGINT AS ledger_minor,
           ledger_items
    FROM place
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
