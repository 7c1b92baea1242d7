-- Declaring, approving and ending the policies under which routine adjusting entries are posted (tables: 092), and how
-- much one of them may close in a day.

-- Four eyes on policies, for whoever writes the row.
CREATE FUNCTION recon.check_policy_approval() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_by text := (SELECT p.declared_by FROM recon.adjustment_policy p WHERE p.policy_id = NEW.policy_id);
BEGIN
    IF NEW.approved_by <> session_user OR NEW.approved_by = v_by THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'policy_four_eyes',
            MESSAGE = format('Policy %s was declared by %s; another person approves it, in their own name.', NEW.policy_id, settlement.person(v_by)),
            HINT = 'Another member of the approver group must.';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER policy_approval_check BEFORE INSERT ON recon.adjustment_policy_approval
    FOR EACH ROW EXECUTE FUNCTION recon.check_policy_approval();
ALTER TABLE recon.adjustment_policy_approval ENABLE ALWAYS TRIGGER policy_approval_check;

-- Takes an amount of a policy's limit of the day, or refuses it: the business date of the book's last run, which people
-- cannot choose. Who comes at the same time waits for the policy's row, and counts what was committed meanwhile. Internal.
CREATE FUNCTION recon.take_daily_limit(p_policy_id bigint, p_made recon.adjustment, p_minor numeric) RETURNS date
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_policy recon.adjustment_policy;
    v_date   date := (SELECT r.business_date FROM recon.run r WHERE r.run_id = recon.last_run(p_made.book_id));
    v_used   record;
BEGIN
    PERFORM ledger.require_read_committed();  -- else what others committed meanwhile would not be counted
    SELECT * INTO v_policy FROM recon.adjustment_policy p WHERE p.policy_id = p_policy_id FOR NO KEY UPDATE;
    -- What was taken back since counts, too: else the same limit could be used again and again.
    SELECT count(*) AS used_count, coalesce(sum(a.policy_minor), 0) AS used_minor INTO v_used
      FROM recon.adjustment_approval a WHERE a.policy_id = p_policy_id AND a.policy_date = v_date;
    IF v_used.used_count >= v_policy.daily_count OR v_used.used_minor + p_minor > v_policy.daily_minor THEN
        PERFORM recon.refuse_adjustment('adjustment_policy_daily', p_made.adjustment_id,
            format('the limit of policy %s for one day is reached on %s (%s of %s breaks, %s of %s minor units of %s)', p_policy_id, v_date,
                   v_used.used_count, v_policy.daily_count, v_used.used_minor, v_policy.daily_minor, v_policy.currency),
            'Another member of the approver group approves it.');
    END IF;
    RETURN v_date;
END $$;

CREATE FUNCTION recon.declare_policy(p_book_id int, p_code text, p_template text, p_account text, p_currency text, p_maximum_minor bigint,
                                     p_daily_minor bigint, p_daily_count int, p_reason text)
RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT ledger.require_book(p_book_id);
    INSERT INTO recon.adjustment_policy (book_id, code, template, account, currency, maximum_minor, daily_minor, daily_count, reason)
    VALUES (p_book_id, p_code, p_template, p_account, p_currency, p_maximum_minor, p_daily_minor, p_daily_count, p_reason) RETURNING policy_id
$$;

-- Refuses a policy that the book has not. Internal.
CREATE FUNCTION recon.require_policy(p_book_id int, p_policy_id bigint) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM recon.adjustment_policy p WHERE p.policy_id = p_policy_id AND p.book_id = p_book_id) THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', CONSTRAINT = 'policy_known',
            MESSAGE = format('There is no policy %s.', p_policy_id), HINT = 'List them with `nostro breaks policies`.';
    END IF;
END $$;

CREATE FUNCTION recon.approve_policy(p_book_id int, p_policy_id bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM ledger.require_book(p_book_id);
    PERFORM recon.require_policy(p_book_id, p_policy_id);
    INSERT INTO recon.adjustment_policy_approval (policy_id)
    SELECT p.policy_id FROM recon.adjustment_policy p WHERE p.policy_id = p_policy_id AND p.book_id = p_book_id ON CONFLICT DO NOTHING;
    RETURN FOUND;
END $$;

CREATE FUNCTION recon.end_policy(p_book_id int, p_policy_id bigint, p_reason text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM ledger.require_book(p_book_id);
    PERFORM recon.require_policy(p_book_id, p_policy_id);
    INSERT INTO recon.adjustment_policy_end (policy_id, reason)
    SELECT p.policy_id, p_reason FROM recon.adjustment_policy p WHERE p.policy_id = p_policy_id AND p.book_id = p_book_id ON CONFLICT DO NOTHING;
    RETURN FOUND;
END $$;

CREATE VIEW recon.policy_current AS
SELECT p.book_id, p.policy_id, p.code, p.template, p.account, p.currency, p.maximum_minor, p.reason, p.declared_by, a.approved_by,
       p.daily_minor, p.daily_count, r.business_date AS used_date, u.used_minor, u.used_count,
       CASE WHEN e.policy_id IS NOT NULL THEN 'ended' WHEN a.policy_id IS NOT NULL THEN 'in force' ELSE 'declared' END AS state
  FROM recon.adjustment_policy p
  LEFT JOIN recon.adjustment_policy_approval a USING (policy_id)
  LEFT JOIN recon.adjustment_policy_end e USING (policy_id)
  LEFT JOIN recon.run r ON r.run_id = (SELECT n.run_id FROM recon.run n WHERE n.book_id = p.book_id ORDER BY n.business_date DESC, n.run_id DESC LIMIT 1)
 CROSS JOIN LATERAL (SELECT count(*)::int AS used_count, coalesce(sum(x.policy_minor), 0)::bigint AS used_minor FROM recon.adjustment_approval x
                      WHERE x.policy_id = p.policy_id AND x.policy_date = r.business_date) u;
COMMENT ON VIEW recon.policy_current IS 'Policies for routine adjusting entries: declared, in force, ended; and what each has closed on the last reconciled day.';

GRANT SELECT ON recon.policy_current TO :app;
GRANT EXECUTE ON FUNCTION recon.declare_policy, recon.end_policy TO :preparer, :approver;
GRANT EXECUTE ON FUNCTION recon.approve_policy TO :approver;
