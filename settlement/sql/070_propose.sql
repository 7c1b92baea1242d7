-- Proposing: one consistent cut of what is owed, netted per payee.

CREATE TYPE settlement.netted AS (
    payee_id         int,
    payee_version_id bigint,
    account_id       int,
    owed_minor       bigint,
    pay_minor        bigint,
    rolling_minor    bigint,
    fixed_minor      bigint,
    rest_minor       bigint,
    outcome          text,
    posting_ids      bigint[],  -- but for those of …
    whole_batch_ids  bigint[],  -- … batches of which all that lies on the account is due …
    whole_count      int,       -- … so many postings
    left_out_ids     bigint[],  -- below waits_from_id
    waits_from_id    bigint     -- from here on all waits (T+n): behind the last that is due
);

-- What the calendar of a bank makes of payees' rules on a business date; the caller counts the days.
CREATE TYPE settlement.calendar_terms AS (
    delays    int[],   -- every delay T+n in use, …
    cut_dates date[],  -- … and the last effective date that it lets through
    due       text[],  -- the schedules whose day it is
    payees    text[]   -- an ad-hoc run: these payees alone, whatever their schedule
);

-- Whether a block of postings is due as a whole (true) or waits as a whole (false: T+n); NULL: to be looked at one by one.
-- (Without a setting and without rights of its own, so that the planner writes it into the query.)
CREATE FUNCTION settlement.block_is_due(p_is_untouched boolean, p_first date, p_last date, p_cut_date date) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN p_is_untouched THEN CASE WHEN p_last <= p_cut_date THEN true WHEN p_first > p_cut_date THEN false END END
$$;

CREATE FUNCTION settlement.is_ad_hoc(p_file_id bigint) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT r.payees IS NOT NULL FROM settlement.payment_file f JOIN settlement.run r USING (run_id) WHERE f.file_id = p_file_id
$$;
COMMENT ON FUNCTION settlement.is_ad_hoc IS 'Internal: whether a file is of a run of some payees alone.';

