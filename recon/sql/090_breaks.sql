-- The life of a break: append-only events, each naming the state it leaves. What a run finds opens and resolves breaks;
-- people assign, note, propose, approve and re-open. The last event says where a break stands.

CREATE TABLE recon.break_event (
    book_id       int    NOT NULL REFERENCES ledger.book,
    break_id      text   NOT NULL,
    ordinal       int    NOT NULL CHECK (ordinal > 0),
    prior_ordinal int    GENERATED ALWAYS AS (nullif(ordinal - 1, 0)) STORED,
    action        text   NOT NULL,
    from_state    text   NOT NULL,
    state         text   NOT NULL,
    owner         text,
    due_date      date,
    note          text,
    adjustment_id bigint,
    run_id        bigint REFERENCES recon.run,
    recorded_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    recorded_by   text   NOT NULL DEFAULT session_user,
    CONSTRAINT break_event_once PRIMARY KEY (book_id, break_id, ordinal),
    CONSTRAINT break_event_state UNIQUE (book_id, break_id, ordinal, state),
    CONSTRAINT break_event_chain FOREIGN KEY (book_id, break_id, prior_ordinal, from_state)
        REFERENCES recon.break_event (book_id, break_id, ordinal, state),
    CONSTRAINT break_event_first CHECK ((ordinal = 1) = (from_state = 'new')),
    CONSTRAINT break_event_transition CHECK ((action || ' ' || from_state || ' ' || state) IN (
        'opened new open',
        'assigned open assigned', 'assigned reopened assigned', 'assigned assigned assigned', 'assigned proposed proposed',
        'assigned approved approved',
        'noted open open', 'noted assigned assigned', 'noted proposed proposed', 'noted approved approved',
        'noted resolved resolved', 'noted reopened reopened',
        'proposed open proposed', 'proposed assigned proposed', 'proposed reopened proposed',
        'withdrawn proposed open', 'withdrawn proposed assigned', 'rejected proposed open', 'rejected proposed assigned',
        'approved proposed approved',
        'resolved open resolved', 'resolved assigned resolved', 'resolved proposed resolved', 'resolved approved resolved',
        'resolved reopened resolved',
        'reopened approved reopened', 'reopened resolved reopened')),
    CONSTRAINT break_event_words CHECK (action NOT IN ('noted', 'rejected', 'withdrawn', 'reopened') OR length(note) >= 3),
    CONSTRAINT break_event_owner CHECK (action <> 'assigned' OR owner IS NOT NULL)
);
CREATE INDEX break_event_owner_idx ON recon.break_event (book_id, owner) WHERE owner IS NOT NULL;
SELECT ledger.make_append_only('recon.break_event');
SELECT recon.record_events('recon.break_event', 'book');
COMMENT ON TABLE recon.break_event IS
    'Append-only life of each break: opened, assigned, noted, proposed, withdrawn, rejected, approved, resolved, reopened. owner and '
    'due_date are what holds after the event.';

-- How much a break matters: the first line that fits, most severe first; the highest version of a book counts.
CREATE TABLE recon.severity_threshold (
    book_id      int  NOT NULL REFERENCES ledger.book,
    version      int  NOT NULL CHECK (version > 0),
    ordinal      int  NOT NULL CHECK (ordinal > 0),
    severity     text NOT NULL CHECK (severity IN ('critical', 'high', 'medium')),
    code         text,
    currency     text,
    amount_minor bigint CHECK (amount_minor >= 0),
    age_days     int  CHECK (age_days >= 0),
    declared_by  text NOT NULL DEFAULT session_user,
    declared_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (book_id, version, ordinal),
    CONSTRAINT severity_threshold_says CHECK (num_nonnulls(code, amount_minor, age_days) > 0),
    CONSTRAINT severity_threshold_currency CHECK (amount_minor IS NULL OR currency IS NOT NULL)
);
SELECT ledger.make_append_only('recon.severity_threshold');
SELECT recon.record_events('recon.severity_threshold', 'book');
COMMENT ON TABLE recon.severity_threshold IS
    'From which amount or age (business days) on a break is critical, high or medium; a code alone gives it whatever the amount. '
    'No line fits: low.';

