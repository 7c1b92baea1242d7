-- Who may not be paid now, and why: holds by people, new bank details that cool off, verdicts of screening.

CREATE TABLE settlement.screening (
    screening_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    hook             text   NOT NULL CHECK (hook IN ('sanctions', 'payee_verification')),
    moment           text   NOT NULL CHECK (moment IN ('approval', 'seal', 'person')),
    file_id          bigint REFERENCES settlement.payment_file,
    payee_version_id bigint NOT NULL REFERENCES settlement.payee_version,
    verdict          text   NOT NULL CHECK (verdict IN ('clear', 'close_match', 'match', 'no_match', 'not_available')),
    list_version     text,
    detail           text,
    checked_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    checked_by       text   NOT NULL DEFAULT session_user,
    CONSTRAINT screening_moment CHECK ((moment = 'person') = (file_id IS NULL))
);
CREATE INDEX screening_file ON settlement.screening (file_id, payee_version_id);
CREATE INDEX screening_version ON settlement.screening (payee_version_id);
COMMENT ON TABLE settlement.screening IS
    'Each verdict of a hook: about whose details, when, by which list. Only clear lets a payment go on.';

CREATE TABLE settlement.payee_hold (
    payee_hold_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    payee_id      int  NOT NULL REFERENCES settlement.payee,
    kind          text NOT NULL CHECK (kind IN ('person', 'screening')),
    screening_id  bigint REFERENCES settlement.screening,
    reason        text NOT NULL CHECK (reason <> ''),
    held_by       text NOT NULL DEFAULT session_user,
    held_at       timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT payee_hold_screening CHECK ((kind = 'screening') = (screening_id IS NOT NULL))
);
CREATE INDEX payee_hold_payee ON settlement.payee_hold (payee_id);
COMMENT ON TABLE settlement.payee_hold IS 'A payee that is not paid until an approver releases the hold.';

