-- Holds (two-phase): reserve now; later post in full or part, void, or expire. Invariants 5 and 6.
-- A hold counts against the floor until its one resolution commits. Both tables only grow; who holds how much is
-- `balance.held_minor`, moved by the triggers of this file alone.

CREATE TABLE ledger.hold (
    hold_id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    book_id         int    NOT NULL,
    account_id      int    NOT NULL,
    amount_minor    bigint NOT NULL,
    idempotency_key text   COLLATE "C" NOT NULL,
    expires_at      timestamptz,
    reference       text,
    placed_by       name   NOT NULL DEFAULT session_user,
    recorded_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT hold_book_key UNIQUE (book_id, idempotency_key),
    CONSTRAINT hold_key_given CHECK (idempotency_key <> ''),
    CONSTRAINT hold_amount_positive CHECK (amount_minor > 0)
);
CREATE INDEX hold_account ON ledger.hold (account_id, hold_id);
CREATE INDEX hold_due ON ledger.hold (book_id, expires_at, hold_id) WHERE expires_at IS NOT NULL;
COMMENT ON TABLE ledger.hold IS 'Reservations: amount_minor of the account''s normal side is not available until resolved.';
COMMENT ON COLUMN ledger.hold.expires_at IS 'Business time from which the hold can only expire or be voided; NULL: never expires.';

CREATE TABLE ledger.hold_resolution (
    hold_id      bigint NOT NULL,
    book_id      int    NOT NULL,
    kind         text   NOT NULL CHECK (kind IN ('posted', 'voided', 'expired')),
    held_minor   bigint NOT NULL,
    posted_minor bigint NOT NULL DEFAULT 0,
    entry_key    text   COLLATE "C",
    at           timestamptz NOT NULL,
    resolved_by  name   NOT NULL DEFAULT session_user,
    recorded_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT hold_resolved_once PRIMARY KEY (hold_id),
    CONSTRAINT hold_posted_within CHECK (posted_minor BETWEEN 0 AND held_minor),
    CONSTRAINT hold_posted_by_entry CHECK ((kind = 'posted') = (posted_minor > 0) AND (kind = 'posted') = (entry_key IS NOT NULL))
);
CREATE INDEX hold_resolution_entry ON ledger.hold_resolution (book_id, entry_key) WHERE entry_key IS NOT NULL;
COMMENT ON TABLE ledger.hold_resolution IS 'How each hold ended: posted by an entry (what is not posted is released), voided or expired.';
COMMENT ON COLUMN ledger.hold_resolution.at IS 'Business time of the decision, given by the caller.';
COMMENT ON CONSTRAINT hold_resolved_once ON ledger.hold_resolution IS 'Invariant 6: a hold resolves at most once.';
COMMENT ON CONSTRAINT hold_posted_within ON ledger.hold_resolution IS 'Invariant 6: what is posted is at most what was held.';

SELECT ledger.make_append_only('ledger.hold');
SELECT ledger.make_append_only('ledger.hold_resolution');