-- Severity of a break. Amounts of the built-in lines are in whole units of any currency.
-- By the thresholds in force, or those known at a number.
CREATE FUNCTION recon.severity(
    p_book_id int, p_code text, p_currency text, p_amount_minor bigint, p_age_days int, p_known_seq bigint DEFAULT NULL) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH version AS (
        SELECT max(v.version) AS version FROM recon.severity_threshold v
         WHERE v.book_id = p_book_id AND recon.is_known(v.event_id, p_known_seq))
    SELECT coalesce((
        SELECT t.severity FROM (
            SELECT t.severity, t.code, t.currency, t.amount_minor::numeric AS amount_minor, t.age_days FROM recon.severity_threshold t
             WHERE t.book_id = p_book_id AND t.version = (SELECT v.version FROM version v)
            UNION ALL
            SELECT d.severity, d.code, p_currency, d.amount * 10::numeric ^ c.exponent::numeric, d.age_days
              FROM (VALUES ('critical', 'STATEMENT_IMBALANCE', NULL::numeric, NULL::int), ('critical', 'STATEMENT_GAP', NULL, NULL),
                           ('critical', 'STATEMENT_REVISED', NULL, NULL), ('critical', NULL, 100000, 10),
                           ('high', 'UNAUTHORISED_DEBIT', NULL, NULL), ('high', 'LATE_CHANGE', NULL, NULL), ('high', NULL, 10000, 5),
                           ('medium', 'DUP_BANK', NULL, NULL), ('medium', NULL, 1000, 2)) AS d (severity, code, amount, age_days)
              JOIN ledger.currency c ON c.code = p_currency
             WHERE (SELECT v.version FROM version v) IS NULL) t
         WHERE (t.code IS NULL OR t.code = p_code) AND (t.currency IS NULL OR t.currency = p_currency)
           AND ((t.amount_minor IS NULL AND t.age_days IS NULL) OR abs(p_amount_minor) >= t.amount_minor OR p_age_days >= t.age_days)
         ORDER BY array_position(ARRAY['critical', 'high', 'medium'], t.severity) LIMIT 1), 'low')
$$;

-- Declares the book's thresholds anew, whole. Rows are parallel arrays.
CREATE FUNCTION recon.set_severity(
    p_book_id int, p_severities text[], p_codes text[], p_currencies text[], p_amounts bigint[], p_ages int[]) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_version int;
BEGIN
    PERFORM ledger.require_book(p_book_id);
    PERFORM FROM ledger.book b WHERE b.book_id = p_book_id FOR NO KEY UPDATE;
    SELECT coalesce(max(t.version), 0) + 1 INTO v_version FROM recon.severity_threshold t WHERE t.book_id = p_book_id;
    INSERT INTO recon.severity_threshold (book_id, version, ordinal, severity, code, currency, amount_minor, age_days)
    SELECT p_book_id, v_version, r.n, r.severity, r.code, r.currency, r.amount_minor, r.age_days
      FROM unnest(p_severities, p_codes, p_currencies, p_amounts, p_ages) WITH ORDINALITY
           AS r (severity, code, currency, amount_minor, age_days, n);
    RETURN v_version;
END $$;

