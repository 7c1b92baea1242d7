-- Asking payments back, and giving collections back: requests of one person, approved by another, become one file a
-- payment file and approval: a camt.055 about payments (a recall), a pain.007 about direct debits (a reversal).
-- It is sent as payment files are (090): SENDING is committed before any byte leaves. Money is a statement's to prove:
-- neither posts anything or re-opens anything.

CREATE TABLE settlement.recall_file (
    file_id       bigint NOT NULL REFERENCES settlement.payment_file,
    part          int NOT NULL CHECK (part > 0),
    msg_id        text NOT NULL,
    created_at    timestamptz NOT NULL,
    payment_count int NOT NULL CHECK (payment_count > 0),
    sha256        text NOT NULL,
    content       bytea NOT NULL,
    approved_by   text NOT NULL DEFAULT session_user,
    approved_at   timestamptz NOT NULL DEFAULT now(),
    deadline      timestamptz,
    CONSTRAINT recall_file_once PRIMARY KEY (file_id, part),
    CONSTRAINT recall_file_msg_id UNIQUE (msg_id),
    CONSTRAINT recall_file_id_length CHECK (length(msg_id) BETWEEN 1 AND 35),
    CONSTRAINT recall_file_hash CHECK (sha256 = encode(sha256(content), 'hex')),
    CONSTRAINT recall_in_time CHECK (created_at < deadline)
);
COMMENT ON TABLE settlement.recall_file IS
    'The final bytes of a camt.055 about payments, or of a pain.007 about collections, of one payment file; part counts them.';
COMMENT ON COLUMN settlement.recall_file.deadline IS 'Of a reversal: until when the scheme takes one. NULL for a recall.';
COMMENT ON COLUMN settlement.recall_file.created_at IS 'The caller''s clock; it is printed in the file.';

CREATE TABLE settlement.recall_member (
    instruction_id bigint NOT NULL REFERENCES settlement.instruction,
    file_id        bigint NOT NULL,
    part           int NOT NULL,
    request_no     int NOT NULL DEFAULT 1,
    CONSTRAINT recall_member_once PRIMARY KEY (instruction_id, request_no),
    CONSTRAINT recall_member_alone UNIQUE (file_id, part, instruction_id),
    FOREIGN KEY (instruction_id, request_no) REFERENCES settlement.recall_request,
    FOREIGN KEY (file_id, part) REFERENCES settlement.recall_file
);
COMMENT ON TABLE settlement.recall_member IS 'Which recall or reversal is of which request; it is of a payment once, so that its answer is of one request.';

-- The ISO reasons with which payments are asked back, and those with which collections are given back.
CREATE FUNCTION settlement.recall_codes(p_direction text) RETURNS text[]
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE p_direction WHEN 'pay' THEN '{DUPL,TECH,FRAD,CUST,AM09,AC03}' ELSE '{AM05,AM09,MD05,MS02}' END::text[]
$$;

