-- Proposing: one consistent cut of what is owed, netted per payee.

CREATE TYPE settlement.netted AS (
    payee_id         int,
    payee_version_id bigint,
    account_id       int,
    owed_minor       bigint,
    pay_minor        bigint,
    outcome          text,
    posting_ids      bigint[]
);

-- What each payee of a bank account is owed on a business date, and what the rules make of it.
-- Left out: cleared and held postings, those in a file that is approved and waits to be sealed, and today's own
-- remainders (a maximum is per business date, so what it cut off waits for the next one).
CREATE FUNCTION settlement.netting(p_bank_account_id int, p_business_date date)
    RETURNS SETOF settlement.netted
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan AS $$
    WITH rail AS (
        SELECT minimum_minor, maximum_minor FROM settlement.bank_account WHERE bank_account_id = p_bank_account_id
    ), party AS MATERIALIZED (
        SELECT y.payee_id, y.payee_version_id, y.account_id, y.hold, y.delay_days,
               greatest(y.minimum_minor, rail.minimum_minor) AS minimum_minor,
               least(y.maximum_minor, rail.maximum_minor) AS maximum_minor
          FROM settlement.payee_current y, rail WHERE y.bank_account_id = p_bank_account_id
    ), waiting AS MATERIALIZED (
        SELECT m.posting_id
          FROM settlement.file_current f
          JOIN settlement.instruction i USING (file_id)
          JOIN settlement.proposal_member m ON m.obligation_id = i.instruction_id
         WHERE f.bank_account_id = p_bank_account_id AND f.state = 'approved'
    ), held AS MATERIALIZED (
        SELECT DISTINCT h.posting_id FROM settlement.hold_active h
    ), net AS (
        SELECT y.payee_id, y.payee_version_id, y.account_id, y.hold, y.minimum_minor, y.maximum_minor,
               (-sum(p.amount_minor))::bigint AS owed_minor, array_agg(p.posting_id ORDER BY p.posting_id) AS posting_ids
          FROM party y
          JOIN ledger.posting p ON p.account_id = y.account_id
          LEFT JOIN settlement.clearing_member m ON m.book_id = p.book_id AND m.posting_id = p.posting_id
          LEFT JOIN settlement.clearing_group g ON g.remainder_posting_id = p.posting_id
         WHERE p.effective_date <= p_business_date - y.delay_days
           AND m.posting_id IS NULL
           -- Hashed whatever the planner believes of their size; their columns are NOT NULL.
           AND p.posting_id NOT IN (SELECT w.posting_id FROM waiting w)
           AND p.posting_id NOT IN (SELECT h.posting_id FROM held h)
           AND NOT (g.group_id IS NOT NULL AND p.effective_date >= p_business_date)
         GROUP BY y.payee_id, y.payee_version_id, y.account_id, y.hold, y.minimum_minor, y.maximum_minor
    )
    SELECT n.payee_id, n.payee_version_id, n.account_id, n.owed_minor, decided.pay_minor,
           CASE WHEN n.hold THEN 'payee_held'
                WHEN n.owed_minor = 0 THEN 'zero'
                WHEN n.owed_minor < 0 THEN 'negative'
                WHEN decided.pay_minor = 0 THEN 'below_minimum'
                ELSE 'pay' END,
           n.posting_ids
      FROM net n
     CROSS JOIN LATERAL (
           SELECT CASE WHEN n.owed_minor >= n.minimum_minor AND n.owed_minor > 0 AND NOT n.hold
                       THEN least(n.owed_minor, n.maximum_minor) ELSE 0 END AS pay_minor) decided
     ORDER BY n.payee_id
$$;

CREATE FUNCTION settlement.void_files(p_file_ids bigint[], p_reason text) RETURNS int
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT count(settlement.add_file_event(f.file_id, 'void', p_reason))::int
      FROM (SELECT u.file_id FROM unnest(p_file_ids) u (file_id) ORDER BY u.file_id) f
$$;

-- Opens a run from one cut, or answers with the run whose proposed files say exactly the same.
-- Proposed files that no longer say what is owed become void; approved files are left to be sealed, unless
-- their cut-off has passed. Zero nets are closed on the spot: no money moves, so nobody needs to approve.
CREATE FUNCTION settlement.open_run(
    p_bank_account_id int, p_business_date date, p_proposed_at timestamptz, p_execution_date date,
    p_cutoff_at timestamptz, OUT run_id bigint, OUT is_new boolean, OUT zero_count int)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    v_root  settlement.bank_account_root;
    v_netted settlement.netted[];
    v_live  bigint;
    v_pays  boolean;
