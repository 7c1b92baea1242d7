-- Sign-off: two people put their names under a certificate, by its hash. What changes a signed day afterwards is a
-- LATE_CHANGE, and the day waits for two names again.

CREATE TABLE recon.sign_off (
    book_id            int  NOT NULL REFERENCES ledger.book,
    bank_account_id    int  NOT NULL REFERENCES settlement.bank_account_root,
    business_date      date NOT NULL,
    certificate_sha256 text NOT NULL,
    role               text NOT NULL CHECK (role IN ('prepared', 'reviewed')),
    person             text NOT NULL DEFAULT session_user,
    signed_at          timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT sign_off_once PRIMARY KEY (bank_account_id, business_date, certificate_sha256, role)
);
SELECT ledger.make_append_only('recon.sign_off');
SELECT recon.record_events('recon.sign_off', 'book');
COMMENT ON TABLE recon.sign_off IS 'Who prepared and who reviewed which certificate. A certificate that changes has other bytes, and no names.';

-- In one's own name; of the certificate that holds now; not across a gap or an unproven statement; by two people, the
-- reviewer an approver.
CREATE FUNCTION recon.check_sign_off() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_account text := (SELECT a.code FROM settlement.bank_account_root a WHERE a.bank_account_id = NEW.bank_account_id);
    v_by      text;
    v_bad     record;
BEGIN
    IF NOT EXISTS (SELECT FROM recon.certificate c
                    WHERE (c.bank_account_id, c.business_date, c.sha256, c.book_id)
                          = (NEW.bank_account_id, NEW.business_date, NEW.certificate_sha256, NEW.book_id)
                      AND c.run_id = (SELECT max(r.run_id) FROM recon.run r
                                       WHERE r.book_id = NEW.book_id AND r.business_date = NEW.business_date)) THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'sign_off_certified',
            MESSAGE = format('%s has no such certificate for %s in the last run of that day.', v_account, NEW.business_date),
            HINT = 'Get the statement proven and run the reconciliation; then sign what it certifies.';
    END IF;
    SELECT f.code, f.item_ref INTO v_bad FROM recon.findings_at(NEW.book_id, NEW.business_date) f
     WHERE f.account = v_account AND f.code IN ('STATEMENT_IMBALANCE', 'STATEMENT_GAP', 'STATEMENT_REVISED') LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'sign_off_chain',
            MESSAGE = format('%s cannot be signed for %s: %s of statement %s is open.', v_account, NEW.business_date, v_bad.code, v_bad.item_ref),
            HINT = 'Get the missing or corrected statement from the bank.';
    END IF;
    IF NEW.role = 'reviewed' THEN
        SELECT s.person INTO v_by FROM recon.sign_off s
         WHERE (s.bank_account_id, s.business_date, s.certificate_sha256, s.role)
               = (NEW.bank_account_id, NEW.business_date, NEW.certificate_sha256, 'prepared');
        IF v_by IS NULL OR v_by = NEW.person OR NOT ledger.is_approver() THEN
            RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'sign_off_four_eyes',
                MESSAGE = format('%s of %s was prepared by %s; another person, an approver, reviews it.', v_account, NEW.business_date,
                                 coalesce(settlement.person(v_by), 'nobody yet'));
        END IF;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER sign_off_check BEFORE INSERT ON recon.sign_off FOR EACH ROW EXECUTE FUNCTION recon.check_sign_off();
ALTER TABLE recon.sign_off ENABLE ALWAYS TRIGGER sign_off_check;
CREATE TRIGGER sign_off_name BEFORE INSERT ON recon.sign_off FOR EACH ROW EXECUTE FUNCTION recon.check_own_name('person');
ALTER TABLE recon.sign_off ENABLE ALWAYS TRIGGER sign_off_name;

-- Each certificate that holds now, and the names under it. changed: other bytes of the day were signed before.
CREATE VIEW recon.sign_off_current AS
SELECT c.book_id, a.code AS bank_account, c.business_date, c.sha256, c.run_id, p.person AS prepared_by, p.signed_at AS prepared_at,
       r.person AS reviewed_by, r.signed_at AS reviewed_at,
       CASE WHEN r.person IS NOT NULL THEN 'signed' WHEN p.person IS NOT NULL THEN 'prepared'
            WHEN EXISTS (SELECT FROM recon.sign_off o WHERE o.bank_account_id = c.bank_account_id AND o.business_date = c.business_date
                            AND o.role = 'reviewed') THEN 'changed'
            ELSE 'unsigned' END AS state
  FROM recon.certificate c
  JOIN settlement.bank_account_root a USING (bank_account_id)
  LEFT JOIN recon.sign_off p ON (p.bank_account_id, p.business_date, p.certificate_sha256, p.role)
                              = (c.bank_account_id, c.business_date, c.sha256, 'prepared')
  LEFT JOIN recon.sign_off r ON (r.bank_account_id, r.business_date, r.certificate_sha256, r.role)
                              = (c.bank_account_id, c.business_date, c.sha256, 'reviewed')
 WHERE c.run_id = (SELECT max(l.run_id) FROM recon.run l WHERE l.book_id = c.book_id AND l.business_date = c.business_date);
