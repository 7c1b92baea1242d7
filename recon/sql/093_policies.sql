-- Declaring, approving and ending the policies under which routine adjusting entries are posted (tables: 092).

CREATE FUNCTION recon.declare_policy(p_book_id int, p_code text, p_template text, p_account text, p_currency text, p_maximum_minor bigint, p_reason text)
RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT ledger.require_book(p_book_id);
    INSERT INTO recon.adjustment_policy (book_id, code, template, account, currency, maximum_minor, reason)
    VALUES (p_book_id, p_code, p_template, p_account, p_currency, p_maximum_minor, p_reason) RETURNING policy_id
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
       CASE WHEN e.policy_id IS NOT NULL THEN 'ended' WHEN a.policy_id IS NOT NULL THEN 'in force' ELSE 'declared' END AS state
  FROM recon.adjustment_policy p
  LEFT JOIN recon.adjustment_policy_approval a USING (policy_id)
  LEFT JOIN recon.adjustment_policy_end e USING (policy_id);
COMMENT ON VIEW recon.policy_current IS 'Policies for routine adjusting entries: declared, in force, ended.';

GRANT SELECT ON recon.policy_current TO :app;
GRANT EXECUTE ON FUNCTION recon.declare_policy, recon.end_policy TO :preparer, :approver;
GRANT EXECUTE ON FUNCTION recon.approve_policy TO :approver;
