-- What closes a break that no bank line will close: an adjusting entry, a match by hand, or (for a statement's finding) a
-- decision in words. One person proposes, another approves, and only then anything is posted; classes that an approved
-- policy covers are posted by it. What was decided is cleared by the next run, as a set of its own.

CREATE TABLE recon.adjustment (
    adjustment_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    book_id        int    NOT NULL REFERENCES ledger.book,
    break_id       text   NOT NULL,
    break_sha256   text   NOT NULL,
    code           text   NOT NULL,
    kind           text   NOT NULL CHECK (kind IN ('entry', 'match', 'accept')),
    template       text   NOT NULL,
    effective_date date   NOT NULL,
    reason         text   NOT NULL CHECK (length(reason) >= 5),
    instruction_id bigint REFERENCES settlement.instruction,
    proposed_by    text   NOT NULL DEFAULT session_user,
    proposed_at    timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT adjustment_payment_kind CHECK (instruction_id IS NULL OR kind = 'entry')
);
CREATE INDEX adjustment_break ON recon.adjustment (book_id, break_id);
COMMENT ON TABLE recon.adjustment IS 'What somebody proposes to close a break with: an entry, a match by hand, or words (accept).';
COMMENT ON COLUMN recon.adjustment.instruction_id IS 'The payment of which the money is a return, where a person knows and the bank does not say.';

CREATE TABLE recon.adjustment_leg (
    adjustment_id bigint NOT NULL REFERENCES recon.adjustment,
    leg           int    NOT NULL CHECK (leg > 0),
    account       text   NOT NULL,
    currency      text   NOT NULL,
    amount_minor  bigint NOT NULL CHECK (amount_minor <> 0),
    PRIMARY KEY (adjustment_id, leg),
    CONSTRAINT adjustment_leg_once UNIQUE (adjustment_id, account)
);
COMMENT ON TABLE recon.adjustment_leg IS 'The proposed entry, debit positive; an account of the templates is opened when it is first posted to.';

CREATE TABLE recon.adjustment_item (
    adjustment_id bigint NOT NULL REFERENCES recon.adjustment,
    posting_id    bigint NOT NULL,
    PRIMARY KEY (adjustment_id, posting_id)
);
CREATE INDEX adjustment_item_posting ON recon.adjustment_item (posting_id);
COMMENT ON TABLE recon.adjustment_item IS 'The open postings on T that the proposal closes.';

CREATE TABLE recon.adjustment_policy (
    policy_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    book_id       int    NOT NULL REFERENCES ledger.book,
    code          text   NOT NULL,
    template      text   NOT NULL,
    account       text   NOT NULL,
    currency      text   NOT NULL,
    maximum_minor bigint NOT NULL CHECK (maximum_minor > 0),
    daily_minor   bigint NOT NULL,
    daily_count   int    NOT NULL,
    reason        text   NOT NULL CHECK (length(reason) >= 5),
    declared_by   text   NOT NULL DEFAULT session_user,
    declared_at   timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT adjustment_policy_day CHECK (daily_minor >= maximum_minor AND daily_count > 0)
);
CREATE TABLE recon.adjustment_policy_approval (
    policy_id   bigint PRIMARY KEY REFERENCES recon.adjustment_policy,
    approved_by text NOT NULL DEFAULT session_user,
    approved_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE recon.adjustment_policy_end (
    policy_id bigint PRIMARY KEY REFERENCES recon.adjustment_policy,
    reason    text NOT NULL CHECK (length(reason) >= 5),
    ended_by  text NOT NULL DEFAULT session_user,
    ended_at  timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE recon.adjustment_policy IS
    'Routine classes: breaks of this code, up to this amount, may be closed whole to this account alone (that of the template) once another person approved the policy.';
COMMENT ON COLUMN recon.adjustment_policy.daily_minor IS 'What it closes in the runs of one business date, at most; daily_count: in how many breaks.';

CREATE TABLE recon.adjustment_approval (
    adjustment_id  bigint PRIMARY KEY REFERENCES recon.adjustment,
    policy_id      bigint REFERENCES recon.adjustment_policy_approval,
    entry_id       bigint,
    effective_date date   NOT NULL,
    policy_date    date,
    policy_minor   bigint,
    approved_by    text   NOT NULL DEFAULT session_user,
    approved_at    timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT adjustment_entry_once UNIQUE (entry_id),
    CONSTRAINT adjustment_policy_use CHECK (num_nulls(policy_id, policy_date, policy_minor) IN (0, 3))
);
CREATE INDEX adjustment_approval_policy ON recon.adjustment_approval (policy_id, policy_date) WHERE policy_id IS NOT NULL;
COMMENT ON TABLE recon.adjustment_approval IS
    'A second person''s approval (policy_id NULL), or a policy''s; entry_id is the journal entry that it posted.';
COMMENT ON COLUMN recon.adjustment_approval.policy_date IS 'The business date of the last run then, whose daily limit it used; policy_minor: how much of it.';

CREATE TABLE recon.adjustment_end (
    adjustment_id bigint PRIMARY KEY REFERENCES recon.adjustment,
    outcome       text NOT NULL CHECK (outcome IN ('withdrawn', 'rejected', 'lapsed')),
    reason        text NOT NULL CHECK (length(reason) >= 3),
    ended_by      text NOT NULL DEFAULT session_user,
    ended_at      timestamptz NOT NULL DEFAULT now()
);

-- An approved adjustment that was taken back: its entry is reversed, what it cleared is open again.
CREATE TABLE recon.adjustment_undo (
    adjustment_id bigint PRIMARY KEY REFERENCES recon.adjustment_approval,
    entry_id      bigint,
    undone_by     text NOT NULL DEFAULT session_user,
    undone_at     timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX adjustment_undo_entry ON recon.adjustment_undo (entry_id);
CREATE INDEX adjustment_approval_day ON recon.adjustment_approval (effective_date);
SELECT ledger.make_append_only(t) FROM unnest(ARRAY[
    'recon.adjustment', 'recon.adjustment_leg', 'recon.adjustment_item', 'recon.adjustment_policy', 'recon.adjustment_policy_approval',
    'recon.adjustment_policy_end', 'recon.adjustment_approval', 'recon.adjustment_end', 'recon.adjustment_undo']::regclass[]) t;
SELECT recon.record_events('recon.adjustment', 'book');
SELECT recon.record_events(t, 'adjustment')
  FROM unnest(ARRAY['recon.adjustment_approval', 'recon.adjustment_end', 'recon.adjustment_undo']::regclass[]) t;

CREATE TRIGGER adjustment_name BEFORE INSERT ON recon.adjustment
    FOR EACH ROW EXECUTE FUNCTION recon.check_own_name('proposed_by');
ALTER TABLE recon.adjustment ENABLE ALWAYS TRIGGER adjustment_name;
CREATE TRIGGER policy_name BEFORE INSERT ON recon.adjustment_policy
    FOR EACH ROW EXECUTE FUNCTION recon.check_own_name('declared_by');
ALTER TABLE recon.adjustment_policy ENABLE ALWAYS TRIGGER policy_name;

-- Raises the one refusal that all checks below share the shape of. Internal.
CREATE FUNCTION recon.refuse_adjustment(p_constraint text, p_adjustment_id bigint, p_what text, p_hint text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = p_constraint,
        MESSAGE = format('Proposal %s: %s.', p_adjustment_id, p_what), HINT = coalesce(p_hint, 'Look at the break again: `nostro breaks show`.');
END $$;

-- An approval is the login's own, of another person than the proposer (or of a policy that covers it), while the proposal
-- stands; its items are open; with the entry they add up to zero on every cash-in-transit account; the entry is just this.
CREATE FUNCTION recon.check_adjustment_approval() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    v_made  recon.adjustment;
    v_total numeric;
    v_bad   record;
BEGIN
    SELECT * INTO v_made FROM recon.adjustment a WHERE a.adjustment_id = NEW.adjustment_id;
    SELECT sum(abs(i.amount)) INTO v_total FROM (
        SELECT sum(p.amount_minor) AS amount FROM recon.adjustment_item x JOIN ledger.posting p USING (posting_id)
         WHERE x.adjustment_id = NEW.adjustment_id GROUP BY p.account_id) i;
    IF NEW.approved_by <> session_user THEN
        PERFORM recon.refuse_adjustment('adjustment_own_name', NEW.adjustment_id, 'an approval is signed by the login that gives it', NULL);
    ELSIF NEW.policy_id IS NULL AND NEW.approved_by = v_made.proposed_by THEN
        PERFORM recon.refuse_adjustment('adjustment_four_eyes', NEW.adjustment_id,
            format('it was made by %s, who cannot approve it', settlement.person(v_made.proposed_by)), 'Another member of the approver group must.');
    ELSIF NEW.policy_id IS NOT NULL AND NOT EXISTS (
        SELECT FROM recon.adjustment_policy p LEFT JOIN recon.adjustment_policy_end e USING (policy_id)
         WHERE p.policy_id = NEW.policy_id AND e.policy_id IS NULL
           AND (p.book_id, p.code, p.template, 'entry') = (v_made.book_id, v_made.code, v_made.template, v_made.kind) AND v_total <= p.maximum_minor
           -- Of a template nothing but its name came from the proposer; a break is not taken in slices below the limit.
           AND v_made.instruction_id IS NULL
           AND NOT EXISTS (SELECT FROM recon.adjustment_leg l LEFT JOIN ledger.account a ON a.book_id = v_made.book_id AND a.code = l.account
                            WHERE l.adjustment_id = NEW.adjustment_id
                              AND (l.currency <> p.currency OR (a.control IS DISTINCT FROM 'cash_in_transit' AND l.account <> p.account)))
           AND NOT EXISTS (SELECT FROM recon.open_item o WHERE o.run_id = recon.last_run(v_made.book_id) AND o.break_id = v_made.break_id
                              AND o.posting_id NOT IN (SELECT x.posting_id FROM recon.adjustment_item x WHERE x.adjustment_id = NEW.adjustment_id))) THEN
        PERFORM recon.refuse_adjustment('adjustment_policy_covers', NEW.adjustment_id, 'no approved policy covers it', NULL);
    ELSIF EXISTS (SELECT FROM recon.adjustment_end e WHERE e.adjustment_id = NEW.adjustment_id) THEN
        PERFORM recon.refuse_adjustment('adjustment_stands', NEW.adjustment_id, 'it was withdrawn, rejected, or has lapsed', 'Propose again.');
    END IF;
    NEW.policy_date := NULL;
    NEW.policy_minor := NULL;
    IF NEW.policy_id IS NOT NULL THEN
        NEW.policy_minor := v_total;
        NEW.policy_date := recon.take_daily_limit(NEW.policy_id, v_made, v_total);
    END IF;

    SELECT x.posting_id INTO v_bad FROM recon.adjustment_item x
      LEFT JOIN ledger.posting p ON p.posting_id = x.posting_id AND p.book_id = v_made.book_id
      LEFT JOIN ledger.account a ON a.account_id = p.account_id AND a.control = 'cash_in_transit'
      -- A sub-select beside an OR may be answered by reading every set there is; this one cannot.
      LEFT JOIN LATERAL (SELECT true AS has_cleared FROM recon.live_leg m
                          WHERE m.book_id = v_made.book_id AND m.posting_id = x.posting_id LIMIT 1) m ON true
     WHERE x.adjustment_id = NEW.adjustment_id AND (a.account_id IS NULL OR m.has_cleared)
     ORDER BY x.posting_id LIMIT 1;
    IF FOUND THEN
        PERFORM recon.refuse_adjustment('adjustment_items_open', NEW.adjustment_id,
            format('posting %s is not open on cash in transit any more', v_bad.posting_id), 'Look at the break again and propose anew.');
    END IF;

    -- What another approved proposal closes already only waits for its run: it is not booked or matched a second time.
    SELECT x.posting_id, o.adjustment_id INTO v_bad FROM recon.adjustment_item x
      JOIN recon.adjustment_item y ON y.posting_id = x.posting_id AND y.adjustment_id <> x.adjustment_id
      JOIN recon.adjustment_approval o ON o.adjustment_id = y.adjustment_id
     WHERE x.adjustment_id = NEW.adjustment_id
       AND NOT EXISTS (SELECT FROM recon.adjustment_undo u WHERE u.adjustment_id = o.adjustment_id)
     ORDER BY x.posting_id, o.adjustment_id LIMIT 1;
    IF FOUND THEN
        PERFORM recon.refuse_adjustment('adjustment_items_taken', NEW.adjustment_id,
            format('posting %s is closed by proposal %s already, which was approved', v_bad.posting_id, v_bad.adjustment_id),
            'Run the reconciliation of its day; it clears.');
    END IF;

    SELECT account_id, sum(amount_minor) AS total INTO v_bad FROM (
        SELECT p.account_id, p.amount_minor FROM recon.adjustment_item x JOIN ledger.posting p USING (posting_id)
         WHERE x.adjustment_id = NEW.adjustment_id
        UNION ALL
        SELECT a.account_id, l.amount_minor FROM recon.adjustment_leg l
          JOIN ledger.account a ON a.book_id = v_made.book_id AND a.code = l.account AND a.control = 'cash_in_transit'
         WHERE l.adjustment_id = NEW.adjustment_id) t
     GROUP BY account_id HAVING sum(amount_minor) <> 0 LIMIT 1;
    IF FOUND THEN
        PERFORM recon.refuse_adjustment('adjustment_closes', NEW.adjustment_id,
            format('its items and its entry leave %s minor units open on cash in transit', v_bad.total), 'It must close what it names.');
    END IF;

    -- The entry is the proposal's legs and nothing else; on control accounts it touches the cash in transit of its items alone.
    IF (NEW.entry_id IS NULL) <> (v_made.kind <> 'entry') OR EXISTS (
        SELECT FROM (SELECT a.code, p.amount_minor, a.control, p.account_id FROM ledger.entry e
                       JOIN ledger.posting p ON p.posting_id BETWEEN e.first_posting_id AND e.first_posting_id + e.posting_count - 1
                       JOIN ledger.account a USING (account_id)
                      WHERE e.entry_id = NEW.entry_id AND e.book_id = v_made.book_id) p
          FULL JOIN (SELECT * FROM recon.adjustment_leg l WHERE l.adjustment_id = NEW.adjustment_id) l ON l.account = p.code
         WHERE l.amount_minor IS DISTINCT FROM p.amount_minor
            OR (p.control IS NOT NULL AND NOT EXISTS (
                SELECT FROM recon.adjustment_item x JOIN ledger.posting i USING (posting_id)
                 WHERE x.adjustment_id = NEW.adjustment_id AND i.account_id = p.account_id))) THEN
        PERFORM recon.refuse_adjustment('adjustment_entry', NEW.adjustment_id,
            'the entry is not the one proposed, or touches bank accounts that its items are not on', NULL);
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER adjustment_approval_check BEFORE INSERT ON recon.adjustment_approval
    FOR EACH ROW EXECUTE FUNCTION recon.check_adjustment_approval();
ALTER TABLE recon.adjustment_approval ENABLE ALWAYS TRIGGER adjustment_approval_check;

-- The first day on which cash of these accounts may still change: after certificates and closed periods.
CREATE FUNCTION recon.first_free_day(p_book_id int, p_accounts int[]) RETURNS date
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT ledger.require_book(p_book_id);
    SELECT greatest(coalesce(ledger.closed_through(p_book_id) + 1, '-infinity'),
                    coalesce((SELECT max(c.through_date) + 1 FROM ledger.certified_cash(p_book_id, p_accounts) c), '-infinity'))
$$;

-- Records a proposal about a break of the last run as the proposer saw it (its hash).
CREATE FUNCTION recon.propose_adjustment(
    p_book_id int, p_break_id text, p_break_sha256 text, p_kind text, p_template text, p_date date, p_reason text,
    p_items bigint[], p_accounts text[], p_currencies text[], p_amounts bigint[], p_end_to_end_id text DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_last recon.break_event;
    v_run  bigint;
    v_id   bigint;
    v_bad  record;
BEGIN
    PERFORM ledger.require_book(p_book_id);
    v_last := recon.lock_break(p_book_id, p_break_id);
    v_run := recon.last_run(p_book_id);
    IF recon.break_sha256(v_run, p_break_id) IS DISTINCT FROM p_break_sha256 THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'break_unchanged',
            MESSAGE = format('Break %s is not what it was when you looked.', p_break_id), HINT = 'Look again with `nostro breaks show`.';
    END IF;
    SELECT l.currency, sum(l.amount) AS total INTO v_bad FROM unnest(p_currencies, p_amounts) l (currency, amount)
     GROUP BY l.currency HAVING sum(l.amount) <> 0 LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'adjustment_balances',
            MESSAGE = format('The proposed entry is %s minor units of %s off balance.', v_bad.total, v_bad.currency);
    END IF;
    IF (p_kind = 'accept') <> (p_break_id LIKE 'S%') OR (p_kind = 'entry') <> (coalesce(cardinality(p_accounts), 0) >= 2)
       OR (p_kind = 'match' AND coalesce(cardinality(p_items), 0) < 2) THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'adjustment_kind',
            MESSAGE = format('Break %s cannot be closed by a proposal of this kind (%s).', p_break_id, p_kind),
            HINT = 'A statement''s finding is accepted in words; an entry has two legs or more; a match has two items or more.';
    END IF;
    IF p_end_to_end_id IS NOT NULL AND NOT EXISTS (
        SELECT FROM settlement.instruction i JOIN settlement.payment_file f USING (file_id)
         WHERE i.end_to_end_id = p_end_to_end_id AND f.book_id = p_book_id) THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', CONSTRAINT = 'adjustment_payment_known',
            MESSAGE = format('There is no payment %s.', p_end_to_end_id);
    END IF;
    SELECT i.posting_id INTO v_bad FROM unnest(p_items) i (posting_id)
     WHERE NOT EXISTS (SELECT FROM recon.open_item o WHERE (o.run_id, o.posting_id, o.break_id) = (v_run, i.posting_id, p_break_id)) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'adjustment_items_of_break',
            MESSAGE = format('Posting %s is not an item of break %s.', v_bad.posting_id, p_break_id), HINT = 'See its items with `nostro breaks show`.';
    END IF;
    INSERT INTO recon.adjustment (book_id, break_id, break_sha256, code, kind, template, effective_date, reason, instruction_id)
    SELECT p_book_id, p_break_id, p_break_sha256, b.code, p_kind, p_template, p_date, p_reason,
           (SELECT i.instruction_id FROM settlement.instruction i WHERE i.end_to_end_id = p_end_to_end_id)
      FROM recon.break_run b WHERE b.run_id = v_run AND b.break_id = p_break_id RETURNING adjustment_id INTO v_id;
    INSERT INTO recon.adjustment_item (adjustment_id, posting_id) SELECT v_id, i FROM unnest(p_items) i ORDER BY i;
    INSERT INTO recon.adjustment_leg (adjustment_id, leg, account, currency, amount_minor)
    SELECT v_id, l.n, l.account, l.currency, l.amount
      FROM unnest(p_accounts, p_currencies, p_amounts) WITH ORDINALITY l (account, currency, amount, n);
    PERFORM recon.add_break_event(v_last, 'proposed', NULL, NULL, p_reason, v_id, v_run);
    RETURN v_id;
END $$;

-- The proposal about a break that waits for a decision; there is one at most. Internal.
CREATE FUNCTION recon.standing_adjustment(p_book_id int, p_break_id text) RETURNS bigint
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT a.adjustment_id FROM recon.adjustment a
     WHERE a.book_id = p_book_id AND a.break_id = p_break_id
       AND NOT EXISTS (SELECT FROM recon.adjustment_approval p WHERE p.adjustment_id = a.adjustment_id)
       AND NOT EXISTS (SELECT FROM recon.adjustment_end e WHERE e.adjustment_id = a.adjustment_id)
     ORDER BY a.adjustment_id DESC LIMIT 1
$$;

-- The account of a proposed leg; one of a template is opened when it is missing. Internal.
CREATE FUNCTION recon.leg_account(p_book_id int, p_code text, p_currency text) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_account int := (SELECT a.account_id FROM ledger.account a WHERE a.book_id = p_book_id AND a.code = p_code);
    v_type    text := CASE split_part(p_code, ':', 1) WHEN 'assets' THEN 'asset' WHEN 'liabilities' THEN 'liability'
                      WHEN 'expenses' THEN 'expense' WHEN 'income' THEN 'income' WHEN 'equity' THEN 'equity' END;
BEGIN
    IF v_account IS NULL AND v_type IS NOT NULL AND right(p_code, 4) = ':' || lower(p_currency) THEN
        v_account := recon.use_account(p_book_id, left(p_code, -3), v_type, p_currency);
    END IF;
    IF v_account IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', CONSTRAINT = 'adjustment_account',
            MESSAGE = format('There is no account %s.', p_code), HINT = 'Open it in the set-up first.';
    END IF;
    RETURN v_account;
END $$;

-- A line that people know to be the return of a payment: booked and held as settlement books any return. Its entry. Internal.
CREATE FUNCTION recon.post_returned_payment(p_made recon.adjustment, p_date date) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_line    record;
    v_posting bigint;
BEGIN
    SELECT l.t_posting_id, l.return_reason, CASE i.direction WHEN 'pay' THEN -l.t_minor ELSE l.t_minor END AS came INTO v_line
      FROM settlement.instruction i
      LEFT JOIN (SELECT l.t_posting_id, l.return_reason, p.amount_minor AS t_minor
                   FROM recon.adjustment_item x JOIN recon.statement_line l ON l.t_posting_id = x.posting_id
                   JOIN ledger.posting p ON p.posting_id = x.posting_id
                  WHERE x.adjustment_id = p_made.adjustment_id) l ON true
     WHERE i.instruction_id = p_made.instruction_id;
    IF v_line.came > 0 THEN
        v_posting := settlement.reopen_returned(p_made.instruction_id, v_line.came,
                         concat_ws(' ', coalesce(v_line.return_reason, 'NARR'), p_made.reason), p_date, v_line.t_posting_id);
    END IF;
    IF v_posting IS NULL THEN
        PERFORM recon.refuse_adjustment('adjustment_payment', p_made.adjustment_id,
            'the payment has not that much left to come back, or was rejected', NULL);
    END IF;
    INSERT INTO recon.routine_posting VALUES (v_posting, p_made.book_id, v_line.t_posting_id, 'routine-return', p_made.instruction_id);
    RETURN (SELECT r.entry_id FROM settlement.reopening r WHERE r.line_posting_id = v_line.t_posting_id);
END $$;
REVOKE ALL ON FUNCTION recon.post_returned_payment FROM PUBLIC;

-- Posts a proposal with the right of reconciliation and writes its approval; the trigger checks all of it. Internal.
CREATE FUNCTION recon.post_adjustment(p_book_id int, p_adjustment_id bigint, p_policy_id bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_made  recon.adjustment;
    v_last  recon.break_event;
    v_date  date;
    v_entry bigint;
    v_items int[];
BEGIN
    PERFORM ledger.require_book(p_book_id);
    SELECT * INTO v_made FROM recon.adjustment a WHERE a.adjustment_id = p_adjustment_id AND a.book_id = p_book_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', CONSTRAINT = 'adjustment_known',
            MESSAGE = format('There is no proposal %s.', p_adjustment_id);
    END IF;
    v_last := recon.lock_break(p_book_id, v_made.break_id);
    IF EXISTS (SELECT FROM recon.adjustment_approval a WHERE a.adjustment_id = p_adjustment_id) THEN
        RETURN (SELECT a.entry_id FROM recon.adjustment_approval a WHERE a.adjustment_id = p_adjustment_id);
    END IF;
    IF recon.break_sha256(recon.last_run(p_book_id), v_made.break_id) IS DISTINCT FROM v_made.break_sha256 THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'break_unchanged',
            MESSAGE = format('Break %s is not what it was when this was proposed.', v_made.break_id),
            HINT = 'Reject the proposal and look at the break again.';
    END IF;
    SELECT array_agg(DISTINCT p.account_id) INTO v_items FROM recon.adjustment_item x JOIN ledger.posting p USING (posting_id)
     WHERE x.adjustment_id = p_adjustment_id;
    v_date := greatest(v_made.effective_date, recon.first_free_day(p_book_id, v_items));
    IF v_made.kind = 'entry' THEN
        -- Nobody certifies the cash in transit between this look at the date and the posting.
        PERFORM ledger.lock_balances(v_items);
        v_date := greatest(v_date, recon.first_free_day(p_book_id, v_items));
    END IF;
    IF v_made.instruction_id IS NOT NULL THEN
        v_entry := recon.post_returned_payment(v_made, v_date);
    ELSIF v_made.kind = 'entry' THEN
        SELECT p.entry_id INTO v_entry
          FROM (SELECT array_agg(recon.leg_account(p_book_id, l.account, l.currency) ORDER BY l.leg) AS accounts,
                       array_agg(l.amount_minor ORDER BY l.leg) AS amounts
                  FROM recon.adjustment_leg l WHERE l.adjustment_id = p_adjustment_id) l,
               ledger.post_internal(p_book_id, 'recon', NULL, ARRAY['adjustment:' || p_adjustment_id], ARRAY[v_date],
                   ARRAY[format('%s: %s', v_made.break_id, v_made.reason)], ARRAY[v_made.break_id], NULL, NULL,
                   array_fill(1, ARRAY[cardinality(l.accounts)]), l.accounts, l.amounts) p;
    END IF;
    INSERT INTO recon.adjustment_approval (adjustment_id, policy_id, entry_id, effective_date)
    VALUES (p_adjustment_id, p_policy_id, v_entry, v_date);
    PERFORM recon.add_break_event(v_last, 'approved', NULL, NULL, CASE WHEN p_policy_id IS NOT NULL THEN 'by policy ' || p_policy_id END,
                                  p_adjustment_id, NULL);
    IF v_made.kind = 'accept' THEN
        PERFORM recon.resolve_finding(substr(v_made.break_id, 2)::bigint, v_made.reason);
        PERFORM recon.add_break_event(recon.lock_break(p_book_id, v_made.break_id), 'resolved', NULL, NULL, 'accepted', p_adjustment_id, NULL);
    END IF;
    RETURN v_entry;
END $$;

CREATE FUNCTION recon.approve_adjustment(p_book_id int, p_adjustment_id bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM ledger.require_book(p_book_id);
    RETURN recon.post_adjustment(p_book_id, p_adjustment_id, NULL);
END $$;

-- By policy: any login may, because the trigger finds the policy and its second person.
CREATE FUNCTION recon.post_by_policy(p_book_id int, p_adjustment_id bigint, p_policy_id bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM ledger.require_book(p_book_id);
    IF p_policy_id IS NULL THEN
        PERFORM recon.refuse_adjustment('adjustment_policy_covers', p_adjustment_id, 'no approved policy covers it', NULL);
    END IF;
    RETURN recon.post_adjustment(p_book_id, p_adjustment_id, p_policy_id);
END $$;

-- The proposer takes a proposal back; anybody else rejects it.
CREATE FUNCTION recon.end_adjustment(p_book_id int, p_adjustment_id bigint, p_reason text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_made recon.adjustment;
    v_last recon.break_event;
    v_out  text;
BEGIN
    PERFORM ledger.require_book(p_book_id);
    SELECT * INTO v_made FROM recon.adjustment a WHERE a.adjustment_id = p_adjustment_id AND a.book_id = p_book_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', CONSTRAINT = 'adjustment_known',
            MESSAGE = format('There is no proposal %s.', p_adjustment_id);
    END IF;
    v_last := recon.lock_break(p_book_id, v_made.break_id);
    IF recon.standing_adjustment(p_book_id, v_made.break_id) IS DISTINCT FROM p_adjustment_id THEN
        PERFORM recon.refuse_adjustment('adjustment_stands', p_adjustment_id, 'it was approved, withdrawn, rejected, or has lapsed', NULL);
    END IF;
    v_out := CASE WHEN v_made.proposed_by = session_user THEN 'withdrawn' ELSE 'rejected' END;
    PERFORM recon.add_break_event(v_last, v_out, NULL, NULL, p_reason, p_adjustment_id, NULL);
    INSERT INTO recon.adjustment_end (adjustment_id, outcome, reason) VALUES (p_adjustment_id, v_out, p_reason);
    RETURN v_out;
END $$;

-- Each proposal with what became of it; match_set_id is the set in which its break cleared.
CREATE VIEW recon.adjustment_current AS
SELECT a.book_id, a.adjustment_id, a.break_id, a.code, a.kind, a.template, a.reason, a.proposed_by, a.proposed_at, p.approved_by, p.policy_id,
       p.entry_id, n.idempotency_key AS entry_key, coalesce(p.effective_date, a.effective_date) AS effective_date,
       CASE WHEN u.adjustment_id IS NOT NULL THEN 'undone' WHEN p.adjustment_id IS NOT NULL THEN 'approved'
            ELSE coalesce(e.outcome, 'proposed') END AS state,
       (SELECT min(m.match_set_id) FROM recon.adjustment_item x JOIN recon.live_leg m ON m.book_id = a.book_id AND m.posting_id = x.posting_id
         WHERE x.adjustment_id = a.adjustment_id) AS match_set_id
  FROM recon.adjustment a
  LEFT JOIN recon.adjustment_approval p USING (adjustment_id)
  LEFT JOIN recon.adjustment_end e USING (adjustment_id)
  LEFT JOIN recon.adjustment_undo u USING (adjustment_id)
  LEFT JOIN ledger.entry n ON n.entry_id = p.entry_id;
COMMENT ON VIEW recon.adjustment_current IS 'Each proposal to close a break: proposed, approved (with its entry), withdrawn, rejected, lapsed, undone.';

-- Sets that people (or policies) decided and no run has cleared yet, as far as the day knows their postings: the items of an
-- approved proposal with its entry's legs, one set a cash-in-transit account; an undone entry with its reversal.
-- Only decisions about postings that a run must look at can be among them.
CREATE FUNCTION recon.decided_sets(p_book_id int, p_date date, p_run_before bigint)
RETURNS TABLE (decision text, rule text, account_id int, posting_id bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan AS $$
    SELECT ledger.require_book(p_book_id);
    WITH looked_at AS MATERIALIZED (SELECT t.posting_id FROM recon.touched(p_book_id, p_date, p_run_before) t),
    about AS MATERIALIZED (
        SELECT x.adjustment_id FROM looked_at t JOIN recon.adjustment_item x USING (posting_id)
        UNION
        SELECT p.adjustment_id FROM looked_at t JOIN ledger.posting g USING (posting_id) JOIN recon.adjustment_approval p USING (entry_id)
        UNION
        SELECT u.adjustment_id FROM looked_at t JOIN ledger.posting g USING (posting_id) JOIN recon.adjustment_undo u USING (entry_id)),
    member AS (
        SELECT 'adjustment:' || a.adjustment_id AS decision, CASE WHEN a.kind = 'match' THEN 'manual-match' ELSE 'adjustment' END AS rule, x.posting_id
          FROM about JOIN recon.adjustment a USING (adjustment_id) JOIN recon.adjustment_approval p USING (adjustment_id)
          JOIN recon.adjustment_item x USING (adjustment_id)
         WHERE a.book_id = p_book_id AND p.effective_date <= p_date AND NOT EXISTS (SELECT FROM recon.adjustment_undo u WHERE u.adjustment_id = a.adjustment_id)
        UNION ALL
        SELECT CASE WHEN u.adjustment_id IS NULL THEN 'adjustment:' ELSE 'undone:' END || a.adjustment_id,
               CASE WHEN u.adjustment_id IS NULL THEN 'adjustment' ELSE 'adjustment-undone' END, g.posting_id
          FROM about JOIN recon.adjustment a USING (adjustment_id) JOIN recon.adjustment_approval p USING (adjustment_id)
          LEFT JOIN recon.adjustment_undo u USING (adjustment_id)
          JOIN ledger.entry e ON e.entry_id IN (p.entry_id, u.entry_id)
          JOIN ledger.posting g ON g.posting_id BETWEEN e.first_posting_id AND e.first_posting_id + e.posting_count - 1
          JOIN ledger.account c ON c.account_id = g.account_id AND c.control = 'cash_in_transit'
         WHERE a.book_id = p_book_id)
    SELECT m.decision, m.rule, c.account_id, m.posting_id
      FROM member m JOIN recon.cash_posting c USING (posting_id) WHERE NOT EXISTS (
           SELECT FROM member o LEFT JOIN recon.cash_posting k USING (posting_id)
             LEFT JOIN LATERAL (SELECT true AS has_cleared FROM recon.live_leg l
                                 WHERE l.book_id = p_book_id AND l.posting_id = o.posting_id LIMIT 1) l ON true
            WHERE o.decision = m.decision AND (k.as_of_date > p_date OR l.has_cleared))
     ORDER BY m.decision, c.account_id, m.posting_id
$$;
GRANT SELECT ON recon.adjustment, recon.adjustment_leg, recon.adjustment_item, recon.adjustment_policy, recon.adjustment_policy_approval,
    recon.adjustment_policy_end, recon.adjustment_approval, recon.adjustment_end, recon.adjustment_undo, recon.adjustment_current TO :app;
GRANT EXECUTE ON FUNCTION recon.decided_sets, recon.first_free_day, recon.post_by_policy TO :app;
GRANT EXECUTE ON FUNCTION recon.propose_adjustment, recon.end_adjustment TO :preparer, :approver;
GRANT EXECUTE ON FUNCTION recon.approve_adjustment TO :approver;