BEGIN
    SELECT * INTO v_root FROM settlement.bank_account_root r
     WHERE r.bank_account_id = p_bank_account_id FOR NO KEY UPDATE;
    PERFORM settlement.void_files(array_agg(f.file_id), 'its cut-off passed before it was sealed')
       FROM settlement.file_current f JOIN settlement.run r ON r.run_id = f.run_id
      WHERE f.bank_account_id = p_bank_account_id AND f.state IN ('proposed', 'approved')
        AND r.cutoff_at <= p_proposed_at;

    SELECT array_agg(n) INTO v_netted
      FROM settlement.netting(p_bank_account_id, p_business_date) n WHERE n.outcome IN ('pay', 'zero');
    SELECT count(*) FILTER (WHERE n.outcome = 'zero')::int, coalesce(bool_or(n.outcome = 'pay'), false)
      INTO zero_count, v_pays FROM unnest(v_netted) n;

    v_live := settlement.same_proposal(v_root.bank_account_id, p_business_date, p_execution_date, v_netted);
    is_new := v_live IS NULL AND v_pays;
    run_id := v_live;
    IF v_live IS NULL THEN
        PERFORM settlement.void_files(array_agg(f.file_id), 'superseded by a later proposal')
           FROM settlement.file_current f
          WHERE f.bank_account_id = p_bank_account_id AND f.state = 'proposed';
    END IF;
    IF is_new OR zero_count > 0 THEN
        INSERT INTO settlement.run (book_id, bank_account_id, profile_id, account_version, business_date, cycle,
                                    proposed_at, execution_date, cutoff_at)
        SELECT v_root.book_id, p_bank_account_id, b.profile_id, b.version, p_business_date,
               (SELECT coalesce(max(r.cycle), 0) + 1 FROM settlement.run r
                 WHERE r.bank_account_id = p_bank_account_id AND r.business_date = p_business_date),
               p_proposed_at, p_execution_date, p_cutoff_at
          FROM settlement.bank_account b WHERE b.bank_account_id = p_bank_account_id
        RETURNING settlement.run.run_id INTO v_live;
        run_id := CASE WHEN is_new THEN v_live ELSE run_id END;
        PERFORM settlement.record_obligations(v_live, v_root.book_id, v_netted, is_new);
    END IF;
END $$;

-- The run whose proposed files pay exactly these payees these amounts from these postings on that date.
CREATE FUNCTION settlement.same_proposal(
    p_bank_account_id int, p_business_date date, p_execution_date date, p_netted settlement.netted[]) RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan AS $$
    WITH live AS (
        SELECT f.file_id, f.run_id, o.payee_version_id, o.pay_minor,
               array_agg(m.posting_id ORDER BY m.posting_id) AS posting_ids
          FROM settlement.file_current f
          JOIN settlement.run r ON r.run_id = f.run_id
          JOIN settlement.bank_account b ON b.bank_account_id = f.bank_account_id
                                        AND (b.profile_id, b.version) = (r.profile_id, r.account_version)
          JOIN settlement.instruction i ON i.file_id = f.file_id
          JOIN settlement.obligation o ON o.obligation_id = i.instruction_id
          JOIN settlement.proposal_member m ON m.obligation_id = o.obligation_id
         WHERE f.bank_account_id = p_bank_account_id AND f.state = 'proposed'
           AND r.business_date = p_business_date AND r.execution_date = p_execution_date
         GROUP BY f.file_id, f.run_id, o.obligation_id
    ), cut AS (
        SELECT n.payee_version_id, n.pay_minor, n.posting_ids FROM unnest(p_netted) n WHERE n.outcome = 'pay'
    )
    SELECT min(l.run_id) FROM live l
    HAVING count(*) > 0 AND min(l.run_id) = max(l.run_id)
       AND count(*) = (SELECT count(*) FROM cut)
       AND NOT EXISTS (SELECT payee_version_id, pay_minor, posting_ids FROM cut
                       EXCEPT SELECT payee_version_id, pay_minor, posting_ids FROM live)
$$;