-- What each payee of a bank account is owed on a business date, and what the rules make of it.
-- Left out: cleared and held postings, those in a file that is approved and waits to be sealed (or, of an ad-hoc run, waits
-- to be approved: somebody asked for it), and today's own
-- remainders (a maximum is per business date, so what it cut off waits for the next one).
-- A rolling reserve is a share of what is new: what settlement itself re-booked (remainders, reserves given back,
-- payments that came back) has been through it. And it waited T+n before it was paid or kept, and does not wait again.
CREATE FUNCTION settlement.netting(
    p_bank_account_id int, p_business_date date, p_now timestamptz, p_terms settlement.calendar_terms)
    RETURNS SETOF settlement.netted
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET work_mem = '128MB'
SET plan_cache_mode = force_custom_plan SET enable_nestloop = off SET enable_mergejoin = off SET enable_memoize = off ROWS 10000 AS $$
    SELECT ledger.require_book((SELECT x.book_id FROM settlement.bank_account_root x WHERE x.bank_account_id = p_bank_account_id));
    WITH account AS MATERIALIZED (
        SELECT b.book_id, b.minimum_minor, b.maximum_minor, p.body -> 'direct_debit' IS NOT NULL
               AND p.body ->> 'direct_debit' IS NOT NULL AS collects
          FROM settlement.bank_account b JOIN settlement.bank_profile p USING (profile_id)
         WHERE b.bank_account_id = p_bank_account_id
    ), cut AS (
        SELECT t.delay, t.cut_date FROM unnest(p_terms.delays, p_terms.cut_dates) t (delay, cut_date)
    ), blocked AS MATERIALIZED (
        SELECT b.payee_id FROM account, settlement.blocked_payees(account.book_id, p_now) b
    ), held_fixed AS MATERIALIZED (
        SELECT o.payee_id, sum(o.left_minor)::bigint AS minor FROM settlement.outstanding o
         WHERE o.book_id = (SELECT a.book_id FROM account a) AND o.what = 'reserve' AND o.due_on IS NULL GROUP BY o.payee_id
    ), front AS MATERIALIZED (
        SELECT * FROM settlement.payee_frontier f WHERE f.bank_account_id = p_bank_account_id
    ), since AS MATERIALIZED (  -- settlement.cleared_since
        SELECT f.account_id, g.group_id, g.clearing_posting_id,
               g.high_posting_id < coalesce(f.left_open[1], f.through_posting_id + 1) AS is_below
          FROM front f
         CROSS JOIN LATERAL (SELECT * FROM settlement.clearing_group g
                              WHERE g.account_id = f.account_id
                                AND greatest(g.high_posting_id, g.clearing_posting_id) > f.through_posting_id OFFSET 0) g
    ), cleared AS MATERIALIZED (  -- what reading from the frontiers would meet
        SELECT s.clearing_posting_id AS posting_id FROM since s WHERE s.clearing_posting_id IS NOT NULL
        UNION ALL
        SELECT m.posting_id FROM since s
         CROSS JOIN LATERAL (SELECT o.* FROM settlement.obligation o WHERE o.obligation_id = s.group_id LIMIT 1) o
         CROSS JOIN LATERAL settlement.taken_postings(o.account_id, o.posting_ids, o.whole_batch_ids) m
         WHERE NOT s.is_below
    ), mixed AS MATERIALIZED (  -- accounts of which more than settlement's own postings are among that
        SELECT DISTINCT s.account_id FROM since s WHERE NOT s.is_below
    ), waiting AS MATERIALIZED (
        SELECT o.account_id, m.posting_id
          FROM settlement.file_standing f
         CROSS JOIN LATERAL (SELECT i.instruction_id FROM settlement.instruction i WHERE i.file_id = f.file_id OFFSET 0) i
         CROSS JOIN LATERAL (SELECT o.* FROM settlement.obligation o WHERE o.obligation_id = i.instruction_id LIMIT 1) o
         CROSS JOIN LATERAL settlement.taken_postings(o.account_id, o.posting_ids, o.whole_batch_ids) m
         WHERE f.bank_account_id = p_bank_account_id
           AND (f.state = 'approved' OR p_terms.payees IS NULL AND f.state = 'proposed' AND settlement.is_ad_hoc(f.file_id))
    ), kept_back AS MATERIALIZED (
        SELECT w.account_id, w.posting_id FROM waiting w
        UNION ALL
        SELECT p.account_id, h.posting_id FROM settlement.hold_active h  -- few, each looked up by its key
         CROSS JOIN LATERAL (SELECT p.account_id FROM ledger.posting p WHERE p.posting_id = h.posting_id LIMIT 1) p
    ), party AS (
        SELECT e.payee_id, e.payee_version_id, e.account_id, c.cut_date, e.reserve_bps,
               greatest(e.reserve_fixed_minor - coalesce(f.minor, 0), 0) AS fixed_wanted_minor,
               greatest(e.minimum_minor, account.minimum_minor) AS minimum_minor,
               least(e.maximum_minor, account.maximum_minor) AS maximum_minor,
               e.through_posting_id, e.left_open, e.read_from_id, e.strays, e.account_id IN (SELECT x.account_id FROM mixed x) AS is_mixed,
               CASE WHEN e.account_id NOT IN (SELECT x.account_id FROM mixed x UNION ALL SELECT k.account_id FROM kept_back k)
                    THEN (e.through_posting_id >> 20) + 1 END AS whole_from,  -- from this batch on blocks may be taken as wholes
               b.payee_id IS NOT NULL AS hold, e.negative = 'debit' AND account.collects AS collects,
               CASE WHEN p_terms.payees IS NULL THEN e.schedule = ANY (p_terms.due)
                    ELSE e.code = ANY (p_terms.payees) END AS due
          FROM front e
         CROSS JOIN account
          JOIN cut c ON c.delay = e.delay_days
          LEFT JOIN blocked b ON b.payee_id = e.payee_id
          LEFT JOIN held_fixed f ON f.payee_id = e.payee_id
         ORDER BY e.account_id  -- neighbours lie on the same pages
    ), own_batch AS MATERIALIZED (  -- of settlement itself, from the oldest open item on
        SELECT b.batch_id FROM ledger.batch b
         WHERE b.module = 'settlement'
           AND b.batch_id >= (SELECT min(coalesce(f.left_open[1], f.through_posting_id)) >> 20 FROM front f)
    ), own_block AS MATERIALIZED (  -- such as lie in blocks: mostly none
        SELECT w.batch_id FROM own_batch w
         CROSS JOIN LATERAL (SELECT p.in_block FROM ledger.posting p WHERE p.posting_id = w.batch_id << 20 LIMIT 1) p WHERE p.in_block
    ), net AS (
        -- Account by account in the order of its index; the small sets above are hashed once. A batch of which everything on
        -- the account is due is taken whole, and answered for by its blocks' totals; of one that waits as a whole only its
        -- beginning is noted, unless something due stands behind it. The rest is looked at posting by posting. (All blocks of
        -- an account in a batch say the same dates, so they are due together or not.)
        SELECT n.payee_id, n.payee_version_id, n.account_id, n.reserve_bps, n.fixed_wanted_minor, n.minimum_minor, n.maximum_minor, n.hold, n.collects,
               n.due, -(coalesce(n.whole_minor, 0) + coalesce(n.due_minor, 0))::bigint AS owed_minor,
               -(coalesce(n.waiting_minor, 0) + coalesce(n.left_minor, 0))::bigint AS rest_minor,
               CASE WHEN n.reserve_bps > 0 THEN -(coalesce(n.whole_minor, 0) + coalesce(n.new_minor, 0))::bigint END AS new_minor,
               n.posting_ids, n.whole_batch_ids, n.whole_count,
               CASE WHEN n.last_due_id > n.waits_from_id
                    THEN array(SELECT unnest(n.left_out_ids)
                               UNION ALL
                               SELECT (b.batch_id << 20) + unnest(b.posting_nos)
                                 FROM ledger.posting_block b
                                WHERE b.account_id = n.account_id AND b.batch_id >= n.whole_from
                                  AND NOT settlement.block_is_due(b.batch_id NOT IN (SELECT w.batch_id FROM own_block w), b.first_date, b.last_date, n.cut_date)
                                ORDER BY 1)
                    ELSE array_sort(coalesce(n.left_out_ids, '{}')) END AS left_out_ids,
               CASE WHEN n.last_due_id > n.waits_from_id THEN NULL ELSE n.waits_from_id END AS waits_from_id
          FROM (SELECT y.*, w.whole_minor, w.waiting_minor, w.waits_from_id,
                       o.due_minor, o.left_minor, o.new_minor, o.left_out_ids, coalesce(l.posting_ids, '{}') AS posting_ids,
                       coalesce(w.whole_batch_ids, '{}') AS whole_batch_ids, coalesce(w.whole_count, 0) AS whole_count,
                       settlement.highest_taken(l.posting_ids, w.whole_batch_ids) AS last_due_id
          FROM party y
         CROSS JOIN LATERAL (
               SELECT array_agg(b.batch_id) FILTER (WHERE b.is_due AND b.block_no = 0) AS whole_batch_ids,
                      sum(b.posting_count) FILTER (WHERE b.is_due)::int AS whole_count, sum(b.total_minor) FILTER (WHERE b.is_due) AS whole_minor,
                      sum(b.total_minor) FILTER (WHERE NOT b.is_due) AS waiting_minor,
                      min(b.batch_id) FILTER (WHERE NOT b.is_due) << 20 AS waits_from_id, bool_or(b.is_due IS NULL) AS has_mixed
                 FROM (SELECT b.batch_id, b.block_no, cardinality(b.posting_nos) AS posting_count, b.total_minor,
                              settlement.block_is_due(b.batch_id >= y.whole_from AND b.batch_id NOT IN (SELECT w.batch_id FROM own_block w),
                                                      b.first_date, b.last_date, y.cut_date) AS is_due
                         FROM ledger.posting_block b
                        WHERE b.account_id = y.account_id AND b.batch_id >= (y.read_from_id + 1) >> 20
                        ORDER BY b.batch_id OFFSET 0) b
               OFFSET 0) w
         CROSS JOIN LATERAL (
               SELECT sum(i.amount_minor) FILTER (WHERE i.is_eligible) AS due_minor, sum(i.amount_minor) FILTER (WHERE NOT i.is_eligible) AS left_minor,
                      sum(i.amount_minor) FILTER (WHERE i.is_eligible AND NOT i.is_own) AS new_minor,
                      array_agg(i.posting_id) FILTER (WHERE i.is_eligible) AS posting_ids,
                      array_agg(i.posting_id) FILTER (WHERE NOT i.is_eligible) AS left_out_ids
                 FROM (SELECT p.posting_id, p.amount_minor, p.is_own,
                              p.effective_date <= CASE WHEN p.is_own THEN p_business_date ELSE y.cut_date END AND p.posting_id NOT IN (SELECT k.posting_id FROM kept_back k)
                              AND CASE WHEN p.is_own AND p.effective_date >= p_business_date
                                       THEN (SELECT false FROM settlement.clearing_group g
                                              WHERE g.remainder_posting_id = p.posting_id LIMIT 1) IS NULL
                                       ELSE true END AS is_eligible
                         FROM (SELECT a.*, a.posting_id >> 20 IN (SELECT b.batch_id FROM own_batch b) AS is_own
                                 FROM settlement.single_postings_above(y.account_id, y.read_from_id, y.strays) a
                               UNION ALL
                               SELECT u.posting_id, u.amount_minor, u.effective_date, u.is_own
                                 FROM (SELECT (b.batch_id << 20) + unnest(b.posting_nos) AS posting_id, unnest(b.amounts) AS amount_minor,
                                              unnest(b.dates) AS effective_date, b.is_own
                                         FROM (SELECT b.*, b.batch_id IN (SELECT w.batch_id FROM own_block w) AS is_own
                                                 FROM ledger.posting_block b
                                                WHERE w.has_mixed AND b.account_id = y.account_id
                                                  AND b.batch_id >= (y.read_from_id + 1) >> 20 OFFSET 0) b
                                        WHERE settlement.block_is_due(b.batch_id >= y.whole_from AND NOT b.is_own, b.first_date, b.last_date,
                                                                      y.cut_date) IS NULL) u
                                WHERE u.posting_id > y.read_from_id) p
                        WHERE (p.posting_id > y.through_posting_id OR p.posting_id = ANY (y.left_open))
                          AND CASE WHEN p.is_own OR y.is_mixed THEN p.posting_id NOT IN (SELECT c.posting_id FROM cleared c)
                                   ELSE true END OFFSET 0) i
               OFFSET 0) o
         CROSS JOIN LATERAL (SELECT array_sort(o.posting_ids) AS posting_ids OFFSET 0) l
         OFFSET 0) n
         WHERE n.last_due_id IS NOT NULL OFFSET 0
    )
    SELECT n.payee_id, n.payee_version_id, n.account_id, n.owed_minor, paid.pay_minor,
           CASE WHEN paid.pay_minor > 0 THEN kept.rolling_minor ELSE 0 END,
           CASE WHEN paid.pay_minor > 0 THEN kept.fixed_minor ELSE 0 END,
           n.rest_minor,
           CASE WHEN n.hold THEN 'payee_held'
                WHEN p_terms.payees IS NOT NULL AND NOT n.due THEN 'not_due'  -- an ad-hoc run is of nobody else
                WHEN n.owed_minor = 0 THEN 'zero'
                WHEN NOT n.due THEN 'not_due'
                WHEN paid.pay_minor < 0 THEN 'collect'
                WHEN n.owed_minor < 0 THEN 'negative'
                WHEN paid.pay_minor = 0 THEN 'below_minimum'
                ELSE 'pay' END,
           n.posting_ids, n.whole_batch_ids, n.whole_count, n.left_out_ids, n.waits_from_id
      FROM net n
     CROSS JOIN LATERAL (
           SELECT least(greatest(coalesce(n.new_minor, 0), 0), greatest(n.owed_minor, 0)) AS base_minor) base
     CROSS JOIN LATERAL (
           SELECT CASE WHEN n.reserve_bps > 0 THEN floor(base.base_minor::numeric * n.reserve_bps / 10000)::bigint ELSE 0 END AS minor) rolling
     CROSS JOIN LATERAL (
           SELECT rolling.minor AS rolling_minor, least(n.fixed_wanted_minor, greatest(n.owed_minor, 0) - rolling.minor) AS fixed_minor OFFSET 0) kept
     CROSS JOIN LATERAL (
           SELECT CASE WHEN n.hold OR NOT n.due THEN 0
                       WHEN n.owed_minor < 0 AND n.collects AND -n.owed_minor >= n.minimum_minor
                            AND settlement.mandate_step(n.payee_version_id, p_business_date) IS NOT NULL
                            THEN greatest(n.owed_minor, -n.maximum_minor)
                       WHEN n.owed_minor - kept.rolling_minor - kept.fixed_minor >= greatest(n.minimum_minor, 1)
                            THEN least(n.owed_minor - kept.rolling_minor - kept.fixed_minor, n.maximum_minor)
                       ELSE 0 END AS pay_minor OFFSET 0) paid
