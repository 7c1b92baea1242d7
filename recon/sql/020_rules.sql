-- Rules that need more than one row. They hold for the owner and for direct inserts too.

-- The day from which a posting on N or T counts: a bank line counts on its statement's day even when its
-- period was closed and it posted later; what policy answered to it counts with it.
CREATE VIEW recon.cash_posting AS
SELECT p.posting_id, p.book_id, p.account_id, p.amount_minor, p.currency_id, p.effective_date,
       coalesce(own.closing_date, answered.closing_date, p.effective_date) AS as_of_date, l.t_posting_id IS NOT NULL AS is_line
  FROM ledger.posting p
  LEFT JOIN recon.statement_line l ON l.t_posting_id = p.posting_id
  LEFT JOIN recon.statement_booking own ON own.statement_id = l.statement_id
  LEFT JOIN recon.routine_posting r ON r.posting_id = p.posting_id
  LEFT JOIN recon.statement_line a ON a.t_posting_id = r.line_posting_id
  LEFT JOIN recon.statement_booking answered ON answered.statement_id = a.statement_id;
COMMENT ON VIEW recon.cash_posting IS 'Postings with the day from which they count in reconciliation.';
CREATE VIEW recon.account_cash_posting AS
SELECT p.posting_id, p.book_id, p.account_id, p.amount_minor,
       coalesce(own.closing_date, answered.closing_date, p.effective_date) AS as_of_date
  FROM ledger.account_posting p
  LEFT JOIN recon.statement_line l ON l.t_posting_id = p.posting_id
  LEFT JOIN recon.statement_booking own ON own.statement_id = l.statement_id
  LEFT JOIN recon.routine_posting r ON r.posting_id = p.posting_id
  LEFT JOIN recon.statement_line a ON a.t_posting_id = r.line_posting_id
  LEFT JOIN recon.statement_booking answered ON answered.statement_id = a.statement_id;
COMMENT ON VIEW recon.account_cash_posting IS 'The same, for whoever asks by account.';
-- On N too: a bank line's posting there is the one before its posting on T.
CREATE VIEW recon.bank_cash_posting AS
SELECT c.posting_id, c.account_id, c.amount_minor, coalesce(k.closing_date, c.as_of_date) AS as_of_date
  FROM recon.cash_posting c
  LEFT JOIN recon.statement_line l ON l.t_posting_id = c.posting_id + 1 AND l.n_posting_id = c.posting_id
  LEFT JOIN recon.statement_booking k ON k.statement_id = l.statement_id;
COMMENT ON VIEW recon.bank_cash_posting IS 'Postings on bank accounts and cash in transit with the day from which they count.';
GRANT SELECT ON recon.cash_posting, recon.bank_cash_posting, recon.account_cash_posting TO :app;

-- Every leg is a posting on a cash-in-transit account of the set's book, the set is whole, and it adds up to zero.
CREATE FUNCTION recon.check_legs() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    v_bad record;
BEGIN
    IF NOT EXISTS (SELECT FROM new_leg) THEN RETURN NULL; END IF;
    SELECT n.posting_id, n.match_set_id INTO v_bad
      FROM new_leg n
      LEFT JOIN ledger.posting p ON p.posting_id = n.posting_id AND p.book_id = n.book_id
      LEFT JOIN ledger.account a ON a.account_id = p.account_id AND a.control = 'cash_in_transit'
      LEFT JOIN recon.match_set s ON s.match_set_id = n.match_set_id AND s.book_id = n.book_id
     WHERE a.account_id IS NULL OR s.match_set_id IS NULL
     LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'match_leg_transit',
            MESSAGE = format('Posting %s is not on a cash-in-transit account of the book of set %s.', v_bad.posting_id, v_bad.match_set_id),
            HINT = 'Only postings on cash-in-transit accounts clear.';
    END IF;
    SELECT l.match_set_id, sum(p.amount_minor) AS total, count(*) AS legs, max(s.leg_count) AS leg_count INTO v_bad
      FROM (SELECT DISTINCT match_set_id FROM new_leg) t
      JOIN recon.match_set s USING (match_set_id)
      JOIN recon.match_leg l USING (match_set_id)
      JOIN ledger.posting p ON p.posting_id = l.posting_id
     GROUP BY l.match_set_id, p.currency_id
    HAVING sum(p.amount_minor) <> 0 OR count(*) <> max(s.leg_count)
     LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'match_set_zero',
            MESSAGE = format('Set %s has %s legs of one currency (%s declared) that add up to %s minor units, not to 0.',
                             v_bad.match_set_id, v_bad.legs, v_bad.leg_count, v_bad.total),
            HINT = 'A set is written whole, in one statement, and adds up to zero in one currency.';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER check_legs AFTER INSERT ON recon.match_leg
    REFERENCING NEW TABLE AS new_leg FOR EACH STATEMENT EXECUTE FUNCTION recon.check_legs();
