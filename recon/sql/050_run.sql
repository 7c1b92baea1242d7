-- A reconciliation run: what it reads, and the one function that publishes what it found.

-- Findings about statements that a run for this day knows: seen on or before it, or not seen by any run yet.
CREATE FUNCTION recon.findings_at(p_book_id int, p_date date)
RETURNS TABLE (finding_id bigint, account text, currency text, code text, item_ref text, message text, closing_date date)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT ledger.require_book(p_book_id);
    SELECT f.finding_id, b.code, b.currency, f.code, f.item_ref, f.message, f.closing_date
      FROM recon.statement_finding f
      JOIN settlement.bank_account b USING (bank_account_id)
      LEFT JOIN recon.finding_seen n USING (finding_id)
     WHERE f.book_id = p_book_id
       AND coalesce(n.business_date, p_date) <= p_date
       AND (n.finding_id IS NOT NULL OR f.closing_date IS NULL OR f.closing_date <= p_date)
       AND NOT coalesce((SELECT r.is_resolved FROM recon.finding_resolution r WHERE r.finding_id = f.finding_id
                          ORDER BY r.ordinal DESC LIMIT 1), false)
       AND NOT (f.code IN ('STATEMENT_GAP', 'STATEMENT_IMBALANCE')
                AND EXISTS (SELECT FROM recon.statement_booking k JOIN recon.statement s USING (statement_id)
                             WHERE s.bank_account_id = f.bank_account_id AND s.kind IN ('camt.053', 'mt940', 'bai2') AND s.stmt_id = f.item_ref))
     ORDER BY f.finding_id
$$;

-- The sum of hashes of every un-match: what the run before had, and those since. Internal.
CREATE FUNCTION recon.unmatch_digest(p_book_id int, p_run_before bigint) RETURNS numeric
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS $$
BEGIN
    IF p_run_before IS NULL THEN
        RETURN (SELECT coalesce(sum(hashint8extended(u.posting_id, u.generation)::numeric), 0) FROM recon.unmatch u WHERE u.book_id = p_book_id);
    END IF;
    RETURN (SELECT r.unmatch_digest FROM recon.run r WHERE r.run_id = p_run_before)
         + (SELECT coalesce(sum(hashint8extended(u.posting_id, u.generation)::numeric), 0)
              FROM recon.events_after(p_run_before) e (event_id) JOIN recon.unmatch u USING (event_id));
END $$;

-- Everything a run depends on, as one text to hash: postings on T up to the day, booked statements, findings,
-- declared policies. Whatever the matcher itself wrote is left out, so the same inputs stay the same.
CREATE FUNCTION recon.run_input(p_book_id int, p_date date) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan AS $$
    SELECT ledger.require_book(p_book_id);
    SELECT concat_ws(E'\n',
        p_book_id, p_date,
        (SELECT string_agg(concat_ws(' ', b.code, t.posting_count, t.net_minor, t.digest, last.content_sha256), E'\n' ORDER BY b.code)
           FROM settlement.bank_account b
           LEFT JOIN recon.cash_at(p_book_id, p_date) t ON t.account_id = b.transit_account_id
           LEFT JOIN LATERAL (  -- the chain of statements is what its last one says
                SELECT s.content_sha256 FROM recon.statement_booking k JOIN recon.statement s USING (statement_id)
                 WHERE k.bank_account_id = b.bank_account_id AND k.closing_date <= p_date
                 ORDER BY k.closing_date DESC, k.statement_id DESC LIMIT 1) last ON true
          WHERE b.book_id = p_book_id),
        (SELECT string_agg(concat_ws(' ', f.code, f.account, f.item_ref), E'\n' ORDER BY f.code, f.account, f.item_ref)
           FROM recon.findings_at(p_book_id, p_date) f),
        recon.unmatch_digest(p_book_id, recon.run_before(p_book_id, p_date)),
        (SELECT concat_ws(' ', c.body -> 'policies', c.body -> 'tolerances', c.body -> 'acquirers')
           FROM settlement.setup_current c WHERE c.book_id = p_book_id))
$$;