$$;

CREATE FUNCTION settlement.void_files(p_file_ids bigint[], p_reason text) RETURNS int
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT count(settlement.add_file_event(f.file_id, 'void', p_reason))::int
      FROM (SELECT u.file_id FROM unnest(p_file_ids) u (file_id) ORDER BY u.file_id) f
$$;

-- An ad-hoc run of payees (p_payees) never takes one of them out of a file that waits for its approval and pays others too:
-- they would not be paid that day, and nobody would have decided that.
CREATE FUNCTION settlement.require_free(p_bank_account_id int, p_payees text[]) RETURNS void
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_in record;
BEGIN
    SELECT i.payee_code, i.file_id INTO v_in
      FROM settlement.file_standing f
      JOIN settlement.payment_file p ON p.file_id = f.file_id
      JOIN settlement.run r USING (run_id)
      JOIN settlement.instruction i ON i.file_id = f.file_id
     WHERE f.bank_account_id = p_bank_account_id AND f.state = 'proposed'
       AND i.payee_code = ANY (p_payees) AND (r.payees <@ p_payees) IS NOT TRUE
     ORDER BY i.file_id, i.ordinal LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'run_overlaps',
            MESSAGE = format('Payee %s is paid by file %s, which waits for its approval with others.', v_in.payee_code, v_in.file_id),
            HINT = 'Have that file approved, or reject it (`nostro settle reject`) and propose the others again afterwards.';
    END IF;
