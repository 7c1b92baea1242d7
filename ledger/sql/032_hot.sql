-- Hot accounts: where a post writes when many write at once. strict: the balance row. sharded: one of n rows, by
-- connection. deferred: a row of its own for each batch, folded into the balance row later, up to a published seq.
-- Only accounts without a limit, not settleable and outside control may leave strict: the balance row of the others is
-- read under its lock. A balance is always the sum of all three places (ledger.hot_minor); every post and every change
-- of mode decide under one lock (the book's row), so no post writes where it is not looked for.

CREATE TABLE ledger.account_mode (
    mode_no    bigint   GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id int      NOT NULL REFERENCES ledger.account,
    mode       text     NOT NULL,
    shards     smallint NOT NULL,
    set_by     name     NOT NULL DEFAULT session_user,
    set_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT account_mode_shards CHECK (
        (mode IN ('strict', 'deferred') AND shards = 0) OR (mode = 'sharded' AND shards BETWEEN 2 AND 64))
);
COMMENT ON TABLE ledger.account_mode IS 'Each change of an account''s mode; the latest is repeated on its balance row.';

CREATE TABLE ledger.balance_shard (
    account_id   int      NOT NULL,
    shard_no     smallint NOT NULL,
    book_id      int      NOT NULL,
    posted_minor bigint   NOT NULL DEFAULT 0,
    PRIMARY KEY (account_id, shard_no)
) WITH (fillfactor = 10);  -- few rows, each updated by one connection at a time: a page of its own for most
CREATE TABLE ledger.balance_pending (
    account_id   int    NOT NULL,
    batch_id     bigint NOT NULL,
    book_id      int    NOT NULL,
    posted_minor bigint NOT NULL,
    PRIMARY KEY (account_id, batch_id)
);
CREATE TABLE ledger.balance_fold (
    fold_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    through_seq bigint NOT NULL,
    folded_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    folded_by   name   NOT NULL DEFAULT session_user
);
COMMENT ON TABLE ledger.balance_fold IS
    'The balance rows of deferred accounts hold every batch published up to the last through_seq; later ones are pending.';
SELECT ledger.make_append_only(t) FROM unnest(ARRAY['ledger.account_mode', 'ledger.balance_fold']::regclass[]) t;
CREATE TRIGGER balance_by_posting BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON ledger.balance_shard
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.guard_balance();
ALTER TABLE ledger.balance_shard ENABLE ALWAYS TRIGGER balance_by_posting;
CREATE TRIGGER balance_by_posting BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON ledger.balance_pending
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.guard_balance();
ALTER TABLE ledger.balance_pending ENABLE ALWAYS TRIGGER balance_by_posting;

-- What an account's balance has outside its balance row.
CREATE FUNCTION ledger.hot_minor(p_account_id int) RETURNS numeric
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce((SELECT sum(s.posted_minor) FROM ledger.balance_shard s WHERE s.account_id = p_account_id), 0)
         + coalesce((SELECT sum(p.posted_minor) FROM ledger.balance_pending p WHERE p.account_id = p_account_id), 0)
$$;

-- Moves the hot ones among a batch's accounts; the number moved. After the balance rows, in order (see
-- ledger.fold_into_balances). A connection keeps to one shard, so its transactions take no two of an account.
CREATE FUNCTION ledger.move_hot(p_batch_id bigint, p_book_id int, p_accounts int[], p_deltas numeric[], p_currencies int[]) RETURNS int
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
    v_accounts int[]; v_deltas numeric[]; v_shards int[]; v_sharded int; v_deferred int;
BEGIN
    SELECT array_agg(b.account_id ORDER BY b.account_id), array_agg(d.delta ORDER BY b.account_id), array_agg(b.shards::int ORDER BY b.account_id)
      INTO v_accounts, v_deltas, v_shards
      FROM (SELECT * FROM ledger.balance b WHERE b.account_id = ANY (p_accounts) AND b.mode <> 'strict' OFFSET 0) b
      JOIN unnest(p_accounts, p_deltas, p_currencies) AS d (account_id, delta, currency_id) USING (account_id)
     WHERE b.book_id = p_book_id AND b.account_currency_id = d.currency_id;
    UPDATE ledger.balance_shard s SET posted_minor = s.posted_minor + d.delta
      FROM unnest(v_accounts, v_deltas, v_shards) AS d (account_id, delta, shards)
     WHERE d.shards > 0 AND s.account_id = d.account_id AND s.shard_no = pg_backend_pid() % nullif(d.shards, 0);
    GET DIAGNOSTICS v_sharded = ROW_COUNT;
    INSERT INTO ledger.balance_pending (account_id, batch_id, book_id, posted_minor)
    SELECT d.account_id, p_batch_id, p_book_id, d.delta
      FROM unnest(v_accounts, v_deltas, v_shards) AS d (account_id, delta, shards) WHERE d.shards = 0;
    GET DIAGNOSTICS v_deferred = ROW_COUNT;
    RETURN v_sharded + v_deferred;