-- Four eyes hold for whoever writes the rows, the owner included. A recall is whole: its payments come in one statement.
CREATE FUNCTION settlement.check_recall() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_bad record;
BEGIN
    SELECT n.file_id, f.approved_by INTO v_bad
      FROM new_rows n JOIN settlement.recall_file f USING (file_id, part) WHERE f.approved_by <> session_user LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'recall_own_name',
            MESSAGE = format('The recall of file %s is signed by the login that approves it (%s), not by %s.',
                             v_bad.file_id, session_user, v_bad.approved_by);
    END IF;
    SELECT i.end_to_end_id, q.requested_by INTO v_bad
      FROM new_rows n JOIN settlement.recall_file f USING (file_id, part)
      JOIN settlement.recall_request q USING (instruction_id, request_no) JOIN settlement.instruction i USING (instruction_id)
     WHERE q.requested_by = f.approved_by ORDER BY n.instruction_id LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'recall_four_eyes',
            MESSAGE = format('Payment %s was asked back by %s, who cannot approve it.', v_bad.end_to_end_id, v_bad.requested_by),
            HINT = 'Another member of the approver group must.';
    END IF;
    SELECT f.file_id INTO v_bad
      FROM (SELECT DISTINCT n.file_id, n.part FROM new_rows n) t JOIN settlement.recall_file f USING (file_id, part)
      JOIN settlement.recall_member m USING (file_id, part) JOIN settlement.instruction i USING (instruction_id)
     GROUP BY f.file_id, f.part, f.payment_count
    HAVING count(*) <> f.payment_count OR bool_or(i.file_id <> f.file_id) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'recall_whole',
            MESSAGE = format('A recall is of payments of file %s, as many as it says.', v_bad.file_id);
    END IF;
    SELECT i.end_to_end_id, q.reason_code, i.direction INTO v_bad
      FROM new_rows n JOIN settlement.recall_file f USING (file_id, part)
      JOIN settlement.recall_request q USING (instruction_id, request_no) JOIN settlement.instruction i USING (instruction_id)
     WHERE q.reason_code <> ALL (settlement.recall_codes(i.direction)) OR (i.direction = 'collect') <> (f.deadline IS NOT NULL)
     ORDER BY n.instruction_id LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'recall_kind',
            MESSAGE = format('%s %s does not fit a file of its kind with the reason %s.',
                             CASE v_bad.direction WHEN 'collect' THEN 'Collection' ELSE 'Payment' END, v_bad.end_to_end_id, v_bad.reason_code),
            HINT = 'Collections are given back before a deadline, payments are asked back without one; each has reasons of its own.';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER recall_member_check AFTER INSERT ON settlement.recall_member
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION settlement.check_recall();
ALTER TABLE settlement.recall_member ENABLE ALWAYS TRIGGER recall_member_check;

CREATE TABLE settlement.recall_event (
    file_id         bigint NOT NULL REFERENCES settlement.payment_file,
    part            int NOT NULL,
    ordinal         int NOT NULL CHECK (ordinal > 0),
    prior_ordinal   int GENERATED ALWAYS AS (nullif(ordinal - 1, 0)) STORED,
    from_state      text NOT NULL,
    state           text NOT NULL,
    reason          text,
    session_pid     int NOT NULL DEFAULT pg_backend_pid(),
    session_started timestamptz,
    recorded_at     timestamptz NOT NULL DEFAULT now(),
    recorded_by     text NOT NULL DEFAULT session_user,
    PRIMARY KEY (file_id, part, ordinal),
    UNIQUE (file_id, part, ordinal, state),
    FOREIGN KEY (file_id, part) REFERENCES settlement.recall_file,
    CONSTRAINT recall_event_first CHECK ((ordinal = 1) = (from_state = 'new')),
    CONSTRAINT recall_event_transition CHECK ((from_state || ' ' || state) IN (
        'new approved', 'approved sending', 'failed sending', 'unknown sending', 'unknown sent',
        'sending sent', 'sending failed', 'sending unknown')),
    CONSTRAINT recall_event_chain FOREIGN KEY (file_id, part, prior_ordinal, from_state)
        REFERENCES settlement.recall_event (file_id, part, ordinal, state)
);
COMMENT ON TABLE settlement.recall_event IS 'Append-only history of a recall on its way to the bank; each event names the state it leaves.';

SELECT ledger.make_append_only(name::regclass) FROM unnest(ARRAY[
    'settlement.recall_file', 'settlement.recall_member', 'settlement.recall_event']) name;

