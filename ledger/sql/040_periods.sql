-- Periods: open, soft-closed (only approvers journalise), closed, re-opened by a second person (invariant 7). State is
-- the latest event; events only grow. All events of a book are written under FOR UPDATE on its row, posts hold
-- FOR KEY SHARE: they never overlap.

CREATE SEQUENCE ledger.period_event_seq;

CREATE TABLE ledger.period_close (
    book_id      int  NOT NULL REFERENCES ledger.book,
    event_no     bigint NOT NULL DEFAULT nextval('ledger.period_event_seq'),
    through_date date NOT NULL,
    closed_by    name NOT NULL DEFAULT session_user,
    closed_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    override_reason text,
    override_by  name,
    PRIMARY KEY (book_id, event_no),
    CONSTRAINT period_second_person CHECK (override_by IS NULL OR override_by <> closed_by)
);
CREATE TABLE ledger.period_override (
    book_id      int  NOT NULL REFERENCES ledger.book,
    event_no     bigint NOT NULL DEFAULT nextval('ledger.period_event_seq'),
    through_date date NOT NULL,
    reason       text NOT NULL CHECK (length(reason) >= 10),
    requested_by name NOT NULL DEFAULT session_user,
    requested_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (book_id, event_no)
);

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

SELECT ledger.make_append_only(t) FROM unnest(ARRAY['ledger.period_close', 'ledger.period_override',
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
CREATE FUNCTION ledger.closed_through(p_book_id int) RETURNS date
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT least(c.through_date, (SELECT min(o.from_date) - 1 FROM ledger.period_reopen o WHERE o.book_id = p_book_id AND o.event_no > c.event_no))
      FROM ledger.period_close c WHERE c.book_id = p_book_id ORDER BY c.event_no DESC LIMIT 1
$$;

CREATE FUNCTION ledger.soft_closed_through(p_book_id int) RETURNS date
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
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

CREATE FUNCTION ledger.last_reopening(p_book_id int) RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(max(event_no), 0) FROM ledger.period_reopen WHERE book_id = p_book_id
$$;

-- Invariant 7: a period closes in order, certified or overridden by a second person, and never beside a post. An
-- override asked for before a re-opening does not serve after it.
CREATE FUNCTION ledger.check_close() RETURNS trigger
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
CREATE TRIGGER check_close BEFORE INSERT ON ledger.period_close FOR EACH ROW EXECUTE FUNCTION ledger.check_close();
ALTER TABLE ledger.period_close ENABLE ALWAYS TRIGGER check_close;
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

-- Posts share the lock of the book's row, so where they never pause, who waits for it alone would wait for ever. They
-- hold a lock on the table with it, and that one has a queue: later posts stand behind. A moment only, for all books
-- stand there: when some post takes longer, the row's lock alone is waited for.
CREATE FUNCTION ledger.queue_for_books() RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '250ms' AS $$
BEGIN
    LOCK TABLE ledger.book IN EXCLUSIVE MODE;
    RETURN true;
EXCEPTION WHEN lock_not_available THEN RETURN false;
END $$;

-- Takes the lock that posts share; refuses a book that does not exist.
CREATE FUNCTION ledger.lock_book(p_book_id int) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    FOR v_try IN 1 .. 4 LOOP
        EXIT WHEN ledger.queue_for_books();
    END LOOP;
    PERFORM FROM ledger.book WHERE book_id = p_book_id FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', CONSTRAINT = 'book_known', MESSAGE = format('There is no book %s.', p_book_id);
    END IF;
END $$;

CREATE FUNCTION ledger.request_close_override(p_book_id int, p_through date, p_reason text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM ledger.require_book(p_book_id);
    PERFORM ledger.lock_book(p_book_id);
    INSERT INTO ledger.period_override (book_id, through_date, reason)
    SELECT p_book_id, p_through, p_reason
     WHERE NOT EXISTS (SELECT FROM ledger.period_override o WHERE (o.book_id, o.through_date) = (p_book_id, p_through)
                          AND o.event_no > ledger.last_reopening(p_book_id));
END $$;

-- Closes the books through a day. Each bank account must be certified through it, or a second person has asked
-- for an override with a reason (ledger.check_close refuses). Closing the same day again is harmless.
CREATE FUNCTION ledger.close_period(p_book_id int, p_through date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_certified boolean;
BEGIN
    PERFORM ledger.require_book(p_book_id);
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
    PERFORM ledger.require_book(p_book_id);
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
    PERFORM ledger.require_book(p_book_id);
    PERFORM ledger.lock_book(p_book_id);
    INSERT INTO ledger.period_reopen_request (book_id, from_date, reason) VALUES (p_book_id, p_from, p_reason);
END $$;

-- Opens the books from a day on, closed and soft-closed alike, on the latest request of another person.
CREATE FUNCTION ledger.reopen_period(p_book_id int, p_from date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM ledger.require_book(p_book_id);
    PERFORM ledger.lock_book(p_book_id);
    INSERT INTO ledger.period_reopen (book_id, request_no, from_date)
    SELECT p_book_id, coalesce((SELECT max(r.event_no) FROM ledger.period_reopen_request r WHERE (r.book_id, r.from_date) = (p_book_id, p_from)), 0), p_from;
END $$;

GRANT SELECT ON ledger.period_close, ledger.period_override, ledger.period_soft_close, ledger.period_reopen_request, ledger.period_reopen TO :app;
GRANT SELECT ON ledger.period_event TO :app, :analyst;
GRANT EXECUTE ON FUNCTION ledger.request_close_override, ledger.close_period, ledger.closed_through, ledger.soft_closed_through,
    ledger.soft_close_period, ledger.request_reopen, ledger.is_approver TO :app;
GRANT EXECUTE ON FUNCTION ledger.reopen_period TO :approver;
