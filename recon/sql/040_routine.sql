-- Routine classes: what approved policy posts in answer to a bank line, before anything is matched.
-- Returns of our own instructions, tariffed charges, interest credited. Anything else waits for a person.

-- A return is a part of a payment, up to what is not back yet: what came, and the charges kept of it when that is not
-- the whole rest already. A line of the other side with a return's reason takes a return back. part_minor is signed so.
-- A collection that two people gave back (pain.007), whole or a part of it, goes back by a line that says it is a reversal,
-- with or without a reason, and of no more than they said; their approval is the policy.
CREATE FUNCTION recon.routine_candidates(p_book_id int, p_as_of date)
RETURNS TABLE (rule text, line_posting_id bigint, key text, booking_date date, reference text, amount_minor bigint,
               instruction_id bigint, part_minor bigint, side int, transit_account_id int, currency text, return_reason text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan AS $$
    SELECT CASE WHEN i.instruction_id IS NOT NULL THEN 'routine-return'
                WHEN tariff.code IS NOT NULL THEN 'routine-charge'
                ELSE 'routine-interest' END,
           l.t_posting_id, concat_ws(':', b.code, left(s.content_sha256, 12), l.line_ordinal, l.detail_ordinal),
           l.booking_date, coalesce(l.account_servicer_ref, l.entry_ref, s.stmt_id), l.amount_minor,
           i.instruction_id, i.part_minor, i.side, b.transit_account_id, b.currency, coalesce(l.return_reason, i.reversal_code)
      FROM recon.touched(p_book_id, p_as_of, recon.run_before(p_book_id, p_as_of)) t
      JOIN recon.statement_line l ON l.t_posting_id = t.posting_id
      JOIN recon.statement s USING (statement_id)
      JOIN settlement.bank_account b ON b.bank_account_id = s.bank_account_id
      JOIN settlement.setup_current c ON c.book_id = l.book_id
      LEFT JOIN LATERAL (
           SELECT min(f.instruction_id) AS instruction_id, min(f.part_minor) AS part_minor, min(f.side) AS side,
                  min(f.reversal_code) AS reversal_code
             FROM (SELECT i.instruction_id, d.side, v.reason_code AS reversal_code,
                          CASE WHEN m.came < 0 THEN m.came + m.charges
                               WHEN m.came = i.amount_minor - i.back_minor THEN m.came ELSE m.came + m.charges END AS part_minor,
                          i.amount_minor - i.back_minor AS rest_minor, i.back_minor
                     FROM settlement.instruction_current i
                    CROSS JOIN LATERAL (SELECT CASE i.direction WHEN 'pay' THEN 1 ELSE -1 END AS side) d
                    CROSS JOIN LATERAL (SELECT d.side * l.amount_minor AS came, abs(coalesce(l.charges_minor, 0)) AS charges) m
                     LEFT JOIN LATERAL (SELECT q.reason_code FROM settlement.recall_member a
                                          JOIN settlement.recall_request q USING (instruction_id, request_no)
                                          LEFT JOIN settlement.recall_returned b USING (instruction_id, request_no)
                                         CROSS JOIN LATERAL (SELECT q.amount_minor - coalesce(b.returned_minor, 0) AS minor) still
                                         WHERE a.instruction_id = i.instruction_id AND d.side = -1 AND m.came BETWEEN 1 AND still.minor
                                         ORDER BY still.minor = m.came DESC, q.request_no LIMIT 1) v ON true
                    WHERE (i.end_to_end_id = l.end_to_end_id OR i.uetr = l.uetr) AND i.bank_account_id = s.bank_account_id
                      AND i.transit_posting_id IS NOT NULL AND i.reject_posting_id IS NULL
                      AND CASE WHEN v.reason_code IS NULL THEN l.return_reason IS NOT NULL AND c.body -> 'policies' ->> 'returns' = 'auto'
                               ELSE true END
                      AND sign(m.came) = sign(CASE WHEN m.came < 0 THEN m.came + m.charges ELSE m.came END)) f
            WHERE f.part_minor BETWEEN -f.back_minor AND f.rest_minor
           HAVING count(*) = 1) i
        ON l.amount_minor <> 0 AND (l.return_reason IS NOT NULL OR l.is_reversal OR right(l.bank_tx_code, 5) = '/PRDD')
      LEFT JOIN LATERAL (
           SELECT t ->> 'code' AS code
             FROM settlement.bank_profile p, jsonb_array_elements(p.body -> 'tariff') t
            WHERE p.profile_id = b.profile_id AND t ->> 'code' = l.bank_tx_code AND t ->> 'currency' = l.currency
              AND (t ->> 'amount')::numeric * (10::numeric ^ b.exponent::numeric) = -l.amount_minor  -- int ^ int is a float
            LIMIT 1) tariff
        ON l.return_reason IS NULL AND c.body -> 'policies' ->> 'tariffed_charges' = 'auto'
     WHERE l.book_id = p_book_id AND l.t_posting_id IS NOT NULL
       AND (l.return_reason IS NOT NULL OR l.is_reversal OR right(l.bank_tx_code, 5) IN ('/CHRG', '/INTR', '/COMM', '/FEES', '/PRDD'))
       AND EXISTS (SELECT FROM recon.statement_booking k WHERE k.statement_id = l.statement_id AND k.closing_date <= p_as_of)
       AND NOT EXISTS (SELECT FROM recon.routine_posting r WHERE r.line_posting_id = l.t_posting_id)
       AND NOT EXISTS (SELECT FROM recon.live_leg m WHERE m.book_id = l.book_id AND m.posting_id = l.t_posting_id)
       AND (i.instruction_id IS NOT NULL OR tariff.code IS NOT NULL
            OR (right(l.bank_tx_code, 5) = '/INTR' AND l.amount_minor > 0 AND l.return_reason IS NULL
                AND c.body -> 'policies' ->> 'interest' = 'auto'))
     ORDER BY l.t_posting_id
$$;

CREATE FUNCTION recon.post_routine(p_book_id int, p_as_of date) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_row      record;
    v_open     date := coalesce(ledger.closed_through(p_book_id) + 1, '-infinity');
    v_date     date;
    v_posting  bigint;
    v_transit  bigint;
    v_count    int := 0;
    v_expense  int;
BEGIN
    PERFORM ledger.require_book(p_book_id);
    PERFORM FROM ledger.book WHERE book_id = p_book_id FOR NO KEY UPDATE;
    FOR v_row IN SELECT * FROM recon.routine_candidates(p_book_id, p_as_of) LOOP
        v_date := greatest(v_row.booking_date, v_open);
        v_transit := v_row.amount_minor;
        IF v_row.rule = 'routine-return' THEN
            -- A return booked twice under one bank reference is the bank's mistake, and stays open.
            CONTINUE WHEN EXISTS (
                SELECT FROM recon.routine_posting r JOIN recon.statement_line o ON o.t_posting_id = r.line_posting_id
                  JOIN recon.statement_line l ON l.t_posting_id = v_row.line_posting_id
                 WHERE r.instruction_id = v_row.instruction_id AND o.account_servicer_ref = l.account_servicer_ref
                   AND sign(o.amount_minor) = sign(l.amount_minor));
            v_posting := settlement.reopen_returned(v_row.instruction_id, v_row.part_minor, v_row.return_reason, v_date,
                                                    v_row.line_posting_id);
            CONTINUE WHEN v_posting IS NULL;
            INSERT INTO recon.routine_posting VALUES (v_posting, p_book_id, v_row.line_posting_id, v_row.rule, v_row.instruction_id);
            v_transit := v_row.amount_minor - v_row.side * v_row.part_minor;
            CONTINUE WHEN v_transit = 0;
        END IF;
        -- What remains is a cost (the tariff's charge, the charge of a net return) or interest earned.
        IF v_row.rule = 'routine-interest' THEN
            v_expense := recon.use_account(p_book_id, 'income:interest:', 'income', v_row.currency);
        ELSE
            v_expense := recon.use_account(p_book_id, 'expenses:bank-fees:', 'expense', v_row.currency);
        END IF;
        SELECT p.first_posting_id INTO v_posting
          FROM ledger.post_internal(p_book_id, 'recon', NULL, ARRAY['routine:' || v_row.key], ARRAY[v_date],
                   ARRAY[initcap(split_part(v_row.rule, '-', 2)) || ' by policy'], ARRAY[v_row.reference], NULL, NULL,
                   ARRAY[1, 1], ARRAY[v_row.transit_account_id, v_expense], ARRAY[v_transit, -v_transit]) p;
        INSERT INTO recon.routine_posting VALUES (v_posting, p_book_id, v_row.line_posting_id, v_row.rule, v_row.instruction_id);
        v_count := v_count + 1;
    END LOOP;
    RETURN v_count;
END $$;
COMMENT ON FUNCTION recon.post_routine IS 'Posts what policy allows for open lines up to a day; again: nothing.';
GRANT EXECUTE ON FUNCTION recon.post_routine TO :service;