-- What banks said of each request, in any order. Yes and no together are for a person.
CREATE VIEW settlement.recall_said AS
SELECT q.instruction_id, q.request_no,
       CASE WHEN bool_or(o.outcome = 'agreed') AND NOT bool_or(o.outcome = 'refused') THEN 'accepted'
            WHEN bool_or(o.outcome = 'refused') AND NOT bool_or(o.outcome = 'agreed') THEN 'refused'
            WHEN bool_and(o.outcome = 'pending') THEN 'sent'
            ELSE 'unknown' END AS state,
       string_agg(DISTINCT concat_ws(' ', n.code, n.reason_code), ', ') AS answer
  FROM settlement.recall_request q
  LEFT JOIN settlement.recall_member m USING (instruction_id, request_no)
  JOIN settlement.answer_note n ON n.instruction_id = q.instruction_id AND n.kind = 'recall' AND (n.recall_part IS NULL OR n.recall_part = m.part)
  LEFT JOIN settlement.recall_outcome o USING (code)
 GROUP BY q.instruction_id, q.request_no;
COMMENT ON VIEW settlement.recall_said IS 'What the answers to a recall (camt.029) or a reversal (pain.002) come to, payment by payment.';

-- An answer proves that the bank has the recall, whatever we saw of sending it.
CREATE VIEW settlement.recall_file_current AS
SELECT f.file_id, f.part, p.book_id, p.bank_account_id, f.msg_id, f.sha256, f.payment_count, f.approved_by, f.created_at,
       CASE WHEN e.state IN ('sending', 'failed', 'unknown') AND EXISTS (
                 SELECT FROM settlement.recall_member m JOIN settlement.recall_said s USING (instruction_id, request_no)
                  WHERE m.file_id = f.file_id AND m.part = f.part)
            THEN 'sent' ELSE e.state END AS state,
       e.reason, e.session_pid, e.session_started
  FROM settlement.recall_file f
  JOIN settlement.payment_file p USING (file_id)
 CROSS JOIN LATERAL (SELECT * FROM settlement.recall_event e WHERE e.file_id = f.file_id AND e.part = f.part
                      ORDER BY e.ordinal DESC LIMIT 1) e;
COMMENT ON VIEW settlement.recall_file_current IS 'Each recall with its last event.';

CREATE VIEW settlement.recall AS
SELECT i.book_id, i.instruction_id, q.request_no, CASE i.direction WHEN 'pay' THEN 'recall' ELSE 'reversal' END AS kind, i.file_id, m.part,
       i.end_to_end_id, i.payee_code AS payee, b.code AS bank_account, c.code AS currency, c.exponent, q.amount_minor, i.amount_minor AS paid_minor,
       q.reason_code, q.reason, q.requested_by, f.approved_by, f.msg_id,
       CASE WHEN i.direction = 'collect' AND t.returned_minor = q.amount_minor THEN 'reversed'
            WHEN i.direction = 'pay' AND i.reopened_by = 'return' AND i.back_minor = i.amount_minor THEN 'returned'
            WHEN t.returned_minor > 0 THEN 'partly_returned'
            WHEN i.reopened_by = 'return' AND i.back_minor = i.amount_minor THEN 'returned'
            WHEN s.state IN ('accepted', 'refused', 'unknown') THEN s.state
            ELSE coalesce(f.state, 'requested') END AS state,
       s.answer
  FROM settlement.recall_request q
  JOIN settlement.instruction_current i USING (instruction_id)
  JOIN settlement.bank_account_root b USING (bank_account_id)
  JOIN ledger.currency c ON c.currency_id = i.currency_id
  LEFT JOIN settlement.recall_returned t USING (instruction_id, request_no)
  LEFT JOIN settlement.recall_member m USING (instruction_id, request_no)
  LEFT JOIN settlement.recall_file_current f ON f.file_id = m.file_id AND f.part = m.part
  LEFT JOIN settlement.recall_said s USING (instruction_id, request_no);
COMMENT ON VIEW settlement.recall IS
    'Each payment asked back, each part of a collection given back: requested, approved, sending, failed, unknown, sent, accepted, refused, partly_returned, returned (by the payer''s bank: also a collection), reversed.';

