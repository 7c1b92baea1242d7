-- Periods: open, soft-closed (only approvers journalise), closed, re-opened by a second person; and certified bank
-- days, on which cash does not change any more (invariant 7). State is the latest event; events only grow.
-- All events of a book are written under FOR UPDATE on its row, posts hold FOR KEY SHARE: they never overlap.

CREATE SEQUENCE ledger.period_event_seq;

ALTER TABLE ledger.period_close ADD COLUMN event_no bigint NOT NULL DEFAULT nextval('ledger.period_event_seq');
ALTER TABLE ledger.period_close DROP CONSTRAINT period_close_pkey, ADD PRIMARY KEY (book_id, event_no);
ALTER TABLE ledger.period_override ADD COLUMN event_no bigint NOT NULL DEFAULT nextval('ledger.period_event_seq');
ALTER TABLE ledger.period_override DROP CONSTRAINT period_override_pkey, ADD PRIMARY KEY (book_id, event_no);

CREATE TABLE ledger.period_soft_close (
    book_id      int    NOT NULL,
    event_no     bigint NOT NULL DEFAULT nextval('ledger.period_event_seq'),
    through_date date   NOT NULL,
    closed_by    name   NOT NULL DEFAULT session_user,
    closed_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (book_id, event_no)
);
COMMENT ON TABLE ledger.period_soft_close IS 'Through these days only approvers journalise; settlement and reconciliation still do their work.';

CREATE TABLE ledger.period_reopen_request (
    book_id      int    NOT NULL,
    event_no     bigint NOT NULL DEFAULT nextval('ledger.period_event_seq'),
    from_date    date   NOT NULL,
    reason       text   NOT NULL CONSTRAINT period_reopen_reason CHECK (length(reason) >= 10),
    requested_by name   NOT NULL DEFAULT session_user,
    requested_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (book_id, event_no)
);

CREATE TABLE ledger.period_reopen (
    book_id     int    NOT NULL,
    event_no    bigint NOT NULL DEFAULT nextval('ledger.period_event_seq'),
    request_no  bigint NOT NULL,
    from_date   date   NOT NULL,
    reopened_by name   NOT NULL DEFAULT session_user,
    reopened_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (book_id, event_no),
    CONSTRAINT period_reopen_once UNIQUE (book_id, request_no)
);
COMMENT ON TABLE ledger.period_reopen IS 'From from_date on the books are open again, on a request of another person.';

SELECT ledger.make_append_only(t) FROM unnest(ARRAY[
    'ledger.period_soft_close', 'ledger.period_reopen_request', 'ledger.period_reopen']::regclass[]) t;

CREATE VIEW ledger.period_event AS
SELECT book_id, event_no, 'closed' AS event, through_date AS day, override_reason AS reason, override_by AS requested_by,
       closed_by AS recorded_by, closed_at AS recorded_at FROM ledger.period_close
UNION ALL
SELECT book_id, event_no, 'soft-closed', through_date, NULL, NULL, closed_by, closed_at FROM ledger.period_soft_close
UNION ALL
SELECT o.book_id, o.event_no, 're-opened', o.from_date, r.reason, r.requested_by, o.reopened_by, o.reopened_at
  FROM ledger.period_reopen o JOIN ledger.period_reopen_request r ON (r.book_id, r.event_no) = (o.book_id, o.request_no)
UNION ALL
SELECT book_id, event_no, 're-opening requested', from_date, reason, requested_by, requested_by, requested_at FROM ledger.period_reopen_request
UNION ALL
SELECT book_id, event_no, 'override requested', through_date, reason, requested_by, requested_by, requested_at FROM ledger.period_override;
COMMENT ON VIEW ledger.period_event IS 'The life of a book''s periods; day: the last day closed, or the first day re-opened.';

-- The last closed day: what the latest close says, cut by the re-openings after it.
CREATE OR REPLACE FUNCTION ledger.closed_through(p_book_id int) RETURNS date
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT least(c.through_date, (SELECT min(o.from_date) - 1 FROM ledger.period_reopen o WHERE o.book_id = p_book_id AND o.event_no > c.event_no))
      FROM ledger.period_close c WHERE c.book_id = p_book_id ORDER BY c.event_no DESC LIMIT 1