END $$;
COMMENT ON FUNCTION settlement.require_free IS 'Internal: called where a run is opened.';

-- Files that wait for their approval and say what this proposal says anew: of full runs those of full runs, of ad-hoc runs
-- those of the same payees or fewer.
CREATE FUNCTION settlement.supersede(p_bank_account_id int, p_payees text[]) RETURNS int
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT settlement.void_files(array_agg(f.file_id), 'superseded by a later proposal')
      FROM settlement.file_standing f
     CROSS JOIN LATERAL (SELECT p.run_id FROM settlement.payment_file p WHERE p.file_id = f.file_id LIMIT 1) p
     CROSS JOIN LATERAL (SELECT r.payees FROM settlement.run r WHERE r.run_id = p.run_id LIMIT 1) r
     WHERE f.bank_account_id = p_bank_account_id AND f.state = 'proposed'
       AND CASE WHEN p_payees IS NULL OR r.payees IS NULL THEN p_payees IS NULL AND r.payees IS NULL ELSE r.payees <@ p_payees END
$$;
COMMENT ON FUNCTION settlement.supersede IS 'Internal: called where a run is opened.';

-- Opens a run from one cut, or answers with the run whose proposed files say exactly the same.
-- Proposed files that no longer say what is owed become void; approved files are left to be sealed, unless
-- their cut-off has passed. Zero nets are closed on the spot: no money moves, so nobody needs to approve.
CREATE FUNCTION settlement.open_run(
    p_bank_account_id int, p_business_date date, p_proposed_at timestamptz, p_execution_date date,
    p_cutoff_at timestamptz, p_terms settlement.calendar_terms, OUT run_id bigint, OUT is_new boolean, OUT zero_count int)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    v_book int := (SELECT r.book_id FROM settlement.bank_account_root r WHERE r.bank_account_id = p_bank_account_id);
    v_cut  record;
