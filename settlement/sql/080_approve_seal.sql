-- Approving by a second person, and sealing: the one transaction in which a payment becomes money in transit.

CREATE FUNCTION settlement.approve(
    p_file_id bigint, p_sha256 text, p_instruction_count int, p_total_minor bigint, p_payee_digest text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_state text := settlement.lock_file(p_file_id);
BEGIN
    IF v_state <> 'proposed' AND EXISTS (
        SELECT FROM settlement.approval a
         WHERE (a.file_id, a.sha256, a.instruction_count, a.total_minor, a.payee_digest, a.approved_by)
             = (p_file_id, p_sha256, p_instruction_count, p_total_minor, p_payee_digest, session_user)) THEN
        RETURN false;
    END IF;
    PERFORM settlement.add_file_event(p_file_id, 'approved');
    INSERT INTO settlement.approval (file_id, sha256, instruction_count, total_minor, payee_digest, approved_by)
    VALUES (p_file_id, p_sha256, p_instruction_count, p_total_minor, p_payee_digest, session_user);
    RETURN true;
END $$;

CREATE FUNCTION settlement.reject(p_file_id bigint, p_reason text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_state text := settlement.lock_file(p_file_id);
BEGIN
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
        SELECT i.instruction_id, i.payee_id, i.payee_code, o.payee_version_id
          FROM settlement.instruction i JOIN settlement.obligation o ON o.obligation_id = i.instruction_id
         WHERE i.file_id = p_file_id
    ), member AS MATERIALIZED (
        SELECT p.payee_code, m.posting_id FROM part p
          JOIN settlement.proposal_member m ON m.obligation_id = p.instruction_id
    ), obstacle (precedence, message) AS (
        SELECT 1, format('the cut-off %s passed', file.cutoff_at) FROM file WHERE p_now >= file.cutoff_at
        UNION ALL
        SELECT 2, format('posting %s of payee %s was cleared by another payment', m.posting_id, m.payee_code)
          FROM file, member m
         CROSS JOIN LATERAL (SELECT FROM settlement.clearing_member c
                              WHERE c.book_id = file.book_id AND c.posting_id = m.posting_id LIMIT 1) c
        UNION ALL
        SELECT 3, format('posting %s of payee %s is held: %s', m.posting_id, m.payee_code, h.reason)
          FROM member m JOIN settlement.hold_active h USING (posting_id)
        UNION ALL
        SELECT 4, format('the details or rules of payee %s changed', p.payee_code)
          FROM part p JOIN settlement.payee_current y USING (payee_id)
         WHERE y.payee_version_id <> p.payee_version_id
        UNION ALL
        SELECT 5, format('payee %s owes %s minor units since', p.payee_code, -n.owed_minor)
          FROM file, settlement.netting(file.bank_account_id, file.business_date) n
          JOIN part p USING (payee_id) WHERE n.owed_minor < 0
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
BEGIN
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
    PERFORM 1 FROM settlement.payment_file f JOIN settlement.approval a USING (file_id)
      WHERE f.file_id = p_file_id AND a.payee_digest = settlement.payee_digest(p_file_id)
        AND encode(sha256(f.content), 'hex') = a.sha256
        AND (f.instruction_count, f.total_minor) = (a.instruction_count, a.total_minor);
    IF NOT FOUND THEN
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
    PERFORM settlement.post_payouts(p_file_id);
    PERFORM settlement.add_file_event(p_file_id, 'sealed', format('now %s', p_now));
    outcome := 'sealed';
END $$;

-- Results meet in arrays by the instructions' order, so nothing is joined that the planner knows nothing of.
CREATE FUNCTION settlement.post_payouts(p_file_id bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    v_book int; v_date date; v_transit int;
    v_ids bigint[]; v_accounts int[]; v_remains boolean[]; v_members int[];
    v_keys text[]; v_texts text[]; v_refs text[];
    v_leg_entry int[]; v_leg_account int[]; v_leg_amount bigint[];
    v_entries bigint[]; v_firsts bigint[];
BEGIN
    SELECT f.book_id, r.business_date, b.transit_account_id INTO v_book, v_date, v_transit
      FROM settlement.payment_file f JOIN settlement.run r USING (run_id)
      JOIN settlement.bank_account_root b ON b.bank_account_id = f.bank_account_id
     WHERE f.file_id = p_file_id;
    SELECT array_agg(i.instruction_id ORDER BY i.ordinal), array_agg(i.payable_account_id ORDER BY i.ordinal),
           array_agg(o.owed_minor > o.pay_minor ORDER BY i.ordinal),
           array_agg((SELECT count(*)::int + 1 FROM settlement.proposal_member m
                       WHERE m.obligation_id = i.instruction_id) ORDER BY i.ordinal),
           array_agg('settle:' || i.end_to_end_id ORDER BY i.ordinal),
           array_agg('Payout to ' || i.payee_code ORDER BY i.ordinal), array_agg(i.end_to_end_id ORDER BY i.ordinal)
      INTO v_ids, v_accounts, v_remains, v_members, v_keys, v_texts, v_refs
      FROM settlement.instruction i
     CROSS JOIN LATERAL (SELECT * FROM settlement.obligation o WHERE o.obligation_id = i.instruction_id LIMIT 1) o
     WHERE i.file_id = p_file_id;
    -- Legs of an entry in this order: clearing debit, T credit, remainder (when a maximum cut something off).
    SELECT array_agg(i.ordinal ORDER BY i.ordinal, leg.n), array_agg(leg.account ORDER BY i.ordinal, leg.n),
           array_agg(leg.amount ORDER BY i.ordinal, leg.n)
      INTO v_leg_entry, v_leg_account, v_leg_amount
      FROM settlement.instruction i
     CROSS JOIN LATERAL (SELECT * FROM settlement.obligation o WHERE o.obligation_id = i.instruction_id LIMIT 1) o
     CROSS JOIN LATERAL (VALUES (1, o.account_id, o.owed_minor), (2, v_transit, -o.pay_minor),
                                (3, o.account_id, o.pay_minor - o.owed_minor)) leg (n, account, amount)
     WHERE i.file_id = p_file_id AND leg.amount <> 0;

    SELECT array_agg(p.entry_id ORDER BY p.entry_ordinal), array_agg(p.first_posting_id ORDER BY p.entry_ordinal)
      INTO v_entries, v_firsts
      FROM ledger.post_internal(v_book, 'settlement', NULL, v_keys, array_fill(v_date, ARRAY[cardinality(v_ids)]),
           v_texts, v_refs, NULL, NULL, v_leg_entry, v_leg_account, v_leg_amount) p;

    INSERT INTO settlement.clearing_group (group_id, book_id, account_id, member_count, entry_id,
        clearing_posting_id, transit_posting_id, remainder_posting_id)
    SELECT g.id, v_book, g.account, g.members, g.entry, g.first, g.first + 1, CASE WHEN g.remains THEN g.first + 2 END
      FROM unnest(v_ids, v_accounts, v_members, v_entries, v_firsts, v_remains)
           AS g (id, account, members, entry, first, remains);
    INSERT INTO settlement.clearing_member (book_id, posting_id, group_id)
    SELECT v_book, m.posting_id, g.id
      FROM unnest(v_ids, v_firsts) AS g (id, first)
     CROSS JOIN LATERAL (SELECT m.posting_id FROM settlement.proposal_member m WHERE m.obligation_id = g.id
                         UNION ALL SELECT g.first) m;
END $$;

-- What stays on a bank account once every approved file is paid: N + T − those. Negative is a warning, not a rule:
-- money may arrive before the bank executes.
CREATE FUNCTION settlement.cash_after(p_bank_account_id int) RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT (n.posted_minor + t.posted_minor
            - coalesce((SELECT sum(f.total_minor) FROM settlement.file_current f
                         WHERE f.bank_account_id = p_bank_account_id AND f.state = 'approved'), 0))::bigint
      FROM settlement.bank_account_root b
      JOIN ledger.balance n ON n.account_id = b.nostro_account_id
      JOIN ledger.balance t ON t.account_id = b.transit_account_id
     WHERE b.bank_account_id = p_bank_account_id
$$;

GRANT EXECUTE ON FUNCTION settlement.approve TO :approver;
GRANT EXECUTE ON FUNCTION settlement.reject TO :preparer, :approver;
GRANT EXECUTE ON FUNCTION settlement.seal, settlement.cash_after TO :app;