END $$;

-- A new mode takes what is outside into the balance row: nobody of the book posts meanwhile.
CREATE FUNCTION ledger.apply_mode() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_account ledger.account;
BEGIN
    PERFORM ledger.require_read_committed();
    SELECT * INTO v_account FROM ledger.account WHERE account_id = NEW.account_id;
    PERFORM FROM ledger.book WHERE book_id = v_account.book_id FOR UPDATE;
    IF NEW.mode <> 'strict' AND (v_account.settleable
        OR (v_account.floor_minor, v_account.ceiling_minor, v_account.control) IS DISTINCT FROM (NULL::bigint, NULL::bigint, NULL::text)) THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'balance_hot_unconstrained', SCHEMA = 'ledger', TABLE = 'account_mode',
            MESSAGE = format('Account %s has a floor or a ceiling, is settleable or a control account: its balance is read under lock, so it stays strict.', v_account.code),
            HINT = 'Leave it strict, or post through an account without limits.';
    END IF;
    PERFORM FROM ledger.balance WHERE account_id = NEW.account_id FOR NO KEY UPDATE;
    UPDATE ledger.balance SET posted_minor = posted_minor + ledger.hot_minor(NEW.account_id), mode = NEW.mode, shards = NEW.shards
     WHERE account_id = NEW.account_id;
    DELETE FROM ledger.balance_pending WHERE account_id = NEW.account_id;
    DELETE FROM ledger.balance_shard WHERE account_id = NEW.account_id;
    INSERT INTO ledger.balance_shard (account_id, shard_no, book_id) SELECT NEW.account_id, n, v_account.book_id FROM generate_series(0, NEW.shards - 1) AS g (n);
    RETURN NULL;
END $$;
CREATE TRIGGER apply_mode AFTER INSERT ON ledger.account_mode FOR EACH ROW EXECUTE FUNCTION ledger.apply_mode();
ALTER TABLE ledger.account_mode ENABLE ALWAYS TRIGGER apply_mode;

-- Sets modes by account code (shards: of a sharded account, else NULL); what is so already stays. The number changed.
CREATE FUNCTION ledger.set_account_modes(p_book_id int, p_codes text[], p_modes text[], p_shards int[]) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_bad text; v_changed int;
BEGIN
    PERFORM ledger.require_book(p_book_id);
    SELECT g.code INTO v_bad FROM unnest(p_codes) AS g (code)
     WHERE NOT EXISTS (SELECT FROM ledger.account a WHERE a.book_id = p_book_id AND a.code = g.code) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'posting_account',
            MESSAGE = format('Account %s does not exist in this book.', v_bad), HINT = 'Open the account first.';
    END IF;
    PERFORM FROM unnest(p_codes, p_modes, p_shards) AS g (code, mode, shards)
       JOIN ledger.account a ON a.book_id = p_book_id AND a.code = g.code JOIN ledger.balance b ON b.account_id = a.account_id
      WHERE (b.mode, b.shards) IS DISTINCT FROM (g.mode, coalesce(g.shards, 0)::smallint);
    IF NOT FOUND THEN RETURN 0; END IF;
    PERFORM ledger.lock_book(p_book_id);  -- two who change the same: the second finds it done
    INSERT INTO ledger.account_mode (account_id, mode, shards)
    SELECT a.account_id, g.mode, coalesce(g.shards, 0)
      FROM unnest(p_codes, p_modes, p_shards) AS g (code, mode, shards)
      JOIN ledger.account a ON a.book_id = p_book_id AND a.code = g.code JOIN ledger.balance b ON b.account_id = a.account_id
     WHERE (b.mode, b.shards) IS DISTINCT FROM (g.mode, coalesce(g.shards, 0)::smallint)
     ORDER BY a.account_id;
    GET DIAGNOSTICS v_changed = ROW_COUNT;
    RETURN v_changed;
END $$;

