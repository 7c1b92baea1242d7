-- Rules that span rows. They fire for everybody, the owner included, on direct inserts too.
-- All but `fold_into_balances` (and opening a balance row) only raise.

CREATE FUNCTION ledger.refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION USING
        ERRCODE = 'restrict_violation', CONSTRAINT = 'append_only',
        MESSAGE = format('%s on %s.%s is refused: what is written stays written.', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME),
        HINT = 'Post a correction instead (a reversal, a new version, an un-match).';
END $$;

-- ENABLE ALWAYS: session_replication_role does not switch these off.
CREATE FUNCTION ledger.make_append_only(p_table regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON %s
                    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change()', p_table);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER append_only', p_table);
END $$;

SELECT ledger.make_append_only(t) FROM unnest(ARRAY[
    'ledger.currency', 'ledger.book', 'ledger.control', 'ledger.account', 'ledger.account_rule', 'ledger.source',
    'ledger.batch', 'ledger.entry', 'ledger.entry_text', 'ledger.posting', 'ledger.posting_block', 'ledger.publication', 'ledger.batch_seq']::regclass[]) t;

-- Balances move only from inside the posting trigger, at trigger depth 2 (depth 1 is a direct UPDATE's own).
CREATE FUNCTION ledger.guard_balance() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF pg_trigger_depth() < 2 THEN
        RAISE EXCEPTION USING
            ERRCODE = 'restrict_violation', CONSTRAINT = 'balance_by_posting',
            MESSAGE = format('%s on ledger.%s is refused: a balance is the sum of its postings.', TG_OP, TG_TABLE_NAME),
            HINT = 'Post an entry instead.';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER balance_by_posting BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON ledger.balance
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.guard_balance();
ALTER TABLE ledger.balance ENABLE ALWAYS TRIGGER balance_by_posting;

-- Blocks come from postings, by the same trigger. (A condition sees the depth outside: 0 for a direct INSERT.)
CREATE FUNCTION ledger.refuse_block() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION USING
        ERRCODE = 'restrict_violation', CONSTRAINT = 'block_by_posting',
        MESSAGE = format('%s on ledger.%s is refused: it is an index of the postings.', TG_OP, TG_TABLE_NAME),
        HINT = 'Post an entry instead.';
END $$;
CREATE TRIGGER block_by_posting BEFORE INSERT ON ledger.posting_block
    FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION ledger.refuse_block();
ALTER TABLE ledger.posting_block ENABLE ALWAYS TRIGGER block_by_posting;

CREATE FUNCTION ledger.open_balances() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO ledger.balance (account_id, book_id, normal_side, account_currency_id, control, floor_minor, ceiling_minor)
    SELECT account_id, book_id, normal_side, currency_id, control, floor_minor, ceiling_minor FROM new_account ORDER BY account_id;
    RETURN NULL;
END $$;
CREATE TRIGGER open_balances AFTER INSERT ON ledger.account
    REFERENCING NEW TABLE AS new_account FOR EACH STATEMENT EXECUTE FUNCTION ledger.open_balances();
ALTER TABLE ledger.account ENABLE ALWAYS TRIGGER open_balances;

-- A lock protects only those who look again after waiting for it; a snapshot taken before the wait does not.
-- So at REPEATABLE READ a post could miss the close it has just waited for.
CREATE FUNCTION ledger.require_read_committed() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_transaction_state', CONSTRAINT = 'read_committed',
            MESSAGE = format('The books are written at isolation level read committed, not %s.', current_setting('transaction_isolation')),
            HINT = 'Begin the transaction without an isolation level.';
    END IF;
END $$;

CREATE FUNCTION ledger.raise_account_fault(p_account_id int, p_fault text, p_code text, p_control text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = p_fault, SCHEMA = 'ledger', TABLE = 'posting',
        MESSAGE = CASE p_fault
            WHEN 'posting_account' THEN format('Account %s does not exist in this book.', p_account_id)
            WHEN 'posting_currency' THEN format('A posting on %s is not in the account''s currency.', p_code)
            ELSE format('Account %s is a control account (%s).', p_code, p_control) END,
        HINT = CASE p_fault
            WHEN 'posting_account' THEN 'Open the account first.'
            WHEN 'posting_currency' THEN 'Use an account of that currency.'
            ELSE 'Only the module that owns it posts or reverses there.' END;
END $$;

-- Plans of trigger statements are cached for a session that may post one entry now and a hundred thousand next.
-- So the planner gets no choice that only pays for few rows: joins hash, tables are entered by index. (These are
-- settings of the functions below, not of the server.) OFFSET 0 keeps a condition on the book away from the range of
-- ids: on young tables the planner would read every key of the book for it.

-- Invariant 1, 11 and the tie between batch, entry and postings, for a whole statement at once; then invariants 4
-- and 5: what admits postings moves the balances.
--
-- A batch says how many entries and postings it has. Its entries come in one statement that declares just so many
-- postings (check_entries), its postings in one statement of just so many, each group of which is exactly what one
-- entry of the batch declares: so no entry lacks postings, and no leg comes late.
-- The batch's entries lie in key order, so they are read page by page (bitmap), not one by one in the order of their ids.
CREATE FUNCTION ledger.admit_postings() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET enable_seqscan = off SET enable_indexscan = off AS $$
DECLARE
    v_batch bigint; v_book int; v_module text; v_count bigint; v_rows bigint; v_sound bigint; v_one_currency boolean;
    v_accounts int[]; v_deltas numeric[]; v_currencies int[]; v_in_block boolean; v_alike boolean;
BEGIN
    SELECT posting_id >> 20, in_block INTO v_batch, v_in_block FROM new_posting LIMIT 1;
    IF v_batch IS NULL THEN RETURN NULL; END IF;
    SELECT book_id, module, posting_count INTO v_book, v_module, v_count
      FROM ledger.batch WHERE batch_id = v_batch AND xid = pg_current_xact_id();
    IF NOT FOUND THEN
        PERFORM ledger.raise_posting_fault(NULL, NULL, NULL, v_batch);
    END IF;
    -- Modes of accounts change, and periods close, under FOR UPDATE on the same row: not while this post is under way.
    PERFORM FROM ledger.book WHERE book_id = v_book FOR KEY SHARE;

    -- Accounts in order, what each moves by, and the currency its postings claim (NULL when they differ); and their blocks.
    IF NOT v_in_block THEN
        SELECT array_agg(account_id ORDER BY account_id), array_agg(delta ORDER BY account_id),
               array_agg(CASE WHEN low = high THEN low END ORDER BY account_id), sum(n), min(low) = max(high), bool_and(alike)
          INTO v_accounts, v_deltas, v_currencies, v_rows, v_one_currency, v_alike
          FROM (SELECT account_id, sum(amount_minor) AS delta, count(*) AS n, min(currency_id) AS low, max(currency_id) AS high,
                       NOT bool_or(in_block) AS alike
                  FROM new_posting GROUP BY account_id) g;
    ELSE
        WITH moved AS MATERIALIZED (
            SELECT account_id, sum(amount_minor) AS delta, count(*)::int AS n, min(currency_id) AS low, max(currency_id) AS high,
                   array_agg((posting_id & 1048575)::int) AS posting_nos, array_agg((entry_id & 1048575)::int) AS entry_nos,
                   array_agg(amount_minor) AS amounts, array_agg(effective_date) AS dates, min(effective_date) AS first_date,
                   max(effective_date) AS last_date, bool_and(in_block) AS alike
              FROM new_posting GROUP BY account_id),
        block AS (
            INSERT INTO ledger.posting_block (account_id, batch_id, block_no, book_id, first_date, last_date, total_minor, posting_nos, entry_nos,
                                              amounts, dates)
            SELECT account_id, v_batch, 0, v_book, first_date, last_date, delta, posting_nos, entry_nos, amounts, dates FROM moved WHERE n <= 64
            UNION ALL
            SELECT account_id, v_batch, k / 64, v_book, first_date, last_date, w.total, posting_nos[k + 1:k + 64], entry_nos[k + 1:k + 64],
                   amounts[k + 1:k + 64], dates[k + 1:k + 64]
              FROM moved CROSS JOIN LATERAL generate_series(0, n - 1, 64) AS g (k)
             CROSS JOIN LATERAL (SELECT sum(a) AS total FROM unnest(amounts[k + 1:k + 64]) AS u (a)) w WHERE n > 64
             ORDER BY 1, 3)
        SELECT array_agg(account_id ORDER BY account_id), array_agg(delta ORDER BY account_id),
               array_agg(CASE WHEN low = high THEN low END ORDER BY account_id), sum(n), min(low) = max(high), bool_and(alike)
          INTO v_accounts, v_deltas, v_currencies, v_rows, v_one_currency, v_alike FROM moved;
    END IF;
    IF NOT v_alike THEN  -- some marked in_block and some not: some would be found twice or never
        PERFORM ledger.raise_posting_fault(NULL, NULL, NULL, v_batch);
    END IF;

    -- Postings of another book are left out here, and so missed in the count.
    SELECT sum(g.n) INTO v_sound
      FROM (SELECT entry_id, count(*) AS n, sum(amount_minor) AS total, min(posting_id) AS low, max(posting_id) AS high,
                   min(effective_date) AS first_date, max(effective_date) AS last_date
              FROM new_posting WHERE book_id = v_book GROUP BY entry_id) g
      JOIN (SELECT * FROM ledger.entry WHERE entry_id >= v_batch << 20 AND entry_id < (v_batch + 1) << 20 OFFSET 0) e USING (entry_id)
     WHERE g.total = 0 AND e.posting_count = g.n AND e.first_posting_id = g.low AND g.high = g.low + g.n - 1
       AND e.effective_date = g.first_date AND e.effective_date = g.last_date AND e.book_id = v_book;
    IF NOT v_one_currency OR v_sound IS DISTINCT FROM v_count OR v_count <> v_rows THEN
        -- Several currencies, or a fault: look closer.
        PERFORM ledger.check_accounts(v_book, v_module, v_accounts, v_currencies);
        PERFORM ledger.raise_posting_fault(b.entry_id, b.total, b.currency_id, v_batch)
           FROM (SELECT entry_id, currency_id, sum(amount_minor) AS total FROM new_posting
                 GROUP BY entry_id, currency_id HAVING sum(amount_minor) <> 0 ORDER BY entry_id, currency_id LIMIT 1) b;
        PERFORM ledger.raise_posting_fault(g.entry_id, NULL, NULL, v_batch)
           FROM (SELECT entry_id, count(*) AS n, min(posting_id) AS low, max(posting_id) AS high,
                        min(effective_date) AS first_date, max(effective_date) AS last_date,
                        min(book_id) AS low_book, max(book_id) AS high_book
                   FROM new_posting GROUP BY entry_id) g
           LEFT JOIN (SELECT * FROM ledger.entry WHERE entry_id >= v_batch << 20 AND entry_id < (v_batch + 1) << 20 OFFSET 0) e USING (entry_id)
          WHERE (e.posting_count = g.n AND e.first_posting_id = g.low AND g.high = g.low + g.n - 1
                 AND e.effective_date = g.first_date AND e.effective_date = g.last_date
                 AND e.book_id = v_book AND g.low_book = v_book AND g.high_book = v_book) IS NOT TRUE
          ORDER BY g.entry_id LIMIT 1;
        IF v_count IS DISTINCT FROM v_rows THEN
            PERFORM ledger.raise_posting_fault(NULL, NULL, NULL, v_batch);
        END IF;
    END IF;
    PERFORM ledger.fold_into_balances(v_batch, v_book, v_module, v_accounts, v_deltas, v_currencies);
    RETURN NULL;
END $$;

CREATE FUNCTION ledger.raise_posting_fault(p_entry_id bigint, p_total numeric, p_currency_id int, p_batch_id bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_key text := (SELECT idempotency_key FROM ledger.entry WHERE entry_id = p_entry_id);
BEGIN
    IF p_total IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'posting_balances', SCHEMA = 'ledger', TABLE = 'posting',
            MESSAGE = format('Entry %s does not balance: its postings sum to %s minor units of %s.', coalesce(v_key, p_entry_id::text), p_total,
                             coalesce((SELECT code FROM ledger.currency WHERE currency_id = p_currency_id), 'an unknown currency')),
            HINT = 'Debits and credits of an entry must be equal in every currency.';
    ELSIF p_entry_id IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'posting_entry', SCHEMA = 'ledger', TABLE = 'posting',
            MESSAGE = format('Postings do not belong to entry %s as it was declared (number, ids, date or book differ).', coalesce(v_key, p_entry_id::text)),
            HINT = 'An entry is written whole, in one statement with all its postings.';
    END IF;
    RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'posting_entry', SCHEMA = 'ledger', TABLE = 'posting',
        MESSAGE = format('Batch %s was not opened by this transaction, or not for so many postings.', p_batch_id),
        HINT = 'Use ledger.post_batch.';
END $$;

-- Invariants 1 (own currency) and 11: one look at each account, whatever the number of its postings.
CREATE FUNCTION ledger.check_accounts(p_book_id int, p_module text, p_accounts int[], p_currencies int[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
SET enable_nestloop = off SET enable_seqscan = off AS $$
BEGIN
    PERFORM ledger.raise_account_fault(f.account_id, f.fault, f.code, f.control)
       FROM (SELECT n.account_id, a.code, a.control,
                    CASE WHEN a.account_id IS NULL THEN 'posting_account'
                         WHEN a.currency_id IS DISTINCT FROM n.currency_id THEN 'posting_currency'
                         WHEN a.control IS NOT NULL AND NOT EXISTS (
                              SELECT FROM ledger.control c WHERE c.control = a.control AND p_module = ANY (c.modules))
                              THEN 'posting_control_account' END AS fault
               FROM unnest(p_accounts, p_currencies) AS n (account_id, currency_id)
               LEFT JOIN LATERAL (SELECT * FROM ledger.account a
                                   WHERE a.account_id = n.account_id AND a.book_id = p_book_id LIMIT 1) a ON true) f
      WHERE f.fault IS NOT NULL;
END $$;

-- Everybody who locks balances does it in this order: limited accounts first, then all, each by account.
CREATE FUNCTION ledger.lock_balances(p_accounts int[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
BEGIN
    PERFORM FROM ledger.balance b WHERE b.account_id = ANY (p_accounts) AND (b.floor_minor IS NOT NULL OR b.ceiling_minor IS NOT NULL)
      ORDER BY b.account_id FOR NO KEY UPDATE;
    PERFORM FROM ledger.balance b WHERE b.account_id = ANY (p_accounts) ORDER BY b.account_id FOR NO KEY UPDATE;
END $$;

CREATE FUNCTION ledger.limit_message(p_code text, p_floor bigint, p_ceiling bigint) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN p_floor IS NOT NULL THEN format('Account %s would fall below its floor of %s minor units.', p_code, p_floor)
                ELSE format('Account %s would rise above its ceiling of %s minor units.', p_code, p_ceiling) END
$$;

-- Invariant 4 by construction, and 1 (own currency), 5 and 11. Rows are locked in one order by everybody, first those
-- with a limit, then all, each by account, then the rows of hot accounts, so that no two batches can wait for each
-- other in a ring: a merge join of the index with the accounts in order updates in that order. The CHECK on the table
-- is the rule of the limits; looking before serves only the sentence. A row that is not of the book, the currency or
-- the module is not moved, and is missed in the count; of another book's limits nothing is said.
CREATE FUNCTION ledger.fold_into_balances(
    p_batch_id bigint, p_book_id int, p_module text, p_accounts int[], p_deltas numeric[], p_currencies int[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_nestloop = off SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
    v_bad record; v_moved int;
    v_controls text[] := ARRAY(SELECT control FROM ledger.control WHERE p_module = ANY (modules));
BEGIN
    PERFORM FROM ledger.balance b WHERE b.account_id = ANY (p_accounts) AND b.book_id = p_book_id
                                    AND (b.floor_minor IS NOT NULL OR b.ceiling_minor IS NOT NULL)
      ORDER BY b.account_id FOR NO KEY UPDATE;
    IF FOUND THEN
        SELECT a.code, b.floor_minor, b.ceiling_minor,
               coalesce(b.normal_side * (b.posted_minor + d.delta) - b.held_minor < b.floor_minor, false) AS below INTO v_bad
          FROM unnest(p_accounts, p_deltas) AS d (account_id, delta)
          JOIN ledger.balance b USING (account_id) JOIN ledger.account a USING (account_id)
         WHERE b.account_id = ANY (p_accounts) AND b.book_id = p_book_id AND (b.floor_minor IS NOT NULL OR b.ceiling_minor IS NOT NULL)
           AND (b.normal_side * (b.posted_minor + d.delta) - b.held_minor < b.floor_minor
                OR b.normal_side * (b.posted_minor + d.delta) > b.ceiling_minor) ORDER BY d.account_id LIMIT 1;
        IF v_bad.below THEN
            RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'balance_floor', SCHEMA = 'ledger', TABLE = 'balance',
                MESSAGE = ledger.limit_message(v_bad.code, v_bad.floor_minor, NULL), HINT = 'Post less, or fund the account first.';
        ELSIF FOUND THEN
            RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'balance_ceiling', SCHEMA = 'ledger', TABLE = 'balance',
                MESSAGE = ledger.limit_message(v_bad.code, NULL, v_bad.ceiling_minor), HINT = 'Post less, or draw from the account first.';
        END IF;
    END IF;
    UPDATE ledger.balance b SET posted_minor = b.posted_minor + d.delta
      FROM unnest(p_accounts, p_deltas, p_currencies) AS d (account_id, delta, currency_id)
     WHERE b.account_id = ANY (p_accounts) AND b.account_id = d.account_id AND b.book_id = p_book_id AND b.account_currency_id = d.currency_id
       AND b.mode = 'strict' AND (b.control IS NULL OR b.control = ANY (v_controls));
    GET DIAGNOSTICS v_moved = ROW_COUNT;
    IF v_moved < cardinality(p_accounts) THEN
        v_moved := v_moved + ledger.move_hot(p_batch_id, p_book_id, p_accounts, p_deltas, p_currencies);
    END IF;
    IF v_moved <> cardinality(p_accounts) THEN
        PERFORM ledger.check_accounts(p_book_id, p_module, p_accounts, p_currencies);
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'balance_row', SCHEMA = 'ledger', TABLE = 'balance',
            MESSAGE = 'A balance row of this batch is missing or does not say what its account says.', HINT = 'Run nostro verify.';
    END IF;
END $$;

CREATE TRIGGER admit_postings AFTER INSERT ON ledger.posting
    REFERENCING NEW TABLE AS new_posting FOR EACH STATEMENT EXECUTE FUNCTION ledger.admit_postings();
ALTER TABLE ledger.posting ENABLE ALWAYS TRIGGER admit_postings;

-- Invariants 1 (complete, as the batch says) and 7 (open period, honest reversal).
CREATE FUNCTION ledger.check_entries() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET enable_seqscan = off AS $$
DECLARE
    v_group record; v_bad record; v_reverses boolean := false;
    v_module text; v_closed date; v_soft date;
BEGIN
    PERFORM ledger.require_read_committed();
    FOR v_group IN SELECT entry_id >> 20 AS batch_id, book_id, count(*) AS entries, sum(posting_count) AS postings,
                          min(effective_date) AS first_date, count(reverses_entry_id) AS reversals
                     FROM new_entry GROUP BY 1, 2 ORDER BY 2, 1
    LOOP
        SELECT b.module INTO v_module FROM ledger.batch b
          WHERE b.batch_id = v_group.batch_id AND b.xid = pg_current_xact_id() AND b.book_id = v_group.book_id
            AND (b.entry_count, b.posting_count) = (v_group.entries, v_group.postings)
            AND EXISTS (SELECT FROM ledger.posting p WHERE p.posting_id >= b.batch_id << 20 AND p.posting_id < (b.batch_id + 1) << 20);
        IF NOT FOUND THEN
            RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'entry_postings', SCHEMA = 'ledger', TABLE = 'entry',
                MESSAGE = format('Batch %s was not opened by this transaction for just these entries and their postings.', v_group.batch_id),
                HINT = 'An entry is written whole, in one statement with its batch and all its postings.';
        END IF;

        -- Closing takes FOR UPDATE on the same row: a post and a close never overlap.
        PERFORM FROM ledger.book WHERE book_id = v_group.book_id FOR KEY SHARE;
        IF v_group.first_date <= greatest((SELECT max(through_date) FROM ledger.period_close WHERE book_id = v_group.book_id),
                                          (SELECT max(through_date) FROM ledger.period_soft_close WHERE book_id = v_group.book_id)) THEN
            v_closed := ledger.closed_through(v_group.book_id);
            v_soft := CASE WHEN coalesce(v_module, 'fx') = 'fx' AND NOT ledger.is_approver() THEN ledger.soft_closed_through(v_group.book_id) END;
            SELECT e.idempotency_key, e.effective_date INTO v_bad FROM new_entry e
             WHERE e.book_id = v_group.book_id AND e.effective_date <= greatest(v_closed, v_soft) ORDER BY (e.effective_date <= v_closed) IS TRUE DESC, e.entry_id LIMIT 1;
            IF v_bad.effective_date <= v_closed THEN
                RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'entry_period_open', SCHEMA = 'ledger', TABLE = 'entry',
                    MESSAGE = format('Entry %s is effective on %s, but the books are closed through %s.', v_bad.idempotency_key, v_bad.effective_date, v_closed),
                    HINT = 'Date it in an open period.';
            ELSIF v_bad.effective_date <= v_soft THEN
                RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'entry_period_soft_closed', SCHEMA = 'ledger', TABLE = 'entry',
                    MESSAGE = format('Entry %s is effective on %s, but the books are soft-closed through %s.', v_bad.idempotency_key, v_bad.effective_date, v_soft),
                    HINT = 'Date it later, or let an approver post it.';
            END IF;
        END IF;
        v_reverses := v_reverses OR v_group.reversals > 0;
    END LOOP;
    IF NOT v_reverses THEN RETURN NULL; END IF;

    SELECT e.idempotency_key INTO v_bad FROM new_entry e
      LEFT JOIN LATERAL (SELECT * FROM ledger.entry o WHERE o.entry_id = e.reverses_entry_id LIMIT 1) o ON true
     WHERE e.reverses_entry_id IS NOT NULL AND (
           o.entry_id IS NULL OR e.book_id <> o.book_id OR e.posting_count <> o.posting_count OR EXISTS (
           SELECT account_id, -amount_minor FROM ledger.posting
            WHERE posting_id BETWEEN e.first_posting_id AND e.first_posting_id + e.posting_count - 1
           EXCEPT ALL
           SELECT account_id, amount_minor FROM ledger.posting
            WHERE posting_id BETWEEN o.first_posting_id AND o.first_posting_id + o.posting_count - 1)) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'entry_reversal_negates', SCHEMA = 'ledger', TABLE = 'entry',
            MESSAGE = format('Entry %s says it reverses another but does not negate it exactly.', v_bad.idempotency_key),
            HINT = 'Use ledger.reverse.';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER check_entries AFTER INSERT ON ledger.entry
    REFERENCING NEW TABLE AS new_entry FOR EACH STATEMENT EXECUTE FUNCTION ledger.check_entries();
ALTER TABLE ledger.entry ENABLE ALWAYS TRIGGER check_entries;

-- A text belongs to its entry from the start: nobody words an entry afterwards (invariant 2).
CREATE FUNCTION ledger.check_entry_texts() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
BEGIN
    PERFORM FROM (SELECT DISTINCT entry_id >> 20 AS batch_id FROM new_text) t
      WHERE NOT EXISTS (SELECT FROM ledger.batch b WHERE b.batch_id = t.batch_id AND b.xid = pg_current_xact_id());
    IF FOUND OR EXISTS (SELECT FROM new_text t WHERE (SELECT e.entry_id FROM ledger.entry e WHERE e.entry_id = t.entry_id) IS NULL) THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'entry_text_with_entry', SCHEMA = 'ledger', TABLE = 'entry_text',
            MESSAGE = 'A description or reference is written with its entry, never later.',
            HINT = 'Post a correction instead.';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER check_entry_texts AFTER INSERT ON ledger.entry_text
    REFERENCING NEW TABLE AS new_text FOR EACH STATEMENT EXECUTE FUNCTION ledger.check_entry_texts();
ALTER TABLE ledger.entry_text ENABLE ALWAYS TRIGGER check_entry_texts;
