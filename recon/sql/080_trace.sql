-- Lineage: from a posting to the cent on the bank statement, and back from the statement to what was paid.

-- One row a step. A chain is a payment instruction (its id), or NULL for bank lines and receipts that no instruction is in.
-- Steps of a chain in order: 10 the payee's postings, 15 what was reserved or carried on, 20 clearing posting,
-- 30 instruction, 40 payment file, 50 status reports, 60 posting on T, 70 cleared set, 80 statement line, 85 statement file,
-- 90 posting on N. When the payment came back: the same from 120 (what was owed again) to 190; what came back after that,
-- or was taken back again, from 220 to 290, and so on.
CREATE FUNCTION recon.trace(p_book_id int, p_key text, p_limit int DEFAULT 1000)
RETURNS TABLE (chain bigint, step int, kind text, reference text, day date, amount_minor bigint, currency text, exponent int,
               posting_id bigint, account text, detail text, sha256 text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    v_number   bigint := CASE WHEN p_key ~ '^[0-9]{1,18}$' THEN p_key::bigint END;
    v_line     text[] := regexp_match(p_key, '^(.+)/([0-9]{1,9})(?:/([0-9]{1,9}))?$');
    v_named    bigint[];  -- postings the key names
    v_paid     bigint[];  -- instructions
    v_transit  bigint[];  -- postings on T that are no instruction's
BEGIN
    PERFORM ledger.require_book(p_book_id);
    SELECT array_agg(DISTINCT n.id) INTO v_named FROM (
        SELECT p.posting_id FROM ledger.posting p WHERE p.posting_id = v_number AND p.book_id = p_book_id
        UNION ALL
        SELECT p.posting_id FROM ledger.entry e
          JOIN ledger.posting p ON p.posting_id BETWEEN e.first_posting_id AND e.first_posting_id + e.posting_count - 1
         WHERE e.book_id = p_book_id AND e.idempotency_key = p_key
        UNION ALL
        SELECT l.t_posting_id FROM recon.statement_line l WHERE l.account_servicer_ref = p_key AND l.book_id = p_book_id
        UNION ALL
        SELECT l.t_posting_id FROM recon.statement_line l WHERE l.end_to_end_id = p_key AND l.book_id = p_book_id
        UNION ALL
        SELECT l.t_posting_id FROM recon.statement_line l WHERE l.uetr = p_key AND l.book_id = p_book_id
        UNION ALL
        SELECT l.t_posting_id FROM recon.statement s JOIN recon.statement_line l USING (statement_id)
         WHERE s.book_id = p_book_id AND s.stmt_id = v_line[1] AND l.line_ordinal = v_line[2]::int
           AND (v_line[3] IS NULL OR l.detail_ordinal = v_line[3]::int)
        UNION ALL
        SELECT r.t_posting_id FROM recon.expected_receipt r WHERE r.book_id = p_book_id AND r.payout_id = p_key) n (id)
     WHERE n.id IS NOT NULL;

    -- A number that names neither a payee's posting nor one on T stands for its entry.
    IF v_number IS NOT NULL AND NOT EXISTS (SELECT FROM settlement.clearing_of(v_named) m WHERE m.book_id = p_book_id) THEN
        SELECT array_agg(o.posting_id) INTO v_named
          FROM ledger.posting p JOIN ledger.entry e ON e.entry_id = p.entry_id
          JOIN ledger.posting o ON o.posting_id BETWEEN e.first_posting_id AND e.first_posting_id + e.posting_count - 1
         WHERE p.posting_id = ANY (v_named);
    END IF;

    -- Whatever shares a cleared set with a named posting belongs to the answer.
    SELECT v_named || array_agg(DISTINCT l.posting_id) INTO v_transit
      FROM recon.live_leg n JOIN recon.match_leg l USING (match_set_id)
     WHERE n.book_id = p_book_id AND n.posting_id = ANY (v_named);

    SELECT array_agg(f.id ORDER BY f.id) INTO v_paid FROM (
        SELECT DISTINCT w.id FROM (
            SELECT i.instruction_id FROM settlement.instruction i JOIN settlement.payment_file f USING (file_id)
             WHERE f.book_id = p_book_id AND p_key IN (i.end_to_end_id, i.uetr)
            UNION ALL
            SELECT i.instruction_id FROM settlement.payment_file f JOIN settlement.instruction i USING (file_id)
             WHERE f.book_id = p_book_id AND p_key = f.msg_id
            UNION ALL
            SELECT i.instruction_id FROM settlement.payment_batch b JOIN settlement.payment_file f USING (file_id)
              JOIN settlement.instruction i USING (file_id, batch)
             WHERE f.book_id = p_book_id AND p_key = b.payment_information_id
            UNION ALL
            SELECT m.group_id FROM settlement.clearing_of(v_named) m WHERE m.book_id = p_book_id
            UNION ALL
            SELECT g.group_id FROM settlement.clearing_group g WHERE g.transit_posting_id = ANY (v_transit)
            UNION ALL
            SELECT g.group_id FROM settlement.reserve_taken t JOIN settlement.clearing_group g USING (group_id)
              JOIN ledger.posting p ON p.posting_id = t.posting_id WHERE t.posting_id = ANY (v_named)
            UNION ALL
            SELECT r.instruction_id FROM settlement.reopening r WHERE r.transit_posting_id = ANY (v_transit)
            UNION ALL
            SELECT r.instruction_id FROM settlement.reopening r WHERE r.payable_posting_id = ANY (v_named)) w (id)
          JOIN settlement.instruction i ON i.instruction_id = w.id
         ORDER BY w.id LIMIT p_limit) f (id);

    RETURN QUERY
    WITH paid AS MATERIALIZED (
        SELECT i.*, g.entry_id, g.clearing_posting_id, g.transit_posting_id, g.remainder_posting_id, o.posting_ids, o.whole_batch_ids
          FROM unnest(v_paid) w (id)
         CROSS JOIN LATERAL (SELECT * FROM settlement.instruction i WHERE i.instruction_id = w.id LIMIT 1) i
         CROSS JOIN LATERAL (SELECT o.posting_ids, o.whole_batch_ids FROM settlement.obligation o WHERE o.obligation_id = w.id LIMIT 1) o
          LEFT JOIN LATERAL (SELECT * FROM settlement.clearing_group g WHERE g.group_id = w.id LIMIT 1) g ON true
    ), back AS MATERIALIZED (
        SELECT r.*, 100 * r.part AS base FROM unnest(v_paid) w (id) JOIN settlement.reopening r ON r.instruction_id = w.id
    ), touched (chain, step, kind, posting_id, detail) AS (
        SELECT i.instruction_id, 10, 'posting', m.posting_id, NULL::text
          FROM paid i CROSS JOIN LATERAL settlement.taken_postings(i.payable_account_id, i.posting_ids, i.whole_batch_ids) m
        UNION ALL
        SELECT i.instruction_id, 15, t.kind || ' reserve', t.posting_id, 'until ' || t.release_on
          FROM paid i JOIN settlement.reserve_taken t ON t.group_id = i.instruction_id
        UNION ALL
        SELECT i.instruction_id, 15, 'carried on', i.remainder_posting_id, NULL FROM paid i WHERE i.remainder_posting_id IS NOT NULL
        UNION ALL
        SELECT i.instruction_id, 20, 'clearing', i.clearing_posting_id, NULL FROM paid i WHERE i.entry_id IS NOT NULL
        UNION ALL
        SELECT i.instruction_id, 60, 'in transit', i.transit_posting_id, NULL FROM paid i WHERE i.entry_id IS NOT NULL
        UNION ALL
        SELECT r.instruction_id, r.base + 20, replace(r.kind, '_', ' '), r.payable_posting_id, r.reason FROM back r
        UNION ALL
        SELECT r.instruction_id, r.base + 60, 'in transit', r.transit_posting_id, NULL FROM back r
        UNION ALL
        SELECT NULL, 60, CASE WHEN r.receipt_id IS NOT NULL THEN 'receipt expected' ELSE coalesce(x.rule, 'in transit') END,
               t.id, r.acquirer || ' ' || r.payout_id
          FROM (SELECT DISTINCT u.id FROM unnest(v_transit) u (id)) t
          LEFT JOIN LATERAL (SELECT * FROM recon.expected_receipt r WHERE r.t_posting_id = t.id LIMIT 1) r ON true
          LEFT JOIN LATERAL (SELECT * FROM recon.routine_posting x WHERE x.posting_id = t.id LIMIT 1) x ON true
          LEFT JOIN LATERAL (SELECT true AS is_line FROM recon.statement_line l WHERE l.t_posting_id = t.id LIMIT 1) l ON true
         CROSS JOIN LATERAL (SELECT a.control FROM ledger.posting p JOIN ledger.account a USING (account_id)
                              WHERE p.posting_id = t.id LIMIT 1) a
          LEFT JOIN LATERAL (SELECT true AS has_cleared FROM recon.live_leg y
                              WHERE y.book_id = p_book_id AND y.posting_id = t.id LIMIT 1) y ON true
         WHERE a.control = 'cash_in_transit'
           AND NOT EXISTS (SELECT FROM paid i WHERE t.id = i.transit_posting_id)
           AND NOT EXISTS (SELECT FROM back r WHERE t.id = r.transit_posting_id)
           AND (l.is_line IS NULL OR y.has_cleared IS NULL)
    ), leg AS MATERIALIZED (
        SELECT t.chain, t.step, m.match_set_id, m.rule, m.rule_version, m.as_of_date FROM touched t
          JOIN recon.live_leg m ON m.book_id = p_book_id AND m.posting_id = t.posting_id
         WHERE t.step % 100 = 60
    ), line AS MATERIALIZED (
        SELECT s.chain, s.step - 60 AS base, l.* FROM (SELECT DISTINCT g.chain, g.step, g.match_set_id FROM leg g) s
          JOIN recon.match_leg o ON o.match_set_id = s.match_set_id
          JOIN recon.statement_line l ON l.t_posting_id = o.posting_id
        UNION
        SELECT t.chain, t.step - 60, l.* FROM touched t JOIN recon.statement_line l ON l.t_posting_id = t.posting_id
         WHERE t.step = 60 AND t.chain IS NULL
    )
    SELECT DISTINCT s.chain, s.step, s.kind, s.reference, s.day, s.amount_minor, c.code, c.exponent::int, s.posting_id, s.account,
           s.detail, s.sha256
      FROM (
        SELECT t.chain, t.step, t.kind, e.idempotency_key, p.effective_date, p.amount_minor, p.currency_id, p.posting_id, a.code,
               coalesce(t.detail, x.description), b.sha256
          FROM touched t
         CROSS JOIN LATERAL (SELECT * FROM ledger.posting p WHERE p.posting_id = t.posting_id LIMIT 1) p
         CROSS JOIN LATERAL (SELECT * FROM ledger.entry e WHERE e.entry_id = p.entry_id LIMIT 1) e
         CROSS JOIN LATERAL (SELECT * FROM ledger.account a WHERE a.account_id = p.account_id LIMIT 1) a
          LEFT JOIN LATERAL (SELECT * FROM ledger.entry_text x WHERE x.entry_id = p.entry_id LIMIT 1) x ON true
          LEFT JOIN LATERAL (SELECT f.sha256 FROM ledger.batch k JOIN ledger.source f USING (source_id)
                              WHERE k.batch_id = p.entry_id >> 20 LIMIT 1) b ON true
        UNION ALL
        SELECT i.instruction_id, 30, 'instruction', i.end_to_end_id, i.execution_date,
               CASE i.direction WHEN 'pay' THEN -i.amount_minor ELSE i.amount_minor END, f.currency_id, NULL, NULL,
               format('%s %s %s', i.payee_code, i.payee_name, i.payee_iban), NULL
          FROM paid i JOIN settlement.payment_file f USING (file_id)
        UNION ALL
        SELECT i.instruction_id, 35, 'payment batch', b.payment_information_id, b.execution_date,
               CASE f.direction WHEN 'pay' THEN -b.total_minor ELSE b.total_minor END, f.currency_id, NULL, NULL,
               concat_ws(' ', format('batch %s of file %s, %s payments,', b.batch, b.file_id, b.instruction_count), f.rail,
                         b.local_instrument, b.sequence_type, b.charge_bearer), NULL
          FROM paid i JOIN settlement.payment_batch b USING (file_id, batch) JOIN settlement.payment_file f USING (file_id)
        UNION ALL
        SELECT i.instruction_id, 40, 'payment file', f.msg_id, i.execution_date,
               CASE f.direction WHEN 'pay' THEN -f.total_minor ELSE f.total_minor END, f.currency_id, NULL, NULL,
               format('file %s, payment %s of %s, %s', f.file_id, i.ordinal, f.instruction_count, k.state), f.sha256
          FROM paid i JOIN settlement.payment_file f USING (file_id)
         CROSS JOIN LATERAL (SELECT k.state FROM settlement.file_event k WHERE k.file_id = f.file_id ORDER BY k.ordinal DESC LIMIT 1) k
        UNION ALL
        SELECT i.instruction_id, 50, 'status report', coalesce(v.name, v.kind, 'statement'), e.recorded_at::date, NULL, NULL, NULL, NULL,
               concat_ws(' ', e.status_code, e.reason_code, e.reason_text, format('(%s)', e.state)), v.sha256
          FROM paid i JOIN settlement.instruction_event e USING (instruction_id)
          LEFT JOIN settlement.message_received v ON v.message_id = e.message_id
        UNION ALL
        SELECT g.chain, g.step + 10, 'cleared set', g.match_set_id::text, g.as_of_date, 0, NULL, NULL, NULL,
               format('%s v%s, %s postings that add up to zero', g.rule, g.rule_version, s.leg_count), NULL
          FROM leg g JOIN recon.match_set s USING (match_set_id)
        UNION ALL
        SELECT l.chain, l.base + 80, 'statement line', coalesce(l.account_servicer_ref, l.entry_ref), l.booking_date, l.amount_minor,
               r.currency_id, l.t_posting_id, r.code,
               concat_ws(', ', format('%s/%s/%s', s.stmt_id, l.line_ordinal, l.detail_ordinal), l.end_to_end_id,
                         CASE WHEN l.batch_count > 1 AND l.end_to_end_id IS NULL THEN format('batch of %s payments', l.batch_count) END,
                         l.return_reason), NULL
          FROM line l JOIN recon.statement s USING (statement_id)
          JOIN settlement.bank_account_root r USING (bank_account_id)
        UNION ALL
        SELECT l.chain, l.base + 85, 'statement file', s.stmt_id, b.closing_date, b.closing_minor, r.currency_id, NULL, NULL,
               format('%s%s', f.name, ', line ' || l.source_line), f.sha256
          FROM line l JOIN recon.statement s USING (statement_id) JOIN recon.statement_booking b USING (statement_id)
          JOIN settlement.bank_account_root r ON r.bank_account_id = s.bank_account_id
          JOIN recon.source_file f ON f.file_id = s.file_id
        UNION ALL
        SELECT l.chain, l.base + 90, 'cash', e.idempotency_key, p.effective_date, p.amount_minor, p.currency_id, p.posting_id, a.code,
               NULL, NULL
          FROM line l JOIN ledger.posting p ON p.posting_id = l.n_posting_id
          JOIN ledger.entry e ON e.entry_id = p.entry_id JOIN ledger.account a ON a.account_id = p.account_id
      ) s (chain, step, kind, reference, day, amount_minor, currency_id, posting_id, account, detail, sha256)
      LEFT JOIN ledger.currency c USING (currency_id)
     ORDER BY 1 NULLS LAST, 2, 9, 4;
END $$;
COMMENT ON FUNCTION recon.trace IS
    'Lineage of a posting (number or entry key), a payment (EndToEndId, UETR, MsgId) or a bank line (its reference, or '
    'statement/entry[/detail]): every step between the payee''s postings and the bank statement, both ways.';
GRANT EXECUTE ON FUNCTION recon.trace TO :app;

-- A payout tied to the bank's entry: which statement line showed it, and which one brought it back.
CREATE VIEW recon.payout_bank_entry AS
SELECT w.book_id, w.instruction_id, w.kind, l.booking_date, coalesce(l.account_servicer_ref, l.entry_ref) AS bank_reference,
       l.amount_minor AS line_minor, s.stmt_id, l.line_ordinal, l.detail_ordinal, f.sha256 AS file_sha256, m.match_set_id, m.rule
  FROM (SELECT g.book_id, g.group_id AS instruction_id, 'payout' AS kind, g.transit_posting_id FROM settlement.clearing_group g
         WHERE g.transit_posting_id IS NOT NULL
        UNION ALL
        SELECT g.book_id, r.instruction_id, r.kind, r.transit_posting_id FROM settlement.reopening r
          JOIN settlement.clearing_group g ON g.group_id = r.instruction_id) w
  JOIN recon.live_leg m ON m.book_id = w.book_id AND m.posting_id = w.transit_posting_id
  JOIN recon.match_leg o ON o.match_set_id = m.match_set_id
  JOIN recon.statement_line l ON l.t_posting_id = o.posting_id
  JOIN recon.statement s ON s.statement_id = l.statement_id
  JOIN recon.source_file f ON f.file_id = s.file_id;
COMMENT ON VIEW recon.payout_bank_entry IS
    'The statement line that cleared each payment (and the one it came back by); line_minor is the line''s, a batch has many payments.';
GRANT SELECT ON recon.payout_bank_entry TO :app, :analyst;