CREATE TABLE settlement.payee_hold_release (
    payee_hold_id bigint PRIMARY KEY REFERENCES settlement.payee_hold,
    reason        text NOT NULL CHECK (reason <> ''),
    released_by   text NOT NULL DEFAULT session_user,
    released_at   timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE settlement.details_release (
    payee_version_id bigint PRIMARY KEY REFERENCES settlement.payee_version,
    reason           text NOT NULL CHECK (reason <> ''),
    released_by      text NOT NULL DEFAULT session_user,
    released_at      timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE settlement.details_release IS
    'An approver has checked new bank details (the version that brought them); their first payment may leave.';

-- Who brings new bank details does not wave them through, whoever writes the row.
CREATE FUNCTION settlement.check_details_release() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_by text := (SELECT v.recorded_by FROM settlement.payee_version v WHERE v.payee_version_id = NEW.payee_version_id);
BEGIN
    IF NEW.released_by <> session_user OR NEW.released_by = v_by THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'details_four_eyes',
            MESSAGE = format('The bank details were recorded by %s, who cannot release them', settlement.person(v_by)),
            HINT = 'Another member of the approver group must.';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER details_release_check BEFORE INSERT ON settlement.details_release
    FOR EACH ROW EXECUTE FUNCTION settlement.check_details_release();
ALTER TABLE settlement.details_release ENABLE ALWAYS TRIGGER details_release_check;

CREATE TABLE settlement.run_hold (
    run_hold_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id      bigint NOT NULL REFERENCES settlement.run,
    reason      text NOT NULL CHECK (reason <> ''),
    held_by     text NOT NULL DEFAULT session_user,
    held_at     timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX run_hold_run ON settlement.run_hold (run_id);
CREATE TABLE settlement.run_hold_release (
    run_hold_id bigint PRIMARY KEY REFERENCES settlement.run_hold,
    reason      text NOT NULL CHECK (reason <> ''),
    released_by text NOT NULL DEFAULT session_user,
    released_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE settlement.run_hold IS 'A run of which no file is sealed or sent until a person lets it go on.';

CREATE TABLE settlement.recall_request (
    instruction_id bigint NOT NULL REFERENCES settlement.instruction,
    request_no     int NOT NULL CHECK (request_no BETWEEN 1 AND 9),
    amount_minor   bigint NOT NULL CHECK (amount_minor > 0),
    asked_minor    bigint NOT NULL,
    reason_code    text NOT NULL CHECK (reason_code IN ('DUPL', 'TECH', 'FRAD', 'CUST', 'AM09', 'AC03', 'AM05', 'MD05', 'MS02')),
    reason         text NOT NULL CHECK (reason <> ''),
    requested_by   text NOT NULL DEFAULT session_user,
    requested_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (instruction_id, request_no)
);
COMMENT ON TABLE settlement.recall_request IS
    'A payment that was sent and is asked back, once and whole, or a collection that is to be given back, whole or part by part; the bank''s answer is a return, or nothing.';
COMMENT ON COLUMN settlement.recall_request.asked_minor IS 'What all requests up to this one come to: never more than was collected.';

-- Money that came back for the reason FOCR (following a cancellation request), or a collection that went back as we had
-- told the bank, tied to the request that asked for it.
CREATE TABLE settlement.recall_return (
    instruction_id bigint NOT NULL REFERENCES settlement.instruction,
    part           int    NOT NULL,
    request_no     int    NOT NULL,
    PRIMARY KEY (instruction_id, part),
    CONSTRAINT recall_return_asked FOREIGN KEY (instruction_id, request_no) REFERENCES settlement.recall_request,
    CONSTRAINT recall_return_came FOREIGN KEY (instruction_id, part) REFERENCES settlement.reopening
);
COMMENT ON TABLE settlement.recall_return IS 'Which part of a payment came back, or of a collection went back, because we had asked for it.';

SELECT ledger.make_append_only(name::regclass) FROM unnest(ARRAY[
    'settlement.payee_hold', 'settlement.payee_hold_release', 'settlement.details_release', 'settlement.screening',
    'settlement.run_hold', 'settlement.run_hold_release', 'settlement.recall_request', 'settlement.recall_return']) name;
SELECT settlement.keep_outstanding('settlement.payee_hold', 'payee_hold', 'payee_hold_id'),
       settlement.keep_outstanding('settlement.payee_hold_release', 'payee_hold', 'payee_hold_id');
GRANT SELECT ON settlement.payee_hold, settlement.payee_hold_release, settlement.details_release,
    settlement.screening, settlement.run_hold, settlement.run_hold_release, settlement.recall_request,
    settlement.recall_return TO :app;

-- What was asked back of a payment or is given back of a collection, and came back or went back for that reason.
CREATE VIEW settlement.recall_returned AS
SELECT t.instruction_id, t.request_no, sum(r.amount_minor)::bigint AS returned_minor
  FROM settlement.recall_return t JOIN settlement.reopening r USING (instruction_id, part)
 GROUP BY t.instruction_id, t.request_no;
GRANT SELECT ON settlement.recall_returned TO :app;

-- Since which version a payee has the bank details it has now; version 1 means it was declared with them.
CREATE VIEW settlement.payee_details AS
SELECT y.book_id, y.payee_id, s.payee_version_id, s.version, s.recorded_at, s.recorded_by
  FROM settlement.payee_current y
 CROSS JOIN LATERAL (
       SELECT coalesce(max(o.version), 0) + 1 AS version FROM settlement.payee_version o
        WHERE o.payee_id = y.payee_id AND (o.name, o.iban, o.bic) IS DISTINCT FROM (y.name, y.iban, y.bic)) since
  JOIN settlement.payee_version s ON s.payee_id = y.payee_id AND s.version = since.version;

-- Payees of a book that are not paid at a moment, each with one reason.
CREATE FUNCTION settlement.blocked_payees(p_book_id int, p_now timestamptz)
    RETURNS TABLE (payee_id int, reason text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    PERFORM ledger.require_book(p_book_id);
    RETURN QUERY WITH policy AS MATERIALIZED (
        SELECT coalesce((c.body -> 'payee_changes' ->> 'cooling_off_hours')::int, 0) AS hours,
               coalesce((c.body -> 'payee_changes' ->> 'first_payment_hold')::boolean, false) AS first_payment,
               coalesce((c.body -> 'payee_changes' ->> 'new_payees')::boolean, false) AS new_payees
          FROM settlement.setup_current c WHERE c.book_id = p_book_id
    )
    SELECT b.payee_id, min(b.reason) FROM (
        SELECT y.payee_id, 'payee on hold' AS reason
          FROM settlement.payee_current y WHERE y.book_id = p_book_id AND y.hold
        UNION ALL
        SELECT o.payee_id, h.reason
          FROM settlement.outstanding o
         CROSS JOIN LATERAL (SELECT h.reason FROM settlement.payee_hold h WHERE h.payee_hold_id = o.id LIMIT 1) h
         WHERE o.book_id = p_book_id AND o.what = 'payee_hold'
        UNION ALL
        SELECT d.payee_id, format('new bank details of %s cool off for %s hours', d.recorded_at, policy.hours)
          FROM policy, settlement.payee_details d
         WHERE policy.hours > 0 AND d.book_id = p_book_id AND (d.version > 1 OR policy.new_payees)
           AND p_now < d.recorded_at + make_interval(hours => policy.hours)
        UNION ALL
        SELECT d.payee_id, 'the first payment to new bank details waits for an approver'
          FROM policy, settlement.payee_details d
         WHERE policy.first_payment AND d.book_id = p_book_id AND (d.version > 1 OR policy.new_payees)
           AND NOT EXISTS (SELECT FROM settlement.details_release r WHERE r.payee_version_id = d.payee_version_id)
        UNION ALL
        -- By the details where the code says nothing: restored books may know the payee by another one.
        SELECT y.payee_id, format('may have been paid by %s, which left before the books were restored', l.msg_id)
          FROM settlement.outstanding o
         CROSS JOIN LATERAL (SELECT l.book_id, l.msg_id FROM settlement.lost_send l WHERE l.lost_send_id = o.id LIMIT 1) l
         CROSS JOIN LATERAL (SELECT * FROM settlement.lost_payment p WHERE p.lost_send_id = o.id OFFSET 0) p
          LEFT JOIN settlement.payee k ON k.book_id = l.book_id AND k.code = p.payee_code
          JOIN settlement.payee_current y ON y.book_id = l.book_id
                                         AND CASE WHEN k.code IS NULL THEN y.iban = p.iban ELSE y.code = k.code END
         WHERE o.book_id = p_book_id AND o.what = 'lost_send'
    ) b GROUP BY b.payee_id;
END $$;

-- As what the next collection under a mandate is presented on a day: as the payee's version says, but the first one (FRST) is
-- the first once, and recurrent after; NULL: there is none, since the mandate is signed later, or ended with its one or last
-- collection (OOFF, FNAL). What the bank rejected, or what was never sent, was no collection. The last one tells all: nothing
-- follows an end, and other rules of a payee void what was proposed before them.
CREATE FUNCTION settlement.mandate_step(p_payee_version_id bigint, p_date date) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT ledger.require_book((SELECT y.book_id FROM settlement.payee_version v JOIN settlement.payee y USING (payee_id)
                                 WHERE v.payee_version_id = p_payee_version_id));
    SELECT CASE WHEN v.mandate_signed > p_date OR v.mandate_id IS NULL OR done.has_ended THEN NULL
                WHEN v.mandate_sequence = 'OOFF' AND done.is_used THEN NULL
                WHEN v.mandate_sequence = 'FRST' AND done.is_used THEN 'RCUR'
                ELSE v.mandate_sequence END
      FROM settlement.payee_version v
      JOIN settlement.payee y USING (payee_id)
     CROSS JOIN LATERAL (
           SELECT count(*) > 0 AS is_used, coalesce(bool_or(last.sequence_type IN ('OOFF', 'FNAL')), false) AS has_ended
             FROM (SELECT b.sequence_type
                     FROM (SELECT * FROM settlement.instruction i WHERE i.payee_id = y.payee_id AND i.direction = 'collect'
                            ORDER BY i.instruction_id DESC OFFSET 0) i
                    CROSS JOIN LATERAL (SELECT FROM settlement.clearing_group g WHERE g.group_id = i.instruction_id LIMIT 1) g
                    CROSS JOIN LATERAL (SELECT o.payee_version_id FROM settlement.obligation o WHERE o.obligation_id = i.instruction_id LIMIT 1) o
                    CROSS JOIN LATERAL (SELECT w.mandate_id FROM settlement.payee_version w WHERE w.payee_version_id = o.payee_version_id LIMIT 1) w
                    CROSS JOIN LATERAL (SELECT b.sequence_type FROM settlement.payment_batch b WHERE b.file_id = i.file_id AND b.batch = i.batch LIMIT 1) b
                     LEFT JOIN LATERAL (SELECT true AS is_none FROM settlement.reopening r
                                         WHERE r.instruction_id = i.instruction_id AND r.kind IN ('reject', 'cancel') LIMIT 1) r ON true
                    WHERE w.mandate_id = v.mandate_id AND r.is_none IS NULL
                    ORDER BY i.instruction_id DESC LIMIT 1) last) done
     WHERE v.payee_version_id = p_payee_version_id
$$;
COMMENT ON FUNCTION settlement.mandate_step IS 'Sequence type of the next direct debit of a payee; NULL when its mandate allows none.';

-- Which hooks a book must ask before a payment goes on.
CREATE FUNCTION settlement.required_hooks(p_book_id int) RETURNS text[]
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT ledger.require_book(p_book_id);
    SELECT coalesce(array_agg(h.hook ORDER BY h.hook), '{}')
      FROM settlement.setup_current c, jsonb_each(c.body -> 'screening') h (hook, terms)
     WHERE c.book_id = p_book_id AND jsonb_typeof(h.terms) = 'object'
$$;

-- Whether a verdict lets a payment go on: clear, or the very finding (hook, details, list) that an approver released.
CREATE FUNCTION settlement.verdict_passes(p_screening settlement.screening) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT p_screening.verdict = 'clear' OR (p_screening.verdict <> 'not_available' AND EXISTS (
        -- From the payee's holds: its verdicts are two a night, for ever.
        SELECT FROM settlement.payee_version v
         CROSS JOIN LATERAL (SELECT * FROM settlement.payee_hold h WHERE h.payee_id = v.payee_id AND h.kind = 'screening' OFFSET 0) h
         CROSS JOIN LATERAL (SELECT * FROM settlement.screening s WHERE s.screening_id = h.screening_id LIMIT 1) s
         CROSS JOIN LATERAL (SELECT FROM settlement.payee_hold_release r WHERE r.payee_hold_id = h.payee_hold_id LIMIT 1) r
         WHERE v.payee_version_id = p_screening.payee_version_id AND s.payee_version_id = p_screening.payee_version_id
           AND (s.hook, s.verdict, s.list_version, s.detail)
               IS NOT DISTINCT FROM (p_screening.hook, p_screening.verdict, p_screening.list_version, p_screening.detail)))
$$;

-- A step of a file that needs more than its predecessor: enough signatures, clear verdicts, no hold on its run.
CREATE FUNCTION settlement.check_file_event() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_file   settlement.payment_file;
    v_needed int;
    v_reason text;
    v_lacks  text;
BEGIN
    IF NEW.state NOT IN ('approved', 'sealed', 'sending') THEN RETURN NEW; END IF;
    SELECT * INTO v_file FROM settlement.payment_file f WHERE f.file_id = NEW.file_id;
    IF NEW.state = 'approved' THEN
        SELECT CASE WHEN v_file.total_minor > t.dual_above_minor THEN 2 ELSE 1 END INTO v_needed
          FROM settlement.approval_terms(v_file.book_id, v_file.currency_id) t;
        IF (SELECT count(*) FROM settlement.approval a WHERE a.file_id = NEW.file_id) < coalesce(v_needed, 1) THEN
            RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'approval_count',
                MESSAGE = format('file %s needs %s approvals', NEW.file_id, coalesce(v_needed, 1));
        END IF;
    ELSE
        SELECT h.reason INTO v_reason FROM settlement.run_hold h
         WHERE h.run_id = v_file.run_id
           AND NOT EXISTS (SELECT FROM settlement.run_hold_release r WHERE r.run_hold_id = h.run_hold_id) LIMIT 1;
        IF FOUND THEN
            RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'run_held',
                MESSAGE = format('file %s: its run %s is held: %s', NEW.file_id, v_file.run_id, v_reason),
                HINT = 'Release it by `nostro settle release-run`.';
        END IF;
    END IF;
    IF NEW.state IN ('approved', 'sealed') THEN
        SELECT format('%s of payee %s', h.hook, n.payee) INTO v_lacks
          FROM unnest(settlement.required_hooks(v_file.book_id)) h (hook)
         CROSS JOIN LATERAL settlement.not_cleared(NEW.file_id, h.hook, CASE NEW.state WHEN 'approved' THEN 'approval'
                                                                                       ELSE 'seal' END) n LIMIT 1;
        IF FOUND THEN
            RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'screening_clear',
                MESSAGE = format('file %s: there is no clear verdict on %s', NEW.file_id, v_lacks),
                HINT = 'Look at the payee with `nostro payee show`.';
        END IF;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER file_event_check BEFORE INSERT ON settlement.file_event
    FOR EACH ROW EXECUTE FUNCTION settlement.check_file_event();
ALTER TABLE settlement.file_event ENABLE ALWAYS TRIGGER file_event_check;

-- Whom a file pays and a hook has not let pass, with its last verdict at a moment.
CREATE FUNCTION settlement.not_cleared(p_file_id bigint, p_hook text, p_moment text)
    RETURNS TABLE (payee text, verdict text, detail text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT ledger.require_book((SELECT x.book_id FROM settlement.payment_file x WHERE x.file_id = p_file_id));
    SELECT i.payee_code, s.verdict, s.detail
      FROM settlement.instruction i
      JOIN settlement.obligation o ON o.obligation_id = i.instruction_id
      LEFT JOIN LATERAL (SELECT s.* FROM settlement.screening s
                          WHERE s.file_id = p_file_id AND s.payee_version_id = o.payee_version_id
                            AND s.hook = p_hook AND s.moment = p_moment
                          ORDER BY s.screening_id DESC LIMIT 1) s ON true
     WHERE i.file_id = p_file_id
       AND (s.screening_id IS NULL OR NOT settlement.verdict_passes(
                (SELECT full_row FROM settlement.screening full_row WHERE full_row.screening_id = s.screening_id)))
     ORDER BY i.ordinal
$$;

CREATE FUNCTION settlement.find_payee(p_book_id int, p_code text) RETURNS int
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_payee int := (SELECT p.payee_id FROM settlement.payee p WHERE p.book_id = p_book_id AND p.code = p_code);
BEGIN
    PERFORM ledger.require_book(p_book_id);
    IF v_payee IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'payee_known',
            MESSAGE = format('There is no payee %s.', p_code), HINT = 'Payees are declared by `nostro setup`.';
    END IF;
    RETURN v_payee;
END $$;

-- New bank details or address of a payee; its rules stay. False when they are what is recorded.
CREATE FUNCTION settlement.change_payee(
    p_book_id int, p_code text, p_name text, p_iban text, p_bic text, p_country text, p_town text, p_street text,
    p_postcode text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_payee int := settlement.find_payee(p_book_id, p_code);
BEGIN
    PERFORM 1 FROM ledger.book b WHERE b.book_id = p_book_id FOR NO KEY UPDATE;
    INSERT INTO settlement.payee_version (payee_id, version, name, iban, bic, country, town, street, postcode,
        bank_account_id, minimum_minor, maximum_minor, delay_days, hold, schedule, reserve_bps, reserve_days,
        reserve_fixed_minor, reserve_account_id, negative, mandate_id, mandate_signed, mandate_scheme, mandate_sequence,
        intermediary_bic, purpose, creditor_reference, regulatory_country, regulatory_code, regulatory_text,
        charge_bearer)
    SELECT v_payee, c.version + 1, p_name, p_iban, p_bic, p_country, p_town, p_street, p_postcode,
           c.bank_account_id, c.minimum_minor, c.maximum_minor, c.delay_days, c.hold, c.schedule, c.reserve_bps,
           c.reserve_days, c.reserve_fixed_minor, c.reserve_account_id, c.negative, c.mandate_id, c.mandate_signed,
           c.mandate_scheme, c.mandate_sequence,
           c.intermediary_bic, c.purpose, c.creditor_reference, c.regulatory_country, c.regulatory_code, c.regulatory_text,
           c.charge_bearer
      FROM settlement.payee_current c
     WHERE c.payee_id = v_payee
       AND (c.name, c.iban, c.bic, c.country, c.town, c.street, c.postcode)
           IS DISTINCT FROM (p_name, p_iban, p_bic, p_country, p_town, p_street, p_postcode);
    RETURN FOUND;
END $$;

CREATE FUNCTION settlement.hold_payee(p_book_id int, p_code text, p_reason text) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT ledger.require_book(p_book_id);
    INSERT INTO settlement.payee_hold (payee_id, kind, reason)
    VALUES (settlement.find_payee(p_book_id, p_code), 'person', p_reason) RETURNING payee_hold_id
$$;

-- Releases every hold of a payee and its new bank details; the number of things that held it.
CREATE FUNCTION settlement.release_payee(p_book_id int, p_code text, p_reason text) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_payee int := settlement.find_payee(p_book_id, p_code);
    v_holds int;
    v_new   int;
BEGIN
    INSERT INTO settlement.payee_hold_release (payee_hold_id, reason)
    SELECT o.id, p_reason FROM settlement.outstanding o WHERE o.payee_id = v_payee AND o.what = 'payee_hold' ORDER BY o.id;
    GET DIAGNOSTICS v_holds = ROW_COUNT;
    INSERT INTO settlement.details_release (payee_version_id, reason)
    SELECT d.payee_version_id, p_reason
      FROM settlement.payee_details d JOIN settlement.setup_current c ON c.book_id = d.book_id
     WHERE d.payee_id = v_payee AND (c.body -> 'payee_changes' ->> 'first_payment_hold')::boolean
       AND (d.version > 1 OR (c.body -> 'payee_changes' ->> 'new_payees')::boolean)
       AND NOT EXISTS (SELECT FROM settlement.details_release r WHERE r.payee_version_id = d.payee_version_id);
    GET DIAGNOSTICS v_new = ROW_COUNT;
    RETURN v_holds + v_new;
END $$;

-- Keeps the verdicts of a hook. Whom it did not clear is held, once for as long as the hold lasts.
-- The number of payees that are held by it.
CREATE FUNCTION settlement.record_screening(
    p_hook text, p_moment text, p_file_id bigint, p_payee_version_ids bigint[], p_verdicts text[],
    p_list_version text, p_details text[]) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_held int;
BEGIN
    PERFORM ledger.require_book(f.book_id) FROM settlement.payment_file f WHERE f.file_id = p_file_id;
    PERFORM ledger.require_book(y.book_id) FROM settlement.payee_version v JOIN settlement.payee y USING (payee_id)
      WHERE v.payee_version_id = ANY (p_payee_version_ids);
    WITH said AS (
        INSERT INTO settlement.screening (hook, moment, file_id, payee_version_id, verdict, list_version, detail)
        SELECT p_hook, p_moment, p_file_id, g.id, g.verdict, p_list_version, g.detail
          FROM unnest(p_payee_version_ids, p_verdicts, p_details) AS g (id, verdict, detail)
        RETURNING *)
    INSERT INTO settlement.payee_hold (payee_id, kind, screening_id, reason)
    SELECT v.payee_id, 'screening', s.screening_id, concat_ws(': ', s.hook || ' says ' || s.verdict, s.detail)
      FROM said s
      JOIN settlement.payee_version v USING (payee_version_id)
     WHERE NOT settlement.verdict_passes(s)
       AND NOT EXISTS (SELECT FROM settlement.outstanding o
                        CROSS JOIN LATERAL (SELECT h.kind FROM settlement.payee_hold h WHERE h.payee_hold_id = o.id LIMIT 1) h
                        WHERE o.payee_id = v.payee_id AND o.what = 'payee_hold' AND h.kind = 'screening');
    GET DIAGNOSTICS v_held = ROW_COUNT;
    RETURN v_held;
END $$;

-- Holds what one proposed or approved payment would pay; its file becomes void when it is sealed, and the next proposal
-- goes without it. The number of postings that are held now and were not.
CREATE FUNCTION settlement.hold_instruction(p_end_to_end_id text, p_reason text) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_id    bigint;
    v_state text;
    v_count int;
BEGIN
    PERFORM ledger.require_book((SELECT c.book_id FROM settlement.instruction_current c WHERE c.end_to_end_id = p_end_to_end_id));
    -- Not while the file is being sealed: who is told that a payment is stopped must be able to rely on it.
    PERFORM settlement.lock_file(i.file_id) FROM settlement.instruction i WHERE i.end_to_end_id = p_end_to_end_id;
    SELECT c.instruction_id, c.state INTO v_id, v_state
      FROM settlement.instruction_current c WHERE c.end_to_end_id = p_end_to_end_id;
    IF NOT FOUND OR v_state NOT IN ('proposed', 'approved') THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'instruction_not_sealed',
            MESSAGE = format('Payment %s is %s and cannot be held.', p_end_to_end_id, coalesce(v_state, 'not known')),
            HINT = 'What is sealed is taken back by `nostro settle cancel`, what was sent by `nostro settle recall`.';
    END IF;
    INSERT INTO settlement.hold (book_id, posting_id, payee_version_id, stopped_id, reason)
    SELECT y.book_id, m.posting_id, y.payee_version_id, v_id, p_reason
      FROM settlement.proposal_member m
      JOIN settlement.instruction i ON i.instruction_id = m.obligation_id
      JOIN settlement.payee_current y ON y.payee_id = i.payee_id
     WHERE m.obligation_id = v_id AND NOT settlement.is_cleared(m.posting_id)
       AND NOT settlement.is_held(m.posting_id);
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END $$;

CREATE FUNCTION settlement.hold_run(p_run_id bigint, p_reason text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM ledger.require_book((SELECT x.book_id FROM settlement.run x WHERE x.run_id = p_run_id));
    PERFORM 1 FROM settlement.run r WHERE r.run_id = p_run_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'run_known',
            MESSAGE = format('There is no run %s.', p_run_id), HINT = 'List them with `nostro settle status --json`.';
    END IF;
    INSERT INTO settlement.run_hold (run_id, reason)
    SELECT p_run_id, p_reason
     WHERE NOT EXISTS (SELECT FROM settlement.run_hold h LEFT JOIN settlement.run_hold_release r USING (run_hold_id)
                        WHERE h.run_id = p_run_id AND r.run_hold_id IS NULL);
    RETURN FOUND;
END $$;

CREATE FUNCTION settlement.release_run(p_run_id bigint, p_reason text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM ledger.require_book((SELECT x.book_id FROM settlement.run x WHERE x.run_id = p_run_id));
    INSERT INTO settlement.run_hold_release (run_hold_id, reason)
    SELECT h.run_hold_id, p_reason FROM settlement.run_hold h LEFT JOIN settlement.run_hold_release r USING (run_hold_id)
     WHERE h.run_id = p_run_id AND r.run_hold_id IS NULL;
    RETURN FOUND;
END $$;

GRANT EXECUTE ON FUNCTION settlement.change_payee, settlement.hold_payee, settlement.hold_instruction, settlement.hold_run, settlement.release_run TO :preparer, :approver;
GRANT EXECUTE ON FUNCTION settlement.release_payee TO :approver;
GRANT EXECUTE ON FUNCTION settlement.mandate_step, settlement.blocked_payees, settlement.required_hooks, settlement.not_cleared, settlement.record_screening,
    settlement.person TO :app;
