-- What waits for a person because of a bank's answer, or because none came, and what a person decides about it.

-- The policy that a hold stands under: that of the reason the payment came back for; stop while the bank says both, and
-- for a return that follows a recall (FOCR) which nobody asked for. A return that we asked for stands under the reason
-- we asked it back for. What a return and its taking back leave to pay, nothing, needs nobody.
CREATE VIEW settlement.hold_policy AS
SELECT h.hold_id,
       CASE WHEN e.state = 'disputed' THEN 'stop'
            WHEN r.kind IN ('return', 'taken_back') AND l.back_minor = 0 THEN NULL
            WHEN r.kind IN ('taken_back', 'cancel') THEN 'human'
            WHEN a.recalled THEN coalesce(a.policy, 'human')
            WHEN r.kind = 'return' AND c.code = 'FOCR' THEN 'stop'
            WHEN r.kind IN ('reject', 'return') THEN coalesce(p.policy, 'human') END AS policy,
       c.code,
       CASE WHEN r.kind = 'cancel' AND e.state = 'disputed' THEN 'We cancelled it, and the bank has it: it may have been paid.'
            WHEN r.kind = 'cancel' THEN 'Two people said that the bank never got it; make sure of it before it is paid again.'
            WHEN r.kind = 'taken_back' THEN 'The bank took a return back: the payee has been paid after all.'
            WHEN a.recalled THEN format(CASE a.list WHEN 'reversal' THEN 'We gave it back (%s).' ELSE 'It came back as we had asked (%s).' END, a.reason_code)
            WHEN r.kind = 'return' AND c.code = 'FOCR' THEN 'It came back as if we had asked, and nobody had; ask the bank.'
            ELSE p.meaning END AS meaning
  FROM settlement.hold h
  LEFT JOIN settlement.reopening r ON r.instruction_id = h.instruction_id AND r.part = h.part
 CROSS JOIN LATERAL (SELECT CASE WHEN r.kind <> 'cancel' THEN split_part(r.reason, ' ', 1) END AS code) c
  LEFT JOIN settlement.reopening_last l ON l.instruction_id = h.instruction_id
  LEFT JOIN settlement.instruction_event_last e ON e.instruction_id = h.instruction_id
  LEFT JOIN LATERAL (SELECT true AS recalled, q.reason_code, o.policy, s.list
                       FROM settlement.recall_return t JOIN settlement.recall_request q USING (instruction_id, request_no)
                       JOIN settlement.instruction i USING (instruction_id)
                      CROSS JOIN LATERAL (SELECT CASE i.direction WHEN 'pay' THEN 'cancellation' ELSE 'reversal' END AS list) s
                       LEFT JOIN settlement.reason_policy o ON o.list = s.list AND o.code = q.reason_code
                      WHERE t.instruction_id = r.instruction_id AND t.part = r.part) a ON true
  LEFT JOIN settlement.reason_policy p
         ON p.code = c.code
        AND p.list = CASE r.kind WHEN 'reject' THEN 'status' WHEN 'return' THEN 'return' END;
COMMENT ON VIEW settlement.hold_policy IS 'Under which policy each hold stands; none for what a person held.';

-- Human and stop: an approver has looked. Details that changed end a hold by themselves, but not one under stop.
CREATE FUNCTION settlement.check_hold_release() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_hold settlement.hold_policy;
BEGIN
    SELECT p.* INTO v_hold FROM new_rows n JOIN settlement.hold_policy p USING (hold_id)
     WHERE p.policy IN ('human', 'stop') LIMIT 1;
    IF FOUND AND NOT pg_has_role(session_user, ':approver'::regrole, 'USAGE') THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', CONSTRAINT = 'hold_release_approver',
            MESSAGE = format('A payment that came back%s is released by an approver%s', ' for ' || v_hold.code,
                             coalesce(': ' || v_hold.meaning, '.'));
    END IF;
    IF NOT pg_has_role(session_user, ':approver'::regrole, 'USAGE') AND EXISTS (
        SELECT FROM new_rows n JOIN settlement.hold h USING (hold_id)
         WHERE h.instruction_id IS NULL AND pg_has_role(to_regrole(quote_ident(h.held_by)), ':approver'::regrole, 'USAGE')) THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', CONSTRAINT = 'hold_release_approver',
            MESSAGE = 'What an approver has stopped is released by an approver.';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER hold_release_check AFTER INSERT ON settlement.hold_release
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION settlement.check_hold_release();
ALTER TABLE settlement.hold_release ENABLE ALWAYS TRIGGER hold_release_check;