-- What a break is made of, as a hash: who decides about it decides about just this.
CREATE FUNCTION recon.break_sha256(p_run_id bigint, p_break_id text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT encode(sha256(convert_to(concat_ws(' ', b.break_id, b.code, b.amount_minor,
             (SELECT string_agg(o.posting_id::text, ' ' ORDER BY o.posting_id) FROM recon.open_item o
               WHERE o.run_id = b.run_id AND o.break_id = b.break_id)), 'UTF8')), 'hex')
      FROM recon.break_run b WHERE b.run_id = p_run_id AND b.break_id = p_break_id
$$;

-- The run that counts now: the latest of the last reconciled day.
CREATE FUNCTION recon.last_run(p_book_id int) RETURNS bigint
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT r.run_id FROM recon.run r WHERE r.book_id = p_book_id ORDER BY r.business_date DESC, r.run_id DESC LIMIT 1
$$;

-- Locks a break and gives its last event; a break of the last run that nobody opened yet is opened. Internal.
CREATE FUNCTION recon.lock_break(p_book_id int, p_break_id text) RETURNS recon.break_event
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_event recon.break_event;
    v_run   bigint := recon.last_run(p_book_id);
BEGIN
    PERFORM ledger.require_book(p_book_id);
    IF EXISTS (SELECT FROM recon.break_run b WHERE b.run_id = v_run AND b.break_id = p_break_id) THEN
        INSERT INTO recon.break_event (book_id, break_id, ordinal, action, from_state, state, run_id)
        SELECT p_book_id, p_break_id, 1, 'opened', 'new', 'open', v_run
         WHERE NOT EXISTS (SELECT FROM recon.break_event e WHERE e.book_id = p_book_id AND e.break_id = p_break_id)
            ON CONFLICT DO NOTHING;
    END IF;
    PERFORM FROM recon.break_event e WHERE e.book_id = p_book_id AND e.break_id = p_break_id AND e.ordinal = 1 FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', CONSTRAINT = 'break_known',
            MESSAGE = format('There is no break %s.', p_break_id), HINT = 'List them with `nostro breaks list`.';
    END IF;
    SELECT * INTO v_event FROM recon.break_event e WHERE e.book_id = p_book_id AND e.break_id = p_break_id ORDER BY e.ordinal DESC LIMIT 1;
    RETURN v_event;
END $$;

-- Adds an event to a locked break; an action that its state does not allow is refused. Internal.
CREATE FUNCTION recon.add_break_event(
    p_last recon.break_event, p_action text, p_owner text, p_due date, p_note text, p_adjustment_id bigint, p_run_id bigint) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_state text := CASE p_action
        WHEN 'assigned' THEN CASE WHEN p_last.state IN ('proposed', 'approved') THEN p_last.state ELSE 'assigned' END
        WHEN 'noted' THEN p_last.state
        WHEN 'withdrawn' THEN CASE WHEN p_last.owner IS NULL THEN 'open' ELSE 'assigned' END
        WHEN 'rejected' THEN CASE WHEN p_last.owner IS NULL THEN 'open' ELSE 'assigned' END
        ELSE p_action END;
BEGIN
    IF NOT (CASE p_action
        WHEN 'assigned' THEN p_last.state <> 'resolved'
        WHEN 'noted' THEN true
        WHEN 'proposed' THEN p_last.state IN ('open', 'assigned', 'reopened')
        WHEN 'withdrawn' THEN p_last.state = 'proposed'
        WHEN 'rejected' THEN p_last.state = 'proposed'
        WHEN 'approved' THEN p_last.state = 'proposed'
        WHEN 'resolved' THEN p_last.state <> 'resolved'
        WHEN 'reopened' THEN p_last.state IN ('approved', 'resolved') END) THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'break_event_transition',
            MESSAGE = format('Break %s is %s and cannot be %s.', p_last.break_id, p_last.state, p_action),
            HINT = 'See its history with `nostro breaks show`.';
    END IF;
    INSERT INTO recon.break_event (book_id, break_id, ordinal, action, from_state, state, owner, due_date, note, adjustment_id, run_id)
    VALUES (p_last.book_id, p_last.break_id, p_last.ordinal + 1, p_action, p_last.state, v_state, coalesce(p_owner, p_last.owner),
            coalesce(p_due, p_last.due_date), p_note, p_adjustment_id, p_run_id);
    RETURN v_state;
END $$;

-- Gives a break to a person, who must be one that may work on breaks.
CREATE FUNCTION recon.assign_break(p_book_id int, p_break_id text, p_owner text, p_due date, p_note text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_last recon.break_event;
BEGIN
    PERFORM ledger.require_book(p_book_id);
    IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolcanlogin AND settlement.person(r.rolname) = p_owner
                      AND (pg_has_role(r.oid, ':preparer'::regrole, 'MEMBER') OR pg_has_role(r.oid, ':approver'::regrole, 'MEMBER'))
                      AND r.rolname <> p_owner) THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'break_owner_known',
            MESSAGE = format('%s is no preparer or approver of this deployment.', p_owner), HINT = 'List people with `nostro user list`.';
    END IF;
    v_last := recon.lock_break(p_book_id, p_break_id);
    RETURN recon.add_break_event(v_last, 'assigned', p_owner, p_due, p_note, NULL, NULL);
END $$;

CREATE FUNCTION recon.note_break(p_book_id int, p_break_id text, p_note text, p_due date) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_last recon.break_event;
BEGIN
    PERFORM ledger.require_book(p_book_id);
    v_last := recon.lock_break(p_book_id, p_break_id);
    RETURN recon.add_break_event(v_last, 'noted', NULL, p_due, p_note, NULL, NULL);
END $$;

-- Says that a break is over. It must be: the last run no longer has it.
CREATE FUNCTION recon.resolve_break(p_book_id int, p_break_id text, p_note text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_last recon.break_event;
    v_run  bigint;
BEGIN
    PERFORM ledger.require_book(p_book_id);
    v_last := recon.lock_break(p_book_id, p_break_id);
    v_run := recon.last_run(p_book_id);
    IF v_last.state <> 'resolved' AND EXISTS (SELECT FROM recon.break_run b WHERE b.run_id = v_run AND b.break_id = p_break_id) THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'break_closed',
            MESSAGE = format('Break %s is still open in the last run; words do not close it.', p_break_id),
            HINT = 'Propose what closes it, let a second person approve, and run the reconciliation again.';
    END IF;
    RETURN recon.add_break_event(v_last, 'resolved', NULL, NULL, p_note, NULL, v_run);
END $$;

-- Takes a break up again. It must be there: in the last run, or a finding that is re-opened with it.
CREATE FUNCTION recon.reopen_break(p_book_id int, p_break_id text, p_note text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_last    recon.break_event;
    v_finding bigint := CASE WHEN p_break_id ~ '^S[0-9]{1,18}$' THEN substr(p_break_id, 2)::bigint END;
BEGIN
    PERFORM ledger.require_book(p_book_id);
    v_last := recon.lock_break(p_book_id, p_break_id);
    IF v_last.state = 'resolved' AND v_finding IS NOT NULL THEN
        INSERT INTO recon.finding_resolution (finding_id, ordinal, is_resolved, reason)
        SELECT r.finding_id, r.ordinal + 1, false, p_note FROM recon.finding_resolution r
         WHERE r.finding_id = v_finding ORDER BY r.ordinal DESC LIMIT 1;
    ELSIF NOT EXISTS (SELECT FROM recon.break_run b WHERE b.run_id = recon.last_run(p_book_id) AND b.break_id = p_break_id) THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'break_there',
            MESSAGE = format('Break %s is closed on cash in transit; there is nothing to take up.', p_break_id),
            HINT = 'Take its cleared set back first: `nostro recon unmatch SET`.';
    END IF;
    RETURN recon.add_break_event(v_last, 'reopened', NULL, NULL, p_note, NULL, NULL);
END $$;

-- Breaks follow what the run of the last day found: new ones open, closed ones are resolved, what came back or what an
-- approved entry did not close is re-opened. Again: nothing. Gives how many events it wrote.
CREATE FUNCTION recon.follow_breaks(p_run_id bigint) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    v_run    recon.run;
    v_before bigint;
    v_row    record;
    v_count  int;
BEGIN
    PERFORM ledger.require_book((SELECT x.book_id FROM recon.run x WHERE x.run_id = p_run_id));
    SELECT * INTO STRICT v_run FROM recon.run r WHERE r.run_id = p_run_id;
    IF recon.last_run(v_run.book_id) <> p_run_id THEN RETURN 0; END IF;
    -- The run that breaks followed before: after it, every break that was not in it was resolved.
    SELECT r.run_id INTO v_before FROM recon.run r WHERE r.book_id = v_run.book_id AND r.run_id < p_run_id
     ORDER BY r.business_date DESC, r.run_id DESC LIMIT 1;
    INSERT INTO recon.break_event (book_id, break_id, ordinal, action, from_state, state, run_id)
    SELECT v_run.book_id, b.break_id, 1, 'opened', 'new', 'open', p_run_id FROM recon.break_run b
     WHERE b.run_id = p_run_id
       AND NOT EXISTS (SELECT FROM recon.break_event e WHERE e.book_id = v_run.book_id AND e.break_id = b.break_id)
     ORDER BY b.break_id ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    FOR v_row IN
        SELECT e.break_id, e.state, b.break_id IS NOT NULL AS is_there
          FROM (SELECT x.break_id FROM recon.break_run x WHERE x.run_id IN (p_run_id, v_before)
                UNION
                SELECT x.break_id FROM recon.events_after(v_before) a (event_id) JOIN recon.break_event x USING (event_id)
                 WHERE x.book_id = v_run.book_id) c
         CROSS JOIN LATERAL (SELECT * FROM recon.break_event e WHERE e.book_id = v_run.book_id AND e.break_id = c.break_id
                              ORDER BY e.ordinal DESC LIMIT 1) e
          LEFT JOIN recon.break_run b ON b.run_id = p_run_id AND b.break_id = e.break_id
         WHERE CASE WHEN b.break_id IS NULL THEN e.state <> 'resolved' ELSE e.state IN ('approved', 'resolved') END
         ORDER BY e.break_id
    LOOP
        PERFORM recon.add_break_event(recon.lock_break(v_run.book_id, v_row.break_id),
            CASE WHEN v_row.is_there THEN 'reopened' ELSE 'resolved' END, NULL, NULL,
            CASE WHEN NOT v_row.is_there THEN format('closed in run %s', p_run_id)
                 WHEN v_row.state = 'approved' THEN format('run %s finds it open after what was approved', p_run_id)
                 ELSE format('open again in run %s', p_run_id) END, NULL, p_run_id);
        IF v_row.state = 'proposed' THEN
            INSERT INTO recon.adjustment_end (adjustment_id, outcome, reason)
            SELECT max(a.adjustment_id), 'lapsed', format('the break closed in run %s', p_run_id) FROM recon.adjustment a
             WHERE a.book_id = v_run.book_id AND a.break_id = v_row.break_id;
        END IF;
        v_count := v_count + 1;
    END LOOP;
    RETURN v_count;
END $$;

-- How long something has been open, in the classes of every report of ours (DuckDB's are in warehouse_views.sql).
CREATE FUNCTION recon.age_bucket(p_age_days int) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN p_age_days <= 1 THEN '0-1' WHEN p_age_days <= 5 THEN '2-5' WHEN p_age_days <= 10 THEN '6-10'
                WHEN p_age_days <= 30 THEN '11-30' ELSE 'over 30' END
$$;

-- The breaks of a run with where each stands (as known at a number), how much it matters and how old it is.
CREATE FUNCTION recon.break_board(p_book_id int, p_run_id bigint, p_known_seq bigint DEFAULT NULL)
RETURNS TABLE (break_id text, code text, item_ref text, bank_account text, currency text, amount_minor bigint, item_count int,
               first_date date, age_days int, explanation text, proposal text, severity text, bucket text, state text, owner text,
               due_date date, note text, adjustment_id bigint, sha256 text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan AS $$
    SELECT ledger.require_book(p_book_id);
    SELECT b.break_id, b.code, b.item_ref, a.code, b.currency, b.amount_minor, b.item_count, b.first_date, b.age_days, b.explanation,
           b.proposal, recon.severity(p_book_id, b.code, b.currency, b.amount_minor, b.age_days, p_known_seq), recon.age_bucket(b.age_days),
           coalesce(e.state, 'open'), e.owner, e.due_date, n.note, d.adjustment_id, recon.break_sha256(b.run_id, b.break_id)
      FROM recon.run r
      JOIN recon.break_run b USING (run_id)
      JOIN settlement.bank_account_root a USING (bank_account_id)
      LEFT JOIN LATERAL (SELECT * FROM recon.break_event e WHERE e.book_id = p_book_id AND e.break_id = b.break_id
                            AND recon.is_known(e.event_id, p_known_seq) ORDER BY e.ordinal DESC LIMIT 1) e ON true
      LEFT JOIN LATERAL (SELECT x.note FROM recon.break_event x WHERE x.book_id = p_book_id AND x.break_id = b.break_id AND x.note IS NOT NULL
                            AND recon.is_known(x.event_id, p_known_seq) ORDER BY x.ordinal DESC LIMIT 1) n ON true
      LEFT JOIN LATERAL (SELECT x.adjustment_id FROM recon.break_event x WHERE x.book_id = p_book_id AND x.break_id = b.break_id
                            AND x.adjustment_id IS NOT NULL AND e.state IN ('proposed', 'approved', 'resolved')
                            AND recon.is_known(x.event_id, p_known_seq) ORDER BY x.ordinal DESC LIMIT 1) d ON true
     WHERE r.run_id = p_run_id AND r.book_id = p_book_id
     ORDER BY a.code, b.item_ref, b.break_id
$$;
COMMENT ON FUNCTION recon.break_board IS 'The breaks of a run with state, owner, due date, severity and ageing bucket, now or as known at a number.';

GRANT SELECT ON recon.break_event, recon.severity_threshold TO :app;
GRANT EXECUTE ON FUNCTION recon.break_board, recon.age_bucket TO :app;
GRANT EXECUTE ON FUNCTION recon.follow_breaks TO :service;
GRANT EXECUTE ON FUNCTION recon.assign_break, recon.note_break, recon.resolve_break, recon.reopen_break, recon.set_severity
    TO :preparer, :approver;
