-- One person's word that a payment is asked back or a collection given back: what can be asked, and how much of it.
-- What another person makes of it: 140.

-- A payment is asked back once and whole. Parts of a collection are counted without a gap, the next when the one before is
-- approved, each goes on from what was asked before it, and never more is given back than was collected.
CREATE FUNCTION settlement.check_recall_request() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    v_bad record;
BEGIN
    SELECT n.request_no, n.asked_minor, i.end_to_end_id, i.direction, i.amount_minor AS paid_minor, was.asked_minor AS before_minor,
           was.is_approved INTO v_bad
      FROM new_rows n
      LEFT JOIN LATERAL (SELECT * FROM settlement.instruction i WHERE i.instruction_id = n.instruction_id LIMIT 1) i ON true
      LEFT JOIN LATERAL (SELECT q.asked_minor, EXISTS (SELECT FROM settlement.recall_member m WHERE m.instruction_id = q.instruction_id
                                                          AND m.request_no = q.request_no) AS is_approved
                           FROM settlement.recall_request q
                          WHERE q.instruction_id = n.instruction_id AND q.request_no = n.request_no - 1 LIMIT 1) was ON true
     WHERE (n.asked_minor = coalesce(was.asked_minor, 0) + n.amount_minor AND n.asked_minor <= i.amount_minor
            AND (n.request_no = 1 OR was.is_approved)
            AND (i.direction = 'collect' OR n.request_no = 1 AND n.amount_minor = i.amount_minor)) IS NOT TRUE
     LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'recall_total',
            MESSAGE = CASE WHEN v_bad.direction IS DISTINCT FROM 'collect' THEN format('Payment %s is asked back once, and whole.', v_bad.end_to_end_id)
                           WHEN v_bad.request_no > 1 AND v_bad.is_approved IS NOT TRUE
                           THEN format('Part %s of collection %s is given back once part %s is approved.', v_bad.request_no, v_bad.end_to_end_id, v_bad.request_no - 1)
                           ELSE format('Of collection %s, which was %s minor units, %s were to be given back already and this would make %s.',
                                       v_bad.end_to_end_id, v_bad.paid_minor, coalesce(v_bad.before_minor, 0), v_bad.asked_minor) END;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER recall_request_check AFTER INSERT ON settlement.recall_request
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION settlement.check_recall_request();
ALTER TABLE settlement.recall_request ENABLE ALWAYS TRIGGER recall_request_check;

-- Whether a payment in this state may be at the bank and can be asked back; whether a collection was settled (the bank
-- said so, or a statement did and its file is reconciled) and nothing of it went back but parts that we gave back, so that
-- it, or the rest, can be given back.
CREATE FUNCTION settlement.is_recallable(
    p_direction text, p_state text, p_file_state text, p_amount_minor bigint, p_back_minor bigint, p_given_minor bigint) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE p_direction
           WHEN 'pay' THEN p_state NOT IN ('proposed', 'approved', 'sealed', 'failed', 'void', 'rejected', 'cancelled', 'returned')
           ELSE p_back_minor = p_given_minor AND p_back_minor < p_amount_minor AND (p_state = 'executed' OR p_given_minor > 0
                OR p_file_state = 'reconciled' AND p_state NOT IN ('rejected', 'cancelled', 'returned', 'disputed')) END
$$;