-- Takes what is pending of published batches into the balance rows.
CREATE FUNCTION ledger.apply_fold() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM ledger.require_read_committed();
    PERFORM FROM ledger.balance b WHERE b.mode = 'deferred' ORDER BY b.account_id FOR NO KEY UPDATE;
    WITH gone AS (
        DELETE FROM ledger.balance_pending p USING ledger.batch_seq s
         WHERE s.batch_id = p.batch_id AND s.last_seq <= NEW.through_seq RETURNING p.account_id, p.posted_minor)
    UPDATE ledger.balance b SET posted_minor = b.posted_minor + g.total
      FROM (SELECT account_id, sum(posted_minor) AS total FROM gone GROUP BY account_id) g WHERE b.account_id = g.account_id;
    RETURN NULL;
END $$;
CREATE TRIGGER apply_fold AFTER INSERT ON ledger.balance_fold FOR EACH ROW EXECUTE FUNCTION ledger.apply_fold();
ALTER TABLE ledger.balance_fold ENABLE ALWAYS TRIGGER apply_fold;

-- The seq through which deferred balances are folded now; does nothing where nothing published is pending.
CREATE FUNCTION ledger.fold_deferred() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO ledger.balance_fold (through_seq)
    SELECT max(p.last_seq) FROM ledger.publication p
    HAVING EXISTS (SELECT FROM ledger.balance_pending d JOIN ledger.batch_seq s USING (batch_id));
    RETURN (SELECT coalesce(max(through_seq), 0) FROM ledger.balance_fold);
END $$;

CREATE VIEW ledger.hot_account AS
SELECT b.book_id, b.account_id, a.code, b.mode, b.shards, m.set_by, m.set_at, b.posted_minor AS folded_minor,
       coalesce((SELECT sum(o.posted_minor) FROM (
            SELECT s.posted_minor FROM ledger.balance_shard s WHERE s.account_id = b.account_id
            UNION ALL SELECT p.posted_minor FROM ledger.balance_pending p WHERE p.account_id = b.account_id) o), 0)::bigint AS outside_minor,
       (SELECT count(*) FROM ledger.balance_pending p WHERE p.account_id = b.account_id) AS pending_batches,
       (SELECT max(f.through_seq) FROM ledger.balance_fold f WHERE b.mode = 'deferred') AS folded_through_seq
  FROM ledger.balance b JOIN ledger.account a USING (account_id)
  LEFT JOIN LATERAL (SELECT * FROM ledger.account_mode m WHERE m.account_id = b.account_id ORDER BY m.mode_no DESC LIMIT 1) m ON true
 WHERE b.mode <> 'strict';
COMMENT ON VIEW ledger.hot_account IS 'Accounts that are not strict; their balance is folded_minor + outside_minor, always.';

-- Broken rules of modes, for ledger.verify: a balance row says what its account and the latest mode say, and strict
-- accounts have nothing outside.
CREATE FUNCTION ledger.verify_balance_rows(p_book_id int) RETURNS TABLE (invariant int, place text, fault text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT 5, 'account ' || a.code, 'its balance row has another book, side, currency, control or limits than the account'
      FROM ledger.account a JOIN ledger.balance b USING (account_id)
     WHERE a.book_id = p_book_id AND (a.book_id, a.normal_side, a.currency_id, a.control, a.floor_minor, a.ceiling_minor)
           IS DISTINCT FROM (b.book_id, b.normal_side, b.account_currency_id, b.control, b.floor_minor, b.ceiling_minor)
    UNION ALL
    SELECT 4, 'account ' || a.code, format('posts as %s, was set to %s', b.mode, coalesce(m.mode, 'strict'))
      FROM ledger.account a JOIN ledger.balance b USING (account_id)
      LEFT JOIN LATERAL (SELECT * FROM ledger.account_mode m WHERE m.account_id = a.account_id ORDER BY m.mode_no DESC LIMIT 1) m ON true
     WHERE a.book_id = p_book_id AND (b.mode, b.shards) IS DISTINCT FROM (coalesce(m.mode, 'strict'), coalesce(m.shards, 0::smallint))
    UNION ALL
    SELECT 4, 'account ' || a.code, format('is %s but has %s outside its balance row', b.mode, ledger.hot_minor(a.account_id))
      FROM ledger.account a JOIN ledger.balance b USING (account_id)
     WHERE a.book_id = p_book_id AND b.mode = 'strict'
       AND (EXISTS (SELECT FROM ledger.balance_shard s WHERE s.account_id = a.account_id)
            OR EXISTS (SELECT FROM ledger.balance_pending p WHERE p.account_id = a.account_id))
$$;

GRANT SELECT ON ledger.account_mode, ledger.balance_shard, ledger.balance_pending, ledger.balance_fold, ledger.hot_account TO :app;
GRANT SELECT ON ledger.hot_account TO :analyst;
GRANT EXECUTE ON FUNCTION ledger.set_account_modes, ledger.fold_deferred TO :app;