-- Invariant 5. The CHECK on the table is the rule; looking before serves the sentence.
CREATE FUNCTION ledger.move_held(p_accounts int[], p_deltas numeric[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_nestloop = on AS $$
DECLARE
    v_bad record;
BEGIN
    PERFORM ledger.lock_balances(p_accounts);
    SELECT a.code, d.delta, b.normal_side * b.posted_minor::numeric - b.held_minor - b.floor_minor AS available INTO v_bad
      FROM unnest(p_accounts, p_deltas) AS d (account_id, delta)
      JOIN ledger.balance b USING (account_id) JOIN ledger.account a USING (account_id)
     WHERE d.delta > 0 AND b.normal_side * b.posted_minor::numeric - b.held_minor - d.delta < b.floor_minor
     ORDER BY d.account_id LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'balance_floor', SCHEMA = 'ledger', TABLE = 'balance',
            MESSAGE = format('Account %s has %s minor units available above its floor; a hold of %s does not fit.', v_bad.code, v_bad.available, v_bad.delta),
            HINT = 'Hold less, fund the account, or resolve other holds first.';
    END IF;
    UPDATE ledger.balance b SET held_minor = b.held_minor + d.delta
      FROM unnest(p_accounts, p_deltas) AS d (account_id, delta) WHERE b.account_id = d.account_id;
END $$;

CREATE FUNCTION ledger.admit_holds() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_bad record;
BEGIN
    PERFORM ledger.require_read_committed();
    SELECT h.idempotency_key, h.account_id, a.code INTO v_bad
      FROM new_hold h LEFT JOIN ledger.account a ON a.account_id = h.account_id AND a.book_id = h.book_id
     WHERE a.account_id IS NULL OR a.control IS NOT NULL ORDER BY h.hold_id LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'hold_on_account', SCHEMA = 'ledger', TABLE = 'hold',
            MESSAGE = CASE WHEN v_bad.code IS NULL
                THEN format('Hold %s: account %s does not exist in this book.', v_bad.idempotency_key, v_bad.account_id)
                ELSE format('Hold %s: account %s is a control account, whose money is not held.', v_bad.idempotency_key, v_bad.code) END,
            HINT = 'Hold on an account of the book that is no control account.';
    END IF;
    PERFORM ledger.move_held(array_agg(g.account_id ORDER BY g.account_id), array_agg(g.total ORDER BY g.account_id))
       FROM (SELECT account_id, sum(amount_minor) AS total FROM new_hold GROUP BY account_id) g HAVING count(*) > 0;
    RETURN NULL;
END $$;
CREATE TRIGGER admit_holds AFTER INSERT ON ledger.hold
    REFERENCING NEW TABLE AS new_hold FOR EACH STATEMENT EXECUTE FUNCTION ledger.admit_holds();
ALTER TABLE ledger.hold ENABLE ALWAYS TRIGGER admit_holds;

CREATE FUNCTION ledger.admit_resolutions() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_bad record;
BEGIN
    PERFORM ledger.require_read_committed();
    SELECT r.hold_id, r.kind, r.at, h.idempotency_key, h.expires_at,
           (h.book_id, h.amount_minor) IS DISTINCT FROM (r.book_id, r.held_minor) AS differs INTO v_bad
      FROM new_resolution r LEFT JOIN ledger.hold h USING (hold_id)
     WHERE (h.book_id, h.amount_minor) IS DISTINCT FROM (r.book_id, r.held_minor)
        OR (r.kind = 'posted' AND r.at >= h.expires_at) OR (r.kind = 'expired' AND (r.at >= h.expires_at) IS NOT TRUE)
     ORDER BY r.hold_id LIMIT 1;
    IF v_bad.differs THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'hold_exists', SCHEMA = 'ledger', TABLE = 'hold_resolution',
            MESSAGE = format('There is no hold %s of this amount in this book.', coalesce(v_bad.idempotency_key, v_bad.hold_id::text));
    ELSIF v_bad.kind = 'posted' THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'hold_expired', SCHEMA = 'ledger', TABLE = 'hold_resolution',
            MESSAGE = format('Hold %s expired at %s and cannot be posted at %s.', v_bad.idempotency_key, v_bad.expires_at, v_bad.at),
            HINT = 'Place a new hold, or post without one.';
    ELSIF v_bad.kind = 'expired' THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'hold_not_due', SCHEMA = 'ledger', TABLE = 'hold_resolution',
            MESSAGE = format('Hold %s does not expire at %s (%s).', v_bad.idempotency_key, v_bad.at, coalesce('it expires at ' || v_bad.expires_at, 'it never expires')),
            HINT = 'Void it instead.';
    END IF;
    PERFORM ledger.move_held(array_agg(g.account_id ORDER BY g.account_id), array_agg(g.total ORDER BY g.account_id))
       FROM (SELECT h.account_id, -sum(r.held_minor) AS total FROM new_resolution r JOIN ledger.hold h USING (hold_id) GROUP BY h.account_id) g
     HAVING count(*) > 0;
    RETURN NULL;
END $$;
CREATE TRIGGER admit_resolutions AFTER INSERT ON ledger.hold_resolution
    REFERENCING NEW TABLE AS new_resolution FOR EACH STATEMENT EXECUTE FUNCTION ledger.admit_resolutions();
ALTER TABLE ledger.hold_resolution ENABLE ALWAYS TRIGGER admit_resolutions;

-- The release comes before its entry (else the floor would count the money twice), so that the entry is there, of
-- this transaction, and draws from the account just what its holds post, is looked at afterwards: at the latest
-- in COMMIT.
CREATE FUNCTION ledger.check_hold_posting() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
    v_posted numeric; v_drawn numeric;
    v_account int := (SELECT account_id FROM ledger.hold WHERE hold_id = NEW.hold_id);
BEGIN
    SELECT sum(r.posted_minor) INTO v_posted FROM ledger.hold_resolution r JOIN ledger.hold h USING (hold_id)
     WHERE r.book_id = NEW.book_id AND r.entry_key = NEW.entry_key AND h.account_id = v_account;
    SELECT -sum(p.amount_minor) * (SELECT normal_side FROM ledger.account WHERE account_id = v_account) INTO v_drawn
      FROM ledger.entry e JOIN ledger.batch b ON b.batch_id = e.entry_id >> 20 AND b.xid = pg_current_xact_id()
      JOIN ledger.posting p ON p.posting_id BETWEEN e.first_posting_id AND e.first_posting_id + e.posting_count - 1
     WHERE e.book_id = NEW.book_id AND e.idempotency_key = NEW.entry_key AND p.account_id = v_account;
    IF v_drawn IS DISTINCT FROM v_posted THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'hold_posting', SCHEMA = 'ledger', TABLE = 'hold_resolution',
            MESSAGE = format('Entry %s draws %s minor units from account %s in this transaction, its holds post %s.', NEW.entry_key,
                             coalesce(v_drawn::text, 'no'), (SELECT code FROM ledger.account WHERE account_id = v_account), v_posted),
            HINT = 'Post a hold with ledger.post_holds, by a new entry that takes just the posted amount from the held account.';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER check_hold_posting AFTER INSERT ON ledger.hold_resolution
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.kind = 'posted') EXECUTE FUNCTION ledger.check_hold_posting();
ALTER TABLE ledger.hold_resolution ENABLE ALWAYS TRIGGER check_hold_posting;

-- Reserves a batch of holds, all or none. Again, with the same content: the same holds.
CREATE FUNCTION ledger.place_holds(
    p_book_id int, p_keys text[], p_accounts int[], p_amounts bigint[], p_expires timestamptz[], p_references text[])
RETURNS TABLE (hold_ordinal int, hold_id bigint, is_new boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    v_count int := coalesce(cardinality(p_keys), 0);
    v_new   bigint[];
    v_bad   text;
BEGIN
    PERFORM ledger.require_book(p_book_id);
    IF (cardinality(p_accounts) = v_count AND cardinality(p_amounts) = v_count AND coalesce(cardinality(p_expires), v_count) = v_count
        AND coalesce(cardinality(p_references), v_count) = v_count) IS NOT TRUE THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', CONSTRAINT = 'batch_shape',
            MESSAGE = 'The columns of a batch of holds differ in length.', HINT = 'Give one account and amount a key.';
    END IF;
    WITH placed AS (
        INSERT INTO ledger.hold (book_id, account_id, amount_minor, idempotency_key, expires_at, reference)
        SELECT p_book_id, g.account, g.amount, g.key, g.expires, g.reference
          FROM unnest(p_keys, p_accounts, p_amounts, p_expires, p_references) WITH ORDINALITY AS g (key, account, amount, expires, reference, n)
         ORDER BY g.key COLLATE "C", g.n
        ON CONFLICT ON CONSTRAINT hold_book_key DO NOTHING
        RETURNING hold_id)
    SELECT array_agg(p.hold_id) INTO v_new FROM placed p;

    SELECT g.key INTO v_bad
      FROM unnest(p_keys, p_accounts, p_amounts, p_expires, p_references) WITH ORDINALITY AS g (key, account, amount, expires, reference, n)
     CROSS JOIN LATERAL (SELECT * FROM ledger.hold h WHERE h.book_id = p_book_id AND h.idempotency_key = g.key LIMIT 1) h
     WHERE (h.account_id, h.amount_minor, h.expires_at, h.reference) IS DISTINCT FROM (g.account, g.amount, g.expires, g.reference)
     ORDER BY g.n LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'unique_violation', CONSTRAINT = 'hold_conflict', SCHEMA = 'ledger', TABLE = 'hold',
            MESSAGE = format('Key %s is taken by a hold with other content.', v_bad),
            HINT = 'Use a new key for a new hold; a retry must repeat the same content.';
    END IF;
    RETURN QUERY
    SELECT k.n::int, h.hold_id, w.hold_id IS NOT NULL AND k.n = min(k.n) OVER (PARTITION BY k.key)
      FROM unnest(p_keys) WITH ORDINALITY AS k (key, n)
     CROSS JOIN LATERAL (SELECT h.hold_id FROM ledger.hold h WHERE h.book_id = p_book_id AND h.idempotency_key = k.key LIMIT 1) h
      LEFT JOIN unnest(v_new) AS w (hold_id) ON w.hold_id = h.hold_id
     ORDER BY k.n;
END $$;

-- Locks holds in one order by everybody who resolves them; refuses a key that is no hold.
CREATE FUNCTION ledger.lock_holds(p_book_id int, p_keys text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
    v_bad text;
BEGIN
    PERFORM ledger.require_read_committed();
    PERFORM FROM ledger.hold h WHERE h.book_id = p_book_id AND h.idempotency_key = ANY (p_keys) ORDER BY h.hold_id FOR NO KEY UPDATE;
    SELECT g.key INTO v_bad FROM unnest(p_keys) WITH ORDINALITY AS g (key, n)
     WHERE NOT EXISTS (SELECT FROM ledger.hold h WHERE h.book_id = p_book_id AND h.idempotency_key = g.key) ORDER BY g.n LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'hold_exists', SCHEMA = 'ledger', TABLE = 'hold',
            MESSAGE = format('There is no hold with key %s.', v_bad);
    END IF;
END $$;

CREATE FUNCTION ledger.raise_resolved(p_key text, p_kind text, p_entry_key text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'unique_violation', CONSTRAINT = 'hold_resolved_once', SCHEMA = 'ledger', TABLE = 'hold_resolution',
        MESSAGE = format('Hold %s is %s already%s.', p_key, p_kind, coalesce(' by entry ' || p_entry_key, ''));
END $$;

-- Resolves the open ones among holds, those on accounts of p_limited or the others; gives the entries that post them.
CREATE FUNCTION ledger.resolve_posted(
    p_book_id int, p_at timestamptz, p_holds text[], p_posted bigint[], p_hold_entries int[], p_keys text[], p_limited int[], p_of_limited boolean)
RETURNS int[]
LANGUAGE sql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
    WITH resolved AS (
        INSERT INTO ledger.hold_resolution (hold_id, book_id, kind, held_minor, posted_minor, entry_key, at)
        SELECT h.hold_id, p_book_id, 'posted', h.amount_minor, coalesce(g.posted, h.amount_minor), p_keys[g.entry_n], p_at
          FROM unnest(p_holds, p_posted, p_hold_entries) AS g (key, posted, entry_n)
          JOIN ledger.hold h ON h.book_id = p_book_id AND h.idempotency_key = g.key AND (h.account_id = ANY (p_limited)) = p_of_limited
         WHERE NOT EXISTS (SELECT FROM ledger.hold_resolution r WHERE r.hold_id = h.hold_id)
         ORDER BY h.hold_id
        RETURNING entry_key)
    SELECT coalesce(array_agg(DISTINCT k.n::int), '{}') FROM resolved JOIN unnest(p_keys) WITH ORDINALITY AS k (key, n) ON k.key = entry_key
$$;

-- Posts holds: hold p_holds[i] by entry p_keys[p_hold_entries[i]], p_posted[i] of it (NULL: all); the rest is
-- released. The entries come as in post_internal. Again: the original entries.
CREATE FUNCTION ledger.post_holds_internal(
    p_book_id int, p_module text, p_source_id bigint, p_at timestamptz, p_holds text[], p_posted bigint[], p_hold_entries int[],
    p_keys text[], p_dates date[], p_descriptions text[], p_references text[],
    p_leg_entry int[], p_leg_account int[], p_leg_amount bigint[])
RETURNS TABLE (entry_ordinal int, entry_id bigint, first_posting_id bigint, is_new boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    v_bad record;
    v_old text;
    v_entries bigint[]; v_firsts bigint[]; v_new boolean[];
    v_limited int[]; v_fresh int[];
BEGIN
    IF (cardinality(p_posted) = cardinality(p_holds) AND cardinality(p_hold_entries) = cardinality(p_holds)
        AND (SELECT coalesce(min(n) >= 1 AND max(n) <= cardinality(p_keys), true) FROM unnest(p_hold_entries) AS g (n))) IS NOT TRUE THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', CONSTRAINT = 'batch_shape',
            MESSAGE = 'The columns of a batch of holds differ in length, or a hold names an entry that is not in it.',
            HINT = 'Give one amount and one entry a hold.';
    END IF;
    PERFORM ledger.lock_holds(p_book_id, p_holds);
    SELECT h.idempotency_key, r.kind, r.entry_key INTO v_bad
      FROM unnest(p_holds, p_posted, p_hold_entries) WITH ORDINALITY AS g (key, posted, entry_n, n)
      JOIN ledger.hold h ON h.book_id = p_book_id AND h.idempotency_key = g.key
      JOIN ledger.hold_resolution r USING (hold_id)
     WHERE (r.kind, r.posted_minor, r.entry_key) IS DISTINCT FROM ('posted', coalesce(g.posted, h.amount_minor), p_keys[g.entry_n])
     ORDER BY g.n LIMIT 1;
    IF FOUND THEN
        PERFORM ledger.raise_resolved(v_bad.idempotency_key, v_bad.kind, v_bad.entry_key);
    END IF;
    -- In the order of everybody who posts (post_core): limited balances, keys, other balances. So holds on limited
    -- accounts are released before the entries, which need the room, and holds on others after them.
    v_limited := ARRAY(SELECT b.account_id FROM ledger.balance b
                        WHERE b.account_id IN (SELECT h.account_id FROM ledger.hold h WHERE h.book_id = p_book_id AND h.idempotency_key = ANY (p_holds)
                                               UNION SELECT unnest(p_leg_account))
                          AND b.book_id = p_book_id AND (b.floor_minor IS NOT NULL OR b.ceiling_minor IS NOT NULL));
    PERFORM ledger.lock_balances(v_limited);
    v_fresh := ledger.resolve_posted(p_book_id, p_at, p_holds, p_posted, p_hold_entries, p_keys, v_limited, true);
    SELECT array_agg(p.entry_id ORDER BY p.entry_ordinal), array_agg(p.first_posting_id ORDER BY p.entry_ordinal),
           array_agg(p.is_new ORDER BY p.entry_ordinal) INTO v_entries, v_firsts, v_new
      FROM ledger.post_internal(p_book_id, p_module, p_source_id, p_keys, p_dates, p_descriptions, p_references, NULL, NULL,
                                p_leg_entry, p_leg_account, p_leg_amount) p;
    v_fresh := v_fresh || ledger.resolve_posted(p_book_id, p_at, p_holds, p_posted, p_hold_entries, p_keys, v_limited, false);
    SELECT p_keys[f.n] INTO v_old FROM unnest(v_fresh) AS f (n) WHERE NOT v_new[f.n] ORDER BY f.n LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'hold_posting', SCHEMA = 'ledger', TABLE = 'hold_resolution',
            MESSAGE = format('Entry %s was posted before, without this hold.', v_old), HINT = 'Void the hold, or post it by a new entry.';
    END IF;
    SET CONSTRAINTS ledger.check_hold_posting IMMEDIATE;
    SET CONSTRAINTS ledger.check_hold_posting DEFERRED;
    RETURN QUERY SELECT g.n::int, g.entry, g.first, g.fresh
      FROM unnest(v_entries, v_firsts, v_new) WITH ORDINALITY AS g (entry, first, fresh, n) ORDER BY g.n;
END $$;

CREATE FUNCTION ledger.post_holds(
    p_book_id int, p_source_id bigint, p_at timestamptz, p_holds text[], p_posted bigint[], p_hold_entries int[],
    p_keys text[], p_dates date[], p_descriptions text[], p_references text[],
    p_leg_entry int[], p_leg_account int[], p_leg_amount bigint[])
RETURNS TABLE (entry_ordinal int, entry_id bigint, first_posting_id bigint, is_new boolean)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT ledger.require_book(p_book_id);
    SELECT * FROM ledger.post_holds_internal(p_book_id, NULL, p_source_id, p_at, p_holds, p_posted, p_hold_entries, p_keys, p_dates,
                                             p_descriptions, p_references, p_leg_entry, p_leg_account, p_leg_amount)
$$;

-- Gives up holds, all or none; gives the number that this call voided.
CREATE FUNCTION ledger.void_holds(p_book_id int, p_keys text[], p_at timestamptz) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
    v_count int;
BEGIN
    PERFORM ledger.require_book(p_book_id);
    PERFORM ledger.lock_holds(p_book_id, p_keys);
    PERFORM ledger.raise_resolved(h.idempotency_key, r.kind, r.entry_key)
       FROM ledger.hold h JOIN ledger.hold_resolution r USING (hold_id)
      WHERE h.book_id = p_book_id AND h.idempotency_key = ANY (p_keys) AND r.kind <> 'voided';
    INSERT INTO ledger.hold_resolution (hold_id, book_id, kind, held_minor, at)
    SELECT h.hold_id, p_book_id, 'voided', h.amount_minor, p_at
      FROM ledger.hold h WHERE h.book_id = p_book_id AND h.idempotency_key = ANY (p_keys)
       AND NOT EXISTS (SELECT FROM ledger.hold_resolution r WHERE r.hold_id = h.hold_id)
     ORDER BY h.hold_id;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END $$;

-- Expires what is due at this business time, oldest first, at most p_limit. Holds that somebody resolves at this
-- moment are left to them.
CREATE FUNCTION ledger.expire_due(p_book_id int, p_now timestamptz, p_limit int) RETURNS TABLE (hold_id bigint, idempotency_key text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_due bigint[];
BEGIN
    PERFORM ledger.require_book(p_book_id);
    PERFORM ledger.require_read_committed();
    SELECT array_agg(d.hold_id) INTO v_due
      FROM (SELECT h.hold_id FROM ledger.hold h
             WHERE h.book_id = p_book_id AND h.expires_at <= p_now
               AND NOT EXISTS (SELECT FROM ledger.hold_resolution r WHERE r.hold_id = h.hold_id)
             ORDER BY h.expires_at, h.hold_id LIMIT p_limit) d;
    SELECT array_agg(l.hold_id) INTO v_due
      FROM (SELECT h.hold_id FROM ledger.hold h WHERE h.hold_id = ANY (v_due) ORDER BY h.hold_id FOR NO KEY UPDATE SKIP LOCKED) l;
    -- The lock may have been waited for by somebody who resolved in between: a new statement sees it.
    RETURN QUERY
    WITH expired AS (
        INSERT INTO ledger.hold_resolution (hold_id, book_id, kind, held_minor, at)
        SELECT h.hold_id, h.book_id, 'expired', h.amount_minor, p_now
          FROM ledger.hold h WHERE h.hold_id = ANY (v_due)
           AND NOT EXISTS (SELECT FROM ledger.hold_resolution r WHERE r.hold_id = h.hold_id)
         ORDER BY h.hold_id
        RETURNING hold_id)
    SELECT h.hold_id, h.idempotency_key::text FROM expired e JOIN ledger.hold h USING (hold_id) ORDER BY h.hold_id;
END $$;

CREATE VIEW ledger.hold_current AS
SELECT h.book_id, h.hold_id, h.idempotency_key, h.account_id, a.code AS account, c.code AS currency, c.exponent, h.amount_minor,
       coalesce(r.kind, 'open') AS state, coalesce(r.posted_minor, 0) AS posted_minor, r.entry_key, h.expires_at, h.reference,
       h.placed_by, h.recorded_at AS placed_at, r.resolved_by, r.at AS resolved_at
  FROM ledger.hold h JOIN ledger.account a USING (account_id) JOIN ledger.currency c USING (currency_id)
  LEFT JOIN ledger.hold_resolution r USING (hold_id);
COMMENT ON VIEW ledger.hold_current IS 'Every hold and how it ended; state open: it counts against the account''s floor.';

-- Every broken rule of holds, recomputed from rows; no row means all hold.
CREATE FUNCTION ledger.verify_holds(p_book_id int) RETURNS TABLE (invariant int, place text, fault text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT ledger.require_book(p_book_id);
    SELECT 6, 'account ' || a.code, format('balance row holds %s, open holds %s', b.held_minor, coalesce(h.total, 0))
      FROM ledger.account a JOIN ledger.balance b USING (account_id)
      LEFT JOIN (SELECT h.account_id, sum(h.amount_minor) AS total FROM ledger.hold h
                  WHERE h.book_id = p_book_id AND NOT EXISTS (SELECT FROM ledger.hold_resolution r WHERE r.hold_id = h.hold_id)
                  GROUP BY h.account_id) h USING (account_id)
     WHERE a.book_id = p_book_id AND b.held_minor IS DISTINCT FROM coalesce(h.total, 0)
    UNION ALL
    SELECT 6, 'hold ' || r.hold_id, 'is resolved but was not placed so'
      FROM ledger.hold_resolution r LEFT JOIN ledger.hold h USING (hold_id)
     WHERE r.book_id = p_book_id AND (h.book_id, h.amount_minor) IS DISTINCT FROM (r.book_id, r.held_minor)
    UNION ALL
    SELECT 6, 'entry ' || g.entry_key, format('draws %s from account %s, its holds post %s', coalesce(d.drawn, 0), a.code, g.posted)
      FROM (SELECT r.entry_key, h.account_id, sum(r.posted_minor) AS posted
              FROM ledger.hold_resolution r JOIN ledger.hold h USING (hold_id)
             WHERE r.book_id = p_book_id AND r.kind = 'posted' GROUP BY 1, 2) g
      JOIN ledger.account a USING (account_id)
      LEFT JOIN LATERAL (
           SELECT -a.normal_side * sum(p.amount_minor) AS drawn FROM ledger.entry e
             JOIN ledger.posting p ON p.posting_id BETWEEN e.first_posting_id AND e.first_posting_id + e.posting_count - 1
            WHERE e.book_id = p_book_id AND e.idempotency_key = g.entry_key AND p.account_id = g.account_id) d ON true
     WHERE d.drawn IS DISTINCT FROM g.posted
$$;

GRANT SELECT ON ledger.hold, ledger.hold_resolution, ledger.hold_current TO :app;
GRANT SELECT ON ledger.hold_current TO :analyst;
GRANT EXECUTE ON FUNCTION ledger.place_holds, ledger.post_holds, ledger.void_holds, ledger.expire_due, ledger.verify_holds TO :app;