CREATE FUNCTION settlement.require_recall_code(p_direction text, p_code text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF p_code <> ALL (settlement.recall_codes(p_direction)) THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'recall_kind',
            MESSAGE = format('%s is no reason to %s; take one of %s.', p_code,
                             CASE p_direction WHEN 'pay' THEN 'ask a payment back' ELSE 'give a collection back' END,
                             array_to_string(settlement.recall_codes(p_direction), ', '));
    END IF;
END $$;
COMMENT ON FUNCTION settlement.require_recall_code IS 'Internal: called where something is asked back or given back.';

-- Payments of a file, or one payment, with what is asked about them. Internal.
CREATE FUNCTION settlement.askable(p_file_id bigint, p_end_to_end_id text)
    RETURNS TABLE (instruction_id bigint, file_id bigint, direction text, state text, amount_minor bigint, asked_minor bigint, is_askable boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT c.instruction_id, c.file_id, c.direction, c.state, c.amount_minor,
           coalesce((SELECT max(q.asked_minor) FROM settlement.recall_request q WHERE q.instruction_id = c.instruction_id), 0),
           settlement.is_recallable(c.direction, c.state, f.state, c.amount_minor, c.back_minor, coalesce(
               (SELECT sum(t.returned_minor) FROM settlement.recall_returned t WHERE t.instruction_id = c.instruction_id), 0)::bigint)
      FROM settlement.instruction_current c JOIN settlement.file_current f USING (file_id)
     WHERE c.file_id = p_file_id OR c.end_to_end_id = p_end_to_end_id
$$;

-- Refuses what cannot be asked for, in words. Internal.
CREATE FUNCTION settlement.refuse_recall(p_what text, p_direction text, p_is text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'recall_sent',
        MESSAGE = format('%s %s and cannot be %s.', p_what, p_is, CASE p_direction WHEN 'pay' THEN 'recalled' ELSE 'reversed' END),
        HINT = CASE p_direction WHEN 'pay' THEN 'What was not sent yet is taken back by `nostro settle cancel`; a collection is given back by `nostro settle reverse`.'
                    ELSE 'Only a direct debit that was collected, and of which nothing else went back, is reversed.' END;
END $$;

-- Whether the bank of a file takes a reversal of less than was collected: not every scheme knows one.
CREATE FUNCTION settlement.takes_parts(p_file_id bigint) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce((p.body -> 'direct_debit' ->> 'partial_reversals')::boolean, false)
      FROM settlement.payment_file f JOIN settlement.bank_account b USING (bank_account_id) JOIN settlement.bank_profile p USING (profile_id)
     WHERE f.file_id = p_file_id
$$;
COMMENT ON FUNCTION settlement.takes_parts IS 'Internal: called where something is to be given back.';

-- Asks a sent payment back, or asks that a settled collection be given back (p_direction collect): part p_request_no of it,
-- an amount of its own, or all that is left. A part is known by its number, so asking again changes nothing.
CREATE FUNCTION settlement.request_recall(
    p_end_to_end_id text, p_reason_code text, p_reason text, p_direction text, p_request_no int, p_amount_minor bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_paid record;
    v_is   record;
BEGIN
    PERFORM ledger.require_book((SELECT c.book_id FROM settlement.instruction_current c WHERE c.end_to_end_id = p_end_to_end_id));
    PERFORM settlement.require_recall_code(p_direction, p_reason_code);
    PERFORM settlement.lock_file(i.file_id) FROM settlement.instruction i WHERE i.end_to_end_id = p_end_to_end_id;
    SELECT * INTO v_paid FROM settlement.askable(NULL, p_end_to_end_id);
    SELECT q.* INTO v_is FROM settlement.recall_request q WHERE q.instruction_id = v_paid.instruction_id AND q.request_no = p_request_no;
    IF v_paid.direction = p_direction AND v_is.request_no IS NOT NULL THEN
        IF coalesce(p_amount_minor, v_is.amount_minor) <> v_is.amount_minor THEN
            RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'recall_total',
                MESSAGE = format('Part %s of %s is %s minor units, and not %s.', p_request_no, p_end_to_end_id, v_is.amount_minor, p_amount_minor),
                HINT = 'Another part has a number of its own: 2, 3, and so on.';
        END IF;
        RETURN false;
    END IF;
    IF v_paid.instruction_id IS NULL OR v_paid.direction <> p_direction OR NOT v_paid.is_askable THEN
        PERFORM settlement.refuse_recall('Payment ' || p_end_to_end_id, p_direction,
            'is ' || CASE WHEN v_paid.direction <> p_direction THEN CASE v_paid.direction WHEN 'collect' THEN 'a collection' ELSE 'no collection' END
                          ELSE coalesce(v_paid.state, 'not known') END);
    END IF;
    p_amount_minor := coalesce(p_amount_minor, nullif(v_paid.amount_minor - v_paid.asked_minor, 0), v_paid.amount_minor);
    IF p_direction = 'collect' AND p_amount_minor <> v_paid.amount_minor AND NOT settlement.takes_parts(v_paid.file_id) THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'recall_parts',
            MESSAGE = format('The bank of collection %s takes no reversal of a part.', p_end_to_end_id),
            HINT = 'Where it does, its profile says so (direct_debit: partial_reversals). Else give the whole back, or pay the part as a payment.';
    END IF;
    INSERT INTO settlement.recall_request (instruction_id, request_no, amount_minor, asked_minor, reason_code, reason)
    VALUES (v_paid.instruction_id, p_request_no, p_amount_minor, v_paid.asked_minor + p_amount_minor, p_reason_code, p_reason);
    RETURN true;
END $$;
-- The same for every payment of a file that it can be asked for, whole; for how many it was not asked before.
CREATE FUNCTION settlement.request_file_recall(p_file_id bigint, p_reason_code text, p_reason text, p_direction text) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_state text := settlement.lock_file(p_file_id);
    v_count int;
BEGIN
    PERFORM ledger.require_book((SELECT x.book_id FROM settlement.payment_file x WHERE x.file_id = p_file_id));
    PERFORM settlement.require_recall_code(p_direction, p_reason_code);
    INSERT INTO settlement.recall_request (instruction_id, request_no, amount_minor, asked_minor, reason_code, reason)
    SELECT a.instruction_id, 1, a.amount_minor, a.amount_minor, p_reason_code, p_reason FROM settlement.askable(p_file_id, NULL) a
     WHERE a.is_askable AND a.direction = p_direction AND a.asked_minor = 0 ORDER BY a.instruction_id
        ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    IF v_count = 0 AND NOT EXISTS (SELECT FROM settlement.recall q
                                    WHERE q.file_id = p_file_id AND (q.kind = 'recall') = (p_direction = 'pay')) THEN
        PERFORM settlement.refuse_recall(format('File %s', p_file_id), p_direction, format('is %s, holds nothing to ask for', v_state));
    END IF;
    RETURN v_count;
END $$;

GRANT EXECUTE ON FUNCTION settlement.request_recall, settlement.request_file_recall TO :preparer, :approver;
