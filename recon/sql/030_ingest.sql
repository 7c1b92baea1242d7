-- Files in, statements booked. The functions re-check what the caller claims; the rules of 020 check again.

CREATE FUNCTION recon.keep_file(p_book_id int, p_sha256 text, p_name text, p_byte_count bigint, p_content_zlib bytea)
RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM ledger.require_book(p_book_id);
    INSERT INTO recon.source_file (book_id, sha256, name, byte_count, content_zlib)
    SELECT p_book_id, p_sha256, p_name, p_byte_count, p_content_zlib
     WHERE NOT EXISTS (SELECT FROM recon.source_file f WHERE f.book_id = p_book_id AND f.sha256 = p_sha256)
    ON CONFLICT DO NOTHING;
    RETURN (SELECT f.file_id FROM recon.source_file f WHERE f.book_id = p_book_id AND f.sha256 = p_sha256);
END $$;

CREATE FUNCTION recon.set_outcome(p_file_id bigint, p_kind text, p_outcome text, p_reason text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT ledger.require_book((SELECT x.book_id FROM recon.source_file x WHERE x.file_id = p_file_id));
    INSERT INTO recon.source_outcome (file_id, ordinal, kind, outcome, reason)
    SELECT p_file_id, coalesce(l.ordinal, 0) + 1, p_kind, p_outcome, p_reason
      FROM (SELECT p_file_id AS file_id) f
      LEFT JOIN LATERAL (SELECT * FROM recon.source_outcome o WHERE o.file_id = f.file_id
                          ORDER BY o.ordinal DESC LIMIT 1) l ON true
     WHERE (l.kind, l.outcome, l.reason) IS DISTINCT FROM (p_kind, p_outcome, p_reason)
$$;

CREATE FUNCTION recon.log_ingest(p_book_id int, p_sha256 text, p_name text, p_outcome text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT ledger.require_book(p_book_id);
    INSERT INTO recon.ingest_attempt (book_id, sha256, name, outcome) VALUES (p_book_id, p_sha256, p_name, p_outcome)
$$;

CREATE FUNCTION recon.add_statement(
    p_book_id int, p_bank_account_id int, p_file_id bigint, p_ordinal int, p_kind text, p_stmt_id text, p_sequence bigint,
    p_page int, p_from_date date, p_closing_date date, p_opening_minor bigint, p_closing_minor bigint, p_proof text,
    p_entry_count int, p_row_count int, p_content_sha256 text)
RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT ledger.require_book(p_book_id);
    INSERT INTO recon.statement (book_id, bank_account_id, file_id, ordinal, kind, stmt_id, sequence, page, from_date, closing_date,
                                 opening_minor, closing_minor, proof, entry_count, row_count, content_sha256)
    VALUES (p_book_id, p_bank_account_id, p_file_id, p_ordinal, p_kind, p_stmt_id, p_sequence, p_page, p_from_date, p_closing_date,
            p_opening_minor, p_closing_minor, p_proof, p_entry_count, p_row_count, p_content_sha256)
    RETURNING statement_id
$$;

-- One statement of these pages, given in order: opens with the first, closes with the last, whose file it names.
CREATE FUNCTION recon.join_pages(p_pages bigint[], p_opening_minor bigint, p_closing_minor bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_last recon.statement;
    v_head record;
    v_id   bigint;
BEGIN
    SELECT * INTO v_last FROM recon.statement s WHERE s.statement_id = p_pages[cardinality(p_pages)];
    PERFORM ledger.require_book(v_last.book_id);
    SELECT count(*) AS pages, min(s.from_date) AS from_date, sum(s.entry_count) AS entries, sum(s.row_count) AS rows,
           encode(sha256(convert_to(string_agg(s.content_sha256, E'\n' ORDER BY p.n), 'UTF8')), 'hex') AS content_sha256,
           bool_and((s.bank_account_id, s.kind, s.stmt_id, s.page) = (v_last.bank_account_id, v_last.kind, v_last.stmt_id, p.n)) AS in_order
      INTO v_head FROM unnest(p_pages) WITH ORDINALITY AS p (statement_id, n) JOIN recon.statement s USING (statement_id);
    IF (v_head.pages = cardinality(p_pages) AND v_head.pages > 1 AND v_head.in_order) IS NOT TRUE THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'statement_page_order',
            MESSAGE = format('Statements %s are not the pages 1 to %s of one statement.', p_pages, cardinality(p_pages));
    END IF;
    INSERT INTO recon.statement (book_id, bank_account_id, file_id, ordinal, kind, stmt_id, sequence, from_date, closing_date,
                                 opening_minor, closing_minor, proof, entry_count, row_count, content_sha256)
    VALUES (v_last.book_id, v_last.bank_account_id, v_last.file_id, -v_last.ordinal, v_last.kind, v_last.stmt_id, v_last.sequence,
            v_head.from_date, v_last.closing_date, p_opening_minor, p_closing_minor, 'proven', v_head.entries, v_head.rows, v_head.content_sha256)
    RETURNING statement_id INTO v_id;
    INSERT INTO recon.statement_page (page_statement_id, statement_id, page)
    SELECT p.statement_id, v_id, p.n FROM unnest(p_pages) WITH ORDINALITY AS p (statement_id, n);
    RETURN v_id;
END $$;

CREATE FUNCTION recon.add_quarantine(
    p_file_id bigint, p_statement_ordinals int[], p_line_ordinals int[], p_rules text[], p_messages text[],
    p_source_lines int[], p_references text[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT ledger.require_book((SELECT x.book_id FROM recon.source_file x WHERE x.file_id = p_file_id));
    INSERT INTO recon.quarantine (file_id, ordinal, statement_ordinal, line_ordinal, rule, message, source_line, reference)
    SELECT p_file_id, q.n, q.statement_ordinal, q.line_ordinal, q.rule, q.message, q.source_line, q.reference
      FROM unnest(p_statement_ordinals, p_line_ordinals, p_rules, p_messages, p_source_lines, p_references)
           WITH ORDINALITY AS q (statement_ordinal, line_ordinal, rule, message, source_line, reference, n)
        ON CONFLICT DO NOTHING
$$;

CREATE FUNCTION recon.add_finding(
    p_book_id int, p_bank_account_id int, p_file_id bigint, p_statement_id bigint, p_code text, p_item_ref text,
    p_message text, p_closing_date date) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM ledger.require_book(p_book_id);
    INSERT INTO recon.statement_finding (book_id, bank_account_id, file_id, statement_id, code, item_ref, message, closing_date)
    SELECT p_book_id, p_bank_account_id, p_file_id, p_statement_id, p_code, p_item_ref, p_message, p_closing_date
     WHERE NOT EXISTS (SELECT FROM recon.statement_finding f
                        WHERE f.file_id = p_file_id AND f.bank_account_id = p_bank_account_id
                          AND f.code = p_code AND f.item_ref = p_item_ref)
    ON CONFLICT DO NOTHING;
    RETURN FOUND;
END $$;

-- Books one proven statement from the staged lines of this transaction: N against T, once, on the booking
-- date (a closed period's line on the first open date). Gives the number of lines that posted late.
CREATE FUNCTION recon.book_statement(p_statement_id bigint) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    v_statement recon.statement;
    v_account   settlement.bank_account;
    v_previous  recon.statement_booking;
    v_source    bigint;
    v_open      date;
    v_bad       record;
    v_late      int;
BEGIN
    PERFORM ledger.require_book((SELECT x.book_id FROM recon.statement x WHERE x.statement_id = p_statement_id));
    SELECT * INTO STRICT v_statement FROM recon.statement s WHERE s.statement_id = p_statement_id;
    SELECT * INTO STRICT v_account FROM settlement.bank_account b WHERE b.bank_account_id = v_statement.bank_account_id;
    PERFORM FROM settlement.bank_account_root r WHERE r.bank_account_id = v_account.bank_account_id FOR NO KEY UPDATE;
    SELECT * INTO v_previous FROM recon.statement_booking b
     WHERE b.bank_account_id = v_account.bank_account_id
       AND NOT EXISTS (SELECT FROM recon.statement_booking n WHERE n.previous_id = b.statement_id)
     ORDER BY b.closing_date DESC LIMIT 1;  -- the only one, found from the end
    SELECT ledger.record_source(v_statement.book_id, v_statement.kind, f.name, f.sha256) INTO v_source
      FROM recon.source_file f WHERE f.file_id = v_statement.file_id;
    v_open := coalesce(ledger.closed_through(v_statement.book_id) + 1, '-infinity');

    SELECT l.line_ordinal, l.currency INTO v_bad FROM recon.stage_line l
     WHERE l.xid = pg_current_xact_id() AND l.status = 'BOOK' AND l.currency <> v_account.currency LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'statement_currency',
            MESSAGE = format('Line %s of statement %s is in %s, the account %s in %s.', v_bad.line_ordinal,
                             v_statement.stmt_id, v_bad.currency, v_account.code, v_account.currency);
    END IF;

    INSERT INTO recon.statement_booking (statement_id, bank_account_id, previous_id, opening_minor, closing_minor,
                                         closing_date, booked_count, booked_minor)
    SELECT p_statement_id, v_account.bank_account_id, v_previous.statement_id, v_statement.opening_minor,
           v_statement.closing_minor, v_statement.closing_date, count(*), coalesce(sum(l.amount_minor), 0)
      FROM recon.stage_line l WHERE l.xid = pg_current_xact_id() AND l.status = 'BOOK';

    -- A payment that we had cancelled, and that the bank shows, is not paid again before a person has looked.
    IF EXISTS (SELECT FROM settlement.file_standing s
                WHERE s.bank_account_id = v_account.bank_account_id AND s.state IN ('cancelled', 'disputed')) THEN
        PERFORM settlement.dispute_booked(v_account.bank_account_id, array_agg(l.end_to_end_id), array_agg(l.uetr),
                    array_agg(l.payment_information_id), array_agg(-l.amount_minor), array_agg(l.return_reason), array_agg(l.msg_id))
           FROM recon.stage_line l
          WHERE l.xid = pg_current_xact_id() AND l.status = 'BOOK' AND (NOT l.is_reversal OR l.return_reason IS NOT NULL);
    END IF;

    WITH staged AS MATERIALIZED (
        DELETE FROM recon.stage_line l WHERE l.xid = pg_current_xact_id() RETURNING l.*),
    line AS MATERIALIZED (
        SELECT s.*, greatest(coalesce(s.booking_date, v_statement.closing_date), v_open) AS effective_date,
               CASE WHEN s.status = 'BOOK' AND s.amount_minor <> 0
                    THEN count(*) FILTER (WHERE s.status = 'BOOK' AND s.amount_minor <> 0)
                         OVER (ORDER BY s.line_ordinal, s.detail_ordinal) END::int AS n
          FROM staged s),
    arrays AS MATERIALIZED (
        SELECT array_agg(concat_ws(':', 'line', v_account.code, left(v_statement.content_sha256, 12), l.line_ordinal,
                                   l.detail_ordinal) ORDER BY l.n) AS keys,
               array_agg(l.effective_date ORDER BY l.n) AS dates,
               array_agg(coalesce(l.account_servicer_ref, l.entry_ref, l.end_to_end_id) ORDER BY l.n) AS refs,
               array_agg(l.source_line ORDER BY l.n) AS source_lines
          FROM line l WHERE l.n IS NOT NULL),
    legs AS MATERIALIZED (
        SELECT array_agg(g.n ORDER BY g.n, g.leg) AS entry_n, array_agg(g.account ORDER BY g.n, g.leg) AS account,
               array_agg(g.amount ORDER BY g.n, g.leg) AS amount
          FROM (SELECT l.n, 1 AS leg, v_account.nostro_account_id AS account, l.amount_minor AS amount FROM line l WHERE l.n IS NOT NULL
                UNION ALL
                SELECT l.n, 2, v_account.transit_account_id, -l.amount_minor FROM line l WHERE l.n IS NOT NULL) g),
    posted AS MATERIALIZED (
        SELECT p.entry_ordinal, p.first_posting_id
          FROM arrays a, legs g,
               ledger.post_internal(v_statement.book_id, 'recon', v_source, a.keys, a.dates, NULL, a.refs, a.source_lines,
                                    NULL, g.entry_n, g.account, g.amount) p)
    INSERT INTO recon.statement_line
    SELECT p_statement_id, l.line_ordinal, l.detail_ordinal, v_statement.book_id, l.amount_minor, l.entry_amount_minor,
           l.currency, l.status, l.is_reversal, coalesce(l.booking_date, v_statement.closing_date), l.value_date,
           l.account_servicer_ref, l.entry_ref, l.msg_id, l.payment_information_id, l.instruction_id, l.end_to_end_id,
           l.uetr, l.transaction_id, l.mandate_id, l.structured_ref, l.remittance, l.party_name, l.party_account,
           l.bank_tx_code, l.proprietary_code, l.return_reason, l.charges_minor, l.instructed_amount_minor,
           l.instructed_currency, l.batch_count, l.additional_info, l.source_line,
           p.first_posting_id, p.first_posting_id + 1
      FROM line l LEFT JOIN posted p ON p.entry_ordinal = l.n
     ORDER BY l.line_ordinal, l.detail_ordinal;

    SELECT count(*) INTO v_late
      FROM recon.statement_line l JOIN ledger.posting p ON p.posting_id = l.t_posting_id
     WHERE l.statement_id = p_statement_id AND p.effective_date > l.booking_date;
    RETURN v_late;
END $$;
COMMENT ON FUNCTION recon.book_statement IS 'Books the staged lines of a proven statement, in the same transaction as they were staged.';

-- The account of this code; opened when missing. An existing account keeps whatever properties it has.
CREATE FUNCTION recon.use_account(p_book_id int, p_prefix text, p_type text, p_currency text) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_account int;
BEGIN
    SELECT a.account_id INTO v_account FROM ledger.account a JOIN ledger.currency c USING (currency_id)
     WHERE a.book_id = p_book_id AND c.code = p_currency
       AND a.code IN (p_prefix || lower(p_currency), p_prefix || p_currency)
     ORDER BY a.code DESC LIMIT 1;
    RETURN coalesce(v_account, (ledger.open_accounts(p_book_id, ARRAY[p_prefix || lower(p_currency)], ARRAY[p_type],
                                                     ARRAY[p_currency], ARRAY[false], ARRAY[NULL::text], ARRAY[NULL::bigint]))[1]);
END $$;
COMMENT ON FUNCTION recon.use_account IS 'Account <prefix><currency> (lower case when it must be opened). Internal.';

-- Expected receipts from staged PSP report rows: Dr T net, Dr acquirer fees / Cr receivable. A payout that is
-- known already is left alone when it is the same and refused when it is not.
CREATE FUNCTION recon.expect_receipts(p_book_id int, p_file_id bigint) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    v_row    record;
    v_source bigint;
    v_open   date := coalesce(ledger.closed_through(p_book_id) + 1, '-infinity');
    v_first  bigint;
    v_new    int := 0;
BEGIN
    PERFORM ledger.require_book(p_book_id);
    SELECT ledger.record_source(p_book_id, 'psp', f.name, f.sha256) INTO v_source
      FROM recon.source_file f WHERE f.file_id = p_file_id;
    FOR v_row IN
        WITH staged AS (DELETE FROM recon.stage_receipt r WHERE r.xid = pg_current_xact_id() RETURNING r.*)
        SELECT s.*, b.bank_account_id, b.transit_account_id, b.currency_id, a.receivable, o.payout_id AS known,
               (o.acquirer, o.bank_account_id, o.currency_id, o.payout_date, o.gross_minor, o.refunds_minor,
                o.chargebacks_minor, o.fees_minor, o.net_minor)
               IS NOT DISTINCT FROM (s.acquirer, b.bank_account_id, b.currency_id, s.payout_date, s.gross_minor,
                s.refunds_minor, s.chargebacks_minor, s.fees_minor, s.net_minor) AS same
          FROM staged s
          LEFT JOIN settlement.bank_account b ON b.book_id = p_book_id AND b.code = s.bank_account AND b.currency = s.currency
          LEFT JOIN settlement.acquirer a ON a.book_id = p_book_id AND a.code = s.acquirer
          LEFT JOIN recon.expected_receipt o ON o.book_id = p_book_id AND o.payout_id = s.payout_id
         ORDER BY s.source_line
    LOOP
        IF v_row.bank_account_id IS NULL OR v_row.receivable IS NULL THEN
            RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'receipt_known',
                MESSAGE = format('Line %s: payout %s names acquirer %s and bank account %s in %s, which set-up does not know.',
                                 v_row.source_line, v_row.payout_id, v_row.acquirer, v_row.bank_account, v_row.currency),
                HINT = 'Add them with `nostro setup`, then deliver the file again.';
        END IF;
        IF v_row.known IS NOT NULL AND NOT v_row.same THEN
            RAISE EXCEPTION USING ERRCODE = 'unique_violation', CONSTRAINT = 'receipt_conflict',
                MESSAGE = format('Line %s: payout %s was reported before with other figures.', v_row.source_line, v_row.payout_id),
                HINT = 'Ask the acquirer which report is right.';
        END IF;
        CONTINUE WHEN v_row.known IS NOT NULL;
        SELECT p.first_posting_id INTO v_first
          FROM (SELECT array_agg(g.account ORDER BY g.leg) AS accounts, array_agg(g.amount ORDER BY g.leg) AS amounts
                  FROM (VALUES (1, v_row.transit_account_id, v_row.net_minor),
                               (2, CASE WHEN v_row.fees_minor <> 0 THEN
                                   recon.use_account(p_book_id, 'expenses:acquirer-fees:', 'expense', v_row.currency) END, v_row.fees_minor),
                               (3, recon.use_account(p_book_id, rtrim(v_row.receivable, '*'), 'asset', v_row.currency),
                                   -v_row.net_minor - v_row.fees_minor)) AS g (leg, account, amount)
                 WHERE g.amount <> 0) l,
               ledger.post_internal(p_book_id, 'recon', v_source, ARRAY['psp:' || v_row.payout_id],
                   ARRAY[greatest(v_row.payout_date, v_open)],
                   ARRAY['Payout expected of ' || v_row.acquirer], ARRAY[v_row.payout_id], ARRAY[v_row.source_line], NULL,
                   array_fill(1, ARRAY[cardinality(l.accounts)]), l.accounts, l.amounts) p;
        INSERT INTO recon.expected_receipt (book_id, file_id, source_line, payout_id, acquirer, bank_account_id, currency_id,
            payout_date, gross_minor, refunds_minor, chargebacks_minor, fees_minor, net_minor, line_count, t_posting_id)
        VALUES (p_book_id, p_file_id, v_row.source_line, v_row.payout_id, v_row.acquirer, v_row.bank_account_id, v_row.currency_id,
            v_row.payout_date, v_row.gross_minor, v_row.refunds_minor, v_row.chargebacks_minor, v_row.fees_minor,
            v_row.net_minor, v_row.line_count, v_first);
        v_new := v_new + 1;
    END LOOP;
    RETURN v_new;
END $$;

-- Called where an accepted proposal about a finding is approved. Internal.
CREATE FUNCTION recon.resolve_finding(p_finding_id bigint, p_reason text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO recon.finding_resolution (finding_id, ordinal, is_resolved, reason)
    SELECT p_finding_id, coalesce(max(r.ordinal), 0) + 1, true, p_reason FROM recon.finding_resolution r WHERE r.finding_id = p_finding_id
    HAVING coalesce((array_agg(r.is_resolved ORDER BY r.ordinal DESC))[1], false) = false
$$;

GRANT EXECUTE ON FUNCTION recon.keep_file, recon.set_outcome, recon.log_ingest, recon.add_statement, recon.join_pages, recon.add_quarantine,
    recon.add_finding, recon.book_statement, recon.expect_receipts TO :service;