BEGIN
    PERFORM ledger.require_book(v_book);
    PERFORM FROM settlement.bank_account_root r WHERE r.bank_account_id = p_bank_account_id FOR NO KEY UPDATE;
    PERFORM settlement.void_files(array_agg(f.file_id), 'its cut-off passed before it was sealed')
       FROM settlement.file_standing f
      CROSS JOIN LATERAL (SELECT p.run_id FROM settlement.payment_file p WHERE p.file_id = f.file_id LIMIT 1) p
      CROSS JOIN LATERAL (SELECT r.cutoff_at FROM settlement.run r WHERE r.run_id = p.run_id LIMIT 1) r
      WHERE f.bank_account_id = p_bank_account_id AND f.state IN ('proposed', 'approved')
        AND r.cutoff_at <= p_proposed_at;

    PERFORM settlement.require_free(p_bank_account_id, p_terms.payees);
    PERFORM settlement.release_reserves(p_bank_account_id, p_business_date);
    SELECT * INTO v_cut FROM settlement.record_cut(p_bank_account_id, p_business_date, p_proposed_at, p_execution_date, p_cutoff_at,
                                                   p_terms, settlement.cut_line());
    is_new := v_cut.live_run_id IS NULL AND v_cut.paid > 0;
    run_id := CASE WHEN is_new THEN v_cut.made_run_id ELSE v_cut.live_run_id END;
    zero_count := v_cut.zero;
    IF v_cut.live_run_id IS NULL THEN
        PERFORM settlement.supersede(p_bank_account_id, p_terms.payees);
    END IF;
    IF zero_count > 0 THEN
        PERFORM settlement.close_zero_nets(v_cut.made_run_id, v_book);
        PERFORM settlement.mark_batches();
    END IF;
