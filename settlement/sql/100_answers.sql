-- What banks answer (pain.002), and what comes back.

-- Re-opens what instructions had cleared: Dr cash in transit / Cr payable (a collection the other way round; a return
-- that is taken back in its mirror). Each instruction at most once a call, and never more than it paid, by the table's
-- rules; the re-opened posting is held, unless the payment was cancelled before it was sent.
CREATE FUNCTION settlement.reopen(
    p_kind text, p_instruction_ids bigint[], p_amounts bigint[], p_reasons text[], p_effective date,
    p_message_id bigint, p_held boolean DEFAULT true, p_line_posting_id bigint DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    v_book int; v_transit int;
    v_count int := cardinality(p_instruction_ids);
    v_versions bigint[]; v_parts int[]; v_backs bigint[]; v_keys text[]; v_texts text[]; v_refs text[];
    v_side int := CASE p_kind WHEN 'taken_back' THEN -1 ELSE 1 END;
    v_leg_entry int[]; v_leg_account int[]; v_leg_amount bigint[];
    v_entries bigint[]; v_firsts bigint[];
BEGIN
    -- All instructions are of one bank account: the caller works file by file.
    SELECT f.book_id, b.transit_account_id INTO v_book, v_transit
      FROM settlement.instruction i JOIN settlement.payment_file f USING (file_id)
      JOIN settlement.bank_account_root b ON b.bank_account_id = f.bank_account_id
     WHERE i.instruction_id = p_instruction_ids[1];
    SELECT array_agg(o.payee_version_id ORDER BY g.n), array_agg(coalesce(r.part, 0) + 1 ORDER BY g.n),
           array_agg(coalesce(r.back_minor, 0) + v_side * g.amount ORDER BY g.n),
           array_agg(concat_ws(':', replace(p_kind, '_', '-'), i.end_to_end_id, r.part + 1) ORDER BY g.n),
           array_agg(format('%s %s %s', CASE p_kind WHEN 'taken_back' THEN 'Return taken back of' ELSE initcap(p_kind) || ' of' END,
                            CASE i.direction WHEN 'pay' THEN 'payout to' ELSE 'collection from' END, i.payee_code) ORDER BY g.n),
           array_agg(i.end_to_end_id ORDER BY g.n)
      INTO v_versions, v_parts, v_backs, v_keys, v_texts, v_refs
      FROM unnest(p_instruction_ids, p_amounts) WITH ORDINALITY AS g (id, amount, n)
     CROSS JOIN LATERAL (SELECT * FROM settlement.instruction i WHERE i.instruction_id = g.id LIMIT 1) i
     CROSS JOIN LATERAL (SELECT * FROM settlement.obligation o WHERE o.obligation_id = g.id LIMIT 1) o
      LEFT JOIN LATERAL (SELECT r.part, r.back_minor FROM settlement.reopening r WHERE r.instruction_id = g.id
                          ORDER BY r.part DESC LIMIT 1) r ON true;
    SELECT array_agg(g.n::int ORDER BY g.n, leg.k), array_agg(leg.account ORDER BY g.n, leg.k),
           array_agg(leg.amount ORDER BY g.n, leg.k)
      INTO v_leg_entry, v_leg_account, v_leg_amount
      FROM unnest(p_instruction_ids, p_amounts) WITH ORDINALITY AS g (id, came, n)
     CROSS JOIN LATERAL (SELECT * FROM settlement.instruction i WHERE i.instruction_id = g.id LIMIT 1) i
     CROSS JOIN LATERAL (SELECT CASE i.direction WHEN 'pay' THEN v_side ELSE -v_side END AS side) d
     CROSS JOIN LATERAL (VALUES (1, v_transit, d.side * g.came), (2, i.payable_account_id, -d.side * g.came)) leg (k, account, amount);

    SELECT array_agg(p.entry_id ORDER BY p.entry_ordinal), array_agg(p.first_posting_id ORDER BY p.entry_ordinal)
      INTO v_entries, v_firsts
      FROM ledger.post_internal(v_book, 'settlement', NULL, v_keys,
           array_fill(greatest(p_effective, ledger.closed_through(v_book) + 1), ARRAY[v_count]),
           v_texts, v_refs, NULL, NULL, v_leg_entry, v_leg_account, v_leg_amount) p;
    INSERT INTO settlement.reopening (instruction_id, part, kind, entry_id, transit_posting_id, payable_posting_id,
                                      amount_minor, back_minor, reason, message_id, line_posting_id)
    SELECT g.id, g.part, p_kind, g.entry, g.first, g.first + 1, g.came, g.back, coalesce(g.reason, ''), p_message_id, p_line_posting_id
      FROM unnest(p_instruction_ids, v_parts, v_entries, v_firsts, p_amounts, v_backs, p_reasons)
           AS g (id, part, entry, first, came, back, reason);
    INSERT INTO settlement.hold (book_id, posting_id, payee_version_id, instruction_id, part, ends_by_details, reason)
    SELECT v_book, g.first + 1, g.version, g.id, g.part, settlement.details_end_hold(p_kind, g.id, g.reason),
           format('%s of %s: %s', replace(p_kind, '_', ' '), g.ref, g.reason)
      FROM unnest(p_instruction_ids, v_parts, v_firsts, v_versions, v_refs, p_reasons) AS g (id, part, first, version, ref, reason)
     WHERE p_held;
END $$;

-- Whether new bank details of its payee end the hold of what came back for a reason: they answer a wrong account or name,
-- and say nothing where the policy is stop (a fraud, a duplicate, a dead payee), nor of what a person or a bank took back.
CREATE FUNCTION settlement.details_end_hold(p_kind text, p_instruction_id bigint, p_reason text) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_code text := split_part(p_reason, ' ', 1);
BEGIN
    IF p_kind NOT IN ('reject', 'return') OR v_code = 'disputed' THEN
        RETURN false;
    ELSIF p_kind = 'return' AND v_code = 'FOCR' THEN
        RETURN coalesce((SELECT settlement.policy_of('cancellation', q.reason_code) <> 'stop'
                           FROM settlement.recall_request q WHERE q.instruction_id = p_instruction_id), false);
    END IF;
    RETURN settlement.policy_of(CASE p_kind WHEN 'reject' THEN 'status' ELSE 'return' END, v_code) <> 'stop';
END $$;
COMMENT ON FUNCTION settlement.details_end_hold IS 'Internal: called where something comes back.';

-- Applies what one report says of one file: each listed payment's status, and the covering one (of its batch, else of
-- the file) for those not listed. A batch whose status is NULL covers nobody: its payments differ.
-- States only move forward, whatever order reports arrive in.
CREATE FUNCTION settlement.move_instructions(
    p_file_id bigint, p_message_id bigint, p_covering_status text, p_covering_reason text,
    p_batch_ids text[], p_batch_statuses text[], p_batch_reasons text[],
    p_end_to_end_ids text[], p_uetrs text[], p_statuses text[], p_reasons text[], p_texts text[],
    OUT changed int, OUT rejected_ids bigint[], OUT rejected_reasons text[], OUT disputed_ids bigint[])
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan SET enable_nestloop = off AS $$
DECLARE
    v_count int := (SELECT coalesce(max(m.ordinal), 0) FROM settlement.message_finding m
                     WHERE m.message_id = p_message_id);
