-- The write path: opening accounts, posting a batch, reversing.

CREATE FUNCTION ledger.book_currency(p_code text) RETURNS smallint
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE v smallint := (SELECT currency_id FROM ledger.currency WHERE code = p_code);
BEGIN
    IF v IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'posting_currency',
            MESSAGE = format('Currency %s is neither of ISO 4217 nor defined here.', p_code),
            HINT = 'Define it first: `nostro currency define CODE --exponent N`.';
    END IF;
    RETURN v;
END $$;

CREATE FUNCTION ledger.define_book(p_name text, p_functional_currency text) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE v_book ledger.book;
BEGIN
    PERFORM ledger.require_book((SELECT x.book_id FROM ledger.book x WHERE x.name = p_name));
    INSERT INTO ledger.book (name, functional_currency_id)
    SELECT p_name, ledger.book_currency(p_functional_currency)
     WHERE NOT EXISTS (SELECT FROM ledger.book WHERE name = p_name)
    ON CONFLICT DO NOTHING;
    SELECT * INTO v_book FROM ledger.book WHERE name = p_name;
    IF v_book.functional_currency_id <> ledger.book_currency(p_functional_currency) THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'book_same',
            MESSAGE = format('Book %s exists with another functional currency than %s.', p_name, p_functional_currency);
    END IF;
    RETURN v_book.book_id;
END $$;

-- Opens what is missing; what exists must be the same. Returns one id per code, in the order given.
CREATE FUNCTION ledger.open_accounts(
    p_book_id int, p_codes text[], p_types text[], p_currencies text[], p_settleable boolean[], p_controls text[], p_floors bigint[],
    p_ceilings bigint[] DEFAULT NULL)
