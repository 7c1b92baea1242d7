-- What people read.

CREATE VIEW ledger.account_balance AS
SELECT a.book_id, a.account_id, a.code, a.type, c.code AS currency, c.exponent, a.control, a.settleable, a.normal_side,
       h.posted_minor, b.held_minor, a.normal_side * h.posted_minor AS balance_minor
  FROM ledger.account a JOIN ledger.balance b USING (account_id) JOIN ledger.currency c ON c.currency_id = a.currency_id
 CROSS JOIN LATERAL (SELECT CASE WHEN b.mode = 'strict' THEN b.posted_minor
                                 ELSE (b.posted_minor + coalesce((SELECT sum(o.posted_minor) FROM (
            SELECT s.posted_minor FROM ledger.balance_shard s WHERE s.account_id = b.account_id
            UNION ALL SELECT p.posted_minor FROM ledger.balance_pending p WHERE p.account_id = b.account_id) o), 0))::bigint END AS posted_minor) h;
COMMENT ON VIEW ledger.account_balance IS 'Each account now: posted_minor debit positive, balance_minor positive on the normal side.';

CREATE VIEW ledger.journal AS
SELECT e.book_id, e.entry_id, e.idempotency_key, e.effective_date, p.posting_id, p.account_id, a.code AS account, p.amount_minor,
       c.code AS currency, t.description, t.reference, t.source_line, b.module, b.source_id, b.recorded_at, b.recorded_by, e.reverses_entry_id
  FROM ledger.entry e
  JOIN ledger.posting p ON p.posting_id BETWEEN e.first_posting_id AND e.first_posting_id + e.posting_count - 1
  JOIN ledger.account a USING (account_id) JOIN ledger.currency c ON c.currency_id = p.currency_id
  JOIN ledger.batch b ON b.batch_id = e.entry_id >> 20 LEFT JOIN ledger.entry_text t ON t.entry_id = e.entry_id;
COMMENT ON VIEW ledger.journal IS 'Every posting with its entry, account and origin.';