CREATE VIEW settlement.payout AS
SELECT i.book_id, i.instruction_id, i.end_to_end_id, i.payee_code AS payee, i.payee_name, i.payee_iban,
       b.code AS bank_account, c.code AS currency, c.exponent, r.business_date, i.execution_date,
       o.owed_minor, i.amount_minor, o.owed_minor - i.amount_minor AS remainder_minor,
       CASE WHEN i.reopened_by IS NOT NULL OR i.state IN ('rejected', 'returned', 'cancelled', 'disputed') THEN i.state
            WHEN EXISTS (SELECT FROM settlement.return_announced a WHERE a.instruction_id = i.instruction_id) THEN 'returning'
            WHEN EXISTS (SELECT FROM settlement.recall q WHERE q.instruction_id = i.instruction_id AND q.state IN ('sent', 'accepted'))
            THEN CASE i.direction WHEN 'pay' THEN 'recalled' ELSE 'reversing' END
            ELSE i.state END AS state,
       i.reason_code, i.msg_id, i.payment_information_id, i.file_id
  FROM settlement.instruction_current i
  JOIN settlement.obligation o ON o.obligation_id = i.instruction_id
  JOIN settlement.run r ON r.run_id = i.run_id
  JOIN settlement.bank_account_root b ON b.bank_account_id = i.bank_account_id
  JOIN ledger.currency c ON c.currency_id = i.currency_id
 WHERE i.transit_posting_id IS NOT NULL;
COMMENT ON VIEW settlement.payout IS
    'What each payee was paid by sealed instructions, and where each payment stands. recalled, reversing: the bank has our recall or reversal and has not said no; returning: it announced that the money comes back.';

