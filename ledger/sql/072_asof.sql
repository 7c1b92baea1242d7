-- Balances and statements as of a date, as known at a point: what is published is arranged by account and day; what is
-- not yet, is read from the postings.
--
-- Statements: ledger.posting_day names every published posting by account and day, so a page is one range of an index.
--
-- Balances: when enough postings of an account have gathered, they become a *run*: one row (ledger.rollup_run) and, for
-- each of its days, what the run comes to by then (ledger.rollup). Eight runs of an account at one level are added up
-- into one run of the next. So a balance is one look into each of a few runs, plus the account's latest postings,
-- whatever came late: a backdated entry is in a later run, nothing is rewritten.
--
-- All of it is derived: ledger.verify_rollup compares it with the postings.

CREATE INDEX batch_knowledge ON ledger.batch (system_identifier, xid);

CREATE TABLE ledger.posting_day (
    account_id     int    NOT NULL,
    effective_date date   NOT NULL,
    posting_id     bigint NOT NULL,
    step_seq       bigint NOT NULL,
    amount_minor   bigint NOT NULL,
    entry_no       int    NOT NULL,
    PRIMARY KEY (account_id, effective_date, posting_id) INCLUDE (step_seq)
) WITH (autovacuum_vacuum_insert_threshold = 100000, autovacuum_vacuum_insert_scale_factor = 0.02);
COMMENT ON TABLE ledger.posting_day IS 'Published postings by account and effective day; step_seq: the publication that made it known; entry_no: the entry''s place in the batch.';

