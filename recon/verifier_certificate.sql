-- The certificate of a batch run, from the rows that came in and where they went (`went` of `verifier_rules.sql`).
CREATE TABLE certified AS
SELECT p.account, p.currency,
       coalesce(sum(w.amount_minor) FILTER (WHERE w.is_bank), 0) AS bank_minor, count(*) FILTER (WHERE w.is_bank) AS bank_items,
       coalesce(sum(w.amount_minor) FILTER (WHERE NOT w.is_bank), 0) AS ledger_minor,
       count(*) FILTER (WHERE NOT w.is_bank) AS ledger_items,
       coalesce(sum(w.amount_minor) FILTER (WHERE w.is_bank AND w.set_ordinal IS NOT NULL), 0) AS bank_cleared_minor,
       count(*) FILTER (WHERE w.is_bank AND w.set_ordinal IS NOT NULL) AS bank_cleared_items,
       coalesce(sum(w.amount_minor) FILTER (WHERE NOT w.is_bank AND w.set_ordinal IS NOT NULL), 0) AS ledger_cleared_minor,
       count(*) FILTER (WHERE NOT w.is_bank AND w.set_ordinal IS NOT NULL) AS ledger_cleared_items
FROM went w JOIN place p USING (place)
GROUP BY p.account, p.currency;

INSERT INTO finding
SELECT 'certificate', coalesce(c.account, f.account) || ' ' || coalesce(c.currency, f.currency),
       'the certificate does not say what came in, cleared and stayed open'
FROM certified c
FULL JOIN certificate f ON f.account = c.account AND f.currency = c.currency
LEFT JOIN (SELECT account, currency, sum(explained_minor) AS explained_minor FROM proof GROUP BY ALL) x
       ON x.account = c.account AND x.currency = c.currency
WHERE c.account IS NULL OR f.account IS NULL
   OR (c.bank_minor, c.bank_items, c.ledger_minor, c.ledger_items, c.bank_cleared_minor, c.bank_cleared_items,
       c.ledger_cleared_minor, c.ledger_cleared_items, coalesce(x.explained_minor, 0),
       c.bank_minor - c.bank_cleared_minor, c.bank_items - c.bank_cleared_items,
       c.ledger_minor - c.ledger_cleared_minor, c.ledger_items - c.ledger_cleared_items, 0)
      IS DISTINCT FROM
      (f.bank_minor, f.bank_items, f.ledger_minor, f.ledger_items, f.bank_cleared_minor, f.bank_cleared_items,
       f.ledger_cleared_minor, f.ledger_cleared_items, f.explained_minor, f.bank_open_minor, f.bank_open_items,
       f.ledger_open_minor, f.ledger_open_items, f.residual_minor);
