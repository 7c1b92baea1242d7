-- Balances as of a date, as known at a point: a rollup of published postings, plus the tail not yet rolled up.
--
-- Each publication leaves, an account and effective day, one row: a *run* of the account at level 0. Sixteen runs of an
-- account at one level are added up into one run of the next. So a sum over years is a few index ranges, whatever
-- came late: a backdated entry is one more row, nothing is rewritten. Rows are derived, so ledger.verify_rollup
-- compares them with the postings.

CREATE INDEX batch_knowledge ON ledger.batch (system_identifier, xid);

-- Gross sums are numeric: a day's debits may exceed 64 bits although every balance fits.
CREATE TABLE ledger.rollup (
    account_id      int      NOT NULL,
    level           smallint NOT NULL,
    last_seq        bigint   NOT NULL,
    effective_date  date     NOT NULL,
    run_no          int      NOT NULL,
    posting_count   bigint   NOT NULL,
    low_posting_id  bigint   NOT NULL,
    high_posting_id bigint   NOT NULL,
    debit_minor     numeric  NOT NULL CHECK (debit_minor >= 0),
    credit_minor    numeric  NOT NULL CHECK (credit_minor >= 0),
    PRIMARY KEY (account_id, level, last_seq, effective_date) INCLUDE (run_no, debit_minor, credit_minor)
) WITH (autovacuum_vacuum_insert_threshold = 10000, autovacuum_vacuum_insert_scale_factor = 0.02);
CREATE INDEX rollup_by_date ON ledger.rollup (account_id, effective_date, low_posting_id)
    INCLUDE (high_posting_id, posting_count, last_seq) WHERE level = 0;
COMMENT ON TABLE ledger.rollup IS
    'Debits and credits of an account and effective day in a range of knowledge order: (last run of this level, last_seq].';