CREATE TABLE ledger.rollup_step (
    last_seq          bigint PRIMARY KEY REFERENCES ledger.publication (last_seq),
    high_batch_id     bigint NOT NULL,
    watermark         xid8   NOT NULL,
    system_identifier bigint NOT NULL,
    rolled_at         timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE ledger.rollup_step IS
    'A publication taken in. Every batch of this cluster with a transaction below the watermark is in it or before it; high_batch_id is the highest of them.';

-- Sums are numeric: a day's may exceed 64 bits although every balance fits.
CREATE TABLE ledger.rollup_run (
    account_id    int      NOT NULL,
    level         smallint NOT NULL,
    last_seq      bigint   NOT NULL,
    run_no        int      NOT NULL,
    high_batch_id bigint   NOT NULL,
    posting_count bigint   NOT NULL,
    low_date      date     NOT NULL,
    high_date     date     NOT NULL,
    furthest_date date     NOT NULL,
    net_minor     numeric  NOT NULL,
    PRIMARY KEY (account_id, level, last_seq)
);
COMMENT ON TABLE ledger.rollup_run IS
    'Postings of an account in a range of knowledge order: (last run of this level, last_seq]. Level 0 from postings, each next from eight of the one below. furthest_date: the latest day of this run and of all before it.';

CREATE TABLE ledger.rollup (
    account_id     int      NOT NULL,
    level          smallint NOT NULL,
    last_seq       bigint   NOT NULL,
    effective_date date     NOT NULL,
    posting_count  bigint   NOT NULL,
    net_minor      numeric  NOT NULL,
    PRIMARY KEY (account_id, level, last_seq, effective_date) INCLUDE (net_minor),
    FOREIGN KEY (account_id, level, last_seq) REFERENCES ledger.rollup_run
) WITH (autovacuum_vacuum_insert_threshold = 10000, autovacuum_vacuum_insert_scale_factor = 0.02);
COMMENT ON TABLE ledger.rollup IS 'What a run comes to (debits less credits, and postings) through each of its days.';
SELECT ledger.make_append_only(t) FROM unnest(ARRAY[
    'ledger.posting_day', 'ledger.rollup_step', 'ledger.rollup_run', 'ledger.rollup']::regclass[]) t;

-- The sequencer's step: number what is committed, then take it in. One at a time; not on the posting path.
CREATE FUNCTION ledger.publish_and_roll_up() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_watermark xid8; v_last bigint; v_from bigint; v_through bigint; v_high bigint;
    v_system bigint := (SELECT system_identifier FROM pg_control_system());
BEGIN
    PERFORM ledger.require_read_committed();
    LOCK TABLE ledger.rollup_step IN SHARE ROW EXCLUSIVE MODE;
    v_watermark := pg_snapshot_xmin(pg_current_snapshot());  -- before the sequencer takes its own, which is no lower
    v_last := ledger.publish();
    SELECT last_seq, high_batch_id INTO v_from, v_high FROM ledger.rollup_step ORDER BY last_seq DESC LIMIT 1;
    FOR v_through IN SELECT last_seq FROM ledger.publication WHERE last_seq > coalesce(v_from, 0) ORDER BY last_seq LOOP
        v_high := ledger.roll_up(coalesce(v_from, 0), v_through, coalesce(v_high, 0));
        INSERT INTO ledger.rollup_step (last_seq, high_batch_id, watermark, system_identifier) VALUES (v_through, v_high, v_watermark, v_system);
        v_from := v_through;
    END LOOP;
    RETURN v_last;
END $$;

-- Takes one publication in; p_high_batch: the highest batch before it. Returns the highest batch now.
--
-- Every sixteenth posting (by hash, so that no habit of a batch avoids it) makes its account look whether a run of a
-- hundred is due: so nothing is counted for accounts that rest. A batch with a lower id than what was published before
-- closes a run for each of its accounts: so whatever an account's runs do not hold has a higher batch than they.
CREATE FUNCTION ledger.roll_up(p_after_seq bigint, p_through_seq bigint, p_high_batch bigint) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
#variable_conflict use_column
DECLARE
    v_level smallint := 0; v_full int[]; v_look int[]; v_overtaken int[]; v_high bigint; v_overtaking bigint[];
BEGIN
    SELECT greatest(max(batch_id), p_high_batch), array_agg(batch_id ORDER BY batch_id) FILTER (WHERE batch_id < p_high_batch)
      INTO v_high, v_overtaking FROM ledger.batch_seq WHERE first_seq > p_after_seq AND last_seq <= p_through_seq;
    WITH day AS (
        INSERT INTO ledger.posting_day (account_id, effective_date, posting_id, step_seq, amount_minor, entry_no)
        SELECT p.account_id, p.effective_date, p.posting_id, p_through_seq, p.amount_minor, p.entry_id & 1048575
          FROM ledger.batch_seq s JOIN ledger.posting p ON p.posting_id >= s.batch_id << 20 AND p.posting_id < (s.batch_id + 1) << 20
         WHERE s.first_seq > p_after_seq AND s.last_seq <= p_through_seq
         ORDER BY p.account_id, p.effective_date, p.posting_id
        RETURNING account_id, posting_id)
    SELECT array_agg(DISTINCT account_id), array_agg(DISTINCT account_id) FILTER (WHERE posting_id < p_high_batch << 20)
      INTO v_look, v_overtaken FROM day WHERE hashint8(posting_id) & 15 = 0 OR posting_id < p_high_batch << 20;

    WITH due AS MATERIALIZED (
        SELECT l.account_id, coalesce(r.run_no + 1, 0) AS run_no, coalesce(r.high_batch_id, 0) AS high_batch_id, r.furthest_date
          FROM unnest(v_look) AS l (account_id)
          LEFT JOIN LATERAL (SELECT r.run_no, r.high_batch_id, r.furthest_date FROM ledger.rollup_run r WHERE r.account_id = l.account_id AND r.level = 0
                              ORDER BY r.last_seq DESC LIMIT 1) r ON true
         CROSS JOIN LATERAL (SELECT count(*) AS n FROM (
               SELECT FROM ledger.account_posting p WHERE p.account_id = l.account_id AND p.batch_id > coalesce(r.high_batch_id, 0)
                  AND p.posting_id >= (coalesce(r.high_batch_id, 0) + 1) << 20 AND p.batch_id <= v_high LIMIT 100) few) c
         WHERE c.n = 100 OR l.account_id = ANY (v_overtaken)),
    new AS (
        SELECT d.account_id, d.run_no, p.effective_date, p.amount_minor
          FROM due d
         CROSS JOIN LATERAL (SELECT * FROM ledger.account_posting p
               WHERE p.account_id = d.account_id AND p.batch_id > d.high_batch_id AND p.posting_id >= (d.high_batch_id + 1) << 20
                 AND p.batch_id <= v_high OFFSET 0) p
          JOIN ledger.batch_seq s ON s.batch_id = p.batch_id AND s.last_seq <= p_through_seq
        UNION ALL
        SELECT d.account_id, d.run_no, p.effective_date, p.amount_minor
          FROM due d CROSS JOIN unnest(v_overtaking) AS o (batch_id)
         CROSS JOIN LATERAL (SELECT * FROM ledger.account_posting p
               WHERE p.account_id = d.account_id AND p.batch_id = o.batch_id
                 AND p.posting_id >= o.batch_id << 20 AND p.posting_id < (o.batch_id + 1) << 20 OFFSET 0) p
         WHERE o.batch_id <= d.high_batch_id),
    day AS MATERIALIZED (
        SELECT account_id, run_no, effective_date, count(*) AS n, sum(amount_minor) AS net FROM new GROUP BY 1, 2, 3),
    run AS (
        INSERT INTO ledger.rollup_run (account_id, level, last_seq, run_no, high_batch_id, posting_count, low_date, high_date, furthest_date, net_minor)
        SELECT account_id, 0, p_through_seq, run_no, v_high, sum(n), min(effective_date), max(effective_date),
               greatest(max(effective_date), min(d.furthest_date)), sum(net)
          FROM day JOIN due d USING (account_id, run_no) GROUP BY account_id, run_no ORDER BY account_id
        RETURNING account_id, run_no),
    through AS (
        INSERT INTO ledger.rollup (account_id, level, last_seq, effective_date, posting_count, net_minor)
        SELECT account_id, 0, p_through_seq, effective_date, sum(n) OVER w, sum(net) OVER w
          FROM day WINDOW w AS (PARTITION BY account_id ORDER BY effective_date) ORDER BY account_id, effective_date)
    SELECT array_agg(account_id) INTO v_full FROM run WHERE run_no % 8 = 7;

    WHILE v_full IS NOT NULL LOOP  -- accounts whose eighth run of the level this was
        WITH part AS MATERIALIZED (
            SELECT f.account_id, coalesce(u.run_no + 1, 0) AS run_no, r.last_seq, r.furthest_date
              FROM unnest(v_full) AS f (account_id)
              LEFT JOIN LATERAL (SELECT u.last_seq, u.run_no FROM ledger.rollup_run u
                                  WHERE u.account_id = f.account_id AND u.level = v_level + 1 ORDER BY u.last_seq DESC LIMIT 1) u ON true
              JOIN ledger.rollup_run r ON r.account_id = f.account_id AND r.level = v_level AND r.last_seq > coalesce(u.last_seq, 0)),
        day AS MATERIALIZED (
            SELECT g.account_id, g.run_no, g.effective_date, sum(g.n) AS n, sum(g.net) AS net
              FROM (SELECT p.account_id, p.run_no, r.effective_date, r.posting_count - lag(r.posting_count, 1, 0::bigint) OVER w AS n,
                           r.net_minor - lag(r.net_minor, 1, 0::numeric) OVER w AS net
                      FROM part p JOIN ledger.rollup r ON r.account_id = p.account_id AND r.level = v_level AND r.last_seq = p.last_seq
                    WINDOW w AS (PARTITION BY p.account_id, p.last_seq ORDER BY r.effective_date)) g
             GROUP BY 1, 2, 3),
        run AS (
            INSERT INTO ledger.rollup_run (account_id, level, last_seq, run_no, high_batch_id, posting_count, low_date, high_date, furthest_date, net_minor)
            SELECT account_id, v_level + 1, p_through_seq, run_no, v_high, sum(n), min(effective_date), max(effective_date),
                   (SELECT max(p.furthest_date) FROM part p WHERE p.account_id = day.account_id), sum(net)
              FROM day GROUP BY account_id, run_no ORDER BY account_id
            RETURNING account_id, run_no),
        through AS (
            INSERT INTO ledger.rollup (account_id, level, last_seq, effective_date, posting_count, net_minor)
            SELECT account_id, v_level + 1, p_through_seq, effective_date, sum(n) OVER w, sum(net) OVER w
              FROM day WINDOW w AS (PARTITION BY account_id ORDER BY effective_date) ORDER BY account_id, effective_date)
        SELECT array_agg(account_id) INTO v_full FROM run WHERE run_no % 8 = 7;
        v_level := v_level + 1;
    END LOOP;
    RETURN v_high;
END $$;

-- The batches that no step holds and the reader may see: published since (up to p_known_seq), or, without a point of
-- knowledge, committed since. In a restored copy, until its first step, by looking at every batch.
CREATE FUNCTION ledger.tail_batches(p_known_seq bigint) RETURNS bigint[]
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    v_step ledger.rollup_step;
BEGIN
    SELECT * INTO v_step FROM ledger.rollup_step ORDER BY last_seq DESC LIMIT 1;
    IF p_known_seq IS NOT NULL THEN
        RETURN (SELECT array_agg(batch_id ORDER BY batch_id) FROM ledger.batch_seq
                 WHERE first_seq > coalesce(v_step.last_seq, 0) AND last_seq <= p_known_seq);
    ELSIF v_step.system_identifier = (SELECT system_identifier FROM pg_control_system()) THEN
        RETURN (SELECT array_agg(b.batch_id ORDER BY b.batch_id) FROM ledger.batch b
                 WHERE b.system_identifier = v_step.system_identifier AND b.xid >= v_step.watermark
                   AND NOT EXISTS (SELECT FROM ledger.batch_seq s WHERE s.batch_id = b.batch_id AND s.last_seq <= v_step.last_seq));
    END IF;
    RETURN (SELECT array_agg(b.batch_id ORDER BY b.batch_id) FROM ledger.batch b
             WHERE NOT EXISTS (SELECT FROM ledger.batch_seq s WHERE s.batch_id = b.batch_id AND s.last_seq <= coalesce(v_step.last_seq, 0)));
END $$;

-- The fewest runs that hold all that the account's runs hold up to p_known_seq (NULL: all): the highest level first,
-- each level goes on where the one above ends.
CREATE FUNCTION ledger.live_runs(p_account_id int, p_known_seq bigint) RETURNS SETOF ledger.rollup_run
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    v_upto bigint := coalesce(p_known_seq, 9223372036854775807); v_done bigint := 0; v_run ledger.rollup_run;
BEGIN
    FOR v_level IN REVERSE coalesce((SELECT r.level FROM ledger.rollup_run r WHERE r.account_id = p_account_id ORDER BY r.level DESC LIMIT 1), -1) .. 0 LOOP
        FOR v_run IN SELECT * FROM ledger.rollup_run r
                      WHERE r.account_id = p_account_id AND r.level = v_level AND r.last_seq > v_done AND r.last_seq <= v_upto ORDER BY r.last_seq LOOP
            v_done := v_run.last_seq;
            RETURN NEXT v_run;
        END LOOP;
    END LOOP;
END $$;

-- Debits minus credits of the account's postings effective up to p_as_of (NULL: all), known at p_known_seq (NULL: now);
-- p_tail as tail_batches says. NULL: no posting.
CREATE FUNCTION ledger.net_at(p_account_id int, p_as_of date, p_known_seq bigint, p_tail bigint[]) RETURNS numeric
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    v_as_of date := coalesce(p_as_of, 'infinity'); v_net numeric; v_high bigint := 0; v_ceiling bigint; v_run ledger.rollup_run;
BEGIN
    FOR v_run IN SELECT * FROM ledger.live_runs(p_account_id, p_known_seq) LOOP
        v_high := v_run.high_batch_id;
        IF v_run.high_date <= v_as_of THEN
            v_net := coalesce(v_net, 0) + v_run.net_minor;
        ELSIF v_run.low_date <= v_as_of THEN
            v_net := coalesce(v_net, 0) + (
                SELECT r.net_minor FROM ledger.rollup r
                 WHERE r.account_id = p_account_id AND r.level = v_run.level AND r.last_seq = v_run.last_seq AND r.effective_date <= v_as_of
                 ORDER BY r.effective_date DESC LIMIT 1);
        END IF;
    END LOOP;
    -- What no run holds has a higher batch than they; only of the tail may some be lower.
    IF p_known_seq IS NULL THEN
        v_net := ledger.plus(v_net, (SELECT sum(p.amount_minor) FROM ledger.account_posting p
            WHERE p.account_id = p_account_id AND p.batch_id > v_high AND p.posting_id >= (v_high + 1) << 20 AND p.effective_date <= v_as_of));
    ELSE
        v_ceiling := (SELECT high_batch_id + 1 FROM ledger.rollup_step WHERE last_seq >= p_known_seq ORDER BY last_seq LIMIT 1);
        v_net := ledger.plus(v_net, (  -- their batches in one pass over the index, not one look a posting
            WITH late AS MATERIALIZED (
                SELECT p.batch_id, sum(p.amount_minor) AS net FROM ledger.account_posting p
                 WHERE p.account_id = p_account_id AND p.batch_id > v_high AND p.posting_id >= (v_high + 1) << 20
                   AND p.batch_id < coalesce(v_ceiling, 8796093022207) AND p.posting_id < coalesce(v_ceiling, 8796093022207) << 20 AND p.effective_date <= v_as_of GROUP BY 1),
            known AS MATERIALIZED (
                SELECT s.batch_id FROM ledger.batch_seq s
                 WHERE s.batch_id = ANY (ARRAY(SELECT l.batch_id FROM late l ORDER BY l.batch_id)) AND s.last_seq <= p_known_seq)
            SELECT sum(l.net) FROM late l WHERE l.batch_id IN (SELECT k.batch_id FROM known k)));
    END IF;
    IF p_tail[1] <= v_high THEN
        v_net := ledger.plus(v_net, (SELECT sum(p.amount_minor) FROM unnest(p_tail) AS t (batch_id)
           CROSS JOIN LATERAL (SELECT * FROM ledger.account_posting p
                 WHERE p.account_id = p_account_id AND p.batch_id = t.batch_id
                   AND p.posting_id >= t.batch_id << 20 AND p.posting_id < (t.batch_id + 1) << 20 OFFSET 0) p
           WHERE t.batch_id <= v_high AND p.effective_date <= v_as_of));
    END IF;
    RETURN v_net;
END $$;

-- A sum in which nothing (NULL) and nothing is nothing.
CREATE FUNCTION ledger.plus(a numeric, b numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$ SELECT CASE WHEN a IS NULL THEN b WHEN b IS NULL THEN a ELSE a + b END $$;

-- One account, debit positive; NULL: no posting yet.
CREATE FUNCTION ledger.balance_at(p_account_id int, p_as_of date, p_known_seq bigint) RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT ledger.require_book((SELECT x.book_id FROM ledger.account x WHERE x.account_id = p_account_id));
    SELECT ledger.net_at(p_account_id, p_as_of, p_known_seq, ledger.tail_batches(p_known_seq))::bigint
$$;

-- Every account of a book that has postings by then.
CREATE FUNCTION ledger.balances_at(p_book_id int, p_as_of date, p_known_seq bigint)
RETURNS TABLE (account_id int, posted_minor bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT ledger.require_book(p_book_id);
    WITH tail AS MATERIALIZED (SELECT ledger.tail_batches(p_known_seq) AS batches)
    SELECT u.account_id, u.net::bigint
      FROM (SELECT a.account_id, ledger.net_at(a.account_id, p_as_of, p_known_seq, t.batches) AS net
              FROM ledger.account a, tail t WHERE a.book_id = p_book_id OFFSET 0) u
     WHERE u.net IS NOT NULL
$$;

-- A page of an account's postings in effective order: from a date on, after a posting of that date (NULL: all of it).
-- As known at a point, it looks no further than the account's postings reach in the first run that holds all known then.
CREATE FUNCTION ledger.statement_page(p_account_id int, p_from date, p_after_posting_id bigint, p_to date, p_known_seq bigint, p_limit int)
RETURNS TABLE (posting_id bigint, effective_date date, amount_minor bigint, idempotency_key text, description text, reference text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
#variable_conflict use_column
DECLARE
    v_tail bigint[] := ledger.tail_batches(p_known_seq);
    v_after bigint := coalesce(p_after_posting_id, -1);
    v_upto bigint := coalesce(p_known_seq, 9223372036854775807);
    v_ceiling bigint; v_last date := p_to;
BEGIN
    PERFORM ledger.require_book((SELECT x.book_id FROM ledger.account x WHERE x.account_id = p_account_id));
    IF p_known_seq IS NOT NULL THEN
        v_ceiling := (SELECT high_batch_id + 1 FROM ledger.rollup_step WHERE last_seq >= p_known_seq ORDER BY last_seq LIMIT 1);
        v_last := least(p_to, (SELECT r.furthest_date FROM ledger.rollup_run r
            WHERE r.account_id = p_account_id AND r.level = 0 AND r.last_seq >= p_known_seq ORDER BY r.last_seq LIMIT 1));
    END IF;
    RETURN QUERY
    WITH page AS MATERIALIZED (
        (SELECT d.posting_id, d.effective_date, d.amount_minor, ((d.posting_id >> 20) << 20) + d.entry_no AS entry_id FROM ledger.posting_day d
          WHERE d.account_id = p_account_id AND (d.effective_date, d.posting_id) > (p_from, v_after) AND d.effective_date <= v_last
            AND d.posting_id < coalesce(v_ceiling << 20, 9223372036854775807) AND d.step_seq <= v_upto
          ORDER BY d.effective_date, d.posting_id LIMIT p_limit)
        UNION ALL
        SELECT p.posting_id, p.effective_date, p.amount_minor, p.entry_id FROM ledger.account_posting p
         WHERE v_tail IS NOT NULL AND p.account_id = p_account_id AND p.posting_id >= v_tail[1] << 20 AND p.batch_id >= v_tail[1] AND p.batch_id = ANY (v_tail)
           AND p.effective_date >= p_from AND p.effective_date <= p_to),
    cut AS MATERIALIZED (
        SELECT * FROM page p WHERE p.effective_date > p_from OR p.posting_id > v_after
         ORDER BY p.effective_date, p.posting_id LIMIT p_limit),
    -- The entries of a small page in one sweep: neighbours share their blocks. Rows of a large page would each be looked for in all of
    -- that list, as no other join is allowed here: one by one.
    e AS MATERIALIZED (SELECT * FROM ledger.entry
                        WHERE p_limit <= 100 AND entry_id = ANY (ARRAY(SELECT c.entry_id FROM cut c ORDER BY c.entry_id)))
    SELECT c.posting_id, c.effective_date, c.amount_minor, e.idempotency_key, t.description, t.reference
      FROM cut c
     CROSS JOIN LATERAL (SELECT s.idempotency_key FROM e s WHERE s.entry_id = c.entry_id
                         UNION ALL
                         SELECT x.idempotency_key FROM ledger.entry x WHERE p_limit > 100 AND x.entry_id = c.entry_id LIMIT 1) e
      LEFT JOIN ledger.entry_text t ON t.entry_id = c.entry_id
     ORDER BY c.effective_date, c.posting_id;
END $$;

-- What later knowledge changed in the balances as of a date.
CREATE FUNCTION ledger.restated(p_book_id int, p_as_of date, p_seq_before bigint, p_seq_after bigint)
RETURNS TABLE (account_id int, before_minor bigint, after_minor bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT ledger.require_book(p_book_id);
    SELECT account_id, coalesce(b.posted_minor, 0), coalesce(a.posted_minor, 0)
      FROM ledger.balances_at(p_book_id, p_as_of, p_seq_before) b
      FULL JOIN ledger.balances_at(p_book_id, p_as_of, p_seq_after) a USING (account_id)
     WHERE coalesce(b.posted_minor, 0) <> coalesce(a.posted_minor, 0)
$$;

-- The entries that did it: known between the two points, effective up to the date.
CREATE FUNCTION ledger.restating_postings(p_book_id int, p_as_of date, p_seq_before bigint, p_seq_after bigint)
RETURNS TABLE (seq_batch bigint, entry_id bigint, idempotency_key text, effective_date date, account_id int, amount_minor bigint, description text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT ledger.require_book(p_book_id);
    SELECT s.last_seq, e.entry_id, e.idempotency_key, e.effective_date, p.account_id, p.amount_minor, t.description
      FROM ledger.batch_seq s
      JOIN ledger.posting p ON p.posting_id >= s.batch_id << 20 AND p.posting_id < (s.batch_id + 1) << 20
      JOIN ledger.entry e USING (entry_id) LEFT JOIN ledger.entry_text t USING (entry_id)
     WHERE s.first_seq > p_seq_before AND s.last_seq <= p_seq_after AND p.book_id = p_book_id AND p.effective_date <= p_as_of
     ORDER BY s.last_seq, p.posting_id
$$;

-- What is arranged by day and in runs, against the postings: no row means they agree (invariant 4).
CREATE FUNCTION ledger.verify_rollup(p_book_id int) RETURNS TABLE (invariant int, place text, fault text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT ledger.require_book(p_book_id);
    WITH fact AS MATERIALIZED (
        SELECT p.account_id, s.step_seq, p.effective_date, count(*) AS n, sum(p.amount_minor) AS net,
               bit_xor(hashint8extended(p.posting_id, hashint8extended(p.amount_minor, (s.step_seq << 20) + (p.entry_id & 1048575)))) AS ids
          FROM ledger.posting p
          JOIN (SELECT s.batch_id, t.last_seq AS step_seq
                  FROM ledger.batch_seq s JOIN ledger.publication u USING (publication_id) JOIN ledger.rollup_step t ON t.last_seq = u.last_seq) s
            ON s.batch_id = p.posting_id >> 20
         WHERE p.book_id = p_book_id GROUP BY 1, 2, 3),
    run AS MATERIALIZED (
        SELECT r.* FROM ledger.rollup_run r JOIN ledger.account a USING (account_id) WHERE a.book_id = p_book_id),
    held AS MATERIALIZED (  -- what each run says of each of its days
        SELECT r.account_id, r.level, r.last_seq, r.effective_date, r.posting_count - lag(r.posting_count, 1, 0::bigint) OVER w AS n,
               r.net_minor - lag(r.net_minor, 1, 0::numeric) OVER w AS net
          FROM ledger.rollup r JOIN ledger.account a USING (account_id) WHERE a.book_id = p_book_id
        WINDOW w AS (PARTITION BY r.account_id, r.level, r.last_seq ORDER BY r.effective_date)),
    due AS (  -- and what it should: from the postings, or from the runs below
        SELECT u.account_id, u.level, u.last_seq, b.effective_date, sum(b.n) AS n, sum(b.net) AS net
          FROM (SELECT account_id, -1 AS level, step_seq AS last_seq, effective_date, n, net FROM fact
                UNION ALL SELECT account_id, level, last_seq, effective_date, n, net FROM held) b
         CROSS JOIN LATERAL (SELECT r.account_id, r.level, r.last_seq FROM ledger.rollup_run r
                              WHERE r.account_id = b.account_id AND r.level = b.level + 1 AND r.last_seq >= b.last_seq ORDER BY r.last_seq LIMIT 1) u
         GROUP BY 1, 2, 3, 4),
    fault (account_id, place, fault) AS (
        SELECT account_id, format('level %s through %s, %s', level, last_seq, effective_date),
               format('rollup %s over %s postings, should be %s over %s', coalesce(h.net, 0), coalesce(h.n, 0), coalesce(d.net, 0), coalesce(d.n, 0))
          FROM held h FULL JOIN due d USING (account_id, level, last_seq, effective_date)
         WHERE (h.n, h.net) IS DISTINCT FROM (d.n, d.net)
        UNION ALL
        SELECT r.account_id, format('level %s through %s', r.level, r.last_seq), 'the run is not what its days and its step say'
          FROM run r
          LEFT JOIN (SELECT account_id, level, last_seq, sum(n) AS n, sum(net) AS net, min(effective_date) AS low, max(effective_date) AS high,
                            max(max(effective_date)) OVER (PARTITION BY account_id, level ORDER BY last_seq) AS furthest
                       FROM held GROUP BY 1, 2, 3) h USING (account_id, level, last_seq)
          LEFT JOIN ledger.rollup_step t USING (last_seq)
         WHERE (r.posting_count, r.net_minor, r.low_date, r.high_date, r.furthest_date, r.high_batch_id) IS DISTINCT FROM (h.n, h.net, h.low, h.high, h.furthest, t.high_batch_id)
        UNION ALL
        SELECT account_id, format('%s', effective_date),
               format('%s postings by day, %s in the books, or not the same', coalesce(d.n, 0), coalesce(f.n, 0))
          FROM (SELECT account_id, effective_date, sum(n) AS n, bit_xor(ids) AS ids FROM fact GROUP BY 1, 2) f
          FULL JOIN (SELECT d.account_id, d.effective_date, count(*) AS n, bit_xor(hashint8extended(d.posting_id, hashint8extended(d.amount_minor, (d.step_seq << 20) + d.entry_no))) AS ids
                       FROM ledger.posting_day d JOIN ledger.account a USING (account_id) WHERE a.book_id = p_book_id GROUP BY 1, 2) d
            USING (account_id, effective_date)
         WHERE (f.n, f.ids) IS DISTINCT FROM (d.n, d.ids))
    SELECT 4, format('account %s, %s', a.code, f.place), f.fault FROM fault f LEFT JOIN ledger.account a USING (account_id)
    UNION ALL
    SELECT 4, format('publication %s', t.last_seq), format('highest batch %s, should be %s', t.high_batch_id, t.due)
      FROM (SELECT t.last_seq, t.high_batch_id, max(max(s.batch_id)) OVER (ORDER BY t.last_seq) AS due
              FROM ledger.rollup_step t JOIN ledger.publication u USING (last_seq) LEFT JOIN ledger.batch_seq s USING (publication_id) GROUP BY 1, 2) t
     WHERE t.high_batch_id IS DISTINCT FROM t.due
    UNION ALL  -- the sequencer does not look below its last watermark again: who writes there has forged a transaction
    SELECT 4, format('batch %s', b.batch_id), 'has no number, although it says it committed before the last that has'
      FROM ledger.batch b JOIN (SELECT * FROM ledger.rollup_step ORDER BY last_seq DESC LIMIT 1) t USING (system_identifier)
     WHERE b.book_id = p_book_id AND b.xid < t.watermark AND NOT EXISTS (SELECT FROM ledger.batch_seq s WHERE s.batch_id = b.batch_id)
$$;

GRANT SELECT ON ledger.posting_day, ledger.rollup_run, ledger.rollup, ledger.rollup_step TO :app;
GRANT EXECUTE ON FUNCTION ledger.publish_and_roll_up, ledger.balance_at, ledger.balances_at, ledger.statement_page, ledger.restated, ledger.restating_postings,
    ledger.verify_rollup TO :app;