END $$;

-- Nets once, and writes down what comes of it, in one statement: a run and its obligations, unless the proposed files of
-- live_run_id say the same already (zero nets are written all the same). The same: these payees, these amounts, from these
-- postings, on that date. (Which batches are taken whole is not always the same: where the lists differ the postings are compared.)
CREATE FUNCTION settlement.record_cut(
    p_bank_account_id int, p_business_date date, p_proposed_at timestamptz, p_execution_date date, p_cutoff_at timestamptz,
    p_terms settlement.calendar_terms, p_line bigint, OUT live_run_id bigint, OUT made_run_id bigint, OUT zero int, OUT paid int)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET work_mem = '128MB'
SET plan_cache_mode = force_custom_plan SET enable_nestloop = off SET enable_mergejoin = off AS $$
BEGIN
    WITH cut AS MATERIALIZED (
        SELECT * FROM settlement.netting(p_bank_account_id, p_business_date, p_proposed_at, p_terms) n
         WHERE n.outcome IN ('pay', 'collect', 'zero')
    ), live AS MATERIALIZED (
        SELECT r.run_id, o.payee_version_id, o.pay_minor, o.rolling_minor, o.fixed_minor, o.account_id, o.posting_ids, o.whole_batch_ids
          FROM settlement.file_standing f
         CROSS JOIN LATERAL (SELECT p.run_id FROM settlement.payment_file p WHERE p.file_id = f.file_id LIMIT 1) p
         CROSS JOIN LATERAL (SELECT * FROM settlement.run r WHERE r.run_id = p.run_id LIMIT 1) r
          JOIN settlement.bank_account b ON b.bank_account_id = f.bank_account_id
                                        AND (b.profile_id, b.version) = (r.profile_id, r.account_version)
         CROSS JOIN LATERAL (SELECT i.instruction_id FROM settlement.instruction i WHERE i.file_id = f.file_id OFFSET 0) i
         CROSS JOIN LATERAL (SELECT * FROM settlement.obligation o WHERE o.obligation_id = i.instruction_id LIMIT 1) o
         WHERE f.bank_account_id = p_bank_account_id AND f.state = 'proposed'
           AND r.business_date = p_business_date AND r.execution_date = p_execution_date
           AND r.cutoff_at = p_cutoff_at AND r.payees IS NOT DISTINCT FROM p_terms.payees
    ), same AS MATERIALIZED (
        SELECT min(l.run_id) AS run_id FROM live l
        HAVING count(*) > 0 AND min(l.run_id) = max(l.run_id)
           AND count(*) = (SELECT count(*) FROM cut c WHERE c.outcome <> 'zero')
           AND NOT EXISTS (
               SELECT FROM cut c
                 LEFT JOIN live l USING (payee_version_id, pay_minor, rolling_minor, fixed_minor, account_id)
                WHERE c.outcome <> 'zero' AND
                      CASE WHEN (c.posting_ids, c.whole_batch_ids) = (l.posting_ids, l.whole_batch_ids) THEN true
                           ELSE ARRAY(SELECT t.posting_id FROM settlement.taken_postings(c.account_id, c.posting_ids, c.whole_batch_ids) t ORDER BY 1)
                              = ARRAY(SELECT t.posting_id FROM settlement.taken_postings(l.account_id, l.posting_ids, l.whole_batch_ids) t ORDER BY 1)
                      END IS NOT TRUE)
    ), made AS (
        INSERT INTO settlement.run (book_id, bank_account_id, profile_id, account_version, business_date, cycle,
                                    payees, proposed_at, execution_date, cutoff_at)
        SELECT b.book_id, b.bank_account_id, b.profile_id, b.version, p_business_date,
               -- Ids follow from cycles: after a restore they start where no forgotten one can have been.
               (SELECT greatest(max(r.cycle), 1000 * ((SELECT count(*) FROM settlement.send_journal) - 1), 0) + 1
                  FROM settlement.run r
                 WHERE r.bank_account_id = p_bank_account_id AND r.business_date = p_business_date),
               p_terms.payees, p_proposed_at, p_execution_date, p_cutoff_at
          FROM settlement.bank_account b
         WHERE b.bank_account_id = p_bank_account_id
           AND EXISTS (SELECT FROM cut c WHERE c.outcome = 'zero' OR NOT EXISTS (SELECT FROM same))
        RETURNING run_id
    ), written AS (
        INSERT INTO settlement.obligation (run_id, payee_id, payee_version_id, account_id, owed_minor, pay_minor,
                                           rolling_minor, fixed_minor, rest_minor, posting_ids, whole_batch_ids,
                                           whole_count, left_out_ids, cut_through_id)
        SELECT m.run_id, n.payee_id, n.payee_version_id, n.account_id, n.owed_minor, n.pay_minor, n.rolling_minor,
               n.fixed_minor, n.rest_minor, n.posting_ids, n.whole_batch_ids, n.whole_count,
               CASE WHEN w.first_id = n.left_out_ids[1] THEN '{}'
                    WHEN w.first_id IS NULL THEN n.left_out_ids
                    ELSE array(SELECT l FROM unnest(n.left_out_ids) l WHERE l < w.first_id ORDER BY l) END,
               least(w.first_id - 1, p_line)
          FROM cut n
         CROSS JOIN made m
         CROSS JOIN LATERAL (SELECT settlement.highest_taken(n.posting_ids, n.whole_batch_ids) AS id OFFSET 0) due
         -- What waits (T+n) mostly stands behind all that is due: the cut ends before it, and it need not be listed.
         CROSS JOIN LATERAL (SELECT least(n.waits_from_id, CASE WHEN n.left_out_ids = '{}' THEN NULL
                                                                WHEN n.left_out_ids[1] > due.id THEN n.left_out_ids[1]
                                         ELSE (SELECT min(l) FROM unnest(n.left_out_ids) l WHERE l > due.id) END) AS first_id OFFSET 0) w
         WHERE n.outcome = 'zero' OR NOT EXISTS (SELECT FROM same)
         ORDER BY n.payee_id
        RETURNING owed_minor
    )
    SELECT (SELECT s.run_id FROM same s), (SELECT m.run_id FROM made m), count(*) FILTER (WHERE w.owed_minor = 0)::int,
           count(*) FILTER (WHERE w.owed_minor <> 0)::int
      INTO live_run_id, made_run_id, zero, paid
      FROM written w;
