-- Approving by a second person (large files: by two), and sealing: the one transaction in which a payment becomes money in transit.

-- How many more people must sign a file.
CREATE FUNCTION settlement.approvals_missing(p_file_id bigint) RETURNS int
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT ledger.require_book((SELECT x.book_id FROM settlement.payment_file x WHERE x.file_id = p_file_id));
    SELECT greatest(0, coalesce((SELECT CASE WHEN f.total_minor > t.dual_above_minor THEN 2 ELSE 1 END
                                   FROM settlement.approval_terms(f.book_id, f.currency_id) t), 1)
                       - (SELECT count(*)::int FROM settlement.approval a WHERE a.file_id = p_file_id))
      FROM settlement.payment_file f WHERE f.file_id = p_file_id
$$;

CREATE FUNCTION settlement.approve(
    p_file_id bigint, p_sha256 text, p_instruction_count int, p_total_minor bigint, p_payee_digest text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_state text := settlement.lock_file(p_file_id);
BEGIN
    PERFORM ledger.require_book((SELECT x.book_id FROM settlement.payment_file x WHERE x.file_id = p_file_id));
    IF EXISTS (
        SELECT FROM settlement.approval a
         WHERE (a.file_id, a.sha256, a.instruction_count, a.total_minor, a.payee_digest, a.approved_by)
             = (p_file_id, p_sha256, p_instruction_count, p_total_minor, p_payee_digest, session_user)) THEN
        RETURN false;
    END IF;
    IF v_state <> 'proposed' THEN
        PERFORM settlement.add_file_event(p_file_id, 'approved');  -- says why it cannot
    END IF;
    INSERT INTO settlement.approval (file_id, sha256, instruction_count, total_minor, payee_digest, approved_by)
    VALUES (p_file_id, p_sha256, p_instruction_count, p_total_minor, p_payee_digest, session_user);
    IF settlement.approvals_missing(p_file_id) = 0 THEN
        PERFORM settlement.add_file_event(p_file_id, 'approved');
    END IF;
    RETURN true;
END $$;

CREATE FUNCTION settlement.reject(p_file_id bigint, p_reason text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_state text := settlement.lock_file(p_file_id);
BEGIN
    PERFORM ledger.require_book((SELECT x.book_id FROM settlement.payment_file x WHERE x.file_id = p_file_id));
    IF v_state = 'rejected' THEN RETURN false; END IF;
    IF v_state NOT IN ('proposed', 'approved') THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'file_event_transition',
            MESSAGE = format('File %s is %s; only a file that is not sealed can be rejected by a person.', p_file_id, v_state);
    END IF;
    PERFORM settlement.add_file_event(p_file_id, 'rejected', p_reason);
    RETURN true;
END $$;

-- Why an approved file can no longer be sealed as it is; NULL when it can.
CREATE FUNCTION settlement.seal_obstacle(p_file_id bigint, p_now timestamptz) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan AS $$
    WITH file AS MATERIALIZED (
        SELECT f.*, r.cutoff_at, r.business_date FROM settlement.payment_file f
          JOIN settlement.run r USING (run_id) WHERE f.file_id = p_file_id
    ), part AS MATERIALIZED (
        SELECT i.instruction_id, i.payee_id, i.payee_code, o.payee_version_id, o.account_id, o.owed_minor, o.rest_minor
          FROM settlement.instruction i
         CROSS JOIN LATERAL (SELECT o.payee_version_id, o.account_id, o.owed_minor, o.rest_minor FROM settlement.obligation o
                              WHERE o.obligation_id = i.instruction_id LIMIT 1) o
         WHERE i.file_id = p_file_id
    ), obstacle (precedence, message) AS (
        SELECT 1, format('the cut-off %s passed', file.cutoff_at) FROM file WHERE p_now >= file.cutoff_at
        UNION ALL
        SELECT 3, format('posting %s of payee %s is held: %s', h.posting_id, p.payee_code, h.reason)
          FROM file
          JOIN settlement.outstanding u ON u.book_id = file.book_id AND u.what = 'hold'
          JOIN part p ON p.payee_id = u.payee_id
         CROSS JOIN LATERAL (SELECT * FROM settlement.hold h WHERE h.hold_id = u.id LIMIT 1) h
          JOIN settlement.obligation o ON o.obligation_id = p.instruction_id
         WHERE h.posting_id = ANY (o.posting_ids)
            OR h.posting_id >> 20 = ANY (o.whole_batch_ids)
               AND o.account_id = (SELECT l.account_id FROM ledger.posting l WHERE l.posting_id = h.posting_id)
        UNION ALL
        SELECT 4, format('the details or rules of payee %s changed', p.payee_code)
          FROM part p JOIN settlement.payee_current y USING (payee_id)
         WHERE y.payee_version_id <> p.payee_version_id
        UNION ALL
        SELECT 5, format('payee %s is held: %s', p.payee_code, b.reason)
          FROM file, settlement.blocked_payees(file.book_id, p_now) b JOIN part p USING (payee_id)
        UNION ALL
        -- The account's balance is what is open on it. Beside what this payment settles it fell below zero since.
        SELECT 6, CASE WHEN p.owed_minor > 0 THEN format('payee %s owes %s minor units since', p.payee_code, -rest.minor)
                       ELSE format('payee %s owes %s minor units less since', p.payee_code, rest.minor) END
          FROM part p
          JOIN ledger.account_balance l ON l.account_id = p.account_id
         CROSS JOIN LATERAL (SELECT (-l.posted_minor - p.owed_minor)::bigint AS minor) rest
         WHERE p.owed_minor > 0 AND rest.minor < 0 AND rest.minor < p.rest_minor
            OR p.owed_minor < 0 AND rest.minor > 0 AND rest.minor > p.rest_minor
    )
    SELECT string_agg(message, '; ' ORDER BY precedence, message)
      FROM (SELECT DISTINCT precedence, message FROM obstacle ORDER BY precedence, message LIMIT 3) first_three
$$;

-- Seals an approved file: claims its members, posts one entry an instruction (Dr payable / Cr cash in transit)
-- and moves the file on, all or nothing. What changed since the proposal makes it void instead, which is an
-- outcome to commit and not an error. Sealing again answers with what happened.
CREATE FUNCTION settlement.seal(
    p_file_id bigint, p_now timestamptz, OUT outcome text, OUT is_new boolean, OUT reason text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_bank_account int := (SELECT f.bank_account_id FROM settlement.payment_file f WHERE f.file_id = p_file_id);
    v_constraint   text;
    v_message      text;
BEGIN
    PERFORM ledger.require_book((SELECT x.book_id FROM settlement.payment_file x WHERE x.file_id = p_file_id));
    -- Same order of locks as proposing: bank account, then file.
    PERFORM 1 FROM settlement.bank_account_root r WHERE r.bank_account_id = v_bank_account FOR NO KEY UPDATE;
    outcome := settlement.lock_file(p_file_id);
    is_new := outcome = 'approved';
    IF outcome = 'proposed' THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'file_approved',
            MESSAGE = format('File %s is not approved.', p_file_id),
            HINT = 'A member of the approver group other than its preparer must approve it first.';
    END IF;
    IF NOT is_new THEN
        reason := (SELECT f.reason FROM settlement.file_current f WHERE f.file_id = p_file_id);
        RETURN;
    END IF;
    IF settlement.approvals_missing(p_file_id) > 0 OR EXISTS (
        SELECT FROM settlement.payment_file f JOIN settlement.approval a USING (file_id)
         WHERE f.file_id = p_file_id
           AND (a.payee_digest, a.sha256, a.instruction_count, a.total_minor) IS DISTINCT FROM
               (settlement.payee_digest(p_file_id), f.sha256, f.instruction_count, f.total_minor)) THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'approval_signs_file',
            MESSAGE = format('File %s is not what was approved.', p_file_id),
            HINT = 'Do not send it; run `nostro verify`.';
    END IF;
    reason := settlement.seal_obstacle(p_file_id, p_now);
    IF reason IS NOT NULL THEN
        PERFORM settlement.add_file_event(p_file_id, 'void', reason);
        outcome := 'void';
        RETURN;
    END IF;
    BEGIN
        PERFORM settlement.post_payouts(p_file_id);
        PERFORM settlement.add_file_event(p_file_id, 'sealed', format('now %s', p_now));
        PERFORM settlement.mark_batches();
        outcome := 'sealed';
    EXCEPTION WHEN unique_violation THEN
        -- The key has the last word on what is cleared already; nobody need look before it does.
        GET STACKED DIAGNOSTICS v_constraint = CONSTRAINT_NAME, v_message = MESSAGE_TEXT;
        IF v_constraint <> 'clearing_member_once' THEN RAISE; END IF;
        reason := v_message;
        PERFORM settlement.add_file_event(p_file_id, 'void', reason);
        outcome := 'void';
    END;
END $$;

-- Results meet in arrays by the instructions' order, so nothing is joined that the planner knows nothing of.
CREATE FUNCTION settlement.post_payouts(p_file_id bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET work_mem = '128MB'
SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    v_book int; v_date date; v_transit int;
    v_ids bigint[]; v_accounts int[]; v_versions bigint[]; v_owed bigint[]; v_pay bigint[]; v_rolling bigint[]; v_fixed bigint[];
    v_keys text[]; v_texts text[]; v_refs text[];
    v_taken int[]; v_lows bigint[]; v_highs bigint[];
    v_leg_entry int[]; v_leg_account int[]; v_leg_amount bigint[];
    v_entries bigint[]; v_firsts bigint[];
BEGIN
    SELECT f.book_id, r.business_date, b.transit_account_id INTO v_book, v_date, v_transit
      FROM settlement.payment_file f JOIN settlement.run r USING (run_id)
      JOIN settlement.bank_account_root b ON b.bank_account_id = f.bank_account_id
     WHERE f.file_id = p_file_id;
    -- Legs of an entry in this order: clearing posting, T, remainder, rolling reserve, fixed reserve; those that are.
    WITH part AS MATERIALIZED (
        SELECT i.ordinal, i.instruction_id, i.payee_code, i.end_to_end_id, i.direction, o.*
          FROM settlement.instruction i
         CROSS JOIN LATERAL (SELECT o.account_id, o.payee_version_id, o.owed_minor, o.pay_minor, o.rolling_minor, o.fixed_minor,
                                    cardinality(o.posting_ids) + o.whole_count AS taken, settlement.lowest_taken(o.posting_ids, o.whole_batch_ids) AS low,
                                    settlement.highest_taken(o.posting_ids, o.whole_batch_ids) AS high
                               FROM settlement.obligation o WHERE o.obligation_id = i.instruction_id LIMIT 1) o
         WHERE i.file_id = p_file_id
         ORDER BY i.ordinal
    ), reserve AS MATERIALIZED (
        SELECT p.ordinal, v.reserve_account_id AS account_id, p.rolling_minor, p.fixed_minor
          FROM part p
         CROSS JOIN LATERAL (SELECT v.reserve_account_id FROM settlement.payee_version v WHERE v.payee_version_id = p.payee_version_id LIMIT 1) v
         WHERE p.rolling_minor + p.fixed_minor > 0
    ), leg AS (
        SELECT l.ordinal, l.account_id, l.minor
          FROM (SELECT p.ordinal, 1 AS k, p.account_id, p.owed_minor FROM part p
                UNION ALL SELECT p.ordinal, 2, v_transit, -p.pay_minor FROM part p
                UNION ALL SELECT p.ordinal, 3, p.account_id, p.pay_minor + p.rolling_minor + p.fixed_minor - p.owed_minor FROM part p
                           WHERE p.pay_minor + p.rolling_minor + p.fixed_minor <> p.owed_minor
                UNION ALL SELECT r.ordinal, 4, r.account_id, -r.rolling_minor FROM reserve r WHERE r.rolling_minor > 0
                UNION ALL SELECT r.ordinal, 5, r.account_id, -r.fixed_minor FROM reserve r WHERE r.fixed_minor > 0) l (ordinal, k, account_id, minor)
         ORDER BY l.ordinal, l.k
    )
    SELECT p.*, l.* INTO v_ids, v_accounts, v_versions, v_owed, v_pay, v_rolling, v_fixed, v_keys, v_texts, v_refs, v_taken, v_lows, v_highs,
                         v_leg_entry, v_leg_account, v_leg_amount
      FROM (SELECT array_agg(p.instruction_id), array_agg(p.account_id), array_agg(p.payee_version_id), array_agg(p.owed_minor), array_agg(p.pay_minor),
                   array_agg(p.rolling_minor), array_agg(p.fixed_minor), array_agg('settle:' || p.end_to_end_id),
                   array_agg(CASE p.direction WHEN 'pay' THEN 'Payout to ' ELSE 'Collection from ' END || p.payee_code),
                   array_agg(p.end_to_end_id), array_agg(p.taken), array_agg(p.low), array_agg(p.high)
              FROM part p) p,
           (SELECT array_agg(l.ordinal), array_agg(l.account_id), array_agg(l.minor) FROM leg l) l;

    SELECT array_agg(p.entry_id ORDER BY p.entry_ordinal), array_agg(p.first_posting_id ORDER BY p.entry_ordinal)
      INTO v_entries, v_firsts
      FROM ledger.post_internal(v_book, 'settlement', NULL, v_keys, array_fill(v_date, ARRAY[cardinality(v_keys)]),
           v_texts, v_refs, NULL, NULL, v_leg_entry, v_leg_account, v_leg_amount) p;

    INSERT INTO settlement.clearing_group (group_id, book_id, account_id, clearing_no, latest_cut_id, member_count, low_posting_id,
        high_posting_id, entry_id, clearing_posting_id, transit_posting_id, remainder_posting_id)
    SELECT g.id, v_book, g.account_id, coalesce(c.clearing_no, 0) + 1, greatest(c.latest_cut_id, g.id),
           g.taken + 1, g.low, g.high, g.entry, g.first, g.first + 1, CASE WHEN g.kept_minor <> g.owed_minor THEN g.first + 2 END
      FROM (SELECT u.*, u.pay_minor + u.rolling_minor + u.fixed_minor AS kept_minor
              FROM unnest(v_ids, v_accounts, v_owed, v_pay, v_rolling, v_fixed, v_taken, v_lows, v_highs, v_entries, v_firsts)
                   AS u (id, account_id, owed_minor, pay_minor, rolling_minor, fixed_minor, taken, low, high, entry, first)) g
      LEFT JOIN LATERAL (SELECT c.clearing_no, c.latest_cut_id FROM settlement.clearing_group c WHERE c.account_id = g.account_id
                          ORDER BY c.clearing_no DESC LIMIT 1) c ON true;
    INSERT INTO settlement.reserve_taken (group_id, payee_id, kind, posting_id, amount_minor, release_on)
    SELECT g.id, v.payee_id, leg.kind, leg.posting_id, leg.amount, CASE leg.kind WHEN 'rolling' THEN v_date + v.reserve_days END
      FROM unnest(v_ids, v_versions, v_owed, v_pay, v_rolling, v_fixed, v_firsts)
           AS g (id, payee_version_id, owed_minor, pay_minor, rolling_minor, fixed_minor, first)
      JOIN settlement.payee_version v ON v.payee_version_id = g.payee_version_id
     CROSS JOIN LATERAL (SELECT g.first + 2 + (g.pay_minor + g.rolling_minor + g.fixed_minor <> g.owed_minor)::int AS id) at
     CROSS JOIN LATERAL (VALUES ('rolling', at.id, g.rolling_minor),
                                ('fixed', at.id + (g.rolling_minor > 0)::int, g.fixed_minor)) leg (kind, posting_id, amount)
     WHERE g.rolling_minor + g.fixed_minor > 0 AND leg.amount > 0;
END $$;

-- What stays on a bank account once every approved file is paid: N + T − those. Negative is a warning, not a rule:
-- money may arrive before the bank executes.
CREATE FUNCTION settlement.cash_after(p_bank_account_id int) RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT ledger.require_book((SELECT x.book_id FROM settlement.bank_account_root x WHERE x.bank_account_id = p_bank_account_id));
    SELECT (n.posted_minor + t.posted_minor
            - coalesce((SELECT sum(CASE p.direction WHEN 'pay' THEN p.total_minor ELSE -p.total_minor END)
                          FROM settlement.file_current f JOIN settlement.payment_file p USING (file_id)
                         WHERE f.bank_account_id = p_bank_account_id AND f.state = 'approved'), 0))::bigint
      FROM settlement.bank_account_root b
      JOIN ledger.account_balance n ON n.account_id = b.nostro_account_id
      JOIN ledger.account_balance t ON t.account_id = b.transit_account_id
     WHERE b.bank_account_id = p_bank_account_id
$$;

-- A file is cancelled and every payment of it owed again, in its entry's mirror. The caller has locked and decided.
CREATE FUNCTION settlement.take_back(p_file_id bigint, p_reason text, p_held boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM settlement.add_file_event(p_file_id, 'cancelled', p_reason);
    INSERT INTO settlement.instruction_event (instruction_id, ordinal, from_state, state, reason_text)
    SELECT i.instruction_id, 1, 'new', 'cancelled', p_reason FROM settlement.instruction i WHERE i.file_id = p_file_id;
    PERFORM settlement.reopen('cancel', array_agg(i.instruction_id ORDER BY i.ordinal),
                array_agg(i.amount_minor ORDER BY i.ordinal), array_fill(p_reason, ARRAY[count(*)::int]),
                min(r.business_date), NULL, p_held)
       FROM settlement.instruction i JOIN settlement.payment_file f USING (file_id)
       JOIN settlement.run r USING (run_id) WHERE i.file_id = p_file_id;
END $$;

-- Takes a sealed file back that never left: every payment of it is owed again, not held, in the same entry's mirror.
-- The file's bytes are never sent; the payments come again under new references.
CREATE FUNCTION settlement.cancel(p_file_id bigint, p_reason text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_bank_account int := (SELECT f.bank_account_id FROM settlement.payment_file f WHERE f.file_id = p_file_id);
    v_state        text;
BEGIN
    PERFORM ledger.require_book((SELECT x.book_id FROM settlement.payment_file x WHERE x.file_id = p_file_id));
    PERFORM 1 FROM settlement.bank_account_root r WHERE r.bank_account_id = v_bank_account FOR NO KEY UPDATE;
    v_state := settlement.lock_file(p_file_id);
    IF v_state = 'cancelled' THEN RETURN false; END IF;
    IF v_state = 'unknown' THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'file_event_transition',
            MESSAGE = format('File %s may have reached its bank and is not cancelled by one person.', p_file_id),
            HINT = 'Ask the bank; then two people say so with `nostro bank resolve --not-sent`.';
    END IF;
    PERFORM settlement.take_back(p_file_id, p_reason, false);
    RETURN true;
END $$;

GRANT EXECUTE ON FUNCTION settlement.cancel TO :preparer, :approver;
GRANT EXECUTE ON FUNCTION settlement.approve TO :approver;
GRANT EXECUTE ON FUNCTION settlement.reject TO :preparer, :approver;
GRANT EXECUTE ON FUNCTION settlement.seal, settlement.cash_after, settlement.approvals_missing TO :app;