-- Results of one statement meet in arrays by position: a join of two intermediate results may be planned as if
-- both were small.
CREATE FUNCTION settlement.record_obligations(
    p_run_id bigint, p_book_id int, p_netted settlement.netted[], p_pay boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    v_netted settlement.netted[];
    v_ids    bigint[];
BEGIN
    SELECT array_agg(n ORDER BY n.payee_id) INTO v_netted
      FROM unnest(p_netted) n WHERE n.outcome = 'zero' OR p_pay;
    WITH new AS (
        INSERT INTO settlement.obligation (run_id, payee_id, payee_version_id, account_id, owed_minor, pay_minor)
        SELECT p_run_id, n.payee_id, n.payee_version_id, n.account_id, n.owed_minor, n.pay_minor
          FROM unnest(v_netted) n ORDER BY n.payee_id
        RETURNING obligation_id, payee_id)
    SELECT array_agg(new.obligation_id ORDER BY new.payee_id) INTO v_ids FROM new;
    INSERT INTO settlement.proposal_member (obligation_id, posting_id)
    SELECT n.obligation_id, m.posting_id
      FROM unnest(v_netted, v_ids) AS n (payee_id, payee_version_id, account_id, owed_minor, pay_minor, outcome,
                                         posting_ids, obligation_id)
     CROSS JOIN LATERAL unnest(n.posting_ids) m (posting_id);
    INSERT INTO settlement.clearing_group (group_id, book_id, account_id, member_count)
    SELECT n.obligation_id, p_book_id, n.account_id, cardinality(n.posting_ids)
      FROM unnest(v_netted, v_ids) AS n (payee_id, payee_version_id, account_id, owed_minor, pay_minor, outcome,
                                         posting_ids, obligation_id)
     WHERE n.outcome = 'zero';
    INSERT INTO settlement.clearing_member (book_id, posting_id, group_id)
    SELECT p_book_id, m.posting_id, n.obligation_id
      FROM unnest(v_netted, v_ids) AS n (payee_id, payee_version_id, account_id, owed_minor, pay_minor, outcome,
                                         posting_ids, obligation_id)
     CROSS JOIN LATERAL unnest(n.posting_ids) m (posting_id)
     WHERE n.outcome = 'zero';
END $$;

-- Records a rendered file of a run. Amounts and parties come from the books, not from the caller.
-- LATERAL … LIMIT 1 pins each look-up to the primary key; what else must hold stands outside of it.
CREATE FUNCTION settlement.record_file(
    p_run_id bigint, p_part int, p_msg_id text, p_payment_information_id text, p_content bytea,
    p_obligation_ids bigint[], p_end_to_end_ids text[], p_uetrs text[]) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    v_file bigint;
BEGIN
    PERFORM 1 FROM settlement.run r WHERE r.run_id = p_run_id AND r.prepared_by = session_user;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', CONSTRAINT = 'run_preparer',
            MESSAGE = format('Run %s is not being prepared by %s.', p_run_id, session_user);
    END IF;
    INSERT INTO settlement.payment_file (run_id, part, book_id, bank_account_id, rail, currency_id, execution_date,
        msg_id, payment_information_id, sha256, instruction_count, total_minor, content)
    SELECT r.run_id, p_part, r.book_id, r.bank_account_id, b.rail, b.currency_id, r.execution_date,
           p_msg_id, p_payment_information_id, encode(sha256(p_content), 'hex'), paid.count, paid.total, p_content
      FROM settlement.run r
      JOIN settlement.bank_account_root b USING (bank_account_id)
     CROSS JOIN (SELECT count(*) AS count, sum(o.pay_minor) AS total FROM unnest(p_obligation_ids) g (id)
                  CROSS JOIN LATERAL (SELECT * FROM settlement.obligation o
                                       WHERE o.obligation_id = g.id LIMIT 1) o
                  WHERE o.run_id = p_run_id) paid
     WHERE r.run_id = p_run_id
    RETURNING file_id INTO v_file;
    INSERT INTO settlement.instruction (instruction_id, file_id, ordinal, payee_id, payee_code, payee_name,
        payee_iban, payable_account_id, amount_minor, end_to_end_id, uetr, execution_date)
    SELECT o.obligation_id, v_file, g.n, o.payee_id, y.code, v.name, v.iban, o.account_id, o.pay_minor,
           g.end_to_end_id, g.uetr, r.execution_date
      FROM unnest(p_obligation_ids, p_end_to_end_ids, p_uetrs) WITH ORDINALITY
           AS g (obligation_id, end_to_end_id, uetr, n)
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