BEGIN
    WITH given AS MATERIALIZED (
        SELECT g.n, g.end_to_end_id, g.uetr, g.status, g.reason, g.text, c.code IS NOT NULL AS known, c.state, s.rank,
               CASE WHEN i.file_id = p_file_id THEN i.instruction_id END AS instruction_id
          FROM unnest(p_end_to_end_ids, p_uetrs, p_statuses, p_reasons, p_texts) WITH ORDINALITY
               AS g (end_to_end_id, uetr, status, reason, text, n)
          LEFT JOIN LATERAL (SELECT * FROM (
                   SELECT e.instruction_id, e.file_id FROM settlement.instruction e WHERE e.end_to_end_id = g.end_to_end_id
                   UNION ALL
                   SELECT u.instruction_id, u.file_id FROM settlement.instruction u
                    WHERE u.uetr = g.uetr AND NOT EXISTS (SELECT FROM settlement.instruction x
                                                           WHERE x.end_to_end_id = g.end_to_end_id)) named LIMIT 1) i ON true
          LEFT JOIN settlement.status_code c ON c.code = g.status
          LEFT JOIN settlement.instruction_state s ON s.state = c.state
    ), own AS (
        SELECT DISTINCT ON (g.instruction_id) g.*, bool_or(g.state = 'executed') OVER one AS says_executed
          FROM given g
         WHERE g.instruction_id IS NOT NULL AND g.state IS NOT NULL
        WINDOW one AS (PARTITION BY g.instruction_id)
         ORDER BY g.instruction_id, g.rank DESC, g.n
    ), told_batch AS MATERIALIZED (
        SELECT g.n, g.id, g.status, g.reason, b.batch
          FROM unnest(p_batch_ids, p_batch_statuses, p_batch_reasons) WITH ORDINALITY AS g (id, status, reason, n)
          LEFT JOIN settlement.payment_batch b ON b.file_id = p_file_id AND b.payment_information_id = g.id
    ), covering AS (
        SELECT DISTINCT ON (b.batch) b.batch,
               CASE WHEN g.batch IS NULL THEN p_covering_status ELSE g.status END AS status,
               CASE WHEN g.batch IS NULL THEN p_covering_reason ELSE g.reason END AS reason
          FROM settlement.payment_batch b LEFT JOIN told_batch g USING (batch)
         WHERE b.file_id = p_file_id ORDER BY b.batch, g.n
    ), said AS (
        SELECT i.instruction_id, i.end_to_end_id, coalesce(t.status, c.status) AS status,
               CASE WHEN t.status IS NOT NULL THEN t.reason ELSE c.reason END AS reason, t.text, t.says_executed
          FROM settlement.instruction i JOIN covering c USING (batch) LEFT JOIN own t USING (instruction_id)
         WHERE i.file_id = p_file_id
    ), step AS MATERIALIZED (
        SELECT d.*, n.state, coalesce(e.state, 'new') AS from_state, coalesce(e.ordinal, 0) AS ordinal,
               t.state IS NOT NULL AS moves
          FROM said d
          JOIN settlement.status_code c ON c.code = d.status AND c.state IS NOT NULL
          LEFT JOIN LATERAL (SELECT * FROM settlement.instruction_event e WHERE e.instruction_id = d.instruction_id
                              ORDER BY e.ordinal DESC LIMIT 1) e ON true
         CROSS JOIN LATERAL (SELECT CASE WHEN (c.state = 'rejected' AND (e.state = 'executed' OR d.says_executed))
                                           OR (c.state = 'executed' AND e.state = 'rejected')
                                           OR (c.state <> 'rejected' AND e.state = 'cancelled')
                                         THEN 'disputed' ELSE c.state END AS state) n
          LEFT JOIN settlement.instruction_transition t
                 ON t.from_state = coalesce(e.state, 'new') AND t.state = n.state
    ), moved AS (
        INSERT INTO settlement.instruction_event (instruction_id, ordinal, from_state, state, status_code,
                                                  reason_code, reason_text, message_id)
        SELECT instruction_id, ordinal + 1, from_state, state, status, reason, text, p_message_id
          FROM step WHERE moves ORDER BY instruction_id
        RETURNING instruction_id, state, reason_code, reason_text
    ), fault (code, reference, message) AS (
        SELECT 'unknown_reference', coalesce(g.end_to_end_id, g.uetr),
               format('status %s names no payment of this file', g.status)
          FROM given g WHERE g.instruction_id IS NULL
        UNION ALL
        SELECT 'unknown_reference', g.id, format('status %s names no batch of this file', g.status)
          FROM told_batch g WHERE g.batch IS NULL AND g.status IS NOT NULL
        UNION ALL
        SELECT 'unknown_status', g.id, format('status code %s is not known', g.status) FROM told_batch g
         WHERE g.status IS NOT NULL AND NOT EXISTS (SELECT FROM settlement.status_code c WHERE c.code = g.status)
        UNION ALL
        SELECT 'unknown_status', g.end_to_end_id, format('status code %s is not known', g.status)
          FROM given g WHERE NOT g.known
        UNION ALL
        SELECT 'unknown_status', NULL, format('status code %s is not known', p_covering_status)
         WHERE p_covering_status IS NOT NULL
           AND NOT EXISTS (SELECT FROM settlement.status_code c WHERE c.code = p_covering_status)
        UNION ALL
        SELECT 'conflict', s.end_to_end_id, format('%s after %s; a person decides', s.status, s.from_state)
          FROM step s WHERE (s.moves AND s.state = 'disputed') OR (s.state = 'rejected' AND s.from_state = 'returned')
            OR (s.from_state = 'cancelled' AND s.state NOT IN ('rejected', 'cancelled'))
    ), found AS (
        INSERT INTO settlement.message_finding (message_id, ordinal, code, reference, message)
        SELECT p_message_id, v_count + row_number() OVER (ORDER BY code, reference), code, reference, message
          FROM fault
    )
    SELECT count(*)::int,
           array_agg(m.instruction_id ORDER BY m.instruction_id) FILTER (WHERE m.state = 'rejected'),
           array_agg(concat_ws(' ', m.reason_code, m.reason_text) ORDER BY m.instruction_id)
               FILTER (WHERE m.state = 'rejected'),
           array_agg(m.instruction_id ORDER BY m.instruction_id) FILTER (WHERE m.state = 'disputed')
      INTO changed, rejected_ids, rejected_reasons, disputed_ids FROM moved m;