RETURNS int[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE v_other text;
BEGIN
    PERFORM ledger.require_book(p_book_id);
    INSERT INTO ledger.account (book_id, code, type, currency_id, settleable, control, floor_minor, ceiling_minor)
    SELECT p_book_id, g.code, g.type, ledger.book_currency(g.currency), g.settleable, g.control, g.floor_minor, g.ceiling_minor
      FROM (SELECT DISTINCT ON (code) * FROM unnest(p_codes, p_types, p_currencies, p_settleable, p_controls, p_floors, p_ceilings)
                   AS u (code, type, currency, settleable, control, floor_minor, ceiling_minor) ORDER BY code) g
     WHERE NOT EXISTS (SELECT FROM ledger.account a WHERE a.book_id = p_book_id AND a.code = g.code)
     ORDER BY g.code
    ON CONFLICT ON CONSTRAINT account_code DO NOTHING;
    SELECT g.code INTO v_other
      FROM unnest(p_codes, p_types, p_currencies, p_settleable, p_controls, p_floors, p_ceilings)
           AS g (code, type, currency, settleable, control, floor_minor, ceiling_minor)
      JOIN ledger.account a ON a.book_id = p_book_id AND a.code = g.code
      JOIN ledger.currency c USING (currency_id)
     WHERE (a.type, c.code, a.settleable, a.control, a.floor_minor, a.ceiling_minor)
           IS DISTINCT FROM (g.type, g.currency, g.settleable, g.control, g.floor_minor, g.ceiling_minor) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'account_same',
            MESSAGE = format('Account %s exists with another type, currency, control, limit or settleable mark.', v_other),
            HINT = 'Accounts never change; open another one.';
    END IF;
    RETURN (SELECT array_agg(a.account_id ORDER BY g.n) FROM unnest(p_codes) WITH ORDINALITY g (code, n)
              JOIN ledger.account a ON a.book_id = p_book_id AND a.code = g.code);
END $$;

CREATE FUNCTION ledger.define_account_rules(
    p_book_id int, p_patterns text[], p_types text[], p_currencies text[], p_settleable boolean[], p_floors bigint[],
    p_ceilings bigint[] DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE v_other text;
BEGIN
    PERFORM ledger.require_book(p_book_id);
    INSERT INTO ledger.account_rule
    SELECT p_book_id, g.pattern, g.type, CASE WHEN g.currency IS NOT NULL THEN ledger.book_currency(g.currency) END, g.settleable,
           g.floor_minor, g.ceiling_minor
      FROM unnest(p_patterns, p_types, p_currencies, p_settleable, p_floors, p_ceilings)
           AS g (pattern, type, currency, settleable, floor_minor, ceiling_minor)
    ON CONFLICT DO NOTHING;
    SELECT g.pattern INTO v_other
      FROM unnest(p_patterns, p_types, p_currencies, p_settleable, p_floors, p_ceilings)
           AS g (pattern, type, currency, settleable, floor_minor, ceiling_minor)
      JOIN ledger.account_rule r ON r.book_id = p_book_id AND r.pattern = g.pattern
      LEFT JOIN ledger.currency c USING (currency_id)
     WHERE (r.type, c.code, r.settleable, r.floor_minor, r.ceiling_minor)
           IS DISTINCT FROM (g.type, g.currency, g.settleable, g.floor_minor, g.ceiling_minor) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'account_same',
            MESSAGE = format('The account rule %s exists with other properties.', v_other),
            HINT = 'Rules never change; add a longer pattern.';
    END IF;
END $$;

CREATE FUNCTION ledger.record_source(p_book_id int, p_kind text, p_name text, p_sha256 text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM ledger.require_book(p_book_id);
    INSERT INTO ledger.source (book_id, kind, name, sha256)
    SELECT p_book_id, p_kind, p_name, p_sha256
     WHERE NOT EXISTS (SELECT FROM ledger.source WHERE (book_id, kind, sha256) = (p_book_id, p_kind, p_sha256))
    ON CONFLICT DO NOTHING;
    RETURN (SELECT source_id FROM ledger.source WHERE (book_id, kind, sha256) = (p_book_id, p_kind, p_sha256));
END $$;

-- Which of these keys exist already with other content (date, postings, texts, reversed entry)?
-- LATERAL … LIMIT 1 enters a table by its index, once a key (see the note on plans in 020_rules.sql).
CREATE FUNCTION ledger.conflicting_keys(
    p_book_id int, p_keys text[], p_dates date[], p_descriptions text[], p_references text[], p_reverses bigint[],
    p_leg_entry int[], p_leg_account int[], p_leg_amount bigint[])
RETURNS TABLE (entry_ordinal int, entry_id bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET enable_seqscan = off AS $$
    SELECT ledger.require_book(p_book_id);
    WITH given AS MATERIALIZED (
        SELECT u.n::int AS n, u.key, u.date, u.description, u.reference, u.reverses, e.*, t.description AS old_description,
               t.reference AS old_reference
          FROM unnest(p_keys, p_dates, p_descriptions, p_references, p_reverses)
               WITH ORDINALITY AS u (key, date, description, reference, reverses, n)
         CROSS JOIN LATERAL (SELECT * FROM ledger.entry e WHERE e.book_id = p_book_id AND e.idempotency_key = u.key LIMIT 1) e
          LEFT JOIN LATERAL (SELECT * FROM ledger.entry_text t WHERE t.entry_id = e.entry_id LIMIT 1) t ON true),
    given_legs AS (
        SELECT l.n, array_agg(l.account ORDER BY l.account, l.amount) AS accounts, array_agg(l.amount ORDER BY l.account, l.amount) AS amounts
          FROM unnest(p_leg_entry, p_leg_account, p_leg_amount) AS l (n, account, amount)
         WHERE l.n IN (SELECT n FROM given) GROUP BY l.n),
    stored_legs AS (
        SELECT g.n, array_agg(p.account_id ORDER BY p.account_id, p.amount_minor) AS accounts,
               array_agg(p.amount_minor ORDER BY p.account_id, p.amount_minor) AS amounts
          FROM given g JOIN ledger.posting p ON p.posting_id BETWEEN g.first_posting_id AND g.first_posting_id + g.posting_count - 1
         GROUP BY g.n)
    SELECT g.n, g.entry_id FROM given g LEFT JOIN given_legs l USING (n) LEFT JOIN stored_legs s USING (n)
     WHERE (g.effective_date, g.old_description, g.old_reference, g.reverses_entry_id, s.accounts, s.amounts)
           IS DISTINCT FROM (g.date, g.description, g.reference, g.reverses, l.accounts, l.amounts)
     ORDER BY g.n
$$;

CREATE FUNCTION ledger.raise_batch_shape() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', CONSTRAINT = 'batch_shape',
        MESSAGE = 'The columns of a batch differ in length, or a posting names an entry that is not in it.',
        HINT = 'Give one date (and text) a key, and one account and amount a posting.';
END $$;

-- Posts a batch: everything or nothing, a handful of statements whatever its size.
-- p_leg_entry holds 1-based positions in p_keys, ascending; an entry's postings get consecutive ids in that order:
-- entry n of the batch is (batch << 20) + n - 1, posting n likewise, so when all entries are new the caller knows
-- every id from batch_id alone. Where the caller allows it (p_by_key) the entries of a large new batch are numbered in
-- the order of their keys instead, and by_key says so: both indexes of the entries then grow in one order.
-- The plans are made once and serve any size (see the note in 020_rules.sql).
CREATE FUNCTION ledger.post_core(
    p_book_id int, p_module text, p_source_id bigint,
    p_keys text[], p_dates date[], p_descriptions text[], p_references text[], p_source_lines int[], p_reverses bigint[],
    p_leg_entry int[], p_leg_account int[], p_leg_amount bigint[], p_by_key boolean DEFAULT false,
    OUT batch_id bigint, OUT new_count int, OUT by_key boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan SET enable_nestloop = off SET enable_seqscan = off SET enable_bitmapscan = off AS $$
#variable_conflict use_column
DECLARE
    v_count int    := coalesce(cardinality(p_keys), 0);
    v_xid   xid8   := pg_current_xact_id();  -- before the id is drawn: settlement.batch_mark proves from it what has ended
    v_batch bigint := nextval('ledger.batch_id_seq');
    v_base  bigint := v_batch << 20;
    v_bad   record;
    v_legs  int    := cardinality(p_leg_entry);
    v_large boolean := v_legs >= 1000;
    v_block boolean := false;  -- several postings for each account: found by account in blocks (ADR 0010)
    v_start int[];  -- the first posting of each entry, when every entry has its own in order
    v_place int[];  -- the place of each entry in the order of keys, when that is how they are numbered
    v_accounts int[];
BEGIN
    PERFORM ledger.require_book(p_book_id);
    batch_id := v_batch;
    new_count := 0;
    by_key := false;
    IF v_count = 0 THEN RETURN; END IF;
    IF v_legs >= 1 << 20 OR v_count >= 1 << 20 THEN
        RAISE EXCEPTION USING ERRCODE = 'program_limit_exceeded', MESSAGE = 'A batch holds at most 1,048,575 postings.',
            HINT = 'Send several batches.';
    END IF;
    IF (cardinality(p_dates) = v_count AND array_position(p_dates, NULL) IS NULL
        AND coalesce(cardinality(p_descriptions), v_count) = v_count AND coalesce(cardinality(p_references), v_count) = v_count
        AND coalesce(cardinality(p_source_lines), v_count) = v_count AND coalesce(cardinality(p_reverses), v_count) = v_count
        AND cardinality(p_leg_account) = v_legs AND cardinality(p_leg_amount) = v_legs) IS NOT TRUE THEN
        PERFORM ledger.raise_batch_shape();
    END IF;

    -- Limited balances first, then keys, then the other balances, each in one order: so does everybody who posts, and
    -- two batches that share a key and a limited account cannot wait for each other in a ring.
    IF EXISTS (SELECT FROM ledger.balance b WHERE b.floor_minor IS NOT NULL OR b.ceiling_minor IS NOT NULL) THEN
        PERFORM FROM ledger.balance b WHERE b.account_id = ANY (p_leg_account) AND b.book_id = p_book_id
                                        AND (b.floor_minor IS NOT NULL OR b.ceiling_minor IS NOT NULL)
          ORDER BY b.account_id FOR NO KEY UPDATE;
    END IF;

    -- A batch is expected to be new, and its postings in order: plain inserts, in key order, so that a repeated
    -- file fails at once. Its columns of one width are read by position; a NULL would make each such read a search.
    IF num_nulls(array_position(p_leg_entry, NULL), array_position(p_leg_account, NULL), array_position(p_leg_amount, NULL)) = 3 THEN
        SELECT array_agg(n) FILTER (WHERE entry_n > before) INTO v_start
          FROM (SELECT n, p_leg_entry[n] AS entry_n, coalesce(p_leg_entry[n - 1], 0) AS before FROM generate_series(1, v_legs) AS g (n) OFFSET 0) l
        HAVING bool_and(entry_n - before IN (0, 1)) AND min(entry_n) = 1 AND max(entry_n) = v_count;
    END IF;
    IF v_start IS NOT NULL THEN
        v_start := v_start || v_legs + 1;
        v_accounts := p_leg_account;
        IF v_large THEN
            v_accounts := ARRAY(SELECT DISTINCT account FROM unnest(p_leg_account) AS l (account));
            v_block := v_legs >= 4 * cardinality(v_accounts);
        END IF;
        IF v_large AND p_by_key THEN
            SELECT array_agg(place ORDER BY n) INTO v_place
              FROM (SELECT n, row_number() OVER (ORDER BY key COLLATE "C")::int AS place FROM unnest(p_keys) WITH ORDINALITY AS k (key, n)) k;
        END IF;
        BEGIN
            WITH new_batch AS (
                INSERT INTO ledger.batch (batch_id, book_id, module, source_id, entry_count, posting_count, system_identifier)
                SELECT v_batch, p_book_id, p_module, p_source_id, v_count, v_legs, s.system_identifier
                  FROM pg_control_system() s),
            new_entry AS (
                INSERT INTO ledger.entry (entry_id, book_id, effective_date, posting_count, first_posting_id, reverses_entry_id, idempotency_key)
                SELECT v_base + coalesce(k.place, k.n) - 1, p_book_id, p_dates[k.n], v_start[k.n + 1] - v_start[k.n], v_base + v_start[k.n] - 1, k.reverses, k.key
                  FROM unnest(p_keys, p_reverses, v_place) WITH ORDINALITY AS k (key, reverses, place, n)
                 ORDER BY k.place, k.key COLLATE "C"),
            new_text AS (
                INSERT INTO ledger.entry_text (entry_id, description, reference, source_line)
                SELECT v_base + coalesce(t.place, t.n) - 1, t.description, t.reference, t.source_line
                  FROM unnest(p_descriptions, p_references, p_source_lines, v_place) WITH ORDINALITY AS t (description, reference, source_line, place, n)
                 WHERE (t.description, t.reference, t.source_line) IS DISTINCT FROM (NULL::text, NULL::text, NULL::int)),
            account AS MATERIALIZED (  -- in one pass over the index
                SELECT a.account_id, a.currency_id FROM ledger.account a
                 WHERE a.account_id = ANY (v_accounts))
            INSERT INTO ledger.posting (posting_id, entry_id, account_id, amount_minor, book_id, currency_id, effective_date, in_block)
            SELECT v_base + l.n - 1, v_base + coalesce(v_place[p_leg_entry[l.n]], p_leg_entry[l.n]) - 1, l.account, p_leg_amount[l.n], p_book_id, coalesce(a.currency_id, 0::smallint),
                   p_dates[p_leg_entry[l.n]], v_block
              FROM (SELECT n, p_leg_account[n] AS account FROM generate_series(1, v_legs) AS g (n) WHERE v_block
                    UNION ALL  -- only one of the two is carried out: without blocks, in the order of the index by account
                    (SELECT n, p_leg_account[n] AS account FROM generate_series(1, v_legs) AS g (n) WHERE NOT v_block ORDER BY 2, 1)) l
              LEFT JOIN account a ON a.account_id = l.account;
            new_count := v_count;
            by_key := v_place IS NOT NULL;
            RETURN;
        EXCEPTION
            WHEN unique_violation THEN NULL;  -- some key is taken: the careful way
            WHEN numeric_value_out_of_range THEN
                PERFORM ledger.raise_balance_range(p_book_id, p_leg_account, p_leg_amount);
                IF NOT v_block THEN RAISE; END IF;  -- else a block's total does not fit, though the balance does: without blocks
        END;
    ELSIF (SELECT min(n) < 1 OR max(n) > v_count FROM unnest(p_leg_entry) AS l (n)) THEN
        PERFORM ledger.raise_batch_shape();
    END IF;

    WITH leg AS MATERIALIZED (
        SELECT l.entry_n, l.account, l.amount, v_base + l.n - 1 AS posting_id
          FROM unnest(p_leg_entry, p_leg_account, p_leg_amount) WITH ORDINALITY AS l (entry_n, account, amount, n)),
    head AS (
        SELECT entry_n, min(posting_id) AS first_posting_id, count(*)::int AS posting_count FROM leg GROUP BY entry_n),
    account AS MATERIALIZED (  -- an unknown account gets no currency (0); the posting trigger says which it is
        SELECT a.account_id, a.currency_id FROM ledger.account a WHERE a.account_id = ANY (ARRAY(SELECT DISTINCT account FROM leg))),
    new_entry AS (
        INSERT INTO ledger.entry (entry_id, book_id, effective_date, posting_count, first_posting_id, reverses_entry_id, idempotency_key)
        SELECT v_base + k.n - 1, p_book_id, k.date, coalesce(h.posting_count, 0), coalesce(h.first_posting_id, v_base), k.reverses, k.key
          FROM unnest(p_keys, p_dates, p_reverses) WITH ORDINALITY AS k (key, date, reverses, n)
          LEFT JOIN head h ON h.entry_n = k.n
         ORDER BY k.key COLLATE "C"  -- everybody takes keys in one order: two batches with the same keys cannot deadlock
        ON CONFLICT ON CONSTRAINT entry_book_key DO NOTHING
        RETURNING entry_id, effective_date, posting_count),
    new_posting AS (
        INSERT INTO ledger.posting (posting_id, entry_id, account_id, amount_minor, book_id, currency_id, effective_date)
        SELECT l.posting_id, e.entry_id, l.account, l.amount, p_book_id, coalesce(a.currency_id, 0::smallint), e.effective_date
          FROM leg l JOIN new_entry e ON e.entry_id = v_base + l.entry_n - 1 LEFT JOIN account a ON a.account_id = l.account
         ORDER BY l.account, l.posting_id),  -- the order of the wider index
    new_text AS (
        INSERT INTO ledger.entry_text (entry_id, description, reference, source_line)
        SELECT e.entry_id, t.description, t.reference, t.source_line
          FROM unnest(p_descriptions, p_references, p_source_lines) WITH ORDINALITY AS t (description, reference, source_line, n)
          JOIN new_entry e ON e.entry_id = v_base + t.n - 1
         WHERE (t.description, t.reference, t.source_line) IS DISTINCT FROM (NULL::text, NULL::text, NULL::int)),
    new_batch AS (
        INSERT INTO ledger.batch (batch_id, book_id, module, source_id, entry_count, posting_count, system_identifier)
        SELECT v_batch, p_book_id, p_module, p_source_id, n.entries, n.postings, s.system_identifier
          FROM (SELECT count(*)::int AS entries, sum(posting_count)::int AS postings FROM new_entry) n, pg_control_system() s
         WHERE n.entries > 0)
    SELECT count(*) INTO new_count FROM new_entry;
    IF new_count = v_count THEN RETURN; END IF;

    -- Some keys were taken: same content is the original's answer, other content is a conflict.
    SELECT c.entry_ordinal, c.entry_id INTO v_bad
      FROM ledger.conflicting_keys(p_book_id, p_keys, p_dates, p_descriptions, p_references, p_reverses,
                                   p_leg_entry, p_leg_account, p_leg_amount) c LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'unique_violation', CONSTRAINT = 'idempotency_conflict', SCHEMA = 'ledger', TABLE = 'entry',
            MESSAGE = format('Key %s is taken by entry %s with other content.', p_keys[v_bad.entry_ordinal], v_bad.entry_id),
            HINT = 'Use a new key for a new entry; a retry must repeat the same content.';
    END IF;
END $$;

-- The same, with the entry of every key: the new one, or the original; and with the dates of a module's entries on
-- certified cash days moved (042_certified_days.sql).
CREATE FUNCTION ledger.post_internal(
    p_book_id int, p_module text, p_source_id bigint,
    p_keys text[], p_dates date[], p_descriptions text[], p_references text[], p_source_lines int[], p_reverses bigint[],
    p_leg_entry int[], p_leg_account int[], p_leg_amount bigint[])
RETURNS TABLE (entry_ordinal int, entry_id bigint, first_posting_id bigint, is_new boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan SET enable_nestloop = off SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    v_done  record;
    v_moved date[];
BEGIN
    IF p_module <> 'recon' THEN
        v_moved := ledger.dates_after_certificates(p_book_id, p_keys, p_dates, p_leg_entry, p_leg_account);
    END IF;
    SELECT * INTO v_done FROM ledger.post_core(p_book_id, p_module, p_source_id, p_keys, coalesce(v_moved, p_dates), p_descriptions, p_references,
                                               p_source_lines, p_reverses, p_leg_entry, p_leg_account, p_leg_amount);
    IF v_moved IS NOT NULL THEN
        INSERT INTO ledger.entry_moved (entry_id, book_id, meant_date)
        SELECT e.entry_id, p_book_id, k.meant
          FROM unnest(p_dates, v_moved) WITH ORDINALITY AS k (meant, date, n)
         CROSS JOIN LATERAL (SELECT e.entry_id FROM ledger.entry e WHERE e.entry_id = (v_done.batch_id << 20) + k.n - 1 LIMIT 1) e
         WHERE k.meant <> k.date;
    END IF;
    IF v_done.new_count = cardinality(p_keys) THEN
        RETURN QUERY
        SELECT l.entry_n, (v_done.batch_id << 20) + l.entry_n - 1, (v_done.batch_id << 20) + min(l.n) - 1, true
          FROM unnest(p_leg_entry) WITH ORDINALITY AS l (entry_n, n) GROUP BY l.entry_n ORDER BY l.entry_n;
    ELSE
        RETURN QUERY
        SELECT k.n::int, e.entry_id, e.first_posting_id, e.entry_id = (v_done.batch_id << 20) + k.n - 1
          FROM unnest(p_keys) WITH ORDINALITY AS k (key, n)
         CROSS JOIN LATERAL (SELECT * FROM ledger.entry e WHERE e.book_id = p_book_id AND e.idempotency_key = k.key LIMIT 1) e
         ORDER BY k.n;
    END IF;
END $$;

-- Says which balance these postings would take beyond 64 bits; a hot account's is looked at in all its places.
CREATE FUNCTION ledger.raise_balance_range(p_book_id int, p_leg_account int[], p_leg_amount bigint[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
    v_code text := (
        SELECT a.code FROM (SELECT l.account, sum(l.amount) AS delta FROM unnest(p_leg_account, p_leg_amount) AS l (account, amount) GROUP BY 1) d
          JOIN ledger.account a ON a.account_id = d.account AND a.book_id = p_book_id JOIN ledger.balance b USING (account_id)
         WHERE abs(b.posted_minor + ledger.hot_minor(a.account_id) + d.delta) > 9223372036854775807 ORDER BY a.account_id LIMIT 1);
BEGIN
    IF v_code IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'numeric_value_out_of_range', CONSTRAINT = 'balance_range', SCHEMA = 'ledger', TABLE = 'balance',
            MESSAGE = format('The balance of account %s would not fit in 64 bits of minor units.', v_code),
            HINT = 'Keep it in several accounts, or in a currency with fewer decimals.';
    END IF;
END $$;

-- What callers may use: the same without a module, so control accounts refuse. post_counted answers with numbers
-- only, for batches of which the caller computes the ids: those of entries from their positions in the batch, or, where
-- by_key says so, from their places in the order of keys (by bytes).
CREATE FUNCTION ledger.post_batch(
    p_book_id int, p_source_id bigint,
    p_keys text[], p_dates date[], p_descriptions text[], p_references text[], p_source_lines int[],
    p_leg_entry int[], p_leg_account int[], p_leg_amount bigint[])
RETURNS TABLE (entry_ordinal int, entry_id bigint, first_posting_id bigint, is_new boolean)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT * FROM ledger.post_internal(p_book_id, NULL, p_source_id, p_keys, p_dates, p_descriptions, p_references,
                                       p_source_lines, NULL, p_leg_entry, p_leg_account, p_leg_amount)
$$;

CREATE FUNCTION ledger.post_counted(
    p_book_id int, p_source_id bigint,
    p_keys text[], p_dates date[], p_descriptions text[], p_references text[], p_source_lines int[],
    p_leg_entry int[], p_leg_account int[], p_leg_amount bigint[], OUT batch_id bigint, OUT new_count int, OUT by_key boolean)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT c.batch_id, c.new_count, c.by_key
      FROM ledger.post_core(p_book_id, NULL, p_source_id, p_keys, p_dates, p_descriptions, p_references,
                            p_source_lines, NULL, p_leg_entry, p_leg_account, p_leg_amount, true) c
$$;

-- Reverses one entry whole, on a date in an open period. Key: reverse:<key>. Again: the same reversal.
CREATE FUNCTION ledger.reverse_internal(p_book_id int, p_module text, p_key text, p_date date, p_reason text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_entry ledger.entry;
BEGIN
    -- One at a time, so that the second finds the first one's reversal.
    SELECT * INTO v_entry FROM ledger.entry WHERE book_id = p_book_id AND idempotency_key = p_key FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', CONSTRAINT = 'entry_known',
            MESSAGE = format('There is no entry with key %s.', p_key);
    END IF;
    RETURN (SELECT r.entry_id FROM (SELECT array_agg(account_id ORDER BY posting_id) AS accounts,
                                           array_agg(-amount_minor ORDER BY posting_id) AS amounts FROM ledger.posting
                                     WHERE posting_id BETWEEN v_entry.first_posting_id
                                                          AND v_entry.first_posting_id + v_entry.posting_count - 1) p,
              ledger.post_internal(p_book_id, p_module, NULL, ARRAY['reverse:' || p_key], ARRAY[p_date], ARRAY[p_reason], ARRAY[p_key],
                  NULL, ARRAY[v_entry.entry_id], array_fill(1, ARRAY[v_entry.posting_count]), p.accounts, p.amounts) r);
END $$;

CREATE FUNCTION ledger.reverse(p_book_id int, p_key text, p_date date, p_reason text) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT ledger.require_book(p_book_id);
    SELECT ledger.reverse_internal(p_book_id, NULL, p_key, p_date, p_reason)
$$;

GRANT EXECUTE ON FUNCTION ledger.book_currency, ledger.define_book, ledger.open_accounts, ledger.define_account_rules,
    ledger.record_source, ledger.conflicting_keys, ledger.post_batch, ledger.post_counted, ledger.reverse TO :app;