ALTER TABLE recon.match_leg ENABLE ALWAYS TRIGGER check_legs;

-- Who asks, proposes, declares or signs does so in their own name, the owner included. The argument names the column.
CREATE FUNCTION recon.check_own_name() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF to_jsonb(NEW) ->> TG_ARGV[0] <> session_user THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'recon_own_name',
            MESSAGE = format('This is signed by the login that writes it (%s), not by %s.', session_user, to_jsonb(NEW) ->> TG_ARGV[0]);
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER unmatch_request_name BEFORE INSERT ON recon.unmatch_request
    FOR EACH ROW EXECUTE FUNCTION recon.check_own_name('requested_by');
ALTER TABLE recon.unmatch_request ENABLE ALWAYS TRIGGER unmatch_request_name;

-- The set of a return (or of one taken back) stands: the payable was posted with it, and settlement counts on it.
CREATE FUNCTION recon.refuse_unmatch_of_return(p_match_set_ids bigint[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_bad record;
BEGIN
    SELECT l.match_set_id, i.end_to_end_id INTO v_bad
      FROM recon.match_leg l
     CROSS JOIN LATERAL (SELECT r.instruction_id FROM settlement.reopening r
                          WHERE r.transit_posting_id = l.posting_id AND r.kind IN ('return', 'taken_back') LIMIT 1) r
      JOIN settlement.instruction i USING (instruction_id)
     WHERE l.match_set_id = ANY (p_match_set_ids) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'unmatch_returned_payment',
            MESSAGE = format('Set %s is the return of payment %s, which is owed again since, and is not taken back.', v_bad.match_set_id,
                             v_bad.end_to_end_id),
            HINT = 'Correct a return of the wrong payment by an entry between the payees'' accounts, then release what is held.';
    END IF;
END $$;
COMMENT ON FUNCTION recon.refuse_unmatch_of_return IS 'Internal: called where a set is to be taken back.';

-- A set is un-matched whole, by another person than the one who asked, and no return is.
CREATE FUNCTION recon.check_unmatch() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_set bigint;
    v_bad record;
BEGIN
    SELECT l.match_set_id, q.requested_by INTO v_bad
      FROM new_unmatch n JOIN recon.match_leg l USING (book_id, posting_id, generation) JOIN recon.unmatch_request q USING (request_id)
      JOIN recon.match_set s ON s.match_set_id = l.match_set_id
     WHERE n.done_by <> session_user OR q.requested_by = n.done_by
        OR (q.match_set_id <> l.match_set_id AND s.rule NOT IN ('adjustment', 'manual-match'))  -- a proposal on several accounts goes back whole
     LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'unmatch_four_eyes',
            MESSAGE = format('Set %s is taken back in one''s own name, as another person asked (%s did).', v_bad.match_set_id,
                             settlement.person(v_bad.requested_by)),
            HINT = 'One person asks with a reason; a member of the approver group does it.';
    END IF;
    SELECT l.match_set_id INTO v_set
      FROM (SELECT DISTINCT m.match_set_id FROM new_unmatch n
              JOIN recon.match_leg m USING (book_id, posting_id, generation)) t
      JOIN recon.match_leg l USING (match_set_id)
      LEFT JOIN recon.unmatch u USING (book_id, posting_id, generation)
     WHERE u.posting_id IS NULL
     LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'unmatch_whole_set',
            MESSAGE = format('Set %s can only be un-matched whole.', v_set),
            HINT = 'Use recon.unmatch_set.';
    END IF;
    PERFORM recon.refuse_unmatch_of_return(ARRAY(
        SELECT DISTINCT m.match_set_id FROM new_unmatch n JOIN recon.match_leg m USING (book_id, posting_id, generation)));
    RETURN NULL;
END $$;
CREATE TRIGGER check_unmatch AFTER INSERT ON recon.unmatch
    REFERENCING NEW TABLE AS new_unmatch FOR EACH STATEMENT EXECUTE FUNCTION recon.check_unmatch();
ALTER TABLE recon.unmatch ENABLE ALWAYS TRIGGER check_unmatch;

-- A booked line's postings are the line's own amount on the account's N and T.
CREATE FUNCTION recon.check_lines() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    v_bad record;
BEGIN
    SELECT n.statement_id, n.line_ordinal INTO v_bad
      FROM new_line n
      JOIN recon.statement s USING (statement_id)
      JOIN settlement.bank_account_root b USING (bank_account_id)
      LEFT JOIN ledger.posting pn ON pn.posting_id = n.n_posting_id
      LEFT JOIN ledger.posting pt ON pt.posting_id = n.t_posting_id
     WHERE n.status = 'BOOK' AND n.amount_minor <> 0
       AND (pn.amount_minor = n.amount_minor AND pt.amount_minor = -n.amount_minor
            AND pn.account_id = b.nostro_account_id AND pt.account_id = b.transit_account_id
            AND pn.entry_id = pt.entry_id) IS NOT TRUE
     LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'statement_line_postings',
            MESSAGE = format('Line %s of statement %s is not booked as N against T with its own amount.',
                             v_bad.line_ordinal, v_bad.statement_id);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER check_lines AFTER INSERT ON recon.statement_line
    REFERENCING NEW TABLE AS new_line FOR EACH STATEMENT EXECUTE FUNCTION recon.check_lines();
ALTER TABLE recon.statement_line ENABLE ALWAYS TRIGGER check_lines;

-- A booking is the statement's own balances; the first of an account starts at the opening that setup gave.
CREATE FUNCTION recon.check_booking() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_bad record;
BEGIN
    SELECT n.statement_id, s.stmt_id, n.opening_minor, b.opening_minor AS expected_minor, b.code INTO v_bad
      FROM new_booking n
      LEFT JOIN recon.statement s ON s.statement_id = n.statement_id AND s.kind IN ('camt.053', 'mt940', 'bai2')
           AND s.bank_account_id = n.bank_account_id AND s.opening_minor = n.opening_minor
           AND s.closing_minor = n.closing_minor AND s.closing_date = n.closing_date AND s.proof = 'proven'
      LEFT JOIN settlement.bank_account_root b ON b.bank_account_id = n.bank_account_id
     WHERE s.statement_id IS NULL OR (n.previous_id IS NULL AND n.opening_minor <> b.opening_minor)
     LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'statement_first_opening',
            MESSAGE = format('Statement %s of %s cannot be booked: it opens at %s minor units, set-up says %s, or its balances are not its own.',
                             coalesce(v_bad.stmt_id, v_bad.statement_id::text), v_bad.code, v_bad.opening_minor, v_bad.expected_minor);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER check_booking AFTER INSERT ON recon.statement_booking
    REFERENCING NEW TABLE AS new_booking FOR EACH STATEMENT EXECUTE FUNCTION recon.check_booking();
ALTER TABLE recon.statement_booking ENABLE ALWAYS TRIGGER check_booking;

CREATE VIEW recon.live_leg AS
SELECT l.book_id, l.posting_id, l.generation, l.match_set_id, s.run_id, s.rule, s.rule_version, s.as_of_date
  FROM recon.match_leg l
  JOIN recon.match_set s USING (match_set_id)
 WHERE NOT EXISTS (SELECT FROM recon.unmatch u WHERE (u.book_id, u.posting_id, u.generation) = (l.book_id, l.posting_id, l.generation));
COMMENT ON VIEW recon.live_leg IS 'Legs of sets that nobody has un-matched.';
GRANT SELECT ON recon.live_leg TO :app;
