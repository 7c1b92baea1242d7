-- What reconciliation has taken in of the postings on bank accounts and cash in transit: arranged by the day on which
-- they count, so that a run reads what is open, what is new, and nothing else. All of it is derived from the ledger:
-- a full run reads the ledger itself and compares.

CREATE TABLE recon.cash_step (
    step_id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    book_id           int    NOT NULL REFERENCES ledger.book,
    snapshot          pg_snapshot NOT NULL,
    xid               xid8   NOT NULL,
    system_identifier bigint NOT NULL,
    high_batch_id     bigint NOT NULL,
    recorded_at       timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX cash_step_book ON recon.cash_step (book_id, step_id);
COMMENT ON TABLE recon.cash_step IS
    'Batches of postings taken in together: what was committed (snapshot, own transaction included) and in no step before.';

CREATE TABLE recon.transit_posting (
    posting_id   bigint PRIMARY KEY,
    book_id      int    NOT NULL REFERENCES ledger.book,
    account_id   int    NOT NULL,
    amount_minor bigint NOT NULL,
    as_of_date   date   NOT NULL,
    step_id      bigint NOT NULL REFERENCES recon.cash_step
);
CREATE INDEX transit_posting_day ON recon.transit_posting (book_id, as_of_date);
CREATE INDEX transit_posting_step ON recon.transit_posting (step_id);
COMMENT ON TABLE recon.transit_posting IS 'Each posting on cash in transit, with the day from which it counts.';

CREATE TABLE recon.cash_day (
    account_id    int     NOT NULL,
    as_of_date    date    NOT NULL,
    step_id       bigint  NOT NULL REFERENCES recon.cash_step,
    book_id       int     NOT NULL REFERENCES ledger.book,
    posting_count bigint  NOT NULL,
    net_minor     numeric NOT NULL,
    digest        numeric NOT NULL,
    PRIMARY KEY (account_id, as_of_date, step_id)
);
CREATE INDEX cash_day_step ON recon.cash_day (step_id);
CREATE TABLE recon.run_cash (
    run_id        bigint  NOT NULL REFERENCES recon.run,
    account_id    int     NOT NULL,
    posting_count bigint  NOT NULL,
    net_minor     numeric NOT NULL,
    digest        numeric NOT NULL,
    PRIMARY KEY (run_id, account_id)
);
COMMENT ON TABLE recon.run_cash IS 'What the steps up to a run had taken in by its day, each bank account and its cash in transit: the next run adds to it.';
CREATE TABLE recon.file_waiting (
    run_id  bigint NOT NULL REFERENCES recon.run,
    file_id bigint NOT NULL REFERENCES settlement.payment_file,
    PRIMARY KEY (run_id, file_id)
);
COMMENT ON TABLE recon.file_waiting IS
    'Files of which everything had cleared by a run, in a state from which they cannot be reconciled yet: the next run looks again.';
COMMENT ON TABLE recon.cash_day IS 'What a step added to a bank account or its cash in transit, by the day on which it counts; digests add up.';
ALTER TABLE recon.run ADD CONSTRAINT run_step FOREIGN KEY (step_id) REFERENCES recon.cash_step;
SELECT ledger.make_append_only(t) FROM unnest(ARRAY['recon.cash_step', 'recon.transit_posting', 'recon.cash_day', 'recon.run_cash', 'recon.file_waiting']::regclass[]) t;
GRANT SELECT ON recon.cash_step, recon.transit_posting, recon.cash_day, recon.run_cash, recon.file_waiting TO :app;

CREATE FUNCTION recon.events_after(p_run_id bigint) RETURNS SETOF bigint
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS $$
    SELECT e.event_id FROM recon.run r
      JOIN recon.event e ON e.book_id = r.book_id AND e.system_identifier = r.system_identifier AND e.xid >= pg_snapshot_xmin(r.snapshot)
     WHERE r.run_id = p_run_id AND NOT pg_visible_in_snapshot(e.xid, r.snapshot)
    UNION ALL  -- the books were restored elsewhere since
    SELECT e.event_id FROM recon.run r
      JOIN recon.event e ON e.book_id = r.book_id AND e.system_identifier <> r.system_identifier AND e.event_id > r.event_id
     WHERE r.run_id = p_run_id
$$;
COMMENT ON FUNCTION recon.events_after IS 'Events that a run could not know; its own is among them. Internal.';

-- Postings on N and T that no step has taken in: of batches that were not committed then, and, of an account that is new
-- here, all.
CREATE FUNCTION recon.untaken(p_book_id int)
RETURNS TABLE (posting_id bigint, account_id int, is_transit boolean, amount_minor bigint, as_of_date date)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan AS $$
    SELECT ledger.require_book(p_book_id);
    WITH last AS MATERIALIZED (
        SELECT * FROM recon.cash_step s WHERE s.book_id = p_book_id ORDER BY s.step_id DESC LIMIT 1),
    new AS MATERIALIZED (
        SELECT b.batch_id FROM last s JOIN ledger.batch b ON b.system_identifier = s.system_identifier AND b.xid >= pg_snapshot_xmin(s.snapshot)
         WHERE b.book_id = p_book_id AND NOT pg_visible_in_snapshot(b.xid, s.snapshot) AND NOT (b.xid = s.xid AND b.batch_id <= s.high_batch_id)
        UNION ALL  -- the books were restored elsewhere since
        SELECT b.batch_id FROM last s JOIN ledger.batch b ON b.system_identifier <> s.system_identifier AND b.batch_id > s.high_batch_id
         WHERE b.book_id = p_book_id),
    account AS MATERIALIZED (
        SELECT c.account_id, c.is_transit,
               CASE WHEN EXISTS (SELECT FROM recon.cash_day d WHERE d.account_id = c.account_id)
                    THEN (SELECT min(n.batch_id) FROM new n) ELSE 0 END AS low,
               NOT EXISTS (SELECT FROM recon.cash_day d WHERE d.account_id = c.account_id) AS is_whole
          FROM settlement.bank_account_root b
         CROSS JOIN LATERAL (VALUES (b.nostro_account_id, false), (b.transit_account_id, true)) c (account_id, is_transit)
         WHERE b.book_id = p_book_id)
    SELECT p.posting_id, a.account_id, a.is_transit, p.amount_minor,
           coalesce(own.closing_date, answered.closing_date, p.effective_date)
      FROM account a
     CROSS JOIN LATERAL (SELECT * FROM ledger.account_posting q
                          WHERE q.account_id = a.account_id AND q.batch_id >= a.low AND q.posting_id >= a.low << 20 OFFSET 0) p
      LEFT JOIN recon.statement_line l ON l.t_posting_id = CASE WHEN a.is_transit THEN p.posting_id ELSE p.posting_id + 1 END
           AND (a.is_transit OR l.n_posting_id = p.posting_id)
      LEFT JOIN recon.statement_booking own ON own.statement_id = l.statement_id
      LEFT JOIN recon.routine_posting r ON r.posting_id = p.posting_id
      LEFT JOIN recon.statement_line al ON al.t_posting_id = r.line_posting_id
      LEFT JOIN recon.statement_booking answered ON answered.statement_id = al.statement_id
     WHERE a.is_whole OR p.batch_id IN (SELECT n.batch_id FROM new n)
$$;
COMMENT ON FUNCTION recon.untaken IS 'Postings on bank accounts and cash in transit since the last step. Internal.';

-- Takes in what is new; again: nothing. Gives the last step. One at a time for each book, so that no batch is taken twice.
CREATE FUNCTION recon.take_in(p_book_id int) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan AS $$
BEGIN
    PERFORM ledger.require_book(p_book_id);
    PERFORM FROM ledger.book b WHERE b.book_id = p_book_id FOR NO KEY UPDATE;
    WITH new AS MATERIALIZED (SELECT * FROM recon.untaken(p_book_id)),
    step AS (
        INSERT INTO recon.cash_step (book_id, snapshot, xid, system_identifier, high_batch_id)
        SELECT p_book_id, pg_current_snapshot(), pg_current_xact_id(), c.system_identifier, (SELECT max(b.batch_id) FROM ledger.batch b)
          FROM pg_control_system() c WHERE EXISTS (SELECT FROM new)
        RETURNING step_id),
    single AS (
        INSERT INTO recon.transit_posting (posting_id, book_id, account_id, amount_minor, as_of_date, step_id)
        SELECT n.posting_id, p_book_id, n.account_id, n.amount_minor, n.as_of_date, s.step_id FROM new n, step s
         WHERE n.is_transit ORDER BY n.posting_id)
    INSERT INTO recon.cash_day (account_id, as_of_date, step_id, book_id, posting_count, net_minor, digest)
    SELECT n.account_id, n.as_of_date, s.step_id, p_book_id, count(*), sum(n.amount_minor),
           sum(hashint8extended(n.posting_id, n.amount_minor)::numeric)
      FROM new n, step s GROUP BY n.account_id, n.as_of_date, s.step_id;
    PERFORM recon.note_late_postings(p_book_id, (SELECT max(s.step_id) FROM recon.cash_step s WHERE s.book_id = p_book_id AND s.xid = pg_current_xact_id()));
    RETURN (SELECT max(s.step_id) FROM recon.cash_step s WHERE s.book_id = p_book_id);
END $$;

-- The run that a run for this day goes on from: the last of the last day up to it. None: everything is read.
CREATE FUNCTION recon.run_before(p_book_id int, p_date date) RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT ledger.require_book(p_book_id);
    SELECT r.run_id FROM recon.run r WHERE r.book_id = p_book_id AND r.business_date <= p_date
     ORDER BY r.business_date DESC, r.run_id DESC LIMIT 1
$$;

-- Count, sum and digest of what the steps have taken in by a day, each bank account's N and T: what the run before had, what
-- counts since its day, what later steps brought; not chained: every step added up. Internal.
CREATE FUNCTION recon.cash_taken(p_book_id int, p_date date, p_chained boolean)
RETURNS TABLE (account_id int, posting_count bigint, net_minor numeric, digest numeric)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan AS $$
    WITH before AS MATERIALIZED (
        SELECT coalesce(max(r.run_id), 0) AS run_id, coalesce(max(r.business_date), '-infinity') AS day, coalesce(max(r.step_id), 0) AS step_id
          FROM recon.run r WHERE p_chained AND r.run_id = recon.run_before(p_book_id, p_date)),
    account AS MATERIALIZED (
        SELECT a.account_id FROM settlement.bank_account_root b
         CROSS JOIN LATERAL unnest(ARRAY[b.nostro_account_id, b.transit_account_id]) a (account_id) WHERE b.book_id = p_book_id)
    SELECT c.account_id, sum(c.n)::bigint, sum(c.net), sum(c.digest)
      FROM (SELECT k.account_id, k.posting_count AS n, k.net_minor AS net, k.digest FROM before b JOIN recon.run_cash k USING (run_id)
            UNION ALL
            SELECT d.account_id, d.posting_count, d.net_minor, d.digest
              FROM before b CROSS JOIN account a
              JOIN recon.cash_day d ON d.account_id = a.account_id AND d.as_of_date > b.day AND d.as_of_date <= p_date
            UNION ALL
            SELECT d.account_id, d.posting_count, d.net_minor, d.digest
              FROM before b JOIN recon.cash_day d ON d.step_id > b.step_id AND d.as_of_date <= b.day
             WHERE d.book_id = p_book_id) c
     GROUP BY c.account_id
$$;

-- The same, taken in or not yet.
CREATE FUNCTION recon.cash_at(p_book_id int, p_date date, p_chained boolean DEFAULT true)
RETURNS TABLE (account_id int, posting_count bigint, net_minor numeric, digest numeric)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan AS $$
    SELECT ledger.require_book(p_book_id);
    SELECT c.account_id, sum(c.n)::bigint, sum(c.net), sum(c.digest)
      FROM (SELECT t.account_id, t.posting_count AS n, t.net_minor AS net, t.digest FROM recon.cash_taken(p_book_id, p_date, p_chained) t
            UNION ALL
            SELECT u.account_id, 1, u.amount_minor, hashint8extended(u.posting_id, u.amount_minor)::numeric
              FROM recon.untaken(p_book_id) u WHERE u.as_of_date <= p_date) c
     GROUP BY c.account_id
$$;

-- The same from the ledger's postings alone: what `cash_at` must come to.
CREATE FUNCTION recon.cash_at_full(p_book_id int, p_date date)
RETURNS TABLE (account_id int, posting_count bigint, net_minor numeric, digest numeric)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan AS $$
    SELECT ledger.require_book(p_book_id);
    SELECT p.account_id, count(*), sum(p.amount_minor), sum(hashint8extended(p.posting_id, p.amount_minor)::numeric)
      FROM (SELECT q.account_id, q.posting_id, q.amount_minor, q.as_of_date
              FROM recon.account_cash_posting q
             WHERE q.account_id = ANY (ARRAY(SELECT b.transit_account_id FROM settlement.bank_account_root b WHERE b.book_id = p_book_id))
            UNION ALL
            SELECT q.account_id, q.posting_id, q.amount_minor, coalesce(k.closing_date, q.effective_date)
              FROM ledger.account_posting q
              LEFT JOIN recon.statement_line l ON l.t_posting_id = q.posting_id + 1 AND l.n_posting_id = q.posting_id
              LEFT JOIN recon.statement_booking k ON k.statement_id = l.statement_id
             WHERE q.account_id = ANY (ARRAY(SELECT b.nostro_account_id FROM settlement.bank_account_root b WHERE b.book_id = p_book_id))) p
     WHERE p.as_of_date <= p_date GROUP BY p.account_id
$$;

-- The postings on T, counted by a day, that may be in another place than in the run before: what was open in it, what
-- counts since its day, what came in since, and what people took back. Whatever else counts is in a set that stands.
-- Without a run before: every posting of the day.
CREATE FUNCTION recon.touched(p_book_id int, p_date date, p_run_before bigint)
RETURNS TABLE (posting_id bigint, account_id int)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    v_before recon.run;
BEGIN
    PERFORM ledger.require_book(p_book_id);
    SELECT * INTO v_before FROM recon.run r WHERE r.run_id = p_run_before AND r.book_id = p_book_id AND r.business_date <= p_date;
    IF NOT FOUND THEN
        RETURN QUERY SELECT p.posting_id, p.account_id FROM recon.account_cash_posting p
          WHERE p.as_of_date <= p_date
            AND p.account_id = ANY (ARRAY(SELECT b.transit_account_id FROM settlement.bank_account_root b WHERE b.book_id = p_book_id));
        RETURN;
    END IF;
    RETURN QUERY
    SELECT t.posting_id, t.account_id
      FROM (SELECT o.posting_id FROM recon.open_item o WHERE o.run_id = v_before.run_id
            UNION SELECT u.posting_id FROM recon.events_after(v_before.run_id) e (event_id) JOIN recon.unmatch u USING (event_id)
            UNION SELECT n.posting_id FROM recon.transit_posting n
                   WHERE n.book_id = p_book_id AND n.as_of_date > v_before.business_date AND n.as_of_date <= p_date
            UNION SELECT n.posting_id FROM recon.transit_posting n
                   WHERE n.step_id > coalesce(v_before.step_id, 0) AND n.book_id = p_book_id) c
      JOIN recon.transit_posting t USING (posting_id)
     WHERE t.as_of_date <= p_date
    UNION
    SELECT u.posting_id, u.account_id FROM recon.untaken(p_book_id) u WHERE u.is_transit AND u.as_of_date <= p_date;
END $$;
COMMENT ON FUNCTION recon.touched IS 'Postings on cash in transit that a run must look at, given the run before. Internal.';
REVOKE ALL ON FUNCTION recon.untaken, recon.touched, recon.run_before, recon.cash_taken FROM PUBLIC;
GRANT EXECUTE ON FUNCTION recon.cash_at, recon.cash_at_full, recon.untaken, recon.run_before TO :app;
GRANT EXECUTE ON FUNCTION recon.take_in TO :service;