-- Keeps an approved recall or reversal (then with the deadline of the scheme): the approver is who calls. What came back
-- or went back meanwhile is not asked for.
CREATE FUNCTION settlement.record_recall(
    p_file_id bigint, p_part int, p_msg_id text, p_created_at timestamptz, p_content bytea, p_instruction_ids bigint[],
    p_request_nos int[], p_deadline timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_state text := settlement.lock_file(p_file_id);
    v_bad   record;
BEGIN
    PERFORM ledger.require_book((SELECT x.book_id FROM settlement.payment_file x WHERE x.file_id = p_file_id));
    SELECT i.end_to_end_id, a.state, a.direction INTO v_bad FROM settlement.askable(p_file_id, NULL) a
      JOIN settlement.instruction i USING (instruction_id)
     WHERE a.instruction_id = ANY (p_instruction_ids) AND NOT a.is_askable LIMIT 1;
    IF FOUND THEN
        PERFORM settlement.refuse_recall('Payment ' || v_bad.end_to_end_id, v_bad.direction, 'is ' || v_bad.state);
    END IF;
    INSERT INTO settlement.recall_file (file_id, part, msg_id, created_at, payment_count, sha256, content, deadline)
    VALUES (p_file_id, p_part, p_msg_id, p_created_at, cardinality(p_instruction_ids), encode(sha256(p_content), 'hex'), p_content,
            p_deadline);
    INSERT INTO settlement.recall_member (instruction_id, file_id, part, request_no)
    SELECT g.id, p_file_id, p_part, g.request_no FROM unnest(p_instruction_ids, p_request_nos) AS g (id, request_no);
    INSERT INTO settlement.recall_event (file_id, part, ordinal, from_state, state) VALUES (p_file_id, p_part, 1, 'new', 'approved');
END $$;

-- Locks a recall until the transaction ends and gives its state. Internal.
CREATE FUNCTION settlement.lock_recall(p_file_id bigint, p_part int) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM ledger.require_book((SELECT x.book_id FROM settlement.payment_file x WHERE x.file_id = p_file_id));
    PERFORM 1 FROM settlement.recall_file f WHERE f.file_id = p_file_id AND f.part = p_part FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'recall_known',
            MESSAGE = format('There is no recall %s of file %s.', p_part, p_file_id), HINT = 'List them with `nostro settle recalls`.';
    END IF;
    RETURN (SELECT f.state FROM settlement.recall_file_current f WHERE f.file_id = p_file_id AND f.part = p_part);
END $$;

CREATE FUNCTION settlement.add_recall_event(
    p_file_id bigint, p_part int, p_state text, p_reason text, p_session_started timestamptz DEFAULT NULL) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO settlement.recall_event (file_id, part, ordinal, from_state, state, reason, session_started)
    SELECT p_file_id, p_part, e.ordinal + 1, e.state, p_state, p_reason, p_session_started
      FROM settlement.recall_event e WHERE e.file_id = p_file_id AND e.part = p_part ORDER BY e.ordinal DESC LIMIT 1
$$;

-- The dual-write protocol of 090, for recalls. Sending again is a person's decision, to a bank that refuses duplicates.
CREATE FUNCTION settlement.begin_sending_recall(
    p_file_id bigint, p_part int, p_session_started timestamptz, p_journal_id text, p_number bigint, p_digest text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_state text := settlement.lock_recall(p_file_id, p_part);
BEGIN
    IF v_state NOT IN ('approved', 'failed') THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'recall_event_transition',
            MESSAGE = format('Recall %s of file %s is %s and cannot be sent now.', p_part, p_file_id, v_state);
    END IF;
    PERFORM settlement.add_recall_event(p_file_id, p_part, 'sending', NULL, p_session_started);
    RETURN settlement.count_send(p_file_id, p_part, p_journal_id, p_number, p_digest);
END $$;

CREATE FUNCTION settlement.begin_resending_recall(
    p_file_id bigint, p_part int, p_session_started timestamptz, p_journal_id text, p_number bigint, p_digest text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_state text := settlement.lock_recall(p_file_id, p_part);
BEGIN
    IF v_state <> 'unknown' THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'recall_event_transition',
            MESSAGE = format('Recall %s of file %s is %s; only what may have been lost can be sent again.', p_part, p_file_id, v_state);
    END IF;
    IF (SELECT (p.body ->> 'refuses_duplicates')::boolean FROM settlement.payment_file f
          JOIN settlement.bank_account_root b USING (bank_account_id)
          JOIN settlement.bank_profile p ON p.book_id = b.book_id AND p.code = b.bank
         WHERE f.file_id = p_file_id) IS NOT TRUE THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'resend_safe',
            MESSAGE = format('Recall %s of file %s may have reached its bank, which does not refuse duplicates.', p_part, p_file_id),
            HINT = 'Ask the bank whether it has the recall; its answer will settle it.';
    END IF;
    PERFORM settlement.add_recall_event(p_file_id, p_part, 'sending', 'sent again by ' || session_user, p_session_started);
    RETURN settlement.count_send(p_file_id, p_part, p_journal_id, p_number, p_digest);
END $$;

CREATE FUNCTION settlement.end_sending_recall(p_file_id bigint, p_part int, p_state text, p_reason text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_state text;
BEGIN
    PERFORM settlement.lock_recall(p_file_id, p_part);
    v_state := (SELECT e.state FROM settlement.recall_event e WHERE e.file_id = p_file_id AND e.part = p_part
                 ORDER BY e.ordinal DESC LIMIT 1);  -- what was written, whatever an answer says since
    IF NOT (v_state = 'sending' OR (v_state = 'unknown' AND p_state = 'sent')) THEN
        RETURN false;
    END IF;
    IF p_state = 'failed' THEN PERFORM settlement.require_sender(p_file_id, p_part); END IF;
    PERFORM settlement.add_recall_event(p_file_id, p_part, p_state, p_reason);
    RETURN true;
END $$;

-- Keeps an answer about batches of a file with every payment of theirs that was asked back and is not listed itself;
-- p_covers: what it says of the file as a whole (p_code) is of all others. p_part: it is of this reversal alone, and
-- what it gives no code is not said. How many.
CREATE FUNCTION settlement.answer_recall(
    p_file_id bigint, p_message_id bigint, p_batch_ids text[], p_batch_codes text[], p_batch_reasons text[],
    p_covers boolean, p_code text, p_reason_code text, p_part int) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_count int;
BEGIN
    INSERT INTO settlement.answer_note (message_id, file_id, instruction_id, kind, code, reason_code, recall_part)
    SELECT DISTINCT ON (m.instruction_id) p_message_id, p_file_id, m.instruction_id, 'recall',
           coalesce(CASE WHEN g.id IS NULL THEN p_code ELSE g.code END, '?'),
           CASE WHEN g.id IS NULL THEN p_reason_code ELSE g.reason END, p_part
      FROM settlement.recall_member m
      JOIN settlement.instruction i USING (instruction_id)
      JOIN settlement.payment_batch b ON b.file_id = i.file_id AND b.batch = i.batch
      LEFT JOIN unnest(p_batch_ids, p_batch_codes, p_batch_reasons) WITH ORDINALITY AS g (id, code, reason, n)
             ON g.id = b.payment_information_id
     WHERE m.file_id = p_file_id AND (g.id IS NOT NULL OR p_covers)
       AND (p_part IS NULL OR m.part = p_part AND CASE WHEN g.id IS NULL THEN p_code ELSE g.code END IS NOT NULL)
       AND NOT EXISTS (SELECT FROM settlement.answer_note n
                        WHERE n.message_id = p_message_id AND n.instruction_id = m.instruction_id)
     ORDER BY m.instruction_id, g.n
        ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END $$;
COMMENT ON FUNCTION settlement.answer_recall IS 'Internal: called where a bank''s answers are taken in.';

-- Which of our files an answer is about: the one whose message it names, else those whose payments it names, or, when it
-- names no message, whose batches. recall_part: it answers a recall or reversal of the file, by its own MsgId.
CREATE FUNCTION settlement.answered_files(
    p_book_id int, p_original_msg_id text, p_batch_ids text[], p_end_to_end_ids text[], p_uetrs text[])
    RETURNS TABLE (file_id bigint, bank text, is_named boolean, recall_part int)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan AS $$
    WITH named AS (
        SELECT f.file_id, NULL::int AS part FROM settlement.payment_file f
         WHERE f.msg_id = p_original_msg_id AND f.book_id = p_book_id
        UNION ALL
        SELECT r.file_id, r.part FROM settlement.recall_file r WHERE r.msg_id = p_original_msg_id
    ), listed AS (
        SELECT b.file_id FROM settlement.payment_batch b
         WHERE b.payment_information_id = ANY (p_batch_ids) AND coalesce(p_original_msg_id, 'NOTPROVIDED') = 'NOTPROVIDED'
        UNION
        SELECT i.file_id FROM settlement.instruction i WHERE i.end_to_end_id = ANY (p_end_to_end_ids)
        UNION
        SELECT i.file_id FROM settlement.instruction i WHERE i.uetr = ANY (p_uetrs)
    )
    SELECT f.file_id, b.bank, EXISTS (SELECT FROM named), (SELECT n.part FROM named n)
      FROM settlement.payment_file f JOIN settlement.bank_account_root b USING (bank_account_id)
     WHERE f.book_id = p_book_id
       AND (f.file_id IN (SELECT n.file_id FROM named n)
            OR (NOT EXISTS (SELECT FROM named) AND f.file_id IN (SELECT l.file_id FROM listed l)))
     ORDER BY f.file_id
$$;

GRANT SELECT ON settlement.recall_file, settlement.recall_member, settlement.recall_event, settlement.recall_said,
    settlement.recall_file_current, settlement.recall TO :app;
GRANT SELECT ON settlement.payout TO :app, :analyst;
GRANT EXECUTE ON FUNCTION settlement.record_recall TO :approver;
GRANT EXECUTE ON FUNCTION settlement.begin_sending_recall, settlement.end_sending_recall TO :app;
GRANT EXECUTE ON FUNCTION settlement.begin_resending_recall TO :preparer, :approver;