COMMENT ON VIEW recon.sign_off_current IS 'Sign-off of each certificate that holds now: unsigned, prepared, signed, or changed since it was signed.';

-- Signs the certificates of a day: as preparer when nobody has, else (another person) as reviewer. Signed is signed: nothing.
CREATE FUNCTION recon.sign_day(p_book_id int, p_date date, p_bank_accounts text[])
RETURNS TABLE (bank_account text, sha256 text, role text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_row  record;
    v_role text;
BEGIN
    PERFORM ledger.require_book(p_book_id);
    -- Runs hold the book's row too: a certificate that a run is replacing is not signed.
    PERFORM FROM ledger.book b WHERE b.book_id = p_book_id FOR NO KEY UPDATE;
    FOR v_row IN
        SELECT a.bank_account_id, a.code, s.sha256, s.prepared_by, s.reviewed_by FROM unnest(p_bank_accounts) w (code)
          JOIN settlement.bank_account_root a ON a.book_id = p_book_id AND a.code = w.code
          LEFT JOIN recon.sign_off_current s ON s.book_id = p_book_id AND s.bank_account = a.code AND s.business_date = p_date
         ORDER BY a.code
    LOOP
        v_role := CASE WHEN v_row.reviewed_by IS NOT NULL OR v_row.prepared_by = session_user THEN NULL
                       WHEN v_row.prepared_by IS NULL THEN 'prepared' ELSE 'reviewed' END;
        IF v_role IS NOT NULL THEN
            INSERT INTO recon.sign_off (book_id, bank_account_id, business_date, certificate_sha256, role)
            VALUES (p_book_id, v_row.bank_account_id, p_date, coalesce(v_row.sha256, ''), v_role);
        END IF;
        bank_account := v_row.code; sha256 := v_row.sha256; role := v_role;
        RETURN NEXT;
    END LOOP;
END $$;

-- Of each day of an account from a day on the certificate that two people signed last. Internal.
CREATE FUNCTION recon.signed_certificates(p_bank_account_id int, p_from date) RETURNS SETOF recon.certificate
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS $$
    SELECT DISTINCT ON (c.bank_account_id, c.business_date) c.*
      FROM recon.sign_off s JOIN recon.certificate c ON (c.bank_account_id, c.business_date, c.sha256)
                                                      = (s.bank_account_id, s.business_date, s.certificate_sha256)
     WHERE s.bank_account_id = p_bank_account_id AND s.business_date >= p_from AND s.role = 'reviewed' ORDER BY c.bank_account_id, c.business_date, c.run_id DESC
$$;

-- What a step took in for days that two people have signed is a LATE_CHANGE of the first of them, whether or not anybody
-- reconciles that day again. Internal.
CREATE FUNCTION recon.note_late_postings(p_book_id int, p_step_id bigint) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS $$
    INSERT INTO recon.statement_finding (book_id, bank_account_id, statement_id, code, item_ref, message, closing_date)
    SELECT DISTINCT ON (c.bank_account_id) p_book_id, c.bank_account_id, c.statement_id, 'LATE_CHANGE', 'certificate ' || left(c.sha256, 12),
           format('%s postings of %s came after two people signed the certificate of %s (%s). Reconcile the day again and sign what holds.',
                  d.posting_count, d.as_of_date, c.business_date, left(c.sha256, 12)), c.business_date
      FROM recon.cash_day d
      JOIN settlement.bank_account_root a ON a.book_id = p_book_id AND d.account_id IN (a.nostro_account_id, a.transit_account_id)
     CROSS JOIN LATERAL recon.signed_certificates(a.bank_account_id, d.as_of_date) c
      JOIN recon.run r ON r.run_id = c.run_id AND coalesce(r.step_id, 0) < p_step_id
     WHERE d.step_id = p_step_id
       AND NOT EXISTS (SELECT FROM recon.statement_finding f WHERE f.bank_account_id = c.bank_account_id AND f.code = 'LATE_CHANGE'
                          AND f.item_ref = 'certificate ' || left(c.sha256, 12))
     ORDER BY c.bank_account_id, c.business_date, d.as_of_date, d.account_id DESC
$$;

-- The same of a set that people take back. Internal.
CREATE FUNCTION recon.note_late_unmatch(p_match_set_id bigint) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS $$
    INSERT INTO recon.statement_finding (book_id, bank_account_id, statement_id, code, item_ref, message, closing_date)
    SELECT c.book_id, c.bank_account_id, c.statement_id, 'LATE_CHANGE', 'certificate ' || left(c.sha256, 12),
           format('Set %s was taken back after two people signed the certificate of %s (%s), which counts it as cleared. Reconcile the day again and sign what holds.',
                  p_match_set_id, c.business_date, left(c.sha256, 12)), c.business_date
      FROM recon.match_set s JOIN recon.run r USING (run_id)
      JOIN settlement.bank_account_root a ON a.book_id = s.book_id
     CROSS JOIN LATERAL recon.signed_certificates(a.bank_account_id, r.business_date) c
     WHERE s.match_set_id = p_match_set_id AND c.run_id >= s.run_id
       AND EXISTS (SELECT FROM recon.match_leg l JOIN ledger.posting p USING (posting_id)
                    WHERE l.match_set_id = s.match_set_id AND p.account_id = a.transit_account_id)
       AND NOT EXISTS (SELECT FROM recon.statement_finding f WHERE f.bank_account_id = c.bank_account_id AND f.code = 'LATE_CHANGE'
                          AND f.item_ref = 'certificate ' || left(c.sha256, 12))
     ORDER BY c.business_date LIMIT 1
$$;

-- After a run of a day that was signed: other numbers than the signed ones are a LATE_CHANGE, once a signed certificate.
CREATE FUNCTION recon.note_late_changes(p_run_id bigint) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_count int;
BEGIN
    PERFORM ledger.require_book((SELECT x.book_id FROM recon.run x WHERE x.run_id = p_run_id));
    INSERT INTO recon.statement_finding (book_id, bank_account_id, file_id, statement_id, code, item_ref, message, closing_date)
    SELECT DISTINCT ON (n.bank_account_id) n.book_id, n.bank_account_id, NULL::bigint, n.statement_id, 'LATE_CHANGE',
           'certificate ' || left(o.sha256, 12),
           format('The certificate of %s that two people signed (%s) holds no longer: cash in transit was %s, is %s; open items were %s, are %s minor units%s. Sign the new one, or correct what came late.',
                  n.business_date, left(o.sha256, 12), o.transit_minor, n.transit_minor, o.open_minor, n.open_minor,
                  CASE WHEN (n.transit_minor, n.open_minor) = (o.transit_minor, o.open_minor) THEN ', of other postings' ELSE '' END), n.business_date
      FROM recon.certificate n
      JOIN recon.certificate o ON o.bank_account_id = n.bank_account_id AND o.business_date = n.business_date AND o.run_id < n.run_id
      JOIN recon.sign_off s ON (s.bank_account_id, s.business_date, s.certificate_sha256, s.role)
                             = (o.bank_account_id, o.business_date, o.sha256, 'reviewed')
     WHERE n.run_id = p_run_id
       -- Other numbers, or the same sum of other open items: what was cleared and taken back leaves no number.
       AND ((n.statement_id, n.closing_minor, n.nostro_minor, n.transit_minor, n.open_minor)
            <> (o.statement_id, o.closing_minor, o.nostro_minor, o.transit_minor, o.open_minor)
            OR EXISTS (SELECT FROM (SELECT i.posting_id FROM recon.open_item i WHERE i.run_id = n.run_id AND i.bank_account_id = n.bank_account_id) a
                         FULL JOIN (SELECT i.posting_id FROM recon.open_item i WHERE i.run_id = o.run_id AND i.bank_account_id = o.bank_account_id) b
                             ON b.posting_id = a.posting_id
                        WHERE a.posting_id IS NULL OR b.posting_id IS NULL))
       AND NOT EXISTS (SELECT FROM recon.statement_finding f WHERE f.bank_account_id = n.bank_account_id AND f.code = 'LATE_CHANGE'
                          AND f.item_ref = 'certificate ' || left(o.sha256, 12))
     ORDER BY n.bank_account_id, s.signed_at DESC, o.run_id DESC;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END $$;

-- The nightly cash identity of a run, itemised: ledger cash (N + T) = the bank's closing balance + what is in flight, file by
-- file, + what is unmatched, code by code. Two differences are left, N against the bank and T against its items, and each
-- is 0: what is wrong on both, by amounts that cancel out, is wrong.
-- At a number of the knowledge order: by the postings that were known then.
CREATE FUNCTION recon.cash_identity(p_book_id int, p_run_id bigint, p_known_seq bigint DEFAULT NULL)
RETURNS TABLE (bank_account text, currency text, line text, item text, item_count bigint, amount_minor bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan AS $$
    SELECT ledger.require_book(p_book_id);
    WITH run AS (SELECT r.run_id, r.business_date FROM recon.run r WHERE r.run_id = p_run_id AND r.book_id = p_book_id),
    cash AS MATERIALIZED (
        SELECT c.account_id, c.net_minor FROM run CROSS JOIN LATERAL recon.cash_at(p_book_id, run.business_date) c
        UNION ALL
        SELECT p.account_id, -p.amount_minor
          FROM run CROSS JOIN recon.batches_unknown_at(p_book_id, p_known_seq) u (batch_id)
          JOIN ledger.posting l ON l.posting_id >= u.batch_id << 20 AND l.posting_id < (u.batch_id + 1) << 20
          JOIN recon.bank_cash_posting p ON p.posting_id = l.posting_id
         WHERE p.as_of_date <= run.business_date),
    account AS (
        SELECT a.bank_account_id, a.code, c.code AS currency, run.business_date,
               coalesce(k.closing_minor, a.opening_minor) AS closing_minor, k.stmt_id,
               (SELECT coalesce(sum(c.net_minor), 0)::bigint FROM cash c WHERE c.account_id = a.nostro_account_id) AS nostro_minor,
               (SELECT coalesce(sum(c.net_minor), 0)::bigint FROM cash c WHERE c.account_id = a.transit_account_id) AS transit_minor
          FROM run, settlement.bank_account_root a JOIN ledger.currency c USING (currency_id)
          LEFT JOIN LATERAL (SELECT b.closing_minor, s.stmt_id FROM recon.statement_booking b JOIN recon.statement s USING (statement_id)
                              WHERE b.bank_account_id = a.bank_account_id AND b.closing_date <= (SELECT business_date FROM run)
                              ORDER BY b.closing_date DESC, b.statement_id DESC LIMIT 1) k ON true
         WHERE a.book_id = p_book_id),
    open AS (
        SELECT o.bank_account_id, CASE WHEN o.code = 'TIMING' THEN 'in flight' ELSE 'unmatched' END AS line,
               CASE WHEN o.code <> 'TIMING' THEN o.code WHEN f.msg_id IS NOT NULL THEN f.msg_id
                    WHEN o.kind = 'RECEIPT' THEN 'receipts expected' ELSE lower(o.kind) END AS item,
               count(*) AS item_count, sum(o.amount_minor)::bigint AS amount_minor
          FROM run JOIN recon.open_item o USING (run_id)
          LEFT JOIN LATERAL (SELECT f.msg_id FROM settlement.clearing_group g JOIN settlement.instruction i ON i.instruction_id = g.group_id
                               JOIN settlement.payment_file f USING (file_id) WHERE g.transit_posting_id = o.posting_id LIMIT 1) f
            ON o.code = 'TIMING' AND o.kind = 'INSTRUCTION'
         GROUP BY 1, 2, 3)
    SELECT x.code, x.currency, x.line, x.item, x.item_count, x.amount_minor FROM (
        SELECT 1 AS n, a.code, a.currency, 'ledger cash' AS line, 'N + T' AS item, NULL::bigint AS item_count, a.nostro_minor + a.transit_minor AS amount_minor FROM account a
        UNION ALL
        SELECT 2, a.code, a.currency, 'bank closing', coalesce(a.stmt_id, 'opening of the set-up'), NULL, a.closing_minor FROM account a
        UNION ALL
        SELECT CASE o.line WHEN 'in flight' THEN 3 ELSE 4 END, a.code, a.currency, o.line, o.item, o.item_count, o.amount_minor
          FROM open o JOIN account a USING (bank_account_id)
        UNION ALL
        SELECT 5, a.code, a.currency, 'difference', 'N - bank closing', NULL, a.nostro_minor - a.closing_minor FROM account a
        UNION ALL
        SELECT 6, a.code, a.currency, 'difference', 'T - in flight - unmatched', NULL,
               a.transit_minor - coalesce((SELECT sum(o.amount_minor) FROM open o WHERE o.bank_account_id = a.bank_account_id), 0)::bigint
          FROM account a) x
     ORDER BY x.code, x.n, x.item
$$;

GRANT SELECT ON recon.sign_off, recon.sign_off_current TO :app;
GRANT SELECT ON recon.sign_off_current TO :analyst;
GRANT EXECUTE ON FUNCTION recon.cash_identity TO :app;
GRANT EXECUTE ON FUNCTION recon.note_late_changes TO :service;
GRANT EXECUTE ON FUNCTION recon.sign_day TO :preparer, :approver;
