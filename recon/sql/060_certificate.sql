-- Certificates: the numbers are computed here again, from postings, whatever the body says.

CREATE FUNCTION recon.add_certificate(
    p_run_id bigint, p_bank_account_id int, p_statement_id bigint, p_opening_minor bigint, p_lines_minor bigint,
    p_closing_minor bigint, p_body text, p_through date) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    v_run     recon.run;
    v_account settlement.bank_account_root;
    v_bad     record;
    v_sha256  text := encode(sha256(convert_to(p_body, 'UTF8')), 'hex');
BEGIN
    PERFORM ledger.require_book((SELECT x.book_id FROM recon.run x WHERE x.run_id = p_run_id));
    SELECT * INTO STRICT v_run FROM recon.run r WHERE r.run_id = p_run_id;
    SELECT * INTO STRICT v_account FROM settlement.bank_account_root b WHERE b.bank_account_id = p_bank_account_id;
    IF NOT EXISTS (SELECT FROM recon.statement_booking k WHERE k.statement_id = p_statement_id
                      AND k.bank_account_id = p_bank_account_id AND k.closing_date = v_run.business_date
                      AND k.closing_minor = p_closing_minor) THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'certificate_statement',
            MESSAGE = format('No proven statement of %s closes on %s at %s minor units.', v_account.code,
                             v_run.business_date, p_closing_minor);
    END IF;
    SELECT b.code, b.item_ref INTO v_bad FROM recon.break_run b
     WHERE b.run_id = p_run_id AND b.bank_account_id = p_bank_account_id
       AND b.code IN ('STATEMENT_IMBALANCE', 'STATEMENT_GAP', 'STATEMENT_REVISED') LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'certificate_blocked',
            MESSAGE = format('%s is not certified for %s: %s of statement %s is open.', v_account.code, v_run.business_date, v_bad.code,
                             v_bad.item_ref);
    END IF;
    IF p_through - v_run.business_date NOT BETWEEN 0 AND 30 THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'certificate_through',
            MESSAGE = format('A certificate of %s goes through the day before the next business day, not through %s.', v_run.business_date, p_through);
    END IF;
    INSERT INTO recon.certificate (bank_account_id, business_date, sha256, book_id, run_id, statement_id, opening_minor,
                                   lines_minor, closing_minor, nostro_minor, transit_minor, open_minor, body)
    SELECT p_bank_account_id, v_run.business_date, v_sha256, v_run.book_id, p_run_id, p_statement_id, p_opening_minor,
           p_lines_minor, p_closing_minor,
           coalesce(sum(p.net_minor) FILTER (WHERE p.account_id = v_account.nostro_account_id), 0),
           coalesce(sum(p.net_minor) FILTER (WHERE p.account_id = v_account.transit_account_id), 0),
           (SELECT coalesce(sum(o.amount_minor), 0) FROM recon.open_item o
             WHERE o.run_id = p_run_id AND o.bank_account_id = p_bank_account_id),
           p_body
      FROM recon.cash_at(v_run.book_id, v_run.business_date) p
        ON CONFLICT ON CONSTRAINT certificate_once DO NOTHING;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM ledger.record_certificate(v_run.book_id, v_account.nostro_account_id, p_through, v_sha256);
    RETURN true;
END $$;
GRANT EXECUTE ON FUNCTION recon.add_certificate TO :service;