END $$;

-- Postings that sum to zero clear each other on the spot: no money moves.
CREATE FUNCTION settlement.close_zero_nets(p_run_id bigint, p_book_id int) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan AS $$
BEGIN
    INSERT INTO settlement.clearing_group (group_id, book_id, account_id, clearing_no, latest_cut_id, member_count, low_posting_id,
        high_posting_id)
    SELECT o.obligation_id, p_book_id, o.account_id, coalesce(c.clearing_no, 0) + 1, greatest(c.latest_cut_id, o.obligation_id),
           cardinality(o.posting_ids) + o.whole_count,
           settlement.lowest_taken(o.posting_ids, o.whole_batch_ids), settlement.highest_taken(o.posting_ids, o.whole_batch_ids)
      FROM settlement.obligation o
      LEFT JOIN LATERAL (SELECT * FROM settlement.clearing_group c WHERE c.account_id = o.account_id
                          ORDER BY c.clearing_no DESC LIMIT 1) c ON true
     WHERE o.run_id = p_run_id AND o.owed_minor = 0;
END $$;

-- Records a rendered file of a run. Amounts and parties come from the books, not from the caller.
-- LATERAL … LIMIT 1 pins each look-up to the primary key; what else must hold stands outside of it.
-- p_batches: the file's blocks in order, each with payment_information_id, count (of the instructions that follow each
-- other), execution_date (when the bank is to book it; a collection's is after its run's) and terms.
CREATE FUNCTION settlement.record_file(
    p_run_id bigint, p_part int, p_direction text, p_msg_id text, p_content bytea, p_batches jsonb,
    p_obligation_ids bigint[], p_end_to_end_ids text[], p_uetrs text[]) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan SET enable_memoize = off AS $$
