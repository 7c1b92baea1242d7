-- Events: every committed entry once, in knowledge order; and how far each consumer has read.
-- A number is given once (ledger.batch_seq), to whole batches; an entry's number is its batch's first plus its place
-- among the batch's entries. So reading again gives the same events, here and in a restored copy.

-- The events numbered p_after_seq + 1 … p_upto_seq (of one book, or of all), in order, each with its postings.
-- Entry ids of a batch have gaps only where keys were taken before; without gaps the place is arithmetic, so a page
-- out of the middle of a large batch costs what the page holds.
CREATE FUNCTION ledger.event_page(p_after_seq bigint, p_upto_seq bigint, p_book_id int)
RETURNS TABLE (seq bigint, published_at timestamptz, entry_id bigint, book_id int, idempotency_key text, effective_date date,
               module text, recorded_at timestamptz, recorded_by text, reverses_entry_id bigint, description text, reference text,
               posting_ids bigint[], accounts text[], amounts bigint[], currencies text[], exponents smallint[])
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off AS $$
    SELECT e.seq, p.published_at, e.entry_id, e.book_id, e.idempotency_key, e.effective_date, b.module, b.recorded_at,
           b.recorded_by::text, e.reverses_entry_id, t.description, t.reference,
           l.posting_ids, l.accounts, l.amounts, l.currencies, l.exponents
      FROM (SELECT s.*, s.batch_id << 20 AS base, greatest(p_after_seq + 1, s.first_seq) - s.first_seq AS skipped,
                   least(p_upto_seq, s.last_seq) - greatest(p_after_seq + 1, s.first_seq) + 1 AS wanted
              FROM ledger.batch_seq s WHERE s.last_seq > p_after_seq AND s.first_seq <= p_upto_seq
             ORDER BY s.last_seq) s
      JOIN ledger.batch b ON b.batch_id = s.batch_id AND (p_book_id IS NULL OR b.book_id = p_book_id)
      JOIN ledger.publication p ON p.publication_id = s.publication_id
     CROSS JOIN LATERAL (
           SELECT f.*, s.first_seq + s.skipped + row_number() OVER (ORDER BY f.entry_id) - 1 AS seq
             FROM (SELECT * FROM ledger.entry f
                    WHERE f.entry_id >= CASE
                          WHEN s.skipped = 0 THEN s.base
                          WHEN (SELECT max(m.entry_id) FROM ledger.entry m WHERE m.entry_id >= s.base AND m.entry_id < s.base + (1 << 20))
                               = s.base + s.last_seq - s.first_seq THEN s.base + s.skipped
                          ELSE (SELECT m.entry_id FROM ledger.entry m WHERE m.entry_id >= s.base AND m.entry_id < s.base + (1 << 20)
                                 ORDER BY m.entry_id OFFSET s.skipped LIMIT 1) END
                      AND f.entry_id < s.base + (1 << 20)
                    ORDER BY f.entry_id LIMIT s.wanted) f) e
      LEFT JOIN ledger.entry_text t ON t.entry_id = e.entry_id
     CROSS JOIN LATERAL (
           SELECT array_agg(q.posting_id ORDER BY q.posting_id) AS posting_ids, array_agg(a.code ORDER BY q.posting_id) AS accounts,
                  array_agg(q.amount_minor ORDER BY q.posting_id) AS amounts, array_agg(c.code ORDER BY q.posting_id) AS currencies,
                  array_agg(c.exponent ORDER BY q.posting_id) AS exponents
             FROM ledger.posting q JOIN ledger.account a USING (account_id) JOIN ledger.currency c ON c.currency_id = q.currency_id
            WHERE q.posting_id BETWEEN e.first_posting_id AND e.first_posting_id + e.posting_count - 1) l
     ORDER BY e.seq
$$;