END $$;

CREATE FUNCTION settlement.apply_statuses(
    p_file_id bigint, p_message_id bigint, p_effective date, p_covering_status text, p_covering_reason text,
    p_batch_ids text[], p_batch_statuses text[], p_batch_reasons text[], p_end_to_end_ids text[], p_uetrs text[], p_statuses text[], p_reasons text[], p_texts text[],
    OUT changed int, OUT rejected int)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_ids      bigint[];
    v_reasons  text[];
    v_disputed bigint[];
    v_run      record;
BEGIN
    SELECT m.changed, m.rejected_ids, m.rejected_reasons, m.disputed_ids INTO changed, v_ids, v_reasons, v_disputed
      FROM settlement.move_instructions(p_file_id, p_message_id, p_covering_status, p_covering_reason, p_batch_ids,
                                        p_batch_statuses, p_batch_reasons, p_end_to_end_ids, p_uetrs, p_statuses, p_reasons, p_texts) m;
    rejected := coalesce(cardinality(v_ids), 0);
    IF rejected > 0 THEN
        -- The day that the bank wrote it. A bank whose clock is ahead does not decide when the payee is paid again.
        SELECT r.business_date, p_effective > greatest(current_date, r.execution_date) + 31 AS is_beyond INTO v_run
          FROM settlement.payment_file f JOIN settlement.run r USING (run_id) WHERE f.file_id = p_file_id;
        PERFORM settlement.reopen('reject', v_ids,
                    (SELECT array_agg(i.amount_minor ORDER BY i.instruction_id) FROM settlement.instruction i
                      WHERE i.instruction_id = ANY (v_ids)),
                    v_reasons, greatest(CASE WHEN v_run.is_beyond THEN NULL ELSE p_effective END, v_run.business_date), p_message_id);
        INSERT INTO settlement.message_finding (message_id, ordinal, code, message)
        SELECT p_message_id, 1 + coalesce(max(m.ordinal), 0), 'reader',
               format('it says that it was written on %s; what it rejects is posted on %s', p_effective, v_run.business_date)
          FROM settlement.message_finding m WHERE m.message_id = p_message_id
        HAVING v_run.is_beyond;
    END IF;
    PERFORM settlement.hold_disputed(v_disputed);
    PERFORM settlement.follow_instructions(p_file_id, p_message_id);