DECLARE
    v_file bigint;
    v_batches int[];  -- of each instruction
    v_amounts bigint[];
BEGIN
    PERFORM ledger.require_book((SELECT x.book_id FROM settlement.run x WHERE x.run_id = p_run_id));
    PERFORM 1 FROM settlement.run r WHERE r.run_id = p_run_id AND r.prepared_by = session_user;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', CONSTRAINT = 'run_preparer',
            MESSAGE = format('Run %s is not being prepared by %s.', p_run_id, session_user);
    END IF;
    SELECT array_agg(CASE WHEN o.run_id = p_run_id THEN abs(o.pay_minor) END ORDER BY g.n) INTO v_amounts  -- NULL: not of this run
      FROM unnest(p_obligation_ids) WITH ORDINALITY g (id, n)
      LEFT JOIN LATERAL (SELECT o.run_id, o.pay_minor FROM settlement.obligation o WHERE o.obligation_id = g.id LIMIT 1) o ON true;
    INSERT INTO settlement.payment_file (run_id, part, book_id, bank_account_id, rail, direction, currency_id,
        msg_id, instruction_count, total_minor, content)
    SELECT r.run_id, p_part, r.book_id, r.bank_account_id, b.rail, p_direction, b.currency_id,
           p_msg_id, paid.count, paid.total, p_content
      FROM settlement.run r
      JOIN settlement.bank_account_root b USING (bank_account_id)
     CROSS JOIN (SELECT count(minor) AS count, sum(minor) AS total FROM unnest(v_amounts) g (minor)) paid
     WHERE r.run_id = p_run_id
    RETURNING file_id INTO v_file;
    SELECT array_agg(b.n::int ORDER BY b.n, k) INTO v_batches
      FROM jsonb_array_elements(p_batches) WITH ORDINALITY b (body, n) CROSS JOIN generate_series(1, (b.body ->> 'count')::int) k;
    INSERT INTO settlement.payment_batch (file_id, batch, payment_information_id, execution_date, service_level,
        local_instrument, sequence_type, charge_bearer, instruction_count, total_minor)
    SELECT v_file, paid.batch, g.payment_information_id, greatest(g.execution_date, r.execution_date), g.service_level,
           g.local_instrument, g.sequence_type, g.charge_bearer, paid.count, paid.total
      FROM (SELECT u.batch, count(u.minor) AS count, sum(u.minor) AS total
              FROM unnest(v_amounts, v_batches) u (minor, batch) GROUP BY u.batch) paid
      JOIN settlement.run r ON r.run_id = p_run_id
     CROSS JOIN LATERAL jsonb_to_record(p_batches -> (paid.batch - 1)) AS g (payment_information_id text,
           execution_date date, service_level text, local_instrument text, sequence_type text, charge_bearer text);
    INSERT INTO settlement.instruction (instruction_id, file_id, batch, ordinal, payee_id, payee_code, payee_name,
        payee_iban, payable_account_id, amount_minor, direction, end_to_end_id, uetr, execution_date)
    SELECT o.obligation_id, v_file, b.batch, g.n, o.payee_id, y.code, v.name, v.iban, o.account_id, abs(o.pay_minor), p_direction,
           g.end_to_end_id, g.uetr, b.execution_date
      FROM unnest(p_obligation_ids, p_end_to_end_ids, p_uetrs, v_batches) WITH ORDINALITY
           AS g (obligation_id, end_to_end_id, uetr, batch, n)
      JOIN settlement.payment_batch b ON b.file_id = v_file AND b.batch = g.batch
     CROSS JOIN LATERAL (SELECT * FROM settlement.obligation o WHERE o.obligation_id = g.obligation_id LIMIT 1) o
     CROSS JOIN LATERAL (SELECT * FROM settlement.payee_version v
                          WHERE v.payee_version_id = o.payee_version_id LIMIT 1) v
     CROSS JOIN LATERAL (SELECT * FROM settlement.payee y WHERE y.payee_id = o.payee_id LIMIT 1) y
      JOIN settlement.run r ON r.run_id = o.run_id
     WHERE o.run_id = p_run_id
     ORDER BY g.n;
    PERFORM settlement.add_file_event(v_file, 'proposed');
    RETURN v_file;
END $$;

GRANT EXECUTE ON FUNCTION settlement.netting, settlement.open_run, settlement.record_file TO :app;