CREATE TABLE ledger.rollup_step (
    last_seq          bigint PRIMARY KEY REFERENCES ledger.publication (last_seq),
    watermark         xid8   NOT NULL,
    system_identifier bigint NOT NULL,
    rolled_at         timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE ledger.rollup_step IS
    'A publication rolled up. Every batch of this cluster with a transaction below the watermark is in it or before it.';
SELECT ledger.make_append_only(t) FROM unnest(ARRAY['ledger.rollup', 'ledger.rollup_step']::regclass[]) t;

-- The sequencer's step: number what is committed, then roll it up. One at a time; not on the posting path.
CREATE FUNCTION ledger.publish_and_roll_up() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_watermark xid8; v_last bigint; v_from bigint; v_through bigint;
    v_system bigint := (SELECT system_identifier FROM pg_control_system());
BEGIN
    PERFORM ledger.require_read_committed();
    LOCK TABLE ledger.rollup_step IN SHARE ROW EXCLUSIVE MODE;
    v_watermark := pg_snapshot_xmin(pg_current_snapshot());  -- before the sequencer takes its own, which is no lower
    v_last := ledger.publish();
    v_from := coalesce((SELECT max(last_seq) FROM ledger.rollup_step), 0);
    FOR v_through IN SELECT last_seq FROM ledger.publication WHERE last_seq > v_from ORDER BY last_seq LOOP
        PERFORM ledger.roll_up(v_from, v_through);
        INSERT INTO ledger.rollup_step (last_seq, watermark, system_identifier) VALUES (v_through, v_watermark, v_system);
        v_from := v_through;
    END LOOP;
    RETURN v_last;
END $$;

CREATE FUNCTION ledger.roll_up(p_after_seq bigint, p_through_seq bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_level smallint := 0; v_full int[];
BEGIN
    WITH run AS (
        INSERT INTO ledger.rollup (account_id, level, last_seq, effective_date, run_no, posting_count, low_posting_id, high_posting_id,
                                   debit_minor, credit_minor)
        SELECT d.account_id, 0, p_through_seq, d.effective_date, coalesce(r.run_no + 1, 0), d.n, d.low, d.high, d.debit, d.credit
          FROM (SELECT p.account_id, p.effective_date, count(*) AS n, min(p.posting_id) AS low, max(p.posting_id) AS high,
                       coalesce(sum(p.amount_minor) FILTER (WHERE p.amount_minor > 0), 0) AS debit,
                       coalesce(-sum(p.amount_minor) FILTER (WHERE p.amount_minor < 0), 0) AS credit
                  FROM ledger.batch_seq s JOIN ledger.posting p ON p.posting_id >= s.batch_id << 20 AND p.posting_id < (s.batch_id + 1) << 20
                 WHERE s.first_seq > p_after_seq AND s.last_seq <= p_through_seq
                 GROUP BY p.account_id, p.effective_date) d
          LEFT JOIN LATERAL (SELECT r.run_no FROM ledger.rollup r WHERE r.account_id = d.account_id AND r.level = 0
                              ORDER BY r.last_seq DESC LIMIT 1) r ON true
         ORDER BY d.account_id, d.effective_date
        RETURNING account_id, run_no)
    SELECT array_agg(DISTINCT account_id) FILTER (WHERE run_no % 16 = 15) INTO v_full FROM run;
    WHILE v_full IS NOT NULL LOOP  -- accounts whose sixteenth run of the level this was
        WITH run AS (
            INSERT INTO ledger.rollup (account_id, level, last_seq, effective_date, run_no, posting_count, low_posting_id, high_posting_id,
                                       debit_minor, credit_minor)
            SELECT f.account_id, v_level + 1, p_through_seq, r.effective_date, coalesce(u.run_no + 1, 0), sum(r.posting_count),
                   min(r.low_posting_id), max(r.high_posting_id), sum(r.debit_minor), sum(r.credit_minor)
              FROM unnest(v_full) AS f (account_id)
              LEFT JOIN LATERAL (SELECT u.last_seq, u.run_no FROM ledger.rollup u
                                  WHERE u.account_id = f.account_id AND u.level = v_level + 1 ORDER BY u.last_seq DESC LIMIT 1) u ON true
              JOIN ledger.rollup r ON r.account_id = f.account_id AND r.level = v_level AND r.last_seq > coalesce(u.last_seq, 0)
             GROUP BY f.account_id, u.run_no, r.effective_date ORDER BY f.account_id, r.effective_date
            RETURNING account_id, run_no)
        SELECT array_agg(DISTINCT account_id) FILTER (WHERE run_no % 16 = 15) INTO v_full FROM run;
        v_level := v_level + 1;
    END LOOP;
END $$;

-- The batches that the rollup does not hold and the reader may see: published since (up to p_known_seq), or, without a
-- point of knowledge, committed since. In a restored copy, until its first step, by looking at every batch.
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

-- Debits minus credits of the rolled-up postings effective up to p_as_of (NULL: all), of the runs up to p_upto_seq.
-- Higher levels first: each level goes on where the one above ends. NULL: no posting.
CREATE FUNCTION ledger.rolled_net(p_account_id int, p_as_of date, p_upto_seq bigint) RETURNS numeric
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    v_net numeric; v_sum numeric; v_done bigint := 0; v_end bigint;
BEGIN
    FOR v_level IN REVERSE coalesce((SELECT r.level FROM ledger.rollup r WHERE r.account_id = p_account_id ORDER BY r.level DESC LIMIT 1), -1) .. 0 LOOP
        v_end := (SELECT r.last_seq FROM ledger.rollup r WHERE r.account_id = p_account_id AND r.level = v_level AND r.last_seq <= p_upto_seq
                   ORDER BY r.last_seq DESC LIMIT 1);
        CONTINUE WHEN v_end IS NULL OR v_end <= v_done;
        SELECT sum(r.debit_minor - r.credit_minor) INTO v_sum FROM ledger.rollup r
         WHERE r.account_id = p_account_id AND r.level = v_level AND r.last_seq > v_done AND r.last_seq <= v_end
           AND r.effective_date <= coalesce(p_as_of, 'infinity'::date);
        IF v_sum IS NOT NULL THEN v_net := coalesce(v_net, 0) + v_sum; END IF;
        v_done := v_end;
    END LOOP;
    RETURN v_net;
END $$;

CREATE FUNCTION ledger.tail_net(p_account_id int, p_as_of date, p_batches bigint[]) RETURNS numeric
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off AS $$
    SELECT sum(p.amount_minor) FROM ledger.posting p
     WHERE p.account_id = p_account_id AND p.posting_id >= p_batches[1] << 20 AND p.posting_id >> 20 = ANY (p_batches)
       AND p.effective_date <= coalesce(p_as_of, 'infinity'::date)
$$;

-- One account, debit positive; NULL: no posting yet.
CREATE FUNCTION ledger.balance_at(p_account_id int, p_as_of date, p_known_seq bigint) RETURNS bigint
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_batches bigint[] := ledger.tail_batches(p_known_seq);
    v_rolled numeric := ledger.rolled_net(p_account_id, p_as_of, coalesce(p_known_seq, 9223372036854775807));
    v_tail numeric := CASE WHEN v_batches IS NOT NULL THEN ledger.tail_net(p_account_id, p_as_of, v_batches) END;
BEGIN
    PERFORM ledger.require_book((SELECT x.book_id FROM ledger.account x WHERE x.account_id = p_account_id));
    RETURN CASE WHEN v_rolled IS NOT NULL OR v_tail IS NOT NULL THEN coalesce(v_rolled, 0) + coalesce(v_tail, 0) END;
END $$;

-- Every account of a book that has postings by then.
CREATE FUNCTION ledger.balances_at(p_book_id int, p_as_of date, p_known_seq bigint)
RETURNS TABLE (account_id int, posted_minor bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT ledger.require_book(p_book_id);
    WITH tail AS MATERIALIZED (SELECT unnest(ledger.tail_batches(p_known_seq)) AS batch_id)
    SELECT u.account_id, sum(u.net)::bigint
      FROM (SELECT a.account_id, ledger.rolled_net(a.account_id, p_as_of, coalesce(p_known_seq, 9223372036854775807)) AS net
              FROM ledger.account a WHERE a.book_id = p_book_id
            UNION ALL
            SELECT p.account_id, p.amount_minor FROM tail t
              JOIN ledger.posting p ON p.posting_id >= t.batch_id << 20 AND p.posting_id < (t.batch_id + 1) << 20
             WHERE p.book_id = p_book_id AND p.effective_date <= coalesce(p_as_of, 'infinity'::date)) u
     WHERE u.net IS NOT NULL GROUP BY u.account_id
$$;

-- A page of an account's postings in effective order: from a date on, after a posting of that date (NULL: all of it).
-- The rollup says where a day's postings are: runs in the order of their first posting, until the page is full and no
-- further run can begin before its end. A run of one posting names it; the others are ranges of the account's index.
CREATE FUNCTION ledger.statement_page(p_account_id int, p_from date, p_after_posting_id bigint, p_to date, p_known_seq bigint, p_limit int)
RETURNS TABLE (posting_id bigint, effective_date date, amount_minor bigint, idempotency_key text, description text, reference text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
#variable_conflict use_column
DECLARE
    v_tail bigint[] := ledger.tail_batches(p_known_seq);
    v_upto bigint := coalesce(p_known_seq, 9223372036854775807);
    v_after bigint := coalesce(p_after_posting_id, -1);
    v_run record; v_day date; v_low bigint; v_need int := p_limit; v_page bigint[] := '{}'; v_of_day bigint[] := '{}'; v_new bigint[];
BEGIN
    PERFORM ledger.require_book((SELECT x.book_id FROM ledger.account x WHERE x.account_id = p_account_id));
    FOR v_run IN SELECT r.effective_date, r.posting_count, r.low_posting_id, r.high_posting_id FROM ledger.rollup r
                  WHERE r.account_id = p_account_id AND r.level = 0 AND r.effective_date >= p_from AND r.effective_date <= p_to
                    AND r.last_seq <= v_upto AND (r.effective_date > p_from OR r.high_posting_id > v_after)
                  ORDER BY r.effective_date, r.low_posting_id
    LOOP
        IF v_day IS DISTINCT FROM v_run.effective_date THEN
            v_page := v_page || v_of_day;
            v_of_day := '{}';
            v_day := v_run.effective_date;
            v_need := p_limit - cardinality(v_page);
            EXIT WHEN v_need <= 0;
        END IF;
        EXIT WHEN cardinality(v_of_day) >= v_need AND v_of_day[v_need] < v_run.low_posting_id;
        IF v_run.posting_count = 1 THEN
            v_new := ARRAY[v_run.low_posting_id];
        ELSE
            v_low := CASE WHEN v_day = p_from THEN greatest(v_run.low_posting_id, v_after + 1) ELSE v_run.low_posting_id END;
            v_new := ARRAY(SELECT p.posting_id FROM ledger.posting p
                            WHERE p.account_id = p_account_id AND p.effective_date = v_day
                              AND p.posting_id >= v_low AND p.posting_id <= v_run.high_posting_id
                              AND (p_known_seq IS NULL OR EXISTS (
                                   SELECT FROM ledger.batch_seq s WHERE s.batch_id = p.posting_id >> 20 AND s.last_seq <= p_known_seq))
                            ORDER BY p.posting_id LIMIT v_need);
        END IF;
        v_of_day := ARRAY(SELECT DISTINCT n.id FROM unnest(v_of_day || v_new) AS n (id) ORDER BY n.id LIMIT v_need);
    END LOOP;
    v_page := v_page || v_of_day;
    RETURN QUERY
    WITH page AS MATERIALIZED (
        SELECT p.posting_id, p.effective_date, p.amount_minor, p.entry_id FROM ledger.posting p
         WHERE p.account_id = p_account_id AND p.posting_id = ANY (v_page)
        UNION
        SELECT p.posting_id, p.effective_date, p.amount_minor, p.entry_id FROM ledger.posting p
         WHERE v_tail IS NOT NULL AND p.account_id = p_account_id AND p.posting_id >= v_tail[1] << 20 AND p.posting_id >> 20 = ANY (v_tail)
           AND p.effective_date >= p_from AND p.effective_date <= p_to),
    cut AS MATERIALIZED (
        SELECT * FROM page p WHERE p.effective_date > p_from OR p.posting_id > v_after
         ORDER BY p.effective_date, p.posting_id LIMIT p_limit),
    e AS MATERIALIZED (SELECT * FROM ledger.entry WHERE entry_id = ANY (ARRAY(SELECT c.entry_id FROM cut c ORDER BY c.entry_id)))
    SELECT c.posting_id, c.effective_date, c.amount_minor, e.idempotency_key, t.description, t.reference
      FROM cut c JOIN e ON e.entry_id = c.entry_id LEFT JOIN ledger.entry_text t ON t.entry_id = c.entry_id
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

-- The rollup against the postings, level by level: no row means they agree (invariant 4).
CREATE FUNCTION ledger.verify_rollup(p_book_id int) RETURNS TABLE (invariant int, place text, fault text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT ledger.require_book(p_book_id);
    SELECT 4, format('account %s, %s, rolled up at %s', a.code, coalesce(r.effective_date, p.effective_date), coalesce(r.last_seq, p.last_seq)),
           format('rollup %s over %s postings, postings %s over %s', coalesce(r.net, 0), coalesce(r.n, 0), coalesce(p.net, 0), coalesce(p.n, 0))
      FROM (SELECT p.account_id, p.effective_date, u.last_seq, sum(p.amount_minor) AS net, count(*) AS n
              FROM ledger.posting p JOIN ledger.batch_seq s ON s.batch_id = p.posting_id >> 20
              JOIN ledger.publication u USING (publication_id) JOIN ledger.rollup_step t ON t.last_seq = u.last_seq
             WHERE p.book_id = p_book_id GROUP BY 1, 2, 3) p
      FULL JOIN (SELECT r.account_id, r.effective_date, r.last_seq, r.debit_minor - r.credit_minor AS net, r.posting_count AS n
                   FROM ledger.rollup r JOIN ledger.account a USING (account_id) WHERE a.book_id = p_book_id AND r.level = 0) r
        USING (account_id, effective_date, last_seq)
      JOIN ledger.account a USING (account_id)
     WHERE (r.net, r.n) IS DISTINCT FROM (p.net, p.n)
    UNION ALL
    SELECT 4, format('account %s, %s, level %s of the rollup', a.code, effective_date, level), 'differs from the level below'
      FROM (SELECT r.account_id, r.level, r.effective_date, sum(r.debit_minor) AS debit, sum(r.credit_minor) AS credit, sum(r.posting_count) AS n
              FROM ledger.rollup r JOIN ledger.account a USING (account_id) WHERE a.book_id = p_book_id AND r.level > 0 GROUP BY 1, 2, 3) h
      FULL JOIN (SELECT l.account_id, m.level, l.effective_date, sum(l.debit_minor) AS debit, sum(l.credit_minor) AS credit, sum(l.posting_count) AS n
                   FROM (SELECT r.account_id, r.level, max(r.last_seq) AS last_seq
                           FROM ledger.rollup r JOIN ledger.account a USING (account_id) WHERE a.book_id = p_book_id AND r.level > 0 GROUP BY 1, 2) m
                   JOIN ledger.rollup l ON l.account_id = m.account_id AND l.level = m.level - 1 AND l.last_seq <= m.last_seq
                  GROUP BY 1, 2, 3) b USING (account_id, level, effective_date)
      JOIN ledger.account a USING (account_id)
     WHERE (h.debit, h.credit, h.n) IS DISTINCT FROM (b.debit, b.credit, b.n)
$$;

GRANT SELECT ON ledger.rollup, ledger.rollup_step TO :app;
GRANT EXECUTE ON FUNCTION ledger.publish_and_roll_up, ledger.balance_at, ledger.balances_at, ledger.statement_page, ledger.restated, ledger.restating_postings,
    ledger.verify_rollup TO :app;
