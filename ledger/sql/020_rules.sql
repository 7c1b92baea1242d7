-- Rules that span rows. They fire for everybody, the owner included, on direct inserts too.
-- All but `fold_into_balances` only raise.

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
    'ledger.batch', 'ledger.entry', 'ledger.entry_text', 'ledger.posting', 'ledger.publication',
    'ledger.batch_seq', 'ledger.certified_through', 'ledger.period_close', 'ledger.period_override']::regclass[]) t;

-- Balances move only from inside the posting trigger, at trigger depth 2 (depth 1 is a direct UPDATE's own).
CREATE FUNCTION ledger.guard_balance() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF pg_trigger_depth() < 2 THEN
        RAISE EXCEPTION USING
            ERRCODE = 'restrict_violation', CONSTRAINT = 'balance_by_posting',
            MESSAGE = format('%s on ledger.balance is refused: a balance is the sum of its postings.', TG_OP),
            HINT = 'Post an entry instead.';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER balance_by_posting BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON ledger.balance
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.guard_balance();
ALTER TABLE ledger.balance ENABLE ALWAYS TRIGGER balance_by_posting;

CREATE FUNCTION ledger.open_balances() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO ledger.balance (account_id, book_id, normal_side, floor_minor)
    SELECT account_id, book_id, normal_side, floor_minor FROM new_account ORDER BY account_id;
    RETURN NULL;
END $$;
CREATE TRIGGER open_balances AFTER INSERT ON ledger.account
    REFERENCING NEW TABLE AS new_account FOR EACH STATEMENT EXECUTE FUNCTION ledger.open_balances();
ALTER TABLE ledger.account ENABLE ALWAYS TRIGGER open_balances;

-- Invariant 1, 11 and the tie between an entry and its postings, for a whole statement at once.
CREATE FUNCTION ledger.check_postings() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_bad record;
BEGIN
    IF NOT EXISTS (SELECT FROM new_posting) THEN RETURN NULL; END IF;

    SELECT g.entry_id, c.code, g.total INTO v_bad
      FROM (SELECT entry_id, currency_id, sum(amount_minor) AS total FROM new_posting
            GROUP BY entry_id, currency_id HAVING sum(amount_minor) <> 0
            ORDER BY entry_id, currency_id LIMIT 1) g
      LEFT JOIN ledger.currency c USING (currency_id);
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'posting_balances', SCHEMA = 'ledger', TABLE = 'posting',
            MESSAGE = format('Entry %s does not balance: its postings sum to %s minor units of %s.', v_bad.entry_id, v_bad.total, v_bad.code),
            HINT = 'Debits and credits of an entry must be equal in every currency.';
    END IF;

    -- The entry must be of this very transaction and take exactly these postings: no late legs, no orphans.
    -- LATERAL … LIMIT 1 keeps every look-up on the primary key: a cached plan made for one posting must not
    -- turn quadratic for a hundred thousand.
    SELECT g.entry_id INTO v_bad
      FROM (SELECT entry_id, count(*) AS n, min(posting_id) AS low, max(posting_id) AS high,
                   min(effective_date) AS first_date, max(effective_date) AS last_date,
                   min(book_id) AS low_book, max(book_id) AS high_book
              FROM new_posting GROUP BY entry_id) g
      LEFT JOIN LATERAL (SELECT * FROM ledger.entry e WHERE e.entry_id = g.entry_id LIMIT 1) e ON true
     WHERE (e.posting_count = g.n AND e.first_posting_id = g.low AND g.high = g.low + g.n - 1
            AND e.effective_date = g.first_date AND e.effective_date = g.last_date
            AND e.book_id = g.low_book AND e.book_id = g.high_book) IS NOT TRUE
     LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'posting_entry', SCHEMA = 'ledger', TABLE = 'posting',
            MESSAGE = format('Postings do not belong to entry %s as it was declared (number, ids, date or book differ).', v_bad.entry_id),
            HINT = 'An entry is written whole, in one statement with all its postings.';
    END IF;
    SELECT b.batch_id INTO v_bad FROM (SELECT DISTINCT posting_id >> 20 AS batch_id FROM new_posting) p
      LEFT JOIN ledger.batch b ON b.batch_id = p.batch_id AND b.xid = pg_current_xact_id() WHERE b.batch_id IS NULL LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'posting_entry', SCHEMA = 'ledger', TABLE = 'posting',
            MESSAGE = 'Postings carry the number of a batch that this transaction did not open.',
            HINT = 'Use ledger.post_batch.';
    END IF;

    PERFORM ledger.raise_account_fault(f.account_id, f.fault, f.code, f.control)
       FROM (SELECT n.account_id, a.code, a.control,
                    CASE WHEN a.account_id IS NULL THEN 'posting_account'
                         WHEN a.currency_id <> n.currency_id THEN 'posting_currency'
                         WHEN a.control IS NOT NULL AND NOT EXISTS (
                              SELECT FROM ledger.control c JOIN ledger.batch b ON b.module = ANY (c.modules)
                               WHERE c.control = a.control AND b.batch_id = n.batch_id)
                              THEN 'posting_control_account' END AS fault
               FROM (SELECT DISTINCT account_id, book_id, currency_id, posting_id >> 20 AS batch_id FROM new_posting) n
               LEFT JOIN LATERAL (SELECT * FROM ledger.account a
                                   WHERE a.account_id = n.account_id AND a.book_id = n.book_id LIMIT 1) a ON true) f
      WHERE f.fault IS NOT NULL;
    RETURN NULL;
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

-- Invariant 4 by construction: the same trigger event that admits postings moves the balances, rows locked
-- in account order so that two batches can never wait for each other.
CREATE FUNCTION ledger.fold_into_balances() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_accounts int[]; v_deltas bigint[]; v_account int;
BEGIN
    SELECT array_agg(account_id ORDER BY account_id), array_agg(delta ORDER BY account_id) INTO v_accounts, v_deltas
      FROM (SELECT account_id, sum(amount_minor)::bigint AS delta FROM new_posting GROUP BY account_id) d;
    IF v_accounts IS NULL THEN RETURN NULL; END IF;
    PERFORM FROM ledger.balance b WHERE b.account_id = ANY (v_accounts) ORDER BY b.account_id FOR NO KEY UPDATE;
    BEGIN
        UPDATE ledger.balance b SET posted_minor = b.posted_minor + d.delta
          FROM unnest(v_accounts, v_deltas) AS d (account_id, delta)
         WHERE b.account_id = d.account_id AND d.delta <> 0;
    EXCEPTION WHEN check_violation THEN
        SELECT b.account_id INTO v_account FROM ledger.balance b JOIN unnest(v_accounts, v_deltas) AS d (account_id, delta)
         USING (account_id) WHERE b.normal_side * (b.posted_minor + d.delta) - b.held_minor < b.floor_minor
         ORDER BY 1 LIMIT 1;
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'balance_floor', SCHEMA = 'ledger', TABLE = 'balance',
            MESSAGE = (SELECT format('Account %s would fall below its floor of %s minor units.', code, floor_minor)
                         FROM ledger.account WHERE account_id = v_account),
            HINT = 'Post less, or fund the account first.';
    END;
    RETURN NULL;
END $$;

-- Triggers of one event fire in name order: check first, then move balances.
CREATE TRIGGER a_check_postings AFTER INSERT ON ledger.posting
    REFERENCING NEW TABLE AS new_posting FOR EACH STATEMENT EXECUTE FUNCTION ledger.check_postings();
CREATE TRIGGER b_fold_into_balances AFTER INSERT ON ledger.posting
    REFERENCING NEW TABLE AS new_posting FOR EACH STATEMENT EXECUTE FUNCTION ledger.fold_into_balances();
ALTER TABLE ledger.posting ENABLE ALWAYS TRIGGER a_check_postings;
ALTER TABLE ledger.posting ENABLE ALWAYS TRIGGER b_fold_into_balances;

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

-- Invariants 1 (at least two postings, complete) and 7 (open period, honest reversal).
CREATE FUNCTION ledger.check_entries() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_bad record;
BEGIN
    SELECT e.entry_id INTO v_bad FROM new_entry e
     WHERE (SELECT p.entry_id FROM ledger.posting p WHERE p.posting_id = e.first_posting_id) IS DISTINCT FROM e.entry_id
     LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'entry_postings', SCHEMA = 'ledger', TABLE = 'entry',
            MESSAGE = format('Entry %s has no postings.', v_bad.entry_id),
            HINT = 'An entry is written whole, in one statement with all its postings.';
    END IF;

    -- Closing takes FOR UPDATE on the same row: a post and a close never overlap.
    PERFORM ledger.require_read_committed();
    PERFORM FROM ledger.book b WHERE b.book_id IN (SELECT DISTINCT book_id FROM new_entry) ORDER BY b.book_id FOR KEY SHARE;
    SELECT e.entry_id, e.idempotency_key, e.effective_date, c.through_date INTO v_bad
      FROM new_entry e JOIN (SELECT book_id, max(through_date) AS through_date FROM ledger.period_close GROUP BY book_id) c
        ON c.book_id = e.book_id AND e.effective_date <= c.through_date
     ORDER BY e.entry_id LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'entry_period_open', SCHEMA = 'ledger', TABLE = 'entry',
            MESSAGE = format('Entry %s is effective on %s, but the books are closed through %s.', v_bad.idempotency_key, v_bad.effective_date, v_bad.through_date),
            HINT = 'Date it in an open period.';
    END IF;

    SELECT e.idempotency_key INTO v_bad FROM new_entry e JOIN ledger.entry o ON o.entry_id = e.reverses_entry_id
     WHERE e.book_id <> o.book_id OR e.posting_count <> o.posting_count OR EXISTS (
           SELECT account_id, -amount_minor FROM ledger.posting
            WHERE posting_id BETWEEN e.first_posting_id AND e.first_posting_id + e.posting_count - 1
           EXCEPT ALL
           SELECT account_id, amount_minor FROM ledger.posting
            WHERE posting_id BETWEEN o.first_posting_id AND o.first_posting_id + o.posting_count - 1) LIMIT 1;
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
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_bad record;
BEGIN
    SELECT t.batch_id INTO v_bad FROM (SELECT DISTINCT entry_id >> 20 AS batch_id FROM new_text) t
      LEFT JOIN ledger.batch b ON b.batch_id = t.batch_id AND b.xid = pg_current_xact_id() WHERE b.batch_id IS NULL LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'entry_text_with_entry', SCHEMA = 'ledger', TABLE = 'entry_text',
            MESSAGE = 'A description or reference is written with its entry, never later.',
            HINT = 'Post a correction instead.';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER check_entry_texts AFTER INSERT ON ledger.entry_text
    REFERENCING NEW TABLE AS new_text FOR EACH STATEMENT EXECUTE FUNCTION ledger.check_entry_texts();
ALTER TABLE ledger.entry_text ENABLE ALWAYS TRIGGER check_entry_texts;

-- Invariant 7: a period closes in order, certified or overridden by a second person, and never beside a post.
CREATE FUNCTION ledger.check_close() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_closed date; v_missing text;
BEGIN
    PERFORM ledger.require_read_committed();
    PERFORM FROM ledger.book WHERE book_id = NEW.book_id FOR UPDATE;
    SELECT max(through_date) INTO v_closed FROM ledger.period_close WHERE book_id = NEW.book_id;
    IF v_closed >= NEW.through_date THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'period_order', SCHEMA = 'ledger', TABLE = 'period_close',
            MESSAGE = format('The books are closed through %s already.', v_closed);
    END IF;
    SELECT string_agg(a.code, ', ' ORDER BY a.code) INTO v_missing FROM ledger.account a
     WHERE a.book_id = NEW.book_id AND a.control = 'nostro' AND NOT EXISTS (
           SELECT FROM ledger.certified_through c
            WHERE c.book_id = a.book_id AND c.account_id = a.account_id AND c.through_date >= NEW.through_date);
    IF v_missing IS NOT NULL AND NOT EXISTS (
           SELECT FROM ledger.period_override o WHERE (o.book_id, o.through_date) = (NEW.book_id, NEW.through_date)
              AND (o.reason, o.requested_by) = (NEW.override_reason, NEW.override_by)) THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'period_certified', SCHEMA = 'ledger', TABLE = 'period_close',
            MESSAGE = format('The period through %s cannot close: %s is not certified through that day.', NEW.through_date, v_missing),
            HINT = 'Reconcile the missing days, or let a second person request an override with a reason.';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER check_close BEFORE INSERT ON ledger.period_close FOR EACH ROW EXECUTE FUNCTION ledger.check_close();
ALTER TABLE ledger.period_close ENABLE ALWAYS TRIGGER check_close;