-- Releasing a hold is a person's decision: only members of the groups can call it.
CREATE FUNCTION settlement.release_hold(p_posting_id bigint, p_reason text) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_count int;
BEGIN
    PERFORM ledger.require_book((SELECT x.book_id FROM ledger.posting x WHERE x.posting_id = p_posting_id));
    IF NOT EXISTS (SELECT FROM settlement.hold h WHERE h.posting_id = p_posting_id) THEN
        RAISE EXCEPTION USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'hold_known',
            MESSAGE = format('Posting %s is not held.', p_posting_id);
    END IF;
    INSERT INTO settlement.hold_release (hold_id, reason)
    SELECT h.hold_id, p_reason FROM settlement.hold h
     WHERE h.posting_id = p_posting_id ORDER BY h.hold_id
        ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END $$;

-- What a reject or our cancelling had re-opened, and a person may have released since, is not to be paid while the bank says
-- two things of it.
CREATE FUNCTION settlement.hold_disputed(p_instruction_ids bigint[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO settlement.hold (book_id, posting_id, payee_version_id, instruction_id, part, reason)
    SELECT p.book_id, r.payable_posting_id, o.payee_version_id, r.instruction_id, r.part,
           'disputed: the bank says two things, or has what never got there'
      FROM unnest(p_instruction_ids) AS d (id)
      JOIN settlement.reopening r ON r.instruction_id = d.id
      JOIN settlement.obligation o ON o.obligation_id = d.id
      JOIN ledger.posting p ON p.posting_id = r.payable_posting_id
     WHERE NOT settlement.is_cleared(r.payable_posting_id)
$$;
COMMENT ON FUNCTION settlement.hold_disputed IS 'Internal: called where payments become disputed.';

-- For reconciliation: the lines that a statement of a bank account books. Those that name payments which we had cancelled, for
-- they never got there, make them disputed, whatever their amount; how many. The caller has locked the bank account.
CREATE FUNCTION settlement.dispute_booked(
    p_bank_account_id int, p_end_to_end_ids text[], p_uetrs text[], p_payment_information_ids text[], p_amounts bigint[],
    p_return_reasons text[], p_message_ids text[]) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    v_ids  bigint[];
    v_file bigint;
BEGIN
    PERFORM ledger.require_book((SELECT x.book_id FROM settlement.bank_account_root x WHERE x.bank_account_id = p_bank_account_id));
    WITH file AS MATERIALIZED (
        SELECT s.file_id FROM settlement.file_standing s
         WHERE s.bank_account_id = p_bank_account_id AND s.state IN ('cancelled', 'disputed')
    ), name AS MATERIALIZED (
        SELECT i.end_to_end_id AS name FROM file JOIN settlement.instruction i USING (file_id)
        UNION ALL SELECT i.uetr FROM file JOIN settlement.instruction i USING (file_id)
        UNION ALL SELECT b.payment_information_id FROM file JOIN settlement.payment_batch b USING (file_id)
        UNION ALL SELECT f.msg_id FROM file JOIN settlement.payment_file f USING (file_id)
    ), line AS (
        SELECT l.* FROM unnest(p_end_to_end_ids, p_uetrs, p_payment_information_ids, p_amounts, p_return_reasons, p_message_ids)
               AS l (end_to_end_id, uetr, batch, amount, return_reason, message)
         WHERE l.end_to_end_id IN (SELECT n.name FROM name n) OR l.uetr IN (SELECT n.name FROM name n)
            OR l.batch IN (SELECT n.name FROM name n) OR l.message IN (SELECT n.name FROM name n)
    ), told AS (
        SELECT DISTINCT n.end_to_end_id
          FROM (SELECT array_agg(l.end_to_end_id) AS keys, array_agg(l.uetr) AS uetrs, array_agg(l.batch) AS batches,
                       array_agg(l.amount) AS amounts, array_agg(l.return_reason) AS reasons, array_agg(l.message) AS messages
                  FROM line l HAVING count(*) > 0) g
         CROSS JOIN LATERAL settlement.noticed(p_bank_account_id, g.keys, g.uetrs, g.batches, g.amounts, g.reasons, g.messages) n
    ), moved AS (
        INSERT INTO settlement.instruction_event (instruction_id, ordinal, from_state, state, reason_text)
        SELECT i.instruction_id, e.ordinal + 1, e.state, 'disputed', 'a statement shows it'
          FROM told JOIN settlement.instruction i USING (end_to_end_id)
         CROSS JOIN LATERAL (SELECT e.ordinal, e.state FROM settlement.instruction_event e WHERE e.instruction_id = i.instruction_id
                              ORDER BY e.ordinal DESC LIMIT 1) e
         WHERE e.state = 'cancelled' ORDER BY i.instruction_id
        RETURNING instruction_id
    )
    SELECT array_agg(m.instruction_id ORDER BY m.instruction_id) INTO v_ids FROM moved m;
    PERFORM settlement.hold_disputed(v_ids);
    FOR v_file IN SELECT DISTINCT i.file_id FROM settlement.instruction i WHERE i.instruction_id = ANY (v_ids) ORDER BY 1 LOOP
        PERFORM settlement.follow_instructions(v_file, NULL);
    END LOOP;
    RETURN coalesce(cardinality(v_ids), 0);
END $$;
COMMENT ON FUNCTION settlement.dispute_booked IS 'Internal: called where a statement is booked.';

-- Keeps an open item from being paid until a person releases it.
CREATE FUNCTION settlement.hold_item(p_posting_id bigint, p_reason text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM ledger.require_book((SELECT x.book_id FROM ledger.posting x WHERE x.posting_id = p_posting_id));
    INSERT INTO settlement.hold (book_id, posting_id, payee_version_id, reason)
    SELECT y.book_id, p.posting_id, y.payee_version_id, p_reason
      FROM ledger.posting p JOIN settlement.payee_current y ON y.account_id = p.account_id
     WHERE p.posting_id = p_posting_id
       AND NOT settlement.is_cleared(p_posting_id)
       AND NOT settlement.is_held(p_posting_id);
    RETURN FOUND;
END $$;

-- Verification of payees: the bank compared names with accounts and waits. One decision a file.
CREATE TABLE settlement.name_check_decision (
    file_id    bigint CONSTRAINT name_check_once PRIMARY KEY REFERENCES settlement.payment_file,
    release    boolean NOT NULL,
    reason     text NOT NULL CHECK (reason <> ''),
    decided_by text NOT NULL DEFAULT session_user,
    decided_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE settlement.name_check_decision IS
    'Whether a file whose names a bank compared with the accounts goes on, or its doubtful payments are asked back.';

-- A payment of which a bank says both that it was executed and that it was rejected: what it was, once.
CREATE TABLE settlement.dispute_decision (
    instruction_id bigint CONSTRAINT dispute_once PRIMARY KEY REFERENCES settlement.instruction,
    was_executed   boolean NOT NULL,
    reason         text NOT NULL CHECK (reason <> ''),
    decided_by     text NOT NULL DEFAULT session_user,
    decided_at     timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE settlement.dispute_decision IS 'What a person found out about a disputed payment.';
-- A message of a bank that could not be applied whole: what a person found out about it, once.
CREATE TABLE settlement.message_decision (
    message_id bigint CONSTRAINT message_decision_once PRIMARY KEY REFERENCES settlement.message_received,
    reason     text NOT NULL CHECK (reason <> ''),
    decided_by text NOT NULL DEFAULT session_user,
    decided_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE settlement.message_decision IS
    'What became of what a bank''s message said of payments or files that are not ours, or that could not be read.';
SELECT ledger.make_append_only(name::regclass) FROM unnest(ARRAY[
    'settlement.name_check_decision', 'settlement.dispute_decision', 'settlement.message_decision']) name;

-- Closes what a message left open; false when somebody did before.
CREATE FUNCTION settlement.dismiss_message(p_book_id int, p_message_id bigint, p_reason text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM ledger.require_book(p_book_id);
    IF NOT EXISTS (SELECT FROM settlement.message_received m JOIN settlement.message_finding f USING (message_id)
                    WHERE m.message_id = p_message_id AND m.book_id = p_book_id AND f.code <> 'conflict') THEN
        RAISE EXCEPTION USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'message_finding_known',
            MESSAGE = format('Message %s left nothing open.', p_message_id), HINT = 'List what is with `nostro settle exceptions`.';
    END IF;
    INSERT INTO settlement.message_decision (message_id, reason) VALUES (p_message_id, p_reason) ON CONFLICT DO NOTHING;
    RETURN FOUND;
END $$;
COMMENT ON FUNCTION settlement.dismiss_message IS 'A person''s word on what a bank''s message said and that could not be applied.';

-- The doubtful payments of a file: those a bank names, or all when it only says that some do not match. is_released:
-- the set-up's policy lets such a verdict go on; a group's verdict alone is always for a person.
CREATE VIEW settlement.doubtful_name AS
SELECT i.file_id, i.instruction_id, coalesce(n.code, 'RVCM') AS code,
       coalesce((SELECT c.body -> 'policies' -> 'names' ->>
                        CASE n.code WHEN 'RVMC' THEN 'close_match' WHEN 'RVNM' THEN 'no_match' WHEN 'RVNA' THEN 'not_possible' END
                   FROM settlement.payment_file f JOIN settlement.setup_current c USING (book_id)
                  WHERE f.file_id = i.file_id) = 'release', false) AS is_released
  FROM settlement.instruction i
  LEFT JOIN LATERAL (SELECT max(n.code) AS code FROM settlement.answer_note n
                      WHERE n.instruction_id = i.instruction_id AND n.code IN ('RVMC', 'RVNM', 'RVNA')) n ON true
 WHERE n.code IS NOT NULL
    OR (EXISTS (SELECT FROM settlement.answer_note f
                 WHERE f.file_id = i.file_id AND f.instruction_id IS NULL AND f.code = 'RVCM')
        AND NOT EXISTS (SELECT FROM settlement.answer_note o
                         WHERE o.file_id = i.file_id AND o.instruction_id IS NOT NULL
                           AND o.code IN ('RVMC', 'RVNM', 'RVNA')));
COMMENT ON VIEW settlement.doubtful_name IS 'Payments whose payee''s name is not surely that of the account.';

-- release: the file goes on at the bank. Otherwise its doubtful payments are asked back; how many.
CREATE FUNCTION settlement.decide_names(p_file_id bigint, p_release boolean, p_reason text) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_count int;
BEGIN
    PERFORM ledger.require_book((SELECT f.book_id FROM settlement.payment_file f WHERE f.file_id = p_file_id));
    PERFORM settlement.lock_file(p_file_id);
    SELECT count(*) INTO v_count FROM settlement.doubtful_name d
     WHERE d.file_id = p_file_id AND NOT d.is_released;
    IF v_count = 0 THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'name_check_told',
            MESSAGE = format('No bank doubts a name in file %s.', p_file_id);
    END IF;
    INSERT INTO settlement.name_check_decision (file_id, release, reason) VALUES (p_file_id, p_release, p_reason);
    IF p_release THEN RETURN 0; END IF;
    INSERT INTO settlement.recall_request (instruction_id, request_no, amount_minor, asked_minor, reason_code, reason)
    SELECT d.instruction_id, 1, i.amount_minor, i.amount_minor, 'CUST', p_reason
      FROM settlement.doubtful_name d JOIN settlement.instruction i USING (instruction_id)
      LEFT JOIN settlement.instruction_event_last e USING (instruction_id)
     WHERE i.file_id = p_file_id AND d.file_id = p_file_id AND NOT d.is_released AND coalesce(e.state, 'new') NOT IN ('rejected', 'returned', 'cancelled')
        ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END $$;
COMMENT ON FUNCTION settlement.decide_names IS 'An approver''s answer to a verification of payees.';

-- Rejected: what it cleared is open again and held, as after any reject, unless it is already. Executed, though a reject had
-- opened it again: then the bank's debit must have been entered against the payee first, so that the two cleared each other.
CREATE FUNCTION settlement.decide_dispute(p_end_to_end_id text, p_was_executed boolean, p_reason text, p_effective date)
    RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_row record;
BEGIN
    SELECT c.* INTO v_row FROM settlement.instruction_current c WHERE c.end_to_end_id = p_end_to_end_id;
    PERFORM ledger.require_book(v_row.book_id);
    IF v_row.state IS DISTINCT FROM 'disputed' THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'dispute_open',
            MESSAGE = format('Payment %s is %s, not disputed.', p_end_to_end_id, coalesce(v_row.state, 'not known'));
    END IF;
    PERFORM settlement.lock_file(v_row.file_id);
    IF p_was_executed AND EXISTS (
        SELECT FROM settlement.reopening r
         WHERE r.instruction_id = v_row.instruction_id AND NOT settlement.is_cleared(r.payable_posting_id)) THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'dispute_reopened',
            MESSAGE = format('Payment %s is open again since it was rejected or cancelled.', p_end_to_end_id),
            HINT = 'Match the bank''s debit with an entry against the payee (nostro breaks resolve) and let both go (nostro settle '
                   'unhold): the next proposal closes them against each other. Then say it again.';
    END IF;
    INSERT INTO settlement.dispute_decision (instruction_id, was_executed, reason)
    VALUES (v_row.instruction_id, p_was_executed, p_reason);
    IF NOT p_was_executed AND v_row.reopened_by IS NULL THEN
        PERFORM settlement.reopen('reject', ARRAY[v_row.instruction_id], ARRAY[v_row.amount_minor],
                                  ARRAY['disputed ' || p_reason], p_effective, NULL);
    END IF;
END $$;
COMMENT ON FUNCTION settlement.decide_dispute IS 'What an approver found out about a disputed payment.';

-- What a bank said is coming back (pacs.004, camt.054, camt.052), whichever said it last, until a statement books it.
CREATE VIEW settlement.return_announced AS
SELECT DISTINCT ON (n.instruction_id) n.instruction_id, m.recorded_at AS announced_at, n.reason_code, n.amount_minor, n.message_id
  FROM settlement.answer_note n
  JOIN settlement.message_received m USING (message_id)
 WHERE n.kind = 'return'
   AND NOT EXISTS (SELECT FROM settlement.reopening r
                    WHERE r.instruction_id = n.instruction_id AND r.amount_minor >= coalesce(n.amount_minor, 0))
 ORDER BY n.instruction_id, n.note_id DESC;
COMMENT ON VIEW settlement.return_announced IS 'Payments of which a bank announced a return that no statement has booked yet.';
GRANT SELECT ON settlement.return_announced TO :app, :analyst;

-- Everything that waits for a person on a day, most pressing first.
-- held: came back, open again, not to be paid. stopped: a person holds it. disputed: executed and rejected. names: see doubtful_name.
-- noted: the bank asks something. returning: a return was announced. recall, reversal: asked back or given
-- back, refused or not answered.
-- overdue: a file without any answer after its day and the bank's time for it. unknown, unclear: a message of a bank is
-- about a file or payment that is not ours, or could not be read or applied; until a person dismisses it. nobody: what is owed
-- on a settleable account without a payee (end_to_end_id: the account), which no proposal would ever pay.
CREATE FUNCTION settlement.exceptions(p_book_id int, p_as_of date)
RETURNS TABLE (kind text, policy text, file_id bigint, end_to_end_id text, payee text, currency text, exponent int,
               amount_minor bigint, since date, code text, meaning text, message_id bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM ledger.require_book(p_book_id);
    RETURN QUERY
    WITH waiting AS (
        SELECT DISTINCT ON (h.instruction_id, h.part) 'held' AS kind, p.policy, h.instruction_id, NULL::bigint AS file_id,
               h.held_at::date AS since, p.code, p.meaning, r.amount_minor
          FROM settlement.hold_active h
         CROSS JOIN LATERAL (SELECT * FROM settlement.hold_policy p WHERE p.hold_id = h.hold_id LIMIT 1) p
         CROSS JOIN LATERAL (SELECT * FROM settlement.reopening r WHERE r.instruction_id = h.instruction_id AND r.part = h.part LIMIT 1) r
         WHERE h.book_id = p_book_id AND h.instruction_id IS NOT NULL AND p.policy IS NOT NULL
           AND NOT settlement.is_cleared(h.posting_id)
         UNION ALL
        SELECT 'stopped', 'none', h.stopped_id, NULL, min(h.held_at)::date, NULL,
               format('Stopped by %s: %s. Let it be paid by `nostro settle unhold`.', settlement.person(min(h.held_by)), min(h.reason)),
               -sum(p.amount_minor)::bigint
          FROM settlement.hold_active h
         CROSS JOIN LATERAL (SELECT p.amount_minor FROM ledger.posting p WHERE p.posting_id = h.posting_id LIMIT 1) p
         WHERE h.book_id = p_book_id AND h.stopped_id IS NOT NULL AND NOT settlement.is_cleared(h.posting_id)
         GROUP BY h.stopped_id
         UNION ALL
        SELECT 'disputed', 'stop', e.instruction_id, NULL, e.recorded_at::date, e.status_code,
               format('The bank says both executed and rejected, or has what we cancelled since it never got there. Find out which, '
                      'then say so: nostro settle dispute %s.', i.end_to_end_id), NULL
          FROM settlement.instruction_event e
         CROSS JOIN LATERAL (SELECT i.end_to_end_id FROM settlement.instruction i WHERE i.instruction_id = e.instruction_id LIMIT 1) i
          LEFT JOIN LATERAL (SELECT true AS is_over FROM settlement.instruction_event l
                              WHERE l.instruction_id = e.instruction_id AND l.ordinal = e.ordinal + 1 LIMIT 1) l ON true
         WHERE e.state = 'disputed' AND l.is_over IS NULL
           AND NOT EXISTS (SELECT FROM settlement.dispute_decision d WHERE d.instruction_id = e.instruction_id)
         UNION ALL
        SELECT 'names', c.policy, d.instruction_id, NULL, NULL, d.code, c.meaning, NULL
          FROM (SELECT DISTINCT n.file_id FROM settlement.answer_note n WHERE n.code IN ('RVCM', 'RVMC', 'RVNM', 'RVNA')) f
          LEFT JOIN LATERAL (SELECT true AS is_over FROM settlement.name_check_decision k WHERE k.file_id = f.file_id LIMIT 1) k ON true
         CROSS JOIN LATERAL (SELECT * FROM settlement.doubtful_name d WHERE d.file_id = f.file_id AND NOT d.is_released OFFSET 0) d
          JOIN settlement.status_code c ON c.code = d.code
         WHERE k.is_over IS NULL
         UNION ALL
        SELECT DISTINCT ON (n.file_id, n.instruction_id, n.code) 'noted', c.policy, n.instruction_id, n.file_id, m.recorded_at::date, n.code,
               c.meaning, NULL
          FROM settlement.file_standing f  -- those that are at a bank, or were on their way
         CROSS JOIN LATERAL (SELECT * FROM settlement.answer_note n WHERE n.file_id = f.file_id AND n.kind = 'status' OFFSET 0) n
         CROSS JOIN LATERAL (SELECT m.recorded_at FROM settlement.message_received m WHERE m.message_id = n.message_id LIMIT 1) m
          JOIN settlement.status_code c ON c.code = n.code AND c.policy IN ('human', 'stop')
          LEFT JOIN LATERAL (SELECT e.state FROM settlement.instruction_event e WHERE e.instruction_id = n.instruction_id
                              ORDER BY e.ordinal DESC LIMIT 1) e ON true
         WHERE n.code NOT IN ('RVCM', 'RVMC', 'RVNM', 'RVNA')
           AND f.state IN ('sending', 'failed', 'unknown', 'sent', 'acknowledged', 'partly_rejected', 'disputed', 'cancelled')
           AND (n.code = 'BLCK' OR coalesce(e.state, 'new') NOT IN ('executed', 'rejected', 'returned'))
         UNION ALL
        SELECT 'returning', settlement.policy_of('return', n.reason_code), n.instruction_id, NULL, n.announced_at::date,
               n.reason_code, 'A return is announced; the statement will book it.', n.amount_minor
          FROM settlement.return_announced n
         UNION ALL
        SELECT CASE k.direction WHEN 'pay' THEN 'recall' ELSE 'reversal' END, 'human', q.instruction_id, NULL, q.requested_at::date, n.code,
               coalesce(o.meaning, CASE WHEN n.code IS NULL AND k.direction = 'pay' THEN 'Asked back; the bank has not answered.'
                                        WHEN n.code IS NULL THEN 'To be given back; the bank has not answered.'
                                        ELSE 'The bank answers in words of its own; read them.' END), q.amount_minor
          FROM settlement.recall_request q
         CROSS JOIN LATERAL (SELECT k.direction FROM settlement.instruction k WHERE k.instruction_id = q.instruction_id LIMIT 1) k
          LEFT JOIN settlement.recall_member m USING (instruction_id, request_no)
          LEFT JOIN LATERAL (SELECT n.code FROM settlement.answer_note n
                              WHERE n.instruction_id = q.instruction_id AND n.kind = 'recall' AND (n.recall_part IS NULL OR n.recall_part = m.part)
                              ORDER BY n.note_id DESC LIMIT 1) n ON true
          LEFT JOIN settlement.recall_outcome o ON o.code = n.code
         WHERE NOT EXISTS (SELECT FROM settlement.recall_return r WHERE r.instruction_id = q.instruction_id AND r.request_no = q.request_no)
           AND NOT EXISTS (SELECT FROM settlement.reopening r JOIN settlement.instruction i USING (instruction_id)
                            WHERE r.instruction_id = q.instruction_id AND r.back_minor = i.amount_minor)
         UNION ALL
        SELECT 'overdue', 'human', NULL, f.file_id, f.execution_date, f.state, 'The bank has not answered; ask it for the MsgId ' || f.msg_id || '.', NULL
          FROM settlement.file_standing s
         CROSS JOIN LATERAL (SELECT * FROM settlement.file_current c WHERE c.file_id = s.file_id LIMIT 1) f
          JOIN settlement.bank_account b ON b.bank_account_id = f.bank_account_id
          JOIN settlement.bank_profile y ON y.profile_id = b.profile_id
         WHERE f.book_id = p_book_id AND s.state IN ('sending', 'unknown', 'sent')
           AND p_as_of > f.execution_date + coalesce((y.body -> 'rails' -> f.rail ->> 'sla_days')::int, 1)
    )
    SELECT * FROM (
        SELECT w.kind, w.policy, coalesce(w.file_id, i.file_id) AS file_id, i.end_to_end_id, i.payee_code, c.code::text AS currency,
               c.exponent::int, coalesce(w.amount_minor, i.amount_minor, f.total_minor), coalesce(w.since, d.execution_date) AS since,
               w.code, w.meaning, NULL::bigint AS message_id
          FROM waiting w
          LEFT JOIN LATERAL (SELECT * FROM settlement.instruction i WHERE i.instruction_id = w.instruction_id LIMIT 1) i ON true
         CROSS JOIN LATERAL (SELECT * FROM settlement.payment_file f WHERE f.file_id = coalesce(w.file_id, i.file_id) LIMIT 1) f
          LEFT JOIN LATERAL (SELECT min(b.execution_date) AS execution_date FROM settlement.payment_batch b
                              WHERE b.file_id = f.file_id AND (i.batch IS NULL OR b.batch = i.batch)) d ON true
          JOIN ledger.currency c ON c.currency_id = f.currency_id
         WHERE f.book_id = p_book_id
         UNION ALL
        SELECT CASE g.code WHEN 'reader' THEN 'unclear' ELSE 'unknown' END, 'human', NULL, g.reference, NULL, NULL, NULL, NULL,
               m.recorded_at::date, m.kind,
               format('%s of %s: %s. %s, then say so: nostro settle dismiss %s.', m.name, m.bank, g.message,
                      CASE g.code WHEN 'reader' THEN 'Read the file' ELSE 'Ask the bank whose it is' END, m.message_id), m.message_id
          FROM settlement.message_finding g JOIN settlement.message_received m USING (message_id)
         WHERE m.book_id = p_book_id AND g.code <> 'conflict'
           AND NOT EXISTS (SELECT FROM settlement.message_decision s WHERE s.message_id = g.message_id)
         UNION ALL
        SELECT 'nobody', 'human', NULL, a.code, NULL, c.code::text, c.exponent::int, -l.posted_minor,
               (SELECT min(p.effective_date) FROM ledger.account_posting p WHERE p.account_id = a.account_id), NULL,
               'Owed on an account that is no payee''s: nobody is paid from it. Declare the payee (nostro setup).', NULL
          FROM ledger.account a
          JOIN ledger.currency c USING (currency_id)
          JOIN ledger.account_balance l USING (account_id)
         WHERE a.book_id = p_book_id AND a.settleable AND l.posted_minor <> 0
           AND NOT EXISTS (SELECT FROM settlement.payee y WHERE y.account_id = a.account_id)) e
     ORDER BY array_position(ARRAY['stop', 'human', 'fix_data', 're_date', 'retry', 'none'], e.policy),
              e.since, e.file_id, e.end_to_end_id NULLS FIRST, e.kind;
END $$;
COMMENT ON FUNCTION settlement.exceptions IS 'What waits for a person because of a bank''s answer, or for want of one.';

GRANT SELECT ON settlement.hold_policy, settlement.name_check_decision, settlement.dispute_decision,
    settlement.message_decision, settlement.doubtful_name TO :app;
GRANT EXECUTE ON FUNCTION settlement.dismiss_message TO :preparer, :approver;
GRANT EXECUTE ON FUNCTION settlement.exceptions TO :app;
GRANT EXECUTE ON FUNCTION settlement.decide_names, settlement.decide_dispute TO :approver;
GRANT EXECUTE ON FUNCTION settlement.release_hold, settlement.hold_item TO :preparer, :approver;
