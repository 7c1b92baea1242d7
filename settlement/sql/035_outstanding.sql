-- What is not over yet: postings and payees that are held, reserves not given back, sends that were lost. Each is opened
-- by one record and ended by others, and both are kept for ever; this table has a row for what is open and no other, so a
-- night reads what is open and not what there ever was. It is an index of the records, like a balance of its postings:
-- moved by the records' own triggers and by nothing else. What is open, the view outstanding_by_record says (230), and
-- nobody else does: the triggers ask it, and so does `nostro verify`.

CREATE TABLE settlement.outstanding (
    what       text   NOT NULL CONSTRAINT outstanding_what CHECK (what IN ('hold', 'payee_hold', 'reserve', 'lost_send')),
    id         bigint NOT NULL,
    book_id    int    NOT NULL,
    payee_id   int,
    due_on     date,
    left_minor bigint,
    PRIMARY KEY (what, id)
);
CREATE INDEX outstanding_due ON settlement.outstanding (book_id, what, due_on);
CREATE INDEX outstanding_payee ON settlement.outstanding (payee_id, what);
COMMENT ON TABLE settlement.outstanding IS 'Holds, reserves and lost sends that are not over yet, and no others.';
COMMENT ON COLUMN settlement.outstanding.id IS 'The key of the record that opened it: hold_id, payee_hold_id, reserve_id, lost_send_id.';
COMMENT ON COLUMN settlement.outstanding.due_on IS 'Of a rolling reserve: when it is given back. A fixed one has no day.';
COMMENT ON COLUMN settlement.outstanding.left_minor IS 'Of a reserve: what is left of it.';
GRANT SELECT ON settlement.outstanding TO :app;

CREATE FUNCTION settlement.restate(p_what text, p_ids bigint[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS $$
BEGIN
    DELETE FROM settlement.outstanding o
     WHERE o.what = p_what AND o.id = ANY (p_ids)
       AND NOT EXISTS (SELECT FROM settlement.outstanding_by_record r WHERE r.what = p_what AND r.id = o.id);
    INSERT INTO settlement.outstanding AS o (what, id, book_id, payee_id, due_on, left_minor)
    SELECT r.what, r.id, r.book_id, r.payee_id, r.due_on, r.left_minor
      FROM settlement.outstanding_by_record r WHERE r.what = p_what AND r.id = ANY (p_ids)
        ON CONFLICT (what, id) DO UPDATE SET left_minor = EXCLUDED.left_minor;
END $$;
COMMENT ON FUNCTION settlement.restate IS 'Internal: makes outstanding say of these what their records say.';

-- A record that opens or ends something: its kind, and the column that names it. Some holds end when their payee's
-- details change too, and are back when they change back; so who holds or releases takes turns with who changes details.
CREATE FUNCTION settlement.restate_recorded() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_ids bigint[];
BEGIN
    EXECUTE format('SELECT array_agg(DISTINCT n.%I) FROM new_rows n', TG_ARGV[1]) INTO v_ids;
    IF TG_ARGV[0] = 'hold' AND v_ids IS NOT NULL THEN
        PERFORM FROM settlement.payee y
          WHERE y.payee_id IN (SELECT v.payee_id FROM settlement.hold h JOIN settlement.payee_version v USING (payee_version_id)
                                WHERE h.hold_id = ANY (v_ids) AND h.ends_by_details)
          ORDER BY y.payee_id FOR NO KEY UPDATE;
    END IF;
    PERFORM settlement.restate(TG_ARGV[0], v_ids) WHERE v_ids IS NOT NULL;
    RETURN NULL;
END $$;

CREATE FUNCTION settlement.restate_details() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_payees int[] := (SELECT array_agg(DISTINCT n.payee_id) FROM new_rows n WHERE n.version > 1);
BEGIN
    IF v_payees IS NULL THEN RETURN NULL; END IF;
    PERFORM FROM settlement.payee y WHERE y.payee_id = ANY (v_payees) ORDER BY y.payee_id FOR NO KEY UPDATE;
    PERFORM settlement.restate('hold', array_agg(h.hold_id))
       FROM settlement.payee_version v JOIN settlement.hold h USING (payee_version_id) WHERE v.payee_id = ANY (v_payees) AND h.ends_by_details;
    RETURN NULL;
END $$;

CREATE FUNCTION settlement.keep_outstanding(p_table regclass, p_what text, p_column text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('CREATE TRIGGER outstanding_moves AFTER INSERT ON %s REFERENCING NEW TABLE AS new_rows'
                   ' FOR EACH STATEMENT EXECUTE FUNCTION settlement.restate_recorded(%L, %L)', p_table, p_what, p_column);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER outstanding_moves', p_table);
END $$;

CREATE TRIGGER standing_by_event BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON settlement.outstanding
    FOR EACH STATEMENT EXECUTE FUNCTION settlement.guard_standing();
ALTER TABLE settlement.outstanding ENABLE ALWAYS TRIGGER standing_by_event;
CREATE TRIGGER outstanding_moves AFTER INSERT ON settlement.payee_version
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION settlement.restate_details();
ALTER TABLE settlement.payee_version ENABLE ALWAYS TRIGGER outstanding_moves;
