-- Batches that say which entry breaks a rule.
-- atomic: all or nothing, the refusal names the first entry at fault. independent: every entry for itself, applied
-- in the order given; the rest is posted.

-- What is wrong with each entry by itself, whatever the balances: the first rule it breaks. Repeats of an entry in
-- the books are only compared with it.
CREATE FUNCTION ledger.entry_faults(
    p_book_id int, p_keys text[], p_dates date[], p_descriptions text[], p_references text[],
    p_leg_entry int[], p_leg_account int[], p_leg_amount bigint[])
RETURNS TABLE (entry_ordinal int, constraint_name text, message text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
    WITH known AS MATERIALIZED (
        SELECT k.n::int AS n, k.key, k.date FROM unnest(p_keys, p_dates) WITH ORDINALITY AS k (key, date, n)
         WHERE NOT EXISTS (SELECT FROM ledger.entry e WHERE e.book_id = p_book_id AND e.idempotency_key = k.key)),
    leg AS MATERIALIZED (
        SELECT l.entry_n, l.account, l.amount, l.n, a.account_id, a.code, a.control, a.currency_id
          FROM unnest(p_leg_entry, p_leg_account, p_leg_amount) WITH ORDINALITY AS l (entry_n, account, amount, n)
          LEFT JOIN ledger.account a ON a.account_id = l.account AND a.book_id = p_book_id),
    fault (n, rank, name, message) AS (
        SELECT k.n, 1, 'entry_idempotency_key_check', 'An entry needs a key.' FROM known k WHERE k.key IS NULL OR k.key = ''
        UNION ALL
        SELECT k.n, 2, 'entry_posting_count', 'An entry needs at least two postings.'
          FROM known k WHERE (SELECT count(*) FROM leg l WHERE l.entry_n = k.n) < 2
        UNION ALL
        SELECT l.entry_n, 3, 'posting_account', format('Account %s does not exist in this book.', coalesce(l.account::text, '(none)'))
          FROM leg l WHERE l.account_id IS NULL
        UNION ALL
        SELECT l.entry_n, 4, 'posting_control_account', format('Account %s is a control account (%s).', l.code, l.control)
          FROM leg l WHERE l.control IS NOT NULL
        UNION ALL
        SELECT l.entry_n, 5, 'posting_amount_not_zero', format('A posting on %s is zero or has no amount.', l.code)
          FROM leg l WHERE coalesce(l.amount, 0) = 0
        UNION ALL
        SELECT l.entry_n, 6, 'posting_balances', format('It does not balance: its postings sum to %s minor units of %s.', sum(l.amount), c.code)
          FROM leg l JOIN ledger.currency c USING (currency_id) GROUP BY l.entry_n, c.code HAVING sum(l.amount) <> 0
        UNION ALL
        SELECT k.n, 7, f.name, f.message FROM known k CROSS JOIN LATERAL ledger.period_fault(p_book_id, k.date) f
        UNION ALL
        SELECT c.entry_ordinal, 8, 'idempotency_conflict', format('Its key is taken by entry %s with other content.', c.entry_id)
          FROM ledger.conflicting_keys(p_book_id, p_keys, p_dates, p_descriptions, p_references, NULL, p_leg_entry, p_leg_account, p_leg_amount) c)
    SELECT DISTINCT ON (f.n) f.n, f.name, f.message
      FROM fault f WHERE f.rank = 8 OR f.n IN (SELECT k.n FROM known k) ORDER BY f.n, f.rank, f.message
$$;

-- Which entries would take an account past a limit when all are applied in the order given, each refused one left
-- out: one pass over the postings on limited accounts, whose rows it locks first. p_skip: entries left out anyway.
CREATE FUNCTION ledger.limit_refusals(
    p_book_id int, p_keys text[], p_skip boolean[], p_leg_entry int[], p_leg_account int[], p_leg_amount bigint[])
RETURNS TABLE (entry_ordinal int, constraint_name text, message text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
    v_accounts int[]; v_sides int[]; v_down numeric[]; v_up numeric[];  -- how far each may still fall and rise; NULL: no limit
    v_entry record; v_bad int;
BEGIN
    SELECT array_agg(b.account_id ORDER BY b.account_id), array_agg(b.normal_side ORDER BY b.account_id),
           array_agg(b.normal_side * b.posted_minor::numeric - b.held_minor - b.floor_minor ORDER BY b.account_id),
           array_agg(b.ceiling_minor - b.normal_side * b.posted_minor::numeric ORDER BY b.account_id)
      INTO v_accounts, v_sides, v_down, v_up
      FROM (SELECT * FROM ledger.balance l WHERE l.account_id = ANY (p_leg_account) AND l.book_id = p_book_id
               AND (l.floor_minor IS NOT NULL OR l.ceiling_minor IS NOT NULL)
             ORDER BY l.account_id FOR NO KEY UPDATE) b;
    IF v_accounts IS NULL THEN RETURN; END IF;
    -- Where all that falls fits and all that rises fits, every order fits.
    PERFORM FROM unnest(p_leg_account, p_leg_amount) AS l (account, amount)
       JOIN unnest(v_accounts, v_sides, v_down, v_up) AS x (account, side, down, up) ON x.account = l.account
      GROUP BY x.account
     HAVING min(x.down) + sum(least(l.amount::numeric * x.side, 0)) < 0 OR min(x.up) - sum(greatest(l.amount::numeric * x.side, 0)) < 0;
    IF NOT FOUND THEN RETURN; END IF;
    FOR v_entry IN
        SELECT d.entry_n, array_agg(d.i ORDER BY d.i) AS accounts, array_agg(d.delta ORDER BY d.i) AS deltas
          FROM (SELECT l.entry_n, x.i::int AS i, sum(l.amount) * a.normal_side AS delta
                  FROM unnest(p_leg_entry, p_leg_account, p_leg_amount) AS l (entry_n, account, amount)
                  JOIN unnest(v_accounts) WITH ORDINALITY AS x (account, i) ON x.account = l.account
                  JOIN ledger.account a ON a.account_id = l.account
                 GROUP BY l.entry_n, x.i, a.normal_side) d
          JOIN unnest(p_keys) WITH ORDINALITY AS k (key, n) ON k.n = d.entry_n
         WHERE NOT p_skip[d.entry_n]
           AND (SELECT e.entry_id FROM ledger.entry e WHERE e.book_id = p_book_id AND e.idempotency_key = k.key) IS NULL
         GROUP BY d.entry_n ORDER BY d.entry_n
    LOOP
        v_bad := NULL;
        FOR j IN 1 .. cardinality(v_entry.accounts) LOOP
            IF v_down[v_entry.accounts[j]] + v_entry.deltas[j] < 0 OR v_up[v_entry.accounts[j]] - v_entry.deltas[j] < 0 THEN
                v_bad := j;
                EXIT;
            END IF;
        END LOOP;
        IF v_bad IS NULL THEN
            FOR j IN 1 .. cardinality(v_entry.accounts) LOOP
                v_down[v_entry.accounts[j]] := v_down[v_entry.accounts[j]] + v_entry.deltas[j];
                v_up[v_entry.accounts[j]] := v_up[v_entry.accounts[j]] - v_entry.deltas[j];
            END LOOP;
        ELSE
            RETURN QUERY
            SELECT v_entry.entry_n, CASE WHEN v_entry.deltas[v_bad] < 0 THEN 'balance_floor' ELSE 'balance_ceiling' END,
                   ledger.limit_message(a.code, CASE WHEN v_entry.deltas[v_bad] < 0 THEN a.floor_minor END, a.ceiling_minor)
              FROM ledger.account a WHERE a.account_id = v_accounts[v_entry.accounts[v_bad]];
        END IF;
    END LOOP;
END $$;

-- Posts the entries that p_wanted marks, in order, as one batch; the caller finds their ids by key, or, when all are
-- wanted and new, from the batch's. Internal.
CREATE FUNCTION ledger.post_selected(
    p_book_id int, p_source_id bigint, p_wanted boolean[],
    p_keys text[], p_dates date[], p_descriptions text[], p_references text[], p_source_lines int[],
    p_leg_entry int[], p_leg_account int[], p_leg_amount bigint[], OUT batch_id bigint, OUT new_count int)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_place int[];  -- where an entry stands among the wanted
    v_keys text[]; v_dates date[]; v_descriptions text[]; v_references text[]; v_lines int[];
    v_entries int[]; v_accounts int[]; v_amounts bigint[];
BEGIN
    IF array_position(p_wanted, false) IS NULL THEN
        SELECT c.batch_id, c.new_count INTO batch_id, new_count
          FROM ledger.post_core(p_book_id, NULL, p_source_id, p_keys, p_dates, p_descriptions, p_references, p_source_lines,
                                NULL, p_leg_entry, p_leg_account, p_leg_amount) c;
        RETURN;
    END IF;
    SELECT array_agg(g.place ORDER BY g.n), array_agg(g.key ORDER BY g.n) FILTER (WHERE g.wanted), array_agg(g.date ORDER BY g.n) FILTER (WHERE g.wanted),
           array_agg(g.description ORDER BY g.n) FILTER (WHERE g.wanted), array_agg(g.reference ORDER BY g.n) FILTER (WHERE g.wanted),
           array_agg(g.line ORDER BY g.n) FILTER (WHERE g.wanted)
      INTO v_place, v_keys, v_dates, v_descriptions, v_references, v_lines
      FROM (SELECT u.*, count(*) FILTER (WHERE u.wanted) OVER (ORDER BY u.n)::int AS place
              FROM unnest(p_wanted, p_keys, p_dates, p_descriptions, p_references, p_source_lines) WITH ORDINALITY
                   AS u (wanted, key, date, description, reference, line, n)) g;
    SELECT array_agg(v_place[l.entry_n] ORDER BY l.n), array_agg(l.account ORDER BY l.n), array_agg(l.amount ORDER BY l.n)
      INTO v_entries, v_accounts, v_amounts
      FROM unnest(p_leg_entry, p_leg_account, p_leg_amount) WITH ORDINALITY AS l (entry_n, account, amount, n)
     WHERE p_wanted[l.entry_n];
    SELECT c.batch_id, c.new_count INTO batch_id, new_count
      FROM ledger.post_core(p_book_id, NULL, p_source_id, v_keys, v_dates, v_descriptions, v_references, v_lines,
                            NULL, coalesce(v_entries, '{}'), coalesce(v_accounts, '{}'), coalesce(v_amounts, '{}')) c;
END $$;

-- Posts every entry that keeps the rules and says of each what became of it: posted | replayed | refused.
-- The whole batch is tried first. Only when a rule refuses it are the faults looked for, one pass a kind of rule, and
-- only a fault that no pass knows is found one entry at a time. A key that comes twice is judged at its first place.
CREATE FUNCTION ledger.post_independent(
    p_book_id int, p_source_id bigint,
    p_keys text[], p_dates date[], p_descriptions text[], p_references text[], p_source_lines int[],
    p_leg_entry int[], p_leg_account int[], p_leg_amount bigint[])
RETURNS TABLE (entry_ordinal int, entry_id bigint, first_posting_id bigint, status text, constraint_name text, message text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_count   int := coalesce(cardinality(p_keys), 0);
    v_none    text[] := array_fill(NULL::text, ARRAY[v_count]);
    v_first   int[];                                  -- where each key stands first
    v_names   text[] := v_none; v_texts text[] := v_none;      -- refused by itself
    v_before  text[];                                          -- refused so when it was tried last
    v_limits  text[] := v_none; v_reasons text[] := v_none;    -- refused by a balance
    v_skip    boolean[];
    v_wanted  boolean[];
    v_batches bigint[] := '{}';
    v_posted  record;
    v_done    boolean := false;
    v_name text; v_text text;
    v_row record;
BEGIN
    IF v_count = 0 THEN RETURN; END IF;
    IF (cardinality(p_dates) = v_count AND array_position(p_dates, NULL) IS NULL
        AND cardinality(p_leg_account) = cardinality(p_leg_entry) AND cardinality(p_leg_amount) = cardinality(p_leg_entry)
        AND (SELECT coalesce(min(n) >= 1 AND max(n) <= v_count, true) FROM unnest(p_leg_entry) AS l (n))) IS NOT TRUE THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', CONSTRAINT = 'batch_shape',
            MESSAGE = 'The columns of a batch differ in length, or a posting names an entry that is not in it.',
            HINT = 'Give one date (and text) a key, and one account and amount a posting.';
    END IF;
    SELECT array_agg(f.first_n ORDER BY f.n) INTO v_first
      FROM (SELECT k.n, min(k.n) OVER (PARTITION BY k.key)::int AS first_n FROM unnest(p_keys) WITH ORDINALITY AS k (key, n)) f;

    -- Again as long as other faults are found than before: what others commit meanwhile (a key, a closed period) is one.
    FOR v_attempt IN 1 .. 10 LOOP
        SELECT array_agg(g.name IS NOT NULL OR g.first_n <> g.n ORDER BY g.n) INTO v_skip
          FROM unnest(v_names, v_first) WITH ORDINALITY AS g (name, first_n, n);
        v_limits := v_none;
        v_reasons := v_none;
        FOR v_row IN SELECT * FROM ledger.limit_refusals(p_book_id, p_keys, v_skip, p_leg_entry, p_leg_account, p_leg_amount) LOOP
            v_limits[v_row.entry_ordinal] := v_row.constraint_name;
            v_reasons[v_row.entry_ordinal] := v_row.message;
        END LOOP;
        SELECT array_agg(NOT g.skip AND g.name IS NULL ORDER BY g.n) INTO v_wanted
          FROM unnest(v_skip, v_limits) WITH ORDINALITY AS g (skip, name, n);
        BEGIN
            IF true = ANY (v_wanted) THEN
                SELECT * INTO v_posted FROM ledger.post_selected(p_book_id, p_source_id, v_wanted, p_keys, p_dates, p_descriptions, p_references,
                                                                 p_source_lines, p_leg_entry, p_leg_account, p_leg_amount);
                v_batches := v_batches || v_posted.batch_id;
                IF v_posted.new_count = v_count THEN  -- all are new: ids are their places
                    RETURN QUERY
                    SELECT l.entry_n, (v_posted.batch_id << 20) + l.entry_n - 1, (v_posted.batch_id << 20) + min(l.n) - 1, 'posted', NULL::text, NULL::text
                      FROM unnest(p_leg_entry) WITH ORDINALITY AS l (entry_n, n) GROUP BY l.entry_n ORDER BY l.entry_n;
                    RETURN;
                END IF;
            END IF;
            v_done := true;
            EXIT;
        EXCEPTION WHEN integrity_constraint_violation OR data_exception THEN
        END;
        v_before := v_names;
        FOR v_row IN SELECT * FROM ledger.entry_faults(p_book_id, p_keys, p_dates, p_descriptions, p_references, p_leg_entry, p_leg_account, p_leg_amount) LOOP
            v_names[v_row.entry_ordinal] := v_row.constraint_name;
            v_texts[v_row.entry_ordinal] := v_row.message;
        END LOOP;
        EXIT WHEN v_names = v_before;  -- a fault that no pass knows
    END LOOP;

    IF NOT v_done THEN
        v_limits := v_none;
        FOR v_row IN SELECT g.n::int AS n FROM unnest(v_skip) WITH ORDINALITY AS g (skip, n) WHERE NOT g.skip ORDER BY g.n LOOP
            BEGIN
                v_wanted := array_fill(false, ARRAY[v_count]);
                v_wanted[v_row.n] := true;
                SELECT * INTO v_posted FROM ledger.post_selected(p_book_id, p_source_id, v_wanted, p_keys, p_dates, p_descriptions, p_references,
                                                                 p_source_lines, p_leg_entry, p_leg_account, p_leg_amount);
                v_batches := v_batches || v_posted.batch_id;
            EXCEPTION WHEN integrity_constraint_violation OR data_exception THEN
                GET STACKED DIAGNOSTICS v_name = CONSTRAINT_NAME, v_text = MESSAGE_TEXT;
                v_names[v_row.n] := coalesce(nullif(v_name, ''), 'refused');
                v_texts[v_row.n] := v_text;
            END;
        END LOOP;
    END IF;

    -- A key that was refused and has come into the books meanwhile, by somebody else's batch, is compared with that: this
    -- batch may have waited for the same commit, and then stands after it with all its entries.
    RETURN QUERY
    WITH verdict AS MATERIALIZED (
        SELECT g.n, g.first_n, g.key, CASE WHEN e.entry_id IS NULL THEN coalesce(g.name, g.limit_name) END AS name, coalesce(g.text, g.reason) AS text,
               e.entry_id IS NOT NULL AS is_late
          FROM unnest(v_first, p_keys, v_names, v_texts, v_limits, v_reasons) WITH ORDINALITY
               AS g (first_n, key, name, text, limit_name, reason, n)
          LEFT JOIN LATERAL (SELECT e.entry_id FROM ledger.entry e
                              WHERE e.book_id = p_book_id AND e.idempotency_key = g.key AND coalesce(g.name, g.limit_name) IS NOT NULL LIMIT 1) e ON true),
    repeated AS (  -- keys of other content than what is in the books now
        SELECT c.entry_ordinal, c.entry_id FROM (SELECT WHERE EXISTS (SELECT FROM verdict v WHERE v.n <> v.first_n OR v.is_late)) one
         CROSS JOIN LATERAL ledger.conflicting_keys(p_book_id, p_keys, p_dates, p_descriptions, p_references, NULL,
                                                    p_leg_entry, p_leg_account, p_leg_amount) c)
    SELECT v.n::int, e.entry_id, e.first_posting_id,
           CASE WHEN e.entry_id IS NULL THEN 'refused' WHEN v.n = v.first_n AND e.entry_id >> 20 = ANY (v_batches) THEN 'posted' ELSE 'replayed' END,
           CASE WHEN e.entry_id IS NULL THEN coalesce(f.name, CASE WHEN r.entry_id IS NOT NULL THEN 'idempotency_conflict' END) END,
           CASE WHEN e.entry_id IS NULL THEN coalesce(f.text, format('Its key is taken by entry %s with other content.', r.entry_id)) END
      FROM verdict v
      JOIN verdict f ON f.n = v.first_n
      LEFT JOIN repeated r ON r.entry_ordinal = v.n AND (v.n <> v.first_n OR f.is_late)
      LEFT JOIN LATERAL (SELECT e.entry_id, e.first_posting_id FROM ledger.entry e
                          WHERE e.book_id = p_book_id AND e.idempotency_key = v.key AND f.name IS NULL AND r.entry_id IS NULL LIMIT 1) e ON true
     ORDER BY v.n;
END $$;

-- All or nothing; the refusal names the first entry at fault. A single entry needs no search.
CREATE FUNCTION ledger.post_atomic(
    p_book_id int, p_source_id bigint,
    p_keys text[], p_dates date[], p_descriptions text[], p_references text[], p_source_lines int[],
    p_leg_entry int[], p_leg_account int[], p_leg_amount bigint[])
RETURNS TABLE (entry_ordinal int, entry_id bigint, first_posting_id bigint, status text, constraint_name text, message text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_state text; v_name text; v_text text; v_hint text;
    v_fault record;
BEGIN
    RETURN QUERY
    SELECT p.entry_ordinal, p.entry_id, p.first_posting_id, CASE WHEN p.is_new THEN 'posted' ELSE 'replayed' END, NULL::text, NULL::text
      FROM ledger.post_internal(p_book_id, NULL, p_source_id, p_keys, p_dates, p_descriptions, p_references, p_source_lines, NULL,
                                p_leg_entry, p_leg_account, p_leg_amount) p;
EXCEPTION WHEN integrity_constraint_violation THEN
    GET STACKED DIAGNOSTICS v_state = RETURNED_SQLSTATE, v_name = CONSTRAINT_NAME, v_text = MESSAGE_TEXT, v_hint = PG_EXCEPTION_HINT;
    SELECT * INTO v_fault
      FROM (SELECT * FROM ledger.entry_faults(p_book_id, p_keys, p_dates, p_descriptions, p_references, p_leg_entry, p_leg_account, p_leg_amount)
            UNION ALL
            SELECT * FROM ledger.limit_refusals(p_book_id, p_keys, array_fill(false, ARRAY[cardinality(p_keys)]), p_leg_entry, p_leg_account, p_leg_amount)
             WHERE v_name IN ('balance_floor', 'balance_ceiling')) f
     WHERE f.constraint_name = v_name ORDER BY f.entry_ordinal LIMIT 1;
    IF NOT FOUND THEN RAISE; END IF;
    RAISE EXCEPTION USING ERRCODE = v_state, CONSTRAINT = v_name, SCHEMA = 'ledger', TABLE = 'entry', HINT = v_hint,
        MESSAGE = format('Entry %s is refused, and its whole batch with it: %s', p_keys[v_fault.entry_ordinal], v_fault.message);
END $$;

CREATE FUNCTION ledger.post_batch(
    p_book_id int, p_source_id bigint,
    p_keys text[], p_dates date[], p_descriptions text[], p_references text[], p_source_lines int[],
    p_leg_entry int[], p_leg_account int[], p_leg_amount bigint[], p_mode text)
RETURNS TABLE (entry_ordinal int, entry_id bigint, first_posting_id bigint, status text, constraint_name text, message text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM ledger.require_book(p_book_id);
    IF p_mode = 'atomic' THEN
        RETURN QUERY SELECT * FROM ledger.post_atomic(p_book_id, p_source_id, p_keys, p_dates, p_descriptions, p_references, p_source_lines,
                                                      p_leg_entry, p_leg_account, p_leg_amount);
    ELSIF p_mode = 'independent' THEN
        RETURN QUERY SELECT * FROM ledger.post_independent(p_book_id, p_source_id, p_keys, p_dates, p_descriptions, p_references, p_source_lines,
                                                           p_leg_entry, p_leg_account, p_leg_amount);
    ELSE
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', CONSTRAINT = 'batch_shape',
            MESSAGE = format('A batch posts atomic or independent, not %s.', coalesce(p_mode, '(nothing)'));
    END IF;
END $$;

-- What the batcher calls: independent, and brief when the whole batch is new, as it nearly always is. Then it answers
-- with one row, the batch's first id: entry n has id first_id + n - 1, its postings follow likewise. Else a row an
-- entry, as post_batch does.
CREATE FUNCTION ledger.post_each(
    p_book_id int, p_keys text[], p_dates date[], p_descriptions text[], p_references text[],
    p_leg_entry int[], p_leg_account int[], p_leg_amount bigint[])
RETURNS TABLE (first_id bigint, entry_id bigint, first_posting_id bigint, status text, constraint_name text, message text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    v_batch bigint; v_new int;
    v_limited boolean := EXISTS (SELECT FROM ledger.balance b WHERE b.account_id = ANY (p_leg_account)
                                    AND (b.floor_minor IS NOT NULL OR b.ceiling_minor IS NOT NULL));
BEGIN
    PERFORM ledger.require_book(p_book_id);
    BEGIN  -- where a limit stands against an entry, trying all of them would be for nothing
        IF NOT v_limited OR NOT EXISTS (SELECT FROM ledger.limit_refusals(p_book_id, p_keys, array_fill(false, ARRAY[coalesce(cardinality(p_keys), 0)]),
                                                                          p_leg_entry, p_leg_account, p_leg_amount)) THEN
            SELECT c.batch_id, c.new_count INTO v_batch, v_new
              FROM ledger.post_core(p_book_id, NULL, NULL, p_keys, p_dates, p_descriptions, p_references, NULL, NULL,
                                    p_leg_entry, p_leg_account, p_leg_amount) c;
            IF v_new = cardinality(p_keys) THEN
                first_id := v_batch << 20;
                RETURN NEXT;
                RETURN;
            END IF;
        END IF;
    EXCEPTION WHEN integrity_constraint_violation OR data_exception THEN
        v_batch := NULL;
    END;
    IF v_batch IS NULL THEN
        RETURN QUERY
        SELECT NULL::bigint, i.entry_id, i.first_posting_id, i.status, i.constraint_name, i.message
          FROM ledger.post_independent(p_book_id, NULL, p_keys, p_dates, p_descriptions, p_references, NULL,
                                       p_leg_entry, p_leg_account, p_leg_amount) i ORDER BY i.entry_ordinal;
    ELSE
        RETURN QUERY
        SELECT NULL::bigint, e.entry_id, e.first_posting_id,
               CASE WHEN e.entry_id = (v_batch << 20) + k.n - 1 THEN 'posted' ELSE 'replayed' END, NULL::text, NULL::text
          FROM unnest(p_keys) WITH ORDINALITY AS k (key, n)
         CROSS JOIN LATERAL (SELECT * FROM ledger.entry e WHERE e.book_id = p_book_id AND e.idempotency_key = k.key LIMIT 1) e
         ORDER BY k.n;
    END IF;
END $$;

GRANT EXECUTE ON FUNCTION ledger.post_each, ledger.post_batch(int, bigint, text[], date[], text[], text[], int[], int[], int[], bigint[], text) TO :app;
