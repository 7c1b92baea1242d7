-- What a payment file says differently from what we were told: texts written in the bank's character set.
-- Nothing is written differently in silence; nothing is ever cut.

CREATE TABLE settlement.written_text (
    file_id  bigint NOT NULL REFERENCES settlement.payment_file,
    ordinal  int    NOT NULL CHECK (ordinal >= 0),
    field    text   NOT NULL CHECK (field <> ''),
    original text   NOT NULL,
    written  text   NOT NULL,
    changes  jsonb  NOT NULL,
    PRIMARY KEY (file_id, ordinal, field),
    CONSTRAINT written_text_differs CHECK (original <> written AND jsonb_array_length(changes) > 0)
);
COMMENT ON TABLE settlement.written_text IS
    'Texts of a payment file that are not written as they were given; ordinal 0 is the file''s header.';
COMMENT ON COLUMN settlement.written_text.changes IS
    'Each replaced piece: at (place in the original, from 0), original, written, rule.';
SELECT ledger.make_append_only('settlement.written_text');
GRANT SELECT ON settlement.written_text TO :app;

CREATE FUNCTION settlement.record_written_texts(
    p_file_id bigint, p_ordinals int[], p_fields text[], p_originals text[], p_written text[], p_changes jsonb[])
    RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    v_count int;
BEGIN
    PERFORM ledger.require_book((SELECT f.book_id FROM settlement.payment_file f WHERE f.file_id = p_file_id));
    PERFORM 1 FROM settlement.file_current f
      JOIN settlement.run r USING (run_id)
     WHERE f.file_id = p_file_id AND f.state = 'proposed' AND r.prepared_by = session_user;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', CONSTRAINT = 'run_preparer',
            MESSAGE = format('File %s is not being proposed by %s.', p_file_id, session_user);
    END IF;
    INSERT INTO settlement.written_text (file_id, ordinal, field, original, written, changes)
    SELECT p_file_id, g.ordinal, g.field, g.original, g.written, g.changes
      FROM unnest(p_ordinals, p_fields, p_originals, p_written, p_changes)
           AS g (ordinal, field, original, written, changes);
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END $$;
COMMENT ON FUNCTION settlement.record_written_texts IS
    'Keeps with a file that is being proposed what its texts were before they were written in the bank''s characters.';
GRANT EXECUTE ON FUNCTION settlement.record_written_texts TO :app;
