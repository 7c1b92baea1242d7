-- Knowledge order of reconciliation: what runs and people recorded, one number for each transaction, in the order in which
-- they committed. A number is given at commit, under a lock that ends with it: nothing appears late below one that was seen.

CREATE SCHEMA recon;
GRANT USAGE ON SCHEMA recon TO :app, :analyst;

CREATE TABLE recon.event (
    event_id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    book_id           int    NOT NULL REFERENCES ledger.book,
    system_identifier bigint NOT NULL,
    xid               xid8   NOT NULL DEFAULT pg_current_xact_id(),
    recorded_by       text   NOT NULL DEFAULT session_user,
    CONSTRAINT event_once UNIQUE (book_id, system_identifier, xid),
    CONSTRAINT event_book UNIQUE (book_id, event_id)
);
COMMENT ON TABLE recon.event IS 'A transaction that recorded a run, or something that a person decided or said about breaks and sets.';

CREATE TABLE recon.event_number (
    book_id     int    NOT NULL,
    seq         bigint NOT NULL CHECK (seq > 0),
    event_id    bigint NOT NULL,
    numbered_at timestamptz NOT NULL,
    snapshot    pg_snapshot NOT NULL,
    high_batch_id bigint NOT NULL,
    prior_seq   bigint GENERATED ALWAYS AS (nullif(seq - 1, 0)) STORED,
    CONSTRAINT event_number_dense PRIMARY KEY (book_id, seq),
    CONSTRAINT event_number_once UNIQUE (event_id),
    CONSTRAINT event_number_event FOREIGN KEY (book_id, event_id) REFERENCES recon.event (book_id, event_id),
    CONSTRAINT event_number_chain FOREIGN KEY (book_id, prior_seq) REFERENCES recon.event_number (book_id, seq)
);
COMMENT ON COLUMN recon.event_number.snapshot IS
    'What was committed when the number was given; with the event''s own transaction: the postings that were known then.';
CREATE INDEX event_number_time ON recon.event_number (book_id, numbered_at);
COMMENT ON TABLE recon.event_number IS
    'The number of each event: dense for each book, in the order of commits. What was known at a number is never added to.';

CREATE TABLE recon.event_clock (
    book_id int PRIMARY KEY REFERENCES ledger.book
);
COMMENT ON TABLE recon.event_clock IS 'Whoever gives a number holds the book''s row until the end of the transaction. Internal.';
SELECT ledger.make_append_only(t) FROM unnest(ARRAY['recon.event', 'recon.event_number', 'recon.event_clock']::regclass[]) t;

-- The event of this transaction, made when it is the first row of the book that needs one. Internal.
CREATE FUNCTION recon.this_event(p_book_id int) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_system bigint := (SELECT c.system_identifier FROM pg_control_system() c);
    v_id     bigint;
BEGIN
    SELECT e.event_id INTO v_id FROM recon.event e
     WHERE e.book_id = p_book_id AND e.system_identifier = v_system AND e.xid = pg_current_xact_id();
    IF v_id IS NULL THEN
        INSERT INTO recon.event (book_id, system_identifier) VALUES (p_book_id, v_system) RETURNING event_id INTO v_id;
    END IF;
    RETURN v_id;
END $$;

-- Every record of a run or a decision belongs to its transaction's event, whoever writes it and whatever it says.
CREATE FUNCTION recon.set_event() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_ARGV[0] = 'adjustment' THEN
        NEW.event_id := recon.this_event((SELECT a.book_id FROM recon.adjustment a WHERE a.adjustment_id = NEW.adjustment_id));
    ELSIF TG_ARGV[0] = 'finding' THEN
        NEW.event_id := recon.this_event((SELECT f.book_id FROM recon.statement_finding f WHERE f.finding_id = NEW.finding_id));
    ELSIF TG_ARGV[0] = 'sample' THEN
        NEW.event_id := recon.this_event((SELECT s.book_id FROM recon.audit_sample s WHERE s.sample_id = NEW.sample_id));
    ELSE
        NEW.event_id := recon.this_event(NEW.book_id);
    END IF;
    RETURN NEW;
END $$;

-- Puts a table's rows into events: the column, and the trigger that fills it. By: where the row's book is found.
CREATE FUNCTION recon.record_events(p_table regclass, p_by text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ADD COLUMN event_id bigint NOT NULL REFERENCES recon.event', p_table);
    EXECUTE format('CREATE INDEX ON %s (event_id)', p_table);
    EXECUTE format('CREATE TRIGGER a_event BEFORE INSERT ON %s FOR EACH ROW EXECUTE FUNCTION recon.set_event(%L)', p_table, p_by);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER a_event', p_table);
END $$;

CREATE FUNCTION recon.number_event() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_last recon.event_number;
BEGIN
    IF NEW.xid <> pg_current_xact_id() THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'event_own',
            MESSAGE = format('Event %s is not of the transaction that writes it.', NEW.event_id);
    END IF;
    INSERT INTO recon.event_clock (book_id) VALUES (NEW.book_id) ON CONFLICT DO NOTHING;
    PERFORM FROM recon.event_clock c WHERE c.book_id = NEW.book_id FOR NO KEY UPDATE;
    SELECT * INTO v_last FROM recon.event_number n WHERE n.book_id = NEW.book_id ORDER BY n.seq DESC LIMIT 1;
    INSERT INTO recon.event_number (book_id, seq, event_id, numbered_at, snapshot, high_batch_id)
    SELECT NEW.book_id, coalesce(v_last.seq, 0) + 1, NEW.event_id, greatest(clock_timestamp(), v_last.numbered_at), pg_current_snapshot(),
           (SELECT coalesce(max(b.batch_id), 0) FROM ledger.batch b);
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER event_number AFTER INSERT ON recon.event
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION recon.number_event();
ALTER TABLE recon.event ENABLE ALWAYS TRIGGER event_number;

-- Whether an event was known at a number; without a number: everything is.
CREATE FUNCTION recon.is_known(p_event_id bigint, p_known_seq bigint) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT p_known_seq IS NULL OR EXISTS (SELECT FROM recon.event_number n WHERE n.event_id = p_event_id AND n.seq <= p_known_seq)
$$;
-- Batches of postings that were not known at a number. Internal.
CREATE FUNCTION recon.batches_unknown_at(p_book_id int, p_known_seq bigint) RETURNS SETOF bigint
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS $$
    WITH point AS MATERIALIZED (
        SELECT n.snapshot, n.high_batch_id, e.xid, e.system_identifier FROM recon.event_number n JOIN recon.event e USING (event_id)
         WHERE n.book_id = p_book_id AND n.seq = p_known_seq)
    SELECT b.batch_id FROM point k
      JOIN ledger.batch b ON b.system_identifier = k.system_identifier AND b.xid >= pg_snapshot_xmin(k.snapshot)
     WHERE b.book_id = p_book_id AND NOT pg_visible_in_snapshot(b.xid, k.snapshot) AND NOT (b.xid = k.xid AND b.batch_id <= k.high_batch_id)
    UNION ALL  -- the books were restored elsewhere since
    SELECT b.batch_id FROM point k
      JOIN ledger.batch b ON b.system_identifier <> k.system_identifier AND b.batch_id > k.high_batch_id
     WHERE b.book_id = p_book_id
$$;
