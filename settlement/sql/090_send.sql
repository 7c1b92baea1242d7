-- The dual-write protocol: SENDING is committed before any byte leaves, SENT after the bytes arrived.
-- These functions only record; the bytes move in settlement/transmission.py. The caller brings the head of the journal of
-- sends: every send is counted, and books that forgot some refuse (200_sends.sql). Beginning gives the send's number.

CREATE FUNCTION settlement.begin_sending(
    p_file_id bigint, p_session_started timestamptz, p_journal_id text, p_number bigint, p_digest text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_state text := settlement.lock_file(p_file_id);
BEGIN
    PERFORM ledger.require_book((SELECT x.book_id FROM settlement.payment_file x WHERE x.file_id = p_file_id));
    IF v_state NOT IN ('sealed', 'failed') THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'file_event_transition',
            MESSAGE = format('File %s is %s and cannot be sent now.', p_file_id, v_state);
    END IF;
    PERFORM settlement.add_file_event(p_file_id, 'sending', NULL, NULL, p_session_started);
    RETURN settlement.count_send(p_file_id, 0, p_journal_id, p_number, p_digest);
END $$;

-- A person decides that a file whose fate is unknown is sent again: the same bytes under the same MsgId, and
-- only to a bank that refuses duplicates.
CREATE FUNCTION settlement.begin_resending(
    p_file_id bigint, p_session_started timestamptz, p_journal_id text, p_number bigint, p_digest text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_state text := settlement.lock_file(p_file_id);
    v_safe  boolean;
BEGIN
    PERFORM ledger.require_book((SELECT x.book_id FROM settlement.payment_file x WHERE x.file_id = p_file_id));
    SELECT (p.body ->> 'refuses_duplicates')::boolean INTO v_safe
      FROM settlement.payment_file f
      JOIN settlement.bank_account_root b USING (bank_account_id)
      JOIN settlement.bank_profile p ON p.book_id = b.book_id AND p.code = b.bank
     WHERE f.file_id = p_file_id;
    IF v_state <> 'unknown' THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'file_event_transition',
            MESSAGE = format('File %s is %s; only a file whose fate is unknown can be sent again.', p_file_id, v_state);
    END IF;
    IF v_safe IS NOT TRUE THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'resend_safe',
            MESSAGE = format('File %s may have reached its bank, which does not refuse duplicates.', p_file_id),
            HINT = 'Ask the bank whether it has the file; its answer or statement will settle it.';
    END IF;
    PERFORM settlement.add_file_event(p_file_id, 'sending', 'sent again by ' || session_user, NULL, p_session_started);
    RETURN settlement.count_send(p_file_id, 0, p_journal_id, p_number, p_digest);
END $$;

-- Whether this session began the sending of a file, or of a recall of it (p_part > 0). Internal.
CREATE FUNCTION settlement.require_sender(p_file_id bigint, p_part int) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_by record;
BEGIN
    SELECT l.session_pid, l.recorded_by INTO v_by
      FROM (SELECT e.ordinal, e.session_pid, e.recorded_by FROM settlement.file_event e WHERE e.file_id = p_file_id AND p_part = 0
            UNION ALL
            SELECT e.ordinal, e.session_pid, e.recorded_by FROM settlement.recall_event e
             WHERE e.file_id = p_file_id AND e.part = p_part) l ORDER BY l.ordinal DESC LIMIT 1;
    IF (v_by.session_pid, v_by.recorded_by) IS DISTINCT FROM (pg_backend_pid(), session_user::text) THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', CONSTRAINT = 'send_own_session',
            MESSAGE = format('File %s is being sent by another session; only that one knows that nothing arrived.', p_file_id),
            HINT = 'Look it up by `nostro bank poll`.';
    END IF;
END $$;

-- What became of an attempt. A later word (the bank's answer) may have been faster; then nothing is written. Others than the
-- session that sends may have looked at the bank; that nothing arrived, so that it is sent again, only it can know.
CREATE FUNCTION settlement.end_sending(p_file_id bigint, p_state text, p_reason text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_state text := settlement.lock_file(p_file_id);
BEGIN
    PERFORM ledger.require_book((SELECT x.book_id FROM settlement.payment_file x WHERE x.file_id = p_file_id));
    IF p_state NOT IN ('sent', 'failed', 'unknown') THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'file_event_transition',
            MESSAGE = format('An attempt ends sent, failed or unknown, not %s.', p_state);
    END IF;
    IF NOT (v_state = 'sending' OR (v_state = 'unknown' AND p_state = 'sent')) THEN
        RETURN false;
    END IF;
    IF p_state = 'failed' THEN PERFORM settlement.require_sender(p_file_id, 0); END IF;
    PERFORM settlement.add_file_event(p_file_id, p_state, p_reason);
    RETURN true;
END $$;

GRANT EXECUTE ON FUNCTION settlement.begin_sending, settlement.end_sending TO :app;
GRANT EXECUTE ON FUNCTION settlement.begin_resending TO :preparer, :approver;