CREATE TABLE ledger.event_consumer (
    consumer   text PRIMARY KEY CHECK (consumer ~ '^[A-Za-z0-9._-]{1,64}$'),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    created_by name NOT NULL DEFAULT session_user
);
CREATE TABLE ledger.event_offset (
    consumer text   NOT NULL REFERENCES ledger.event_consumer,
    seq      bigint NOT NULL,
    moved_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    moved_by name NOT NULL DEFAULT session_user,
    PRIMARY KEY (consumer, seq)
);
COMMENT ON TABLE ledger.event_offset IS 'How far a consumer has read: the highest seq. A row a step; it never goes back.';
SELECT ledger.make_append_only(t) FROM unnest(ARRAY['ledger.event_consumer', 'ledger.event_offset']::regclass[]) t;

-- The rule itself, for the owner too: forward only, and not past what is published.
CREATE FUNCTION ledger.check_event_offset() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_now bigint; v_published bigint;
BEGIN
    PERFORM ledger.require_read_committed();
    PERFORM FROM ledger.event_consumer WHERE consumer = NEW.consumer FOR NO KEY UPDATE;
    SELECT coalesce(max(seq), 0) INTO v_now FROM ledger.event_offset WHERE consumer = NEW.consumer;
    SELECT coalesce(max(last_seq), 0) INTO v_published FROM ledger.publication;
    IF NEW.seq <= v_now THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'consumer_forward', SCHEMA = 'ledger', TABLE = 'event_offset',
            MESSAGE = format('Consumer %s has read through %s and does not go back to %s.', NEW.consumer, v_now, NEW.seq),
            HINT = 'To read again, take a new consumer name, or read without one.';
    ELSIF NEW.seq > v_published THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'consumer_published', SCHEMA = 'ledger', TABLE = 'event_offset',
            MESSAGE = format('Consumer %s cannot have read through %s: %s is the last published.', NEW.consumer, NEW.seq, v_published),
            HINT = 'Move it to the number of the last event it has handled.';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER check_event_offset BEFORE INSERT ON ledger.event_offset FOR EACH ROW EXECUTE FUNCTION ledger.check_event_offset();
ALTER TABLE ledger.event_offset ENABLE ALWAYS TRIGGER check_event_offset;

-- Where a consumer stands, locked until the transaction ends: two processes of one name take turns.
CREATE FUNCTION ledger.lock_consumer(p_consumer text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM ledger.require_book(NULL);
    PERFORM ledger.require_read_committed();
    INSERT INTO ledger.event_consumer (consumer)
    SELECT p_consumer WHERE NOT EXISTS (SELECT FROM ledger.event_consumer WHERE consumer = p_consumer)
    ON CONFLICT DO NOTHING;
    PERFORM FROM ledger.event_consumer WHERE consumer = p_consumer FOR NO KEY UPDATE;
    RETURN (SELECT coalesce(max(seq), 0) FROM ledger.event_offset WHERE consumer = p_consumer);
END $$;

-- Moves a consumer from where the caller believes it is; to where it already stands: nothing.
CREATE FUNCTION ledger.advance_consumer(p_consumer text, p_after_seq bigint, p_seq bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_now bigint := ledger.lock_consumer(p_consumer);
BEGIN
    PERFORM ledger.require_book(NULL);
    IF v_now <> p_after_seq THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'consumer_moved', SCHEMA = 'ledger', TABLE = 'event_offset',
            MESSAGE = format('Consumer %s stands at %s, not at %s: another process has moved it.', p_consumer, v_now, p_after_seq),
            HINT = 'Read its position again; events up to there are handled.';
    END IF;
    IF p_seq <> v_now THEN
        INSERT INTO ledger.event_offset (consumer, seq) VALUES (p_consumer, p_seq);
    END IF;
END $$;

GRANT SELECT ON ledger.event_consumer, ledger.event_offset TO :app;
GRANT EXECUTE ON FUNCTION ledger.event_page, ledger.lock_consumer, ledger.advance_consumer TO :app;