-- The T postings that are open on a day, with everything the passes look at; given the run before, read from what may
-- have changed since. Postings that a later day's set cleared are open on this day, but not to be matched again.
CREATE FUNCTION recon.transit_items(p_book_id int, p_date date, p_run_before bigint)
RETURNS TABLE (
    item_id bigint, kind text, account text, currency text, amount_minor bigint, date date, sla_days int, reference text,
    end_to_end_id text, uetr text, payment_information_id text, msg_id text, servicer_ref text, structured_ref text,
    remittance text, party_account text, party_name text, bank_tx_code text, return_reason text, is_reversal boolean,
    charges_minor bigint, batch_count int, corrects_id bigint, rule text, statement_line text, value_date date,
    instructed_amount_minor bigint, instructed_currency text, rate_e9 bigint, fees_minor bigint, reserve_minor bigint,
    chargebacks_minor bigint, original_ref text, is_cleared_later boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan AS $$
    SELECT ledger.require_book(p_book_id);
    WITH account AS MATERIALIZED (
        SELECT b.*, coalesce((p.body -> 'rails' -> b.rail ->> 'sla_days')::int, 1) AS sla_days
          FROM settlement.bank_account b JOIN settlement.bank_profile p USING (profile_id)
         WHERE b.book_id = p_book_id),
    open_posting AS MATERIALIZED (
        SELECT p.posting_id, p.account_id, p.amount_minor, p.effective_date, p.entry_id, m.posting_id IS NOT NULL AS is_cleared_later
          FROM recon.touched(p_book_id, p_date, p_run_before) t
          LEFT JOIN recon.live_leg m ON m.book_id = p_book_id AND m.posting_id = t.posting_id
          JOIN ledger.posting p ON p.posting_id = t.posting_id
         WHERE m.posting_id IS NULL OR m.as_of_date > p_date)
    SELECT p.posting_id,
           CASE WHEN l.t_posting_id IS NOT NULL THEN 'LINE' WHEN g.transit_posting_id IS NOT NULL THEN 'INSTRUCTION'
                WHEN e.t_posting_id IS NOT NULL THEN 'RECEIPT' WHEN r.posting_id IS NOT NULL THEN 'ROUTINE'
                WHEN o.transit_posting_id IS NOT NULL THEN 'REJECT' ELSE 'OTHER' END,
           a.code, a.currency, p.amount_minor,
           coalesce(l.booking_date, i.execution_date, e.payout_date, p.effective_date), a.sla_days,
           CASE WHEN l.t_posting_id IS NOT NULL
                THEN coalesce(l.account_servicer_ref, l.entry_ref, concat_ws('/', s.stmt_id, l.line_ordinal, l.detail_ordinal))
                ELSE coalesce(i.end_to_end_id, e.payout_id, rl.account_servicer_ref, j.end_to_end_id, t.reference, n.idempotency_key) END,
           coalesce(l.end_to_end_id, i.end_to_end_id, e.payout_id, j.end_to_end_id),
           coalesce(l.uetr, i.uetr), coalesce(l.payment_information_id, b.payment_information_id), coalesce(l.msg_id, f.msg_id),
           l.account_servicer_ref, l.structured_ref, l.remittance,
           coalesce(l.party_account, i.payee_iban, q.iban), coalesce(l.party_name, i.payee_name, q.name),
           l.bank_tx_code, l.return_reason, coalesce(l.is_reversal, false), l.charges_minor, CASE WHEN l.detail_ordinal = 0 THEN l.batch_count END,
           coalesce(r.line_posting_id, og.transit_posting_id), r.rule,
           CASE WHEN l.t_posting_id IS NOT NULL THEN concat_ws('/', s.stmt_id, l.line_ordinal, l.detail_ordinal) END,
           l.value_date, l.instructed_amount_minor, l.instructed_currency, NULL::bigint, e.fees_minor, NULL::bigint,
           e.chargebacks_minor, CASE WHEN l.return_reason IS NOT NULL OR l.is_reversal THEN l.end_to_end_id END,
           p.is_cleared_later
      FROM open_posting p
      JOIN account a ON a.transit_account_id = p.account_id
      LEFT JOIN recon.statement_line l ON l.t_posting_id = p.posting_id
      LEFT JOIN recon.statement s ON s.statement_id = l.statement_id
      LEFT JOIN settlement.clearing_group g ON g.transit_posting_id = p.posting_id
      LEFT JOIN settlement.instruction i ON i.instruction_id = g.group_id
      LEFT JOIN settlement.payment_file f ON f.file_id = i.file_id
      LEFT JOIN settlement.payment_batch b ON b.file_id = i.file_id AND b.batch = i.batch
      LEFT JOIN settlement.reopening o ON o.transit_posting_id = p.posting_id AND o.kind IN ('reject', 'cancel')
      LEFT JOIN settlement.instruction j ON j.instruction_id = o.instruction_id
      LEFT JOIN settlement.clearing_group og ON og.group_id = o.instruction_id
      LEFT JOIN recon.expected_receipt e ON e.t_posting_id = p.posting_id
      LEFT JOIN settlement.acquirer q ON q.book_id = p_book_id AND q.code = e.acquirer
      LEFT JOIN recon.routine_posting r ON r.posting_id = p.posting_id
      LEFT JOIN recon.statement_line rl ON rl.t_posting_id = r.line_posting_id
      LEFT JOIN ledger.entry n ON n.entry_id = p.entry_id
      LEFT JOIN ledger.entry_text t ON t.entry_id = p.entry_id
     ORDER BY p.posting_id
$$;

-- The postings on cash in transit that a run had to look at: counted by its day, known to it, in no set that stood then.
-- Whole: out of all of the ledger's. Else out of what was open in the run before, what counts since its day, what came in
-- since, and what people took back: all the rest stands in sets that it had looked at.
CREATE FUNCTION recon.run_due(p_book_id int, p_run_id bigint, p_whole boolean)
RETURNS TABLE (posting_id bigint, account text, is_cleared_later boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan AS $$
    SELECT ledger.require_book(p_book_id);
    WITH run AS MATERIALIZED (SELECT * FROM recon.run r WHERE r.book_id = p_book_id AND r.run_id = p_run_id),
    before AS MATERIALIZED (SELECT b.* FROM run r JOIN recon.run b ON b.run_id = r.run_before WHERE NOT p_whole),
    unknown AS MATERIALIZED (SELECT n.batch_id FROM recon.run_unknown_batch n WHERE n.run_id = p_run_id),
    later AS MATERIALIZED (SELECT e FROM recon.events_after(p_run_id) e),
    candidate AS MATERIALIZED (
        SELECT p.posting_id, p.account_id, p.as_of_date
          FROM run r JOIN settlement.bank_account_root b ON b.book_id = r.book_id
         CROSS JOIN LATERAL (SELECT * FROM recon.account_cash_posting p WHERE p.account_id = b.transit_account_id OFFSET 0) p
         WHERE NOT EXISTS (SELECT FROM before)
        UNION ALL
        SELECT p.posting_id, p.account_id, p.as_of_date
          FROM (SELECT o.posting_id FROM before f JOIN recon.open_item o USING (run_id)
                UNION SELECT t.posting_id FROM run r CROSS JOIN before f
                        JOIN recon.transit_posting t ON t.book_id = r.book_id AND t.as_of_date > f.business_date AND t.as_of_date <= r.business_date
                UNION SELECT l.posting_id FROM before f
                       CROSS JOIN LATERAL (SELECT u.batch_id FROM recon.run_unknown_batch u WHERE u.run_id = f.run_id OFFSET 0) n
                        JOIN ledger.posting l ON l.posting_id >= n.batch_id << 20 AND l.posting_id < (n.batch_id + 1) << 20
                UNION SELECT u.posting_id FROM before f CROSS JOIN LATERAL recon.events_after(f.run_id) e
                        JOIN recon.unmatch u ON u.event_id = e) c
          JOIN recon.cash_posting p USING (posting_id)
         WHERE p.account_id = ANY (ARRAY(SELECT b.transit_account_id FROM settlement.bank_account_root b WHERE b.book_id = p_book_id))),
    stood AS MATERIALIZED (
        SELECT l.posting_id, s.as_of_date > r.business_date AS is_later
          FROM run r CROSS JOIN candidate c
          JOIN recon.match_leg l ON l.book_id = r.book_id AND l.posting_id = c.posting_id
          JOIN recon.match_set s ON s.match_set_id = l.match_set_id AND s.run_id < r.run_id
         WHERE NOT EXISTS (SELECT FROM recon.unmatch u WHERE u.book_id = l.book_id AND u.posting_id = l.posting_id
                              AND u.generation = l.generation AND u.event_id NOT IN (SELECT t.e FROM later t)))
    SELECT c.posting_id, b.code, coalesce(s.is_later, false)
      FROM run r CROSS JOIN candidate c
      JOIN settlement.bank_account_root b ON b.book_id = r.book_id AND b.transit_account_id = c.account_id
      LEFT JOIN stood s USING (posting_id)
     WHERE c.as_of_date <= r.business_date AND s.is_later IS DISTINCT FROM false
       AND c.posting_id >> 20 NOT IN (SELECT n.batch_id FROM unknown n)
     ORDER BY c.posting_id
$$;

-- Keeps that the verifier found a run to hold; nothing when the same login has said so already.
CREATE FUNCTION recon.note_verified(p_run_id bigint, p_is_whole boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM ledger.require_book((SELECT x.book_id FROM recon.run x WHERE x.run_id = p_run_id));
    PERFORM FROM recon.run x WHERE x.run_id = p_run_id FOR NO KEY UPDATE;
    INSERT INTO recon.run_verification (run_id, ordinal, is_whole)
    SELECT p_run_id, coalesce(max(v.ordinal), 0) + 1, p_is_whole FROM recon.run_verification v WHERE v.run_id = p_run_id
    HAVING NOT coalesce(bool_or(v.is_whole OR NOT p_is_whole) FILTER (WHERE v.verified_by = session_user), false);
END $$;

-- Lines that cleared before and carry one of these references: what a repeated booking repeats.
CREATE FUNCTION recon.cleared_lines(
    p_book_id int, p_date date, p_end_to_end_ids text[], p_uetrs text[], p_servicer_refs text[], p_batches text[])
RETURNS TABLE (item_id bigint, account text, currency text, amount_minor bigint, end_to_end_id text, uetr text,
               servicer_ref text, payment_information_id text, batch_count int)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan AS $$
    SELECT ledger.require_book(p_book_id);
    SELECT l.t_posting_id, b.code, l.currency, -l.amount_minor, l.end_to_end_id, l.uetr, l.account_servicer_ref,
           l.payment_information_id, CASE WHEN l.detail_ordinal = 0 THEN l.batch_count END
      FROM (SELECT * FROM recon.statement_line x WHERE x.end_to_end_id = ANY (p_end_to_end_ids)
            UNION SELECT * FROM recon.statement_line x WHERE x.uetr = ANY (p_uetrs)
            UNION SELECT * FROM recon.statement_line x WHERE x.account_servicer_ref = ANY (p_servicer_refs)
            UNION SELECT * FROM recon.statement_line x WHERE x.payment_information_id = ANY (p_batches)
                     AND x.batch_count > 1 AND x.detail_ordinal = 0) l
      JOIN recon.statement s USING (statement_id)
      JOIN settlement.bank_account_root b USING (bank_account_id)
      JOIN recon.live_leg m ON m.book_id = l.book_id AND m.posting_id = l.t_posting_id
     WHERE l.book_id = p_book_id AND m.as_of_date <= p_date
     ORDER BY l.t_posting_id
$$;

CREATE FUNCTION recon.log_run(p_run_id bigint, p_is_new boolean) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT ledger.require_book((SELECT x.book_id FROM recon.run x WHERE x.run_id = p_run_id));
    INSERT INTO recon.run_attempt (book_id, business_date, run_id, is_new)
    SELECT r.book_id, r.business_date, r.run_id, p_is_new FROM recon.run r WHERE r.run_id = p_run_id
$$;

-- Publishes sets, breaks and open items from this transaction's staged rows, all or nothing, and proves that
-- nothing is left out: every T posting of the day is in exactly one live set or is one open item. With the run before,
-- it looks at those only whose place may have changed since; that run proved the rest.
CREATE FUNCTION recon.publish_run(
    p_book_id int, p_date date, p_input_sha256 text, p_rules_sha256 text, p_exact_keys int, p_exact_keys_again int, p_run_before bigint)
RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    v_run  bigint;
    v_bad  record;
    v_cash recon.run_cash[];
BEGIN
    PERFORM ledger.require_book(p_book_id);
    SELECT array_agg(ROW(0, t.account_id, t.posting_count, t.net_minor, t.digest)::recon.run_cash) INTO v_cash
      FROM recon.cash_taken(p_book_id, p_date, true) t;
    INSERT INTO recon.run (book_id, business_date, input_sha256, rules_sha256, exact_keys, exact_keys_again, system_identifier,
                           high_batch_id, step_id, run_before, unmatch_digest, decision_digest, item_count)
    SELECT p_book_id, p_date, p_input_sha256, p_rules_sha256, p_exact_keys, p_exact_keys_again,
           (SELECT c.system_identifier FROM pg_control_system() c), (SELECT coalesce(max(b.batch_id), 0) FROM ledger.batch b),
           (SELECT max(t.step_id) FROM recon.cash_step t WHERE t.book_id = p_book_id), p_run_before,
           recon.unmatch_digest(p_book_id, p_run_before), recon.decision_digest(p_book_id, p_date, p_run_before),
           (SELECT count(*) FROM recon.stage_leg g WHERE g.xid = pg_current_xact_id())
           + (SELECT count(*) FROM recon.stage_open o WHERE o.xid = pg_current_xact_id())
    RETURNING run_id INTO v_run;
    INSERT INTO recon.run_cash (run_id, account_id, posting_count, net_minor, digest) SELECT v_run, c.account_id, c.posting_count, c.net_minor, c.digest FROM unnest(v_cash) c;

    -- The equation is that of the postings, whatever was staged.
    INSERT INTO recon.match_set (book_id, run_id, set_ordinal, rule, rule_version, leg_count, as_of_date, bank_minor, books_minor,
                                 rivals, margin, is_fungible)
    -- What people matched counts from the day of their decision: before it, it was open.
    SELECT p_book_id, v_run, g.set_ordinal, min(g.rule), min(g.rule_version), count(*),
           greatest(max(p.as_of_date), (SELECT max(a.effective_date) FROM recon.adjustment_item x JOIN recon.adjustment_approval a USING (adjustment_id)
               WHERE min(g.rule) = 'manual-match' AND x.posting_id = min(g.posting_id)
                 AND NOT EXISTS (SELECT FROM recon.adjustment_undo u WHERE u.adjustment_id = a.adjustment_id))),
           coalesce(sum(p.amount_minor) FILTER (WHERE p.is_line), 0), coalesce(sum(p.amount_minor) FILTER (WHERE NOT p.is_line), 0),
           min(g.rivals), min(g.margin), bool_or(g.is_fungible)
      FROM recon.stage_leg g JOIN recon.cash_posting p USING (posting_id)
     WHERE g.xid = pg_current_xact_id()
     GROUP BY g.set_ordinal ORDER BY g.set_ordinal;

    WITH staged AS MATERIALIZED (DELETE FROM recon.stage_leg g WHERE g.xid = pg_current_xact_id() RETURNING g.*)
    INSERT INTO recon.match_leg (book_id, posting_id, generation, match_set_id, row_sha256)
    SELECT p_book_id, g.posting_id, coalesce(u.generation + 1, 0), s.match_set_id, decode(g.row_sha256, 'hex')
      FROM staged g
     -- Pinned to the unique key: of a run made a moment ago the planner expects one set, and would read all for each leg.
     CROSS JOIN LATERAL (SELECT s.match_set_id FROM recon.match_set s WHERE s.run_id = v_run AND s.set_ordinal = g.set_ordinal LIMIT 1) s
      LEFT JOIN LATERAL (SELECT u.generation FROM recon.unmatch u WHERE u.book_id = p_book_id AND u.posting_id = g.posting_id
                          ORDER BY u.generation DESC LIMIT 1) u ON true
     ORDER BY g.posting_id;

    WITH staged AS (DELETE FROM recon.stage_break b WHERE b.xid = pg_current_xact_id() RETURNING b.*)
    INSERT INTO recon.break_run (run_id, break_id, code, item_ref, bank_account_id, currency, amount_minor, item_count,
                                 first_date, age_days, explanation, proposal, proposal_legs, finding_id, suggested_rule)
    SELECT v_run, s.break_id, s.code, s.item_ref, b.bank_account_id, s.currency, s.amount_minor, s.item_count,
           s.first_date, s.age_days, s.explanation, s.proposal, s.proposal_legs, s.finding_id, s.suggested_rule
      FROM staged s LEFT JOIN settlement.bank_account_root b ON b.book_id = p_book_id AND b.code = s.account
     ORDER BY s.break_id;

    WITH staged AS (DELETE FROM recon.stage_open o WHERE o.xid = pg_current_xact_id() RETURNING o.*)
    INSERT INTO recon.open_item (run_id, posting_id, bank_account_id, amount_minor, kind, reference, item_date, age_days, code, break_id,
                                 row_sha256)
    SELECT v_run, s.posting_id, b.bank_account_id, p.amount_minor, s.kind, s.reference, s.item_date, s.age_days, s.code, s.break_id,
           decode(s.row_sha256, 'hex')
      FROM staged s
      LEFT JOIN ledger.posting p USING (posting_id)
      LEFT JOIN settlement.bank_account_root b ON b.transit_account_id = p.account_id AND b.book_id = p_book_id
     ORDER BY s.posting_id;

    SELECT b.code, c.posting_id, c.places INTO v_bad
      FROM (SELECT t.account_id, t.posting_id, t.sets + o.items AS places
              FROM (SELECT t.account_id, t.posting_id, count(m.posting_id) AS sets
                      FROM recon.touched(p_book_id, p_date, p_run_before) t
                      LEFT JOIN recon.live_leg m ON m.book_id = p_book_id AND m.posting_id = t.posting_id AND m.as_of_date <= p_date
                     GROUP BY t.account_id, t.posting_id) t
             -- Looked up one by one: of the run's open items the planner expects one, and would read all for each posting.
             CROSS JOIN LATERAL (SELECT count(*) AS items FROM recon.open_item o WHERE o.run_id = v_run AND o.posting_id = t.posting_id) o
             WHERE t.sets + o.items <> 1
             LIMIT 1) c
      JOIN settlement.bank_account_root b ON b.transit_account_id = c.account_id;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'run_conserves',
            MESSAGE = format('Posting %s on cash in transit of %s is in %s places of the run for %s; it must be in one set or be one open item.',
                             v_bad.posting_id, v_bad.code, v_bad.places, p_date);
    END IF;

    INSERT INTO recon.finding_seen (finding_id, business_date)
    SELECT f.finding_id, p_date FROM recon.findings_at(p_book_id, p_date) f ON CONFLICT DO NOTHING;
    RETURN v_run;
END $$;

-- Files whose T postings have all cleared move on to `reconciled`: those of which something cleared in this run, and those
-- that could not move on after the run before. All of them: every file of the book is looked at.
CREATE FUNCTION recon.mark_files(p_run_id bigint, p_all boolean) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    v_book  int := (SELECT x.book_id FROM recon.run x WHERE x.run_id = p_run_id);
    v_files bigint[];
    v_count int;
BEGIN
    PERFORM ledger.require_book(v_book);
    IF p_all THEN
        v_files := ARRAY(SELECT f.file_id FROM settlement.payment_file f WHERE f.book_id = v_book);
    ELSE
        v_files := ARRAY(
            SELECT i.file_id FROM recon.match_set s JOIN recon.match_leg l USING (match_set_id)
              JOIN settlement.clearing_group g ON g.transit_posting_id = l.posting_id
              JOIN settlement.instruction i ON i.instruction_id = g.group_id
             WHERE s.run_id = p_run_id
            UNION
            SELECT w.file_id FROM recon.file_waiting w
             WHERE w.run_id = (SELECT max(r.run_id) FROM recon.run r WHERE r.book_id = v_book AND r.run_id < p_run_id));
    END IF;
    -- An instruction that was never sealed has no posting and no group.
    v_files := ARRAY(
        SELECT f.file_id FROM unnest(v_files) f (file_id)
         CROSS JOIN LATERAL (
               SELECT count(*) AS groups, count(m.posting_id) AS cleared
                 FROM settlement.instruction i JOIN settlement.clearing_group g ON g.group_id = i.instruction_id
                 LEFT JOIN recon.live_leg m ON m.book_id = v_book AND m.posting_id = g.transit_posting_id
                WHERE i.file_id = f.file_id) c
         WHERE c.groups > 0 AND c.groups = c.cleared);
    v_count := settlement.mark_reconciled(v_files);
    INSERT INTO recon.file_waiting (run_id, file_id)
    SELECT p_run_id, f.file_id FROM unnest(v_files) f (file_id)
     WHERE (SELECT e.state FROM settlement.file_event e WHERE e.file_id = f.file_id ORDER BY e.ordinal DESC LIMIT 1)
           NOT IN ('reconciled', 'rejected', 'cancelled', 'void')
     ORDER BY f.file_id;
    RETURN v_count;
END $$;

GRANT EXECUTE ON FUNCTION recon.findings_at, recon.run_input, recon.run_due, recon.transit_items, recon.cleared_lines,
    recon.note_verified TO :app;
-- What no person publishes: a run of rules says what rules found.
GRANT EXECUTE ON FUNCTION recon.log_run, recon.publish_run, recon.mark_files TO :service;
