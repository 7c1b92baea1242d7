-- Row-level security by book, derived from the catalogue: nothing here names a table that the next migration might
-- add, and every upgrade ends with `ledger.apply_access()` (ADR 0009).
--
-- An unrestricted login meets only the policy `every_row` (true), which the planner drops: its plans are as if there
-- were no policy. A restricted login also meets `granted_books`.

-- Tables that hold no book's rows: reference data, and points of knowledge order, which all books share.
CREATE FUNCTION ledger.shared_tables() RETURNS regclass[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT array_agg(c.oid::regclass) FROM pg_class c
     WHERE c.relnamespace = ANY ('{ledger,settlement,recon}'::regnamespace[]) AND c.relkind IN ('r', 'p')
       AND (starts_with(c.relname, 'stage_')  -- rows of a transaction that is not committed yet
            OR c.oid::regclass::text = ANY ('{ledger.control,ledger.currency,ledger.publication,ledger.rollup_step,ledger.balance_fold,
                ledger.event_consumer,ledger.event_offset,settlement.batch_mark,settlement.file_transition,settlement.instruction_state,
                settlement.instruction_transition,settlement.status_code,settlement.reason_policy,settlement.recall_outcome,
                settlement.send_journal}'))
$$;

-- Which rows of a table belong to granted books: by its own book_id, or through the table it points to.
-- Some point without a foreign key (too dear a row). A table that does neither shows a restricted login nothing.
CREATE FUNCTION ledger.granted_rows(p_table regclass) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_link record;
BEGIN
    IF EXISTS (SELECT FROM pg_attribute WHERE attrelid = p_table AND attname = 'book_id' AND NOT attisdropped) THEN
        RETURN 'book_id = ANY ((SELECT ledger.books_seen())::int[])';
    END IF;
    IF p_table::text = 'settlement.send_review' THEN
        RETURN '(SELECT ledger.books_seen()) IS NULL';  -- findings about all books: for nobody who is restricted to some
    END IF;
    SELECT * INTO v_link FROM (
        SELECT 0 AS rank, v.parent, v.own, v.theirs
          FROM (VALUES ('ledger.entry_text', 'ledger.entry', 'entry_id', 'entry_id'),
                       ('ledger.posting_day', 'ledger.account', 'account_id', 'account_id'),
                       ('ledger.rollup', 'ledger.account', 'account_id', 'account_id'),
                       ('ledger.rollup_run', 'ledger.account', 'account_id', 'account_id'),
                       ('settlement.obligation', 'settlement.run', 'run_id', 'run_id'),
                       ('settlement.file_standing', 'settlement.payment_file', 'file_id', 'file_id'),
                       ('settlement.instruction', 'settlement.payment_file', 'file_id', 'file_id'),
                       ('settlement.instruction_event', 'settlement.instruction', 'instruction_id', 'instruction_id'),
                       ('settlement.reopening', 'settlement.instruction', 'instruction_id', 'instruction_id')) AS v (child, parent, own, theirs)
         WHERE v.child = p_table::text
        UNION ALL
        SELECT row_number() OVER (ORDER BY f.oid), f.confrelid::regclass::text, o.attname, t.attname FROM pg_constraint f
          JOIN pg_attribute o ON o.attrelid = f.conrelid AND o.attnum = f.conkey[1] AND o.attnotnull
          JOIN pg_attribute t ON t.attrelid = f.confrelid AND t.attnum = f.confkey[1]
         WHERE f.contype = 'f' AND f.conrelid = p_table AND cardinality(f.conkey) = 1 AND f.confrelid <> p_table
           AND f.confrelid::regclass <> ALL (ledger.shared_tables())) links
     ORDER BY rank LIMIT 1;
    IF NOT FOUND THEN RETURN 'false'; END IF;
    RETURN format('EXISTS (SELECT FROM %s parent WHERE parent.%I = %s.%I)', v_link.parent, v_link.theirs, p_table, v_link.own);
END $$;

-- Views ask with the rights of the reader, so that the policies reach through them. Who may read a view, or a table, gets
-- just the columns that it, and the policies below it, read.
CREATE FUNCTION ledger.apply_access() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_oid oid; v_part record;
BEGIN
    FOR v_oid IN SELECT c.oid FROM pg_class c
                  WHERE c.relnamespace = ANY ('{ledger,settlement,recon}'::regnamespace[]) AND c.relkind IN ('r', 'p')
                    AND c.oid::regclass <> ALL (ledger.shared_tables()) AND NOT c.relrowsecurity
                  ORDER BY c.oid
    LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', v_oid::regclass);
        EXECUTE format('CREATE POLICY every_row ON %s FOR SELECT USING (true)', v_oid::regclass);
        EXECUTE format('CREATE POLICY granted_books ON %s AS RESTRICTIVE FOR SELECT TO :restricted USING (%s)',
                       v_oid::regclass, ledger.granted_rows(v_oid));
    END LOOP;
    FOR v_oid IN SELECT c.oid FROM pg_class c
                  WHERE c.relnamespace = ANY ('{ledger,settlement,recon}'::regnamespace[]) AND c.relkind = 'v'
                    AND ('security_invoker=true' = ANY (c.reloptions)) IS NOT TRUE
                  ORDER BY c.oid
    LOOP
        EXECUTE format('ALTER VIEW %s SET (security_invoker = true)', v_oid::regclass);
    END LOOP;
    FOR v_part IN
        WITH RECURSIVE reader AS (SELECT unnest(ARRAY[':app', ':analyst']::regrole[]) AS role), edge AS (
            SELECT r.ev_class AS relation, d.refobjid AS used, d.refobjsubid AS attnum FROM pg_rewrite r
              JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
            UNION
            SELECT p.polrelid, d.refobjid, d.refobjsubid FROM pg_policy p
              JOIN pg_depend d ON d.classid = 'pg_policy'::regclass AND d.objid = p.oid AND d.refclassid = 'pg_class'::regclass),
        reached (role, relation) AS (
            SELECT r.role, c.oid FROM reader r, pg_class c, aclexplode(c.relacl) a
             WHERE c.relnamespace = ANY ('{ledger,settlement,recon}'::regnamespace[])
               AND a.grantee = r.role AND a.privilege_type = 'SELECT'
            UNION
            SELECT r.role, e.used FROM reached r JOIN edge e USING (relation))
        SELECT r.role, e.used::regclass AS used, string_agg(DISTINCT quote_ident(t.attname), ', ') AS columns
          FROM reached r JOIN edge e USING (relation)
          JOIN pg_class c ON c.oid = e.used AND c.relnamespace = ANY ('{ledger,settlement,recon}'::regnamespace[])
          JOIN pg_attribute t ON t.attrelid = e.used AND t.attnum = e.attnum AND t.attnum > 0 AND NOT t.attisdropped
         WHERE NOT has_column_privilege(r.role::oid, e.used, e.attnum::smallint, 'SELECT')
         GROUP BY r.role, e.used
    LOOP
        EXECUTE format('GRANT SELECT (%s) ON %s TO %s', v_part.columns, v_part.used, v_part.role);
    END LOOP;
END $$;