-- Postings marked in_block against their accounts' blocks: no row means that each is found there, once, as it is, and that
-- a block's total is that of its postings, its dates those of the account's postings in the batch.
CREATE FUNCTION ledger.verify_blocks(p_book_id int) RETURNS TABLE (invariant int, place text, fault text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT ledger.require_book(p_book_id);
    SELECT 4, 'account ' || coalesce(a.code, account_id::text), format('%s postings in blocks, %s in the books, or not the same', coalesce(b.n, 0), coalesce(p.n, 0))
      FROM (SELECT account_id, count(*) AS n,
                   bit_xor(hashint8extended(posting_id, hashint8extended(entry_id, hashint8extended(amount_minor, effective_date - '2000-01-01'::date)))) AS ids
              FROM ledger.posting WHERE book_id = p_book_id AND in_block GROUP BY account_id) p
      FULL JOIN (SELECT g.account_id, sum(g.n)::bigint AS n, bit_xor(g.ids) AS ids, bool_and(g.is_summed) AS is_summed FROM (
                 SELECT b.account_id, sum(u.n) AS n, bit_xor(u.ids) AS ids,
                        bool_and(u.total = b.total_minor)
                        AND (min(u.first_date), max(u.last_date)) = (min(b.first_date), max(b.last_date))
                        AND (min(b.first_date), max(b.last_date)) = (max(b.first_date), min(b.last_date)) AS is_summed
                   FROM ledger.posting_block b
                  CROSS JOIN LATERAL (
                        SELECT count(*) AS n, min(u.effective_date) AS first_date, max(u.effective_date) AS last_date, sum(u.amount_minor) AS total,
                               bit_xor(hashint8extended((b.batch_id << 20) + u.posting_no, hashint8extended((b.batch_id << 20) + u.entry_no,
                                       hashint8extended(u.amount_minor, u.effective_date - '2000-01-01'::date)))) AS ids
                          FROM unnest(b.posting_nos, b.entry_nos, b.amounts, b.dates) AS u (posting_no, entry_no, amount_minor, effective_date)) u
                  WHERE b.book_id = p_book_id GROUP BY b.account_id, b.batch_id) g GROUP BY g.account_id) b USING (account_id)
      LEFT JOIN ledger.account a USING (account_id)
     WHERE (p.n, p.ids, true) IS DISTINCT FROM (b.n, b.ids, b.is_summed)
$$;

-- Every broken rule of the books, recomputed from rows; no row means all hold.
-- One pass over the postings finds the entries that are not plainly sound (an entry of several currencies is not
-- plainly so); only these are asked what is wrong with them.
CREATE FUNCTION ledger.verify(p_book_id int)
RETURNS TABLE (invariant int, place text, fault text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET work_mem = '128MB' AS $$
    SELECT ledger.require_book(p_book_id);
    WITH odd AS MATERIALIZED (
        SELECT coalesce(e.entry_id, g.entry_id) AS entry_id
          FROM (SELECT p.entry_id, count(*) AS n, sum(p.amount_minor) AS total, min(p.currency_id) AS low, max(p.currency_id) AS high,
                       min(p.effective_date) AS first_date, max(p.effective_date) AS last_date,
                       bool_and(a.currency_id = p.currency_id AND a.book_id = p.book_id) AS is_own
                  FROM ledger.posting p LEFT JOIN ledger.account a USING (account_id) WHERE p.book_id = p_book_id GROUP BY p.entry_id) g
          FULL JOIN (SELECT * FROM ledger.entry e WHERE e.book_id = p_book_id) e USING (entry_id)
         WHERE (g.total = 0 AND g.low = g.high AND g.n = e.posting_count AND g.first_date = e.effective_date
                AND g.last_date = e.effective_date AND g.is_own) IS NOT TRUE),
    odd_posting AS MATERIALIZED (
        SELECT p.* FROM ledger.posting p WHERE p.book_id = p_book_id AND p.entry_id IN (SELECT entry_id FROM odd))
    SELECT 1, 'entry ' || entry_id, format('sums to %s in currency %s', sum(amount_minor), currency_id)
      FROM odd_posting GROUP BY entry_id, currency_id HAVING sum(amount_minor) <> 0
    UNION ALL
    SELECT 1, 'entry ' || e.entry_id, format('declares %s postings, has %s', e.posting_count, coalesce(p.n, 0))
      FROM ledger.entry e JOIN odd USING (entry_id)
      LEFT JOIN (SELECT entry_id, count(*) AS n FROM odd_posting GROUP BY entry_id) p USING (entry_id)
     WHERE e.book_id = p_book_id AND e.posting_count IS DISTINCT FROM p.n
    UNION ALL
    SELECT 1, 'posting ' || p.posting_id, 'has no entry, or not its account''s currency or book'
      FROM odd_posting p LEFT JOIN ledger.entry e USING (entry_id) LEFT JOIN ledger.account a USING (account_id)
     WHERE e.entry_id IS NULL OR a.currency_id IS DISTINCT FROM p.currency_id OR a.book_id IS DISTINCT FROM p.book_id
        OR e.effective_date <> p.effective_date
    UNION ALL
    SELECT 4, 'account ' || a.code, format('balance row %s, postings %s', b.now, coalesce(p.total, 0))
      FROM ledger.account a LEFT JOIN (SELECT b.account_id, b.posted_minor + CASE WHEN b.mode = 'strict' THEN 0 ELSE ledger.hot_minor(b.account_id) END AS now FROM ledger.balance b) b USING (account_id)
      LEFT JOIN (SELECT account_id, sum(amount_minor) AS total FROM ledger.posting WHERE book_id = p_book_id GROUP BY account_id) p USING (account_id)
     WHERE a.book_id = p_book_id AND b.now IS DISTINCT FROM coalesce(p.total, 0)
    UNION ALL
    SELECT 4, 'currency ' || a.currency_id, format('the book''s balances sum to %s', sum(b.now))
      FROM (SELECT b.account_id, b.posted_minor + CASE WHEN b.mode = 'strict' THEN 0 ELSE ledger.hot_minor(b.account_id) END AS now FROM ledger.balance b) b JOIN ledger.account a USING (account_id) WHERE a.book_id = p_book_id
     GROUP BY a.currency_id HAVING sum(b.now) <> 0
    UNION ALL
    SELECT 5, 'account ' || a.code, format('stands at %s, floor %s', b.normal_side * b.posted_minor - b.held_minor, b.floor_minor)
      FROM ledger.account a JOIN ledger.balance b USING (account_id)
     WHERE a.book_id = p_book_id AND b.normal_side * b.posted_minor - b.held_minor < b.floor_minor
    UNION ALL
    SELECT 5, 'account ' || a.code, format('stands at %s, ceiling %s', b.normal_side * b.posted_minor, b.ceiling_minor)
      FROM ledger.account a JOIN ledger.balance b USING (account_id)
     WHERE a.book_id = p_book_id AND b.normal_side * b.posted_minor > b.ceiling_minor
    UNION ALL
    SELECT * FROM ledger.verify_balance_rows(p_book_id)
    UNION ALL
    SELECT * FROM ledger.verify_blocks(p_book_id)
    UNION ALL
    SELECT 7, 'entry ' || r.entry_id, 'does not negate the entry it reverses'
      FROM ledger.entry r JOIN ledger.entry o ON o.entry_id = r.reverses_entry_id
     WHERE r.book_id = p_book_id AND EXISTS (
           SELECT account_id, -amount_minor FROM ledger.posting WHERE entry_id = r.entry_id
              AND posting_id BETWEEN r.first_posting_id AND r.first_posting_id + r.posting_count - 1
           EXCEPT ALL
           SELECT account_id, amount_minor FROM ledger.posting WHERE entry_id = o.entry_id
              AND posting_id BETWEEN o.first_posting_id AND o.first_posting_id + o.posting_count - 1)
    UNION ALL
    SELECT 2, 'batch ' || b.batch_id, format('posted %s entries, has %s', b.entry_count, coalesce(e.n, 0))
      FROM ledger.batch b LEFT JOIN (SELECT entry_id >> 20 AS batch_id, count(*) AS n FROM ledger.entry WHERE book_id = p_book_id GROUP BY 1) e USING (batch_id)
     WHERE b.book_id = p_book_id AND b.entry_count IS DISTINCT FROM e.n
    UNION ALL
    SELECT 11, 'posting ' || p.posting_id, format('module %s posted on control account %s', coalesce(b.module, '(none)'), a.code)
      FROM ledger.account a JOIN ledger.control c USING (control) JOIN ledger.posting p USING (account_id)
      JOIN ledger.batch b ON b.batch_id = p.posting_id >> 20
     WHERE a.book_id = p_book_id AND (b.module = ANY (c.modules)) IS NOT TRUE
$$;

GRANT SELECT ON ledger.account_balance, ledger.journal TO :app, :analyst;
GRANT EXECUTE ON FUNCTION ledger.verify TO :app;