$$;

CREATE FUNCTION ledger.soft_closed_through(p_book_id int) RETURNS date
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT least(c.through_date, (SELECT min(o.from_date) - 1 FROM ledger.period_reopen o WHERE o.book_id = p_book_id AND o.event_no > c.event_no))
      FROM ledger.period_soft_close c WHERE c.book_id = p_book_id ORDER BY c.event_no DESC LIMIT 1
$$;

-- Whether the person of this session is an approver by grant (a superuser, who has every role, is not).
CREATE FUNCTION ledger.is_approver() RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member
                    WHERE m.roleid = ':approver'::regrole AND r.rolname = session_user)
$$;

-- Why a journal entry of this session cannot become effective on this day; no row: it can.
CREATE FUNCTION ledger.period_fault(p_book_id int, p_date date) RETURNS TABLE (name text, message text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'entry_period_open', format('It is effective on %s, but the books are closed through %s.', p_date, ledger.closed_through(p_book_id))
     WHERE p_date <= ledger.closed_through(p_book_id)
    UNION ALL
    SELECT 'entry_period_soft_closed', format('It is effective on %s, but the books are soft-closed through %s.', p_date, ledger.soft_closed_through(p_book_id))
     WHERE p_date <= ledger.soft_closed_through(p_book_id) AND (p_date <= ledger.closed_through(p_book_id)) IS NOT TRUE AND NOT ledger.is_approver()
$$;

-- As in 020_rules.sql, with re-opening and soft-close.
CREATE OR REPLACE FUNCTION ledger.check_entries() RETURNS trigger
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
            v_soft := CASE WHEN v_module IS NULL AND NOT ledger.is_approver() THEN ledger.soft_closed_through(v_group.book_id) END;
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

CREATE FUNCTION ledger.last_reopening(p_book_id int) RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(max(event_no), 0) FROM ledger.period_reopen WHERE book_id = p_book_id
$$;

-- As in 020_rules.sql; an override asked for before a re-opening does not serve after it.
CREATE OR REPLACE FUNCTION ledger.check_close() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_closed date; v_missing text;
BEGIN
    PERFORM ledger.require_read_committed();
    PERFORM FROM ledger.book WHERE book_id = NEW.book_id FOR UPDATE;
    v_closed := ledger.closed_through(NEW.book_id);
    IF v_closed >= NEW.through_date THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'period_order', SCHEMA = 'ledger', TABLE = TG_TABLE_NAME,
            MESSAGE = format('The books are closed through %s already.', v_closed);
    END IF;
    IF TG_TABLE_NAME = 'period_soft_close' THEN RETURN NEW; END IF;
    SELECT string_agg(a.code, ', ' ORDER BY a.code) INTO v_missing FROM ledger.account a
     WHERE a.book_id = NEW.book_id AND a.control = 'nostro' AND NOT EXISTS (
           SELECT FROM ledger.certified_through c
            WHERE c.book_id = a.book_id AND c.account_id = a.account_id AND c.through_date >= NEW.through_date);
    IF v_missing IS NOT NULL AND NOT EXISTS (
           SELECT FROM ledger.period_override o WHERE (o.book_id, o.through_date) = (NEW.book_id, NEW.through_date)
              AND (o.reason, o.requested_by) = (NEW.override_reason, NEW.override_by)
              AND o.event_no > ledger.last_reopening(NEW.book_id)) THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'period_certified', SCHEMA = 'ledger', TABLE = 'period_close',
            MESSAGE = format('The period through %s cannot close: %s is not certified through that day.', NEW.through_date, v_missing),
            HINT = 'Reconcile the missing days, or let a second person request an override with a reason.';
    END IF;
    IF NEW.override_by = NEW.closed_by THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'period_second_person', SCHEMA = 'ledger', TABLE = 'period_close',
            MESSAGE = format('%s requested the override for the period through %s; another person closes it.', NEW.override_by, NEW.through_date);
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER check_close BEFORE INSERT ON ledger.period_soft_close FOR EACH ROW EXECUTE FUNCTION ledger.check_close();
ALTER TABLE ledger.period_soft_close ENABLE ALWAYS TRIGGER check_close;

CREATE FUNCTION ledger.check_reopen() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_request ledger.period_reopen_request;
    v_through date;
BEGIN
    PERFORM ledger.require_read_committed();
    PERFORM FROM ledger.book WHERE book_id = NEW.book_id FOR UPDATE;
    SELECT * INTO v_request FROM ledger.period_reopen_request r WHERE (r.book_id, r.event_no) = (NEW.book_id, NEW.request_no);
    IF NOT FOUND OR v_request.from_date <> NEW.from_date OR v_request.event_no < ledger.last_reopening(NEW.book_id) THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'period_reopen_requested', SCHEMA = 'ledger', TABLE = 'period_reopen',
            MESSAGE = format('Nobody has asked to re-open the books from %s.', NEW.from_date),
            HINT = 'One person requests it with a reason, another re-opens.';
    END IF;
    IF NEW.reopened_by <> session_user OR v_request.requested_by = NEW.reopened_by THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'period_second_person', SCHEMA = 'ledger', TABLE = 'period_reopen',
            MESSAGE = format('%s asked to re-open the books; another person does it, as themselves.', v_request.requested_by);
    END IF;
    v_through := greatest(ledger.closed_through(NEW.book_id), ledger.soft_closed_through(NEW.book_id));
    IF (NEW.from_date <= v_through) IS NOT TRUE THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'period_is_closed', SCHEMA = 'ledger', TABLE = 'period_reopen',
            MESSAGE = format('The books are open on %s.', NEW.from_date);
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER check_reopen BEFORE INSERT ON ledger.period_reopen FOR EACH ROW EXECUTE FUNCTION ledger.check_reopen();
ALTER TABLE ledger.period_reopen ENABLE ALWAYS TRIGGER check_reopen;

CREATE FUNCTION ledger.check_reopen_request() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NEW.requested_by <> session_user THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'period_second_person', SCHEMA = 'ledger', TABLE = TG_TABLE_NAME,
            MESSAGE = format('A request is made in one''s own name: this is %s, not %s.', session_user, NEW.requested_by);
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER check_reopen_request BEFORE INSERT ON ledger.period_reopen_request FOR EACH ROW EXECUTE FUNCTION ledger.check_reopen_request();
ALTER TABLE ledger.period_reopen_request ENABLE ALWAYS TRIGGER check_reopen_request;

-- Takes the lock that posts share; refuses a book that does not exist.
CREATE FUNCTION ledger.lock_book(p_book_id int) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM FROM ledger.book WHERE book_id = p_book_id FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', CONSTRAINT = 'book_known', MESSAGE = format('There is no book %s.', p_book_id);
    END IF;
END $$;

CREATE OR REPLACE FUNCTION ledger.request_close_override(p_book_id int, p_through date, p_reason text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM ledger.lock_book(p_book_id);
    INSERT INTO ledger.period_override (book_id, through_date, reason)
    SELECT p_book_id, p_through, p_reason
     WHERE NOT EXISTS (SELECT FROM ledger.period_override o WHERE (o.book_id, o.through_date) = (p_book_id, p_through)
                          AND o.event_no > ledger.last_reopening(p_book_id));
END $$;

CREATE OR REPLACE FUNCTION ledger.close_period(p_book_id int, p_through date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_certified boolean;
BEGIN
    PERFORM ledger.lock_book(p_book_id);
    IF ledger.closed_through(p_book_id) = p_through THEN RETURN; END IF;
    v_certified := NOT EXISTS (
        SELECT FROM ledger.account a WHERE a.book_id = p_book_id AND a.control = 'nostro' AND NOT EXISTS (
               SELECT FROM ledger.certified_through c
                WHERE c.book_id = a.book_id AND c.account_id = a.account_id AND c.through_date >= p_through));
    INSERT INTO ledger.period_close (book_id, through_date, override_reason, override_by)
    SELECT p_book_id, p_through, o.reason, o.requested_by
      FROM (VALUES (1)) AS one LEFT JOIN ledger.period_override o
        ON NOT v_certified AND (o.book_id, o.through_date) = (p_book_id, p_through) AND o.event_no > ledger.last_reopening(p_book_id);
END $$;

-- From now on only approvers journalise through that day. Widened by another call, lifted by a re-opening.
CREATE FUNCTION ledger.soft_close_period(p_book_id int, p_through date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM ledger.lock_book(p_book_id);
    IF ledger.soft_closed_through(p_book_id) = p_through THEN RETURN; END IF;
    IF ledger.soft_closed_through(p_book_id) > p_through THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'period_order', SCHEMA = 'ledger', TABLE = 'period_soft_close',
            MESSAGE = format('The books are soft-closed through %s already.', ledger.soft_closed_through(p_book_id)),
            HINT = 'Let a second person re-open the later days.';
    END IF;
    INSERT INTO ledger.period_soft_close (book_id, through_date) VALUES (p_book_id, p_through);
END $$;

CREATE FUNCTION ledger.request_reopen(p_book_id int, p_from date, p_reason text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM ledger.lock_book(p_book_id);
    INSERT INTO ledger.period_reopen_request (book_id, from_date, reason) VALUES (p_book_id, p_from, p_reason);
END $$;

-- Opens the books from a day on, closed and soft-closed alike, on the latest request of another person.
CREATE FUNCTION ledger.reopen_period(p_book_id int, p_from date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM ledger.lock_book(p_book_id);
    INSERT INTO ledger.period_reopen (book_id, request_no, from_date)
    SELECT p_book_id, coalesce((SELECT max(r.event_no) FROM ledger.period_reopen_request r WHERE (r.book_id, r.from_date) = (p_book_id, p_from)), 0), p_from;
END $$;

-- --- Certified bank days -----------------------------------------------------------------------------------------

-- The nostro account that speaks for a cash account: itself, or for cash in transit the bank account of that name.
CREATE FUNCTION ledger.nostro_of(p_book_id int, p_account_id int) RETURNS int
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT n.account_id FROM ledger.account a JOIN ledger.account n ON n.book_id = a.book_id AND n.control = 'nostro'
       AND n.code = CASE a.control WHEN 'nostro' THEN a.code WHEN 'cash_in_transit' THEN regexp_replace(a.code, '^assets:transit:', 'assets:bank:') END
     WHERE a.account_id = p_account_id AND a.book_id = p_book_id
$$;

-- Cash accounts among these, with the last day certified.
CREATE FUNCTION ledger.certified_cash(p_book_id int, p_accounts int[]) RETURNS TABLE (account_id int, through_date date)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT a.account_id, max(c.through_date)
      FROM ledger.account a JOIN ledger.certified_through c ON c.book_id = p_book_id AND c.account_id = ledger.nostro_of(p_book_id, a.account_id)
     WHERE a.account_id = ANY (ARRAY(SELECT DISTINCT unnest(p_accounts))) AND a.control IS NOT NULL
     GROUP BY a.account_id
$$;

-- Whoever certifies waits for posts under way on the account and its cash in transit, and they for it.
CREATE OR REPLACE FUNCTION ledger.record_certificate(p_book_id int, p_account_id int, p_through date, p_sha256 text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM ledger.lock_balances(ARRAY(SELECT a.account_id FROM ledger.account a
                                        WHERE a.book_id = p_book_id AND a.control IS NOT NULL AND ledger.nostro_of(p_book_id, a.account_id) = p_account_id));
    INSERT INTO ledger.certified_through (book_id, account_id, through_date, certificate_sha256)
    SELECT p_book_id, p_account_id, p_through, p_sha256
     WHERE NOT EXISTS (SELECT FROM ledger.certified_through
                        WHERE (book_id, account_id, through_date) = (p_book_id, p_account_id, p_through))
    ON CONFLICT DO NOTHING;
END $$;

-- Invariant 7: a certified day's cash stays as certified. Reconciliation alone is admitted: what it brings is the
-- bank's or the acquirer's evidence of that day, and it certifies the day again. Journals pay one look.
CREATE FUNCTION ledger.check_certified_days() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
    v_bad record; v_accounts int[];
BEGIN
    IF (SELECT coalesce(b.module, 'recon') FROM ledger.batch b WHERE b.batch_id = (SELECT posting_id >> 20 FROM new_posting LIMIT 1)) = 'recon' THEN
        RETURN NULL;
    END IF;
    SELECT array_agg(a.account_id) INTO v_accounts FROM ledger.account a
     WHERE a.account_id = ANY (ARRAY(SELECT DISTINCT account_id FROM new_posting)) AND a.control IS NOT NULL;
    IF v_accounts IS NULL THEN RETURN NULL; END IF;
    PERFORM ledger.lock_balances(v_accounts);
    SELECT e.idempotency_key, p.effective_date, a.code, c.through_date INTO v_bad
      FROM new_posting p
      JOIN ledger.certified_cash(p.book_id, v_accounts) c ON c.account_id = p.account_id AND p.effective_date <= c.through_date
      JOIN ledger.account a ON a.account_id = p.account_id
      JOIN ledger.entry e ON e.entry_id = p.entry_id ORDER BY p.posting_id LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'cash_day_certified', SCHEMA = 'ledger', TABLE = 'posting',
            MESSAGE = format('Entry %s is effective on %s, but %s is certified through %s.', v_bad.idempotency_key, v_bad.effective_date, v_bad.code, v_bad.through_date),
            HINT = 'Date it on the first day after the certificate.';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER check_certified_days AFTER INSERT ON ledger.posting
    REFERENCING NEW TABLE AS new_posting FOR EACH STATEMENT EXECUTE FUNCTION ledger.check_certified_days();
ALTER TABLE ledger.posting ENABLE ALWAYS TRIGGER check_certified_days;

-- Settlement hears of rejects and returns, and people approve, sometimes late. What was meant for a certified day posts
-- on the first day after the certificate; entry_moved remembers the day that was meant, so that a retry is recognised.
CREATE TABLE ledger.entry_moved (
    entry_id   bigint NOT NULL PRIMARY KEY,
    book_id    int    NOT NULL,
    meant_date date   NOT NULL
);
SELECT ledger.make_append_only('ledger.entry_moved');
COMMENT ON TABLE ledger.entry_moved IS 'Entries meant for a bank day that was certified already; they are effective on the first day after it.';

CREATE FUNCTION ledger.check_moved() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM FROM ledger.entry e JOIN ledger.batch b ON b.batch_id = e.entry_id >> 20 AND b.xid = pg_current_xact_id()
      WHERE e.entry_id = NEW.entry_id AND e.book_id = NEW.book_id AND e.effective_date > NEW.meant_date;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'entry_moved_with_entry', SCHEMA = 'ledger', TABLE = 'entry_moved',
            MESSAGE = format('That entry %s was moved is written with it, or never.', NEW.entry_id);
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER check_moved BEFORE INSERT ON ledger.entry_moved FOR EACH ROW EXECUTE FUNCTION ledger.check_moved();
ALTER TABLE ledger.entry_moved ENABLE ALWAYS TRIGGER check_moved;

-- The dates of a module's entries once certificates have spoken; NULL: as given.
CREATE FUNCTION ledger.dates_after_certificates(p_book_id int, p_keys text[], p_dates date[], p_leg_entry int[], p_leg_account int[]) RETURNS date[]
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
    v_accounts int[]; v_through date[]; v_last date;
BEGIN
    SELECT array_agg(c.account_id), array_agg(c.through_date), max(c.through_date) INTO v_accounts, v_through, v_last
      FROM ledger.certified_cash(p_book_id, p_leg_account) c;
    IF (v_last >= ANY (p_dates)) IS NOT TRUE THEN RETURN NULL; END IF;
    RETURN (
        SELECT array_agg(CASE WHEN e.entry_id IS NULL THEN greatest(k.date, c.through_date + 1)
                              WHEN m.meant_date = k.date THEN e.effective_date ELSE k.date END ORDER BY k.n)
          FROM unnest(p_keys, p_dates) WITH ORDINALITY AS k (key, date, n)
          LEFT JOIN (SELECT l.entry_n, max(t.through_date) AS through_date
                       FROM unnest(p_leg_entry, p_leg_account) AS l (entry_n, account)
                       JOIN unnest(v_accounts, v_through) AS t (account, through_date) USING (account) GROUP BY l.entry_n) c ON c.entry_n = k.n
          LEFT JOIN LATERAL (SELECT * FROM ledger.entry e WHERE e.book_id = p_book_id AND e.idempotency_key = k.key LIMIT 1) e ON true
          LEFT JOIN LATERAL (SELECT * FROM ledger.entry_moved m WHERE m.entry_id = e.entry_id LIMIT 1) m ON true);
END $$;

-- As in 030_posting.sql, with the dates of modules after certificates.
CREATE OR REPLACE FUNCTION ledger.post_internal(
    p_book_id int, p_module text, p_source_id bigint,
    p_keys text[], p_dates date[], p_descriptions text[], p_references text[], p_source_lines int[], p_reverses bigint[],
    p_leg_entry int[], p_leg_account int[], p_leg_amount bigint[])
RETURNS TABLE (entry_ordinal int, entry_id bigint, first_posting_id bigint, is_new boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan SET enable_nestloop = off SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    v_done  record;
    v_moved date[];
BEGIN
    IF p_module <> 'recon' THEN
        v_moved := ledger.dates_after_certificates(p_book_id, p_keys, p_dates, p_leg_entry, p_leg_account);
    END IF;
    SELECT * INTO v_done FROM ledger.post_core(p_book_id, p_module, p_source_id, p_keys, coalesce(v_moved, p_dates), p_descriptions, p_references,
                                               p_source_lines, p_reverses, p_leg_entry, p_leg_account, p_leg_amount);
    IF v_moved IS NOT NULL THEN
        INSERT INTO ledger.entry_moved (entry_id, book_id, meant_date)
        SELECT e.entry_id, p_book_id, k.meant
          FROM unnest(p_dates, v_moved) WITH ORDINALITY AS k (meant, date, n)
         CROSS JOIN LATERAL (SELECT e.entry_id FROM ledger.entry e WHERE e.entry_id = (v_done.batch_id << 20) + k.n - 1 LIMIT 1) e
         WHERE k.meant <> k.date;
    END IF;
    IF v_done.new_count = cardinality(p_keys) THEN
        RETURN QUERY
        SELECT l.entry_n, (v_done.batch_id << 20) + l.entry_n - 1, (v_done.batch_id << 20) + min(l.n) - 1, true
          FROM unnest(p_leg_entry) WITH ORDINALITY AS l (entry_n, n) GROUP BY l.entry_n ORDER BY l.entry_n;
    ELSE
        RETURN QUERY
        SELECT k.n::int, e.entry_id, e.first_posting_id, e.entry_id = (v_done.batch_id << 20) + k.n - 1
          FROM unnest(p_keys) WITH ORDINALITY AS k (key, n)
         CROSS JOIN LATERAL (SELECT * FROM ledger.entry e WHERE e.book_id = p_book_id AND e.idempotency_key = k.key LIMIT 1) e
         ORDER BY k.n;
    END IF;
END $$;

GRANT SELECT ON ledger.period_soft_close, ledger.period_reopen_request, ledger.period_reopen, ledger.entry_moved TO :app;
GRANT SELECT ON ledger.period_event TO :app, :analyst;
GRANT EXECUTE ON FUNCTION ledger.soft_closed_through, ledger.soft_close_period, ledger.request_reopen, ledger.is_approver TO :app;
GRANT EXECUTE ON FUNCTION ledger.reopen_period TO :approver;