END $$;

-- A file's state follows its instructions': what they all are, it is.
CREATE FUNCTION settlement.follow_instructions(p_file_id bigint, p_message_id bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_total int; v_rejected int; v_executed int; v_disputed int;
    v_state text;
    v_next  text;
BEGIN
    SELECT count(*), count(*) FILTER (WHERE e.state = 'rejected'),
           count(*) FILTER (WHERE e.state IN ('executed', 'returned')), count(*) FILTER (WHERE e.state = 'disputed')
      INTO v_total, v_rejected, v_executed, v_disputed
      FROM settlement.instruction i
      LEFT JOIN LATERAL (SELECT e.state FROM settlement.instruction_event e WHERE e.instruction_id = i.instruction_id
                          ORDER BY e.ordinal DESC LIMIT 1) e ON true
     WHERE i.file_id = p_file_id;
    FOREACH v_next IN ARRAY CASE
        WHEN v_disputed > 0 THEN ARRAY['disputed']
        WHEN v_rejected = v_total THEN ARRAY['rejected']
        WHEN v_rejected > 0 AND v_rejected + v_executed = v_total THEN ARRAY['partly_rejected', 'executed']
        WHEN v_rejected > 0 THEN ARRAY['partly_rejected']
        WHEN v_executed = v_total THEN ARRAY['executed']
        ELSE ARRAY['acknowledged'] END
    LOOP
        v_state := settlement.lock_file(p_file_id);
        IF EXISTS (SELECT FROM settlement.file_transition t WHERE t.from_state = v_state AND t.state = v_next)
           AND NOT EXISTS (SELECT FROM settlement.file_event e WHERE e.file_id = p_file_id AND e.state = v_next) THEN
            PERFORM settlement.add_file_event(p_file_id, v_next, NULL, p_message_id);
        END IF;
    END LOOP;
END $$;

-- Keeps what an answer says that moves no state: a changed date, a name that does not match, a return on its way.
CREATE FUNCTION settlement.note_answers(
    p_kind text, p_file_id bigint, p_message_id bigint, p_file_codes text[], p_file_reasons text[],
    p_end_to_end_ids text[], p_uetrs text[], p_statuses text[], p_reasons text[], p_texts text[], p_dates date[],
    p_amounts bigint[], p_recall_part int DEFAULT NULL) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan SET enable_nestloop = off AS $$
DECLARE
    v_count int;
BEGIN
    INSERT INTO settlement.answer_note (message_id, file_id, instruction_id, kind, code, reason_code, reason_text,
                                        execution_date, amount_minor, recall_part)
    SELECT DISTINCT ON (g.instruction_id, g.code) p_message_id, p_file_id, g.instruction_id, p_kind, g.code,
           g.reason, g.text, g.date, g.amount, p_recall_part
      FROM (SELECT i.instruction_id, coalesce(l.status, '?') AS code, l.reason, l.text, l.date, l.amount, l.n
              FROM unnest(p_end_to_end_ids, p_uetrs, p_statuses, p_reasons, p_texts, p_dates, p_amounts) WITH ORDINALITY
                   AS l (end_to_end_id, uetr, status, reason, text, date, amount, n)
              JOIN settlement.instruction i
                ON i.file_id = p_file_id
               AND (i.end_to_end_id = l.end_to_end_id OR i.uetr = l.uetr AND NOT EXISTS (  -- cut off, or changed on the way
                        SELECT FROM settlement.instruction x WHERE x.end_to_end_id = l.end_to_end_id))
            UNION ALL
            SELECT NULL, f.code, f.reason, NULL, NULL, NULL, f.n
              FROM unnest(p_file_codes, p_file_reasons) WITH ORDINALITY AS f (code, reason, n)) g
     WHERE CASE p_kind WHEN 'status' THEN EXISTS (SELECT FROM settlement.status_code c WHERE c.code = g.code AND c.noted)
                       WHEN 'return' THEN g.code = 'RTRN' ELSE true END
     ORDER BY g.instruction_id, g.code, g.date DESC NULLS LAST, g.n;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END $$;

-- Takes in one answer of a bank: keeps its bytes, applies it, keeps what could not be applied.
-- The same bytes again change nothing. p_findings are the reader's (an unreadable file has nothing else).
-- p_kind: an answer to a recall (camt.029), or one that names a reversal (pain.002), is only noted; everything else moves payments. A return on its way (RTRN, of a
-- pacs.004, camt.054 or camt.052) is noted and proves that the payment was executed; a statement is what books it.
CREATE FUNCTION settlement.receive_answer(
    p_book_id int, p_bank text, p_kind text, p_name text, p_content bytea, p_effective date, p_original_msg_id text,
    p_covering_status text, p_covering_reason text, p_file_codes text[], p_file_reasons text[],
    p_batch_ids text[], p_batch_statuses text[], p_batch_reasons text[],
    p_end_to_end_ids text[], p_uetrs text[], p_statuses text[], p_reasons text[], p_texts text[], p_dates date[],
    p_amounts bigint[], p_findings text[],
    OUT message_id bigint, OUT is_new boolean, OUT file_id bigint, OUT changed int, OUT rejected int)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_sha256 text := encode(sha256(p_content), 'hex');
    v_faults text[] := '{}';
    v_file   record;
    v_done   record;
    v_batch  record;
    v_moves  record;
    v_state  text;
    v_left   boolean;
BEGIN
    PERFORM ledger.require_book(p_book_id);
    changed := 0;
    rejected := 0;
    INSERT INTO settlement.message_received AS new (book_id, bank, kind, name, sha256, content)
    SELECT p_book_id, p_bank, p_kind, p_name, v_sha256, p_content
     WHERE NOT EXISTS (SELECT FROM settlement.message_received m
                        WHERE m.book_id = p_book_id AND m.bank = p_bank AND m.sha256 = v_sha256)
        ON CONFLICT ON CONSTRAINT message_received_once DO NOTHING
    RETURNING new.message_id INTO message_id;
    is_new := message_id IS NOT NULL;
    IF NOT is_new THEN
        message_id := (SELECT m.message_id FROM settlement.message_received m
                        WHERE m.book_id = p_book_id AND m.bank = p_bank AND m.sha256 = v_sha256);
        RETURN;
    END IF;
    INSERT INTO settlement.message_finding AS new (message_id, ordinal, code, message)
    SELECT receive_answer.message_id, g.n, 'reader', g.finding
      FROM unnest(p_findings) WITH ORDINALITY AS g (finding, n);
    IF p_original_msg_id IS NULL AND cardinality(p_end_to_end_ids || p_batch_ids) = 0 THEN RETURN; END IF;

    FOR v_file IN SELECT * FROM settlement.answered_files(p_book_id, p_original_msg_id, p_batch_ids, p_end_to_end_ids,
                                                           p_uetrs) LOOP
        file_id := coalesce(file_id, v_file.file_id);
        v_state := settlement.lock_file(v_file.file_id);
        v_left := EXISTS (SELECT FROM settlement.file_event e WHERE e.file_id = v_file.file_id AND e.state IN ('sending', 'unknown'));
        IF v_file.bank <> p_bank THEN
            v_faults := v_faults || format('it answers a file that went to %s', v_file.bank);
            CONTINUE;
        ELSIF NOT v_left THEN
            v_faults := v_faults || format('it answers a file that is %s and was never sent', v_state);
            CONTINUE WHEN v_state NOT IN ('cancelled', 'disputed');  -- what it paid is owed again: see move_instructions
        END IF;
        IF v_file.recall_part IS NOT NULL AND NOT EXISTS (
            SELECT FROM settlement.recall_event e
             WHERE e.file_id = v_file.file_id AND e.part = v_file.recall_part AND e.state = 'sending') THEN
            v_faults := v_faults || format('it answers recall %s of file %s, which was never sent', v_file.recall_part, v_file.file_id);
        ELSE
            SELECT coalesce(array_agg(l.end_to_end_id ORDER BY l.n), '{}') AS end_to_end_ids,
                   coalesce(array_agg(l.uetr ORDER BY l.n), '{}') AS uetrs,
                   coalesce(array_agg(l.status ORDER BY l.n), '{}') AS statuses,
                   coalesce(array_agg(l.reason ORDER BY l.n), '{}') AS reasons,
                   coalesce(array_agg(l.text ORDER BY l.n), '{}') AS texts,
                   coalesce(array_agg(l.date ORDER BY l.n), '{}') AS dates,
                   coalesce(array_agg(l.amount ORDER BY l.n), '{}') AS amounts
              INTO v_done
              FROM unnest(p_end_to_end_ids, p_uetrs, p_statuses, p_reasons, p_texts, p_dates, p_amounts) WITH ORDINALITY
                   AS l (end_to_end_id, uetr, status, reason, text, date, amount, n)
             WHERE v_file.is_named
                OR EXISTS (SELECT FROM settlement.instruction i
                            WHERE i.file_id = v_file.file_id AND (i.end_to_end_id = l.end_to_end_id OR i.uetr = l.uetr));
            SELECT coalesce(array_agg(l.id ORDER BY l.n), '{}') AS ids,
                   coalesce(array_agg(l.status ORDER BY l.n), '{}') AS statuses,
                   coalesce(array_agg(l.reason ORDER BY l.n), '{}') AS reasons
              INTO v_batch
              FROM unnest(p_batch_ids, p_batch_statuses, p_batch_reasons) WITH ORDINALITY AS l (id, status, reason, n)
             WHERE v_file.is_named
                OR EXISTS (SELECT FROM settlement.payment_batch b
                            WHERE b.file_id = v_file.file_id AND b.payment_information_id = l.id);
            IF p_kind = 'camt.029' OR v_file.recall_part IS NOT NULL THEN
                PERFORM settlement.note_answers('recall', v_file.file_id, message_id, '{}', '{}', v_done.end_to_end_ids,
                            v_done.uetrs, v_done.statuses, v_done.reasons, v_done.texts, v_done.dates, v_done.amounts, v_file.recall_part);
                PERFORM settlement.answer_recall(v_file.file_id, message_id, v_batch.ids, v_batch.statuses, v_batch.reasons,
                            CASE WHEN v_file.recall_part IS NULL THEN cardinality(p_end_to_end_ids) = 0 AND v_file.is_named
                                 ELSE p_covering_status IS NOT NULL END, p_covering_status, p_covering_reason, v_file.recall_part);
                INSERT INTO settlement.message_finding AS new (message_id, ordinal, code, reference, message)
                SELECT receive_answer.message_id, m.last + row_number() OVER (ORDER BY l.n), 'unknown_reference',
                       coalesce(l.end_to_end_id, l.uetr), format('answer %s names no payment of this file', l.status)
                  FROM unnest(v_done.end_to_end_ids, v_done.uetrs, v_done.statuses) WITH ORDINALITY AS l (end_to_end_id, uetr, status, n),
                       (SELECT coalesce(max(x.ordinal), 0) AS last FROM settlement.message_finding x
                         WHERE x.message_id = receive_answer.message_id) m
                 WHERE NOT EXISTS (SELECT FROM settlement.instruction i
                                    WHERE i.file_id = v_file.file_id AND (i.end_to_end_id = l.end_to_end_id OR i.uetr = l.uetr));
                CONTINUE;
            END IF;
            -- What comes back was executed: that much moves the payment, and tells where a file is that was in doubt.
            PERFORM settlement.note_answers('return', v_file.file_id, message_id, '{}', '{}', v_done.end_to_end_ids,
                        v_done.uetrs, v_done.statuses, v_done.reasons, v_done.texts, v_done.dates, v_done.amounts);
            SELECT coalesce(array_agg(CASE l.status WHEN 'RTRN' THEN 'ACSC' ELSE l.status END ORDER BY l.n), '{}') AS statuses,
                   coalesce(array_agg(CASE WHEN l.status IS DISTINCT FROM 'RTRN' THEN l.reason END ORDER BY l.n), '{}') AS reasons
              INTO v_moves FROM unnest(v_done.statuses, v_done.reasons) WITH ORDINALITY AS l (status, reason, n);
            SELECT receive_answer.changed + a.changed, receive_answer.rejected + a.rejected INTO changed, rejected
              FROM settlement.apply_statuses(v_file.file_id, message_id, p_effective,
                       CASE WHEN v_file.is_named THEN p_covering_status END, p_covering_reason, v_batch.ids, v_batch.statuses,
                       v_batch.reasons, v_done.end_to_end_ids, v_done.uetrs, v_moves.statuses, v_moves.reasons, v_done.texts) a;
            PERFORM settlement.note_answers('status', v_file.file_id, message_id, p_file_codes, p_file_reasons,
                        v_done.end_to_end_ids, v_done.uetrs, v_done.statuses, v_done.reasons, v_done.texts,
                        v_done.dates, v_done.amounts);
        END IF;
    END LOOP;
    -- An answer that names no file is of the payments it lists; each that is not ours waits for a person.
    IF coalesce(p_original_msg_id, 'NOTPROVIDED') = 'NOTPROVIDED' THEN
        INSERT INTO settlement.message_finding AS new (message_id, ordinal, code, reference, message)
        SELECT receive_answer.message_id, m.last + row_number() OVER (ORDER BY l.n), 'unknown_reference',
               coalesce(l.end_to_end_id, l.uetr),
               format('%s names no payment of ours%s', CASE l.status WHEN 'RTRN' THEN concat_ws(' ', 'a return of', l.amount, 'minor units') ELSE 'status ' || coalesce(l.status, '?') END,
                      coalesce(' (' || l.reason || ')', ''))
          FROM unnest(p_end_to_end_ids, p_uetrs, p_statuses, p_reasons, p_amounts) WITH ORDINALITY
               AS l (end_to_end_id, uetr, status, reason, amount, n),
               (SELECT coalesce(max(x.ordinal), 0) AS last FROM settlement.message_finding x
                 WHERE x.message_id = receive_answer.message_id) m
         WHERE NOT EXISTS (SELECT FROM settlement.instruction i JOIN settlement.payment_file f USING (file_id)
                            WHERE f.book_id = p_book_id AND (i.end_to_end_id = l.end_to_end_id OR i.uetr = l.uetr));
    END IF;
    IF file_id IS NULL AND (coalesce(p_original_msg_id, 'NOTPROVIDED') <> 'NOTPROVIDED' OR cardinality(p_end_to_end_ids) = 0) THEN
        v_faults := ARRAY['it answers a file we do not know'];
    END IF;
    INSERT INTO settlement.message_finding AS new (message_id, ordinal, code, reference, message)
    SELECT receive_answer.message_id, m.last + f.n, 'file', p_original_msg_id, f.fault
      FROM unnest(v_faults) WITH ORDINALITY AS f (fault, n),
           (SELECT coalesce(max(x.ordinal), 0) AS last FROM settlement.message_finding x
             WHERE x.message_id = receive_answer.message_id) m;
END $$;

-- For reconciliation: a statement line proves that a part of our own payment came back (p_amount_minor > 0), or that a
-- return is taken back (< 0). Gives the posting on T that the line clears; the same for the same line; NULL when the
-- bank's reject had re-opened the payment already, more would come back than was paid, or its file never left us: what the
-- bank calls a return of it then is something else, and the payment is still to be sent.
CREATE FUNCTION settlement.reopen_returned(
    p_instruction_id bigint, p_amount_minor bigint, p_reason text, p_effective date, p_line_posting_id bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_old  settlement.reopening;
    v_file bigint;
    v_last record;
    v_paid bigint;
BEGIN
    SELECT i.file_id, i.amount_minor INTO v_file, v_paid FROM settlement.instruction i
      JOIN settlement.clearing_group g ON g.group_id = i.instruction_id WHERE i.instruction_id = p_instruction_id;
    IF v_file IS NULL OR p_amount_minor = 0 OR p_amount_minor > v_paid THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'reopening_sealed',
            MESSAGE = format('Instruction %s cannot return %s minor units: %s.', p_instruction_id, p_amount_minor,
                             coalesce('it paid ' || v_paid, 'it was never sealed'));
    END IF;
    PERFORM settlement.lock_file(v_file);
    SELECT * INTO v_old FROM settlement.reopening r WHERE r.line_posting_id = p_line_posting_id;
    IF FOUND THEN RETURN v_old.transit_posting_id; END IF;
    SELECT * INTO v_old FROM settlement.reopening r WHERE r.instruction_id = p_instruction_id ORDER BY r.part DESC LIMIT 1;
    IF v_old.kind IN ('reject', 'cancel') OR coalesce(v_old.back_minor, 0) + p_amount_minor NOT BETWEEN 0 AND v_paid
       OR NOT EXISTS (SELECT FROM settlement.file_event e WHERE e.file_id = v_file AND e.state IN ('sending', 'unknown')) THEN
        RETURN NULL;
    END IF;
    IF v_old IS NULL THEN
        SELECT coalesce(max(e.ordinal), 0) AS ordinal,
               coalesce((array_agg(e.state ORDER BY e.ordinal DESC))[1], 'new') AS state INTO v_last
          FROM settlement.instruction_event e WHERE e.instruction_id = p_instruction_id;
        INSERT INTO settlement.instruction_event (instruction_id, ordinal, from_state, state, reason_text)
        VALUES (p_instruction_id, v_last.ordinal + 1, v_last.state, 'returned', p_reason);
    END IF;
    PERFORM settlement.reopen(CASE WHEN p_amount_minor > 0 THEN 'return' ELSE 'taken_back' END, ARRAY[p_instruction_id],
                              ARRAY[abs(p_amount_minor)], ARRAY[p_reason], p_effective, NULL, true, p_line_posting_id);
    IF p_amount_minor < 0 THEN PERFORM settlement.settle_taken_back(p_instruction_id); END IF;
    -- Of several parts of a collection it is the one of that amount, else the first that has room for it.
    INSERT INTO settlement.recall_return (instruction_id, part, request_no)
    SELECT r.instruction_id, r.part, q.request_no FROM settlement.reopening r
      JOIN settlement.instruction i USING (instruction_id) JOIN settlement.recall_request q USING (instruction_id)
      LEFT JOIN settlement.recall_returned d USING (instruction_id, request_no)
     WHERE r.line_posting_id = p_line_posting_id AND r.kind = 'return'
       AND split_part(r.reason, ' ', 1) = CASE i.direction WHEN 'pay' THEN 'FOCR' ELSE q.reason_code END
       AND (i.direction = 'pay' OR coalesce(d.returned_minor, 0) + r.amount_minor <= q.amount_minor)
     ORDER BY coalesce(d.returned_minor, 0) + r.amount_minor = q.amount_minor DESC, q.request_no LIMIT 1;
    RETURN (SELECT r.transit_posting_id FROM settlement.reopening r WHERE r.line_posting_id = p_line_posting_id);
END $$;

-- After a return was taken back. While what had come back is still held, so is what was taken: they go together. When
-- the open ones add up to nothing, they are released together and close each other, and nobody need decide. What had
-- been paid out again already is a debt of the payee, and no hold keeps it from being covered.
CREATE FUNCTION settlement.settle_taken_back(p_instruction_id bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_open bigint[];
    v_net  bigint;
    v_paid boolean;
BEGIN
    SELECT array_agg(r.payable_posting_id), sum(p.amount_minor),
           NOT bool_or(r.kind = 'return' AND settlement.is_held(r.payable_posting_id)) INTO v_open, v_net, v_paid
      FROM settlement.reopening r
     CROSS JOIN LATERAL (SELECT * FROM ledger.posting p WHERE p.posting_id = r.payable_posting_id LIMIT 1) p
     WHERE r.instruction_id = p_instruction_id
       AND NOT settlement.is_cleared(r.payable_posting_id);
    IF v_net = 0 OR v_paid THEN
        INSERT INTO settlement.hold_release (hold_id, reason)
        SELECT h.hold_id, 'the return was taken back' FROM settlement.hold h
         WHERE h.posting_id = ANY (v_open) ORDER BY h.hold_id
            ON CONFLICT DO NOTHING;
    END IF;
END $$;
COMMENT ON FUNCTION settlement.settle_taken_back IS 'Internal: called where a return is taken back.';

-- For reconciliation: every T posting of these files is cleared. Gives how many files moved on. A file that was cancelled
-- cleared itself; it is cancelled, or disputed.
CREATE FUNCTION settlement.mark_reconciled(p_file_ids bigint[]) RETURNS int
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT count(settlement.add_file_event(f.file_id, 'reconciled'))::int
      FROM (SELECT c.file_id FROM settlement.file_current c
              JOIN settlement.file_transition t ON t.from_state = c.state AND t.state = 'reconciled'
             WHERE c.file_id = ANY (p_file_ids)
               AND NOT EXISTS (SELECT FROM settlement.file_event e WHERE e.file_id = c.file_id AND e.state = 'cancelled')
             ORDER BY c.file_id) f
$$;

GRANT EXECUTE ON FUNCTION settlement.receive_answer TO :service;
