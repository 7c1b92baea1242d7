-- What people say of a file whose fate nobody could look up. Two of them must say the same.

CREATE TABLE settlement.fate_word (
    fate_word_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    file_id       bigint NOT NULL REFERENCES settlement.payment_file,
    event_ordinal int NOT NULL,
    event_state   text GENERATED ALWAYS AS ('unknown') STORED,
    fate          text NOT NULL CHECK (fate IN ('sent', 'not_sent')),
    reason        text NOT NULL CHECK (reason <> ''),
    said_by       text NOT NULL DEFAULT session_user,
    said_at       timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT fate_of_unknown FOREIGN KEY (file_id, event_ordinal, event_state)
        REFERENCES settlement.file_event (file_id, ordinal, state)
);
CREATE INDEX fate_word_file ON settlement.fate_word (file_id, event_ordinal);
COMMENT ON TABLE settlement.fate_word IS
    'What people found out about a file that became UNKNOWN; event_ordinal says which time. The last word of each counts.';

CREATE FUNCTION settlement.check_fate_word() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NEW.said_by <> session_user THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'fate_own_name',
            MESSAGE = format('What %s says of a file is not said by %s.', NEW.said_by, session_user);
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER fate_word_check BEFORE INSERT ON settlement.fate_word
    FOR EACH ROW EXECUTE FUNCTION settlement.check_fate_word();
ALTER TABLE settlement.fate_word ENABLE ALWAYS TRIGGER fate_word_check;

-- How many people's last word on an UNKNOWN event is this.
CREATE FUNCTION settlement.fate_voices(p_file_id bigint, p_event_ordinal int, p_fate text) RETURNS int
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT count(*)::int
      FROM (SELECT DISTINCT ON (w.said_by) w.fate FROM settlement.fate_word w
             WHERE w.file_id = p_file_id AND w.event_ordinal = p_event_ordinal
             ORDER BY w.said_by, w.fate_word_id DESC) last
     WHERE last.fate = p_fate
$$;

-- What may stand at a bank is owed again only when two people say that it does not.
CREATE FUNCTION settlement.check_taken_back() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF settlement.fate_voices(NEW.file_id, NEW.ordinal - 1, 'not_sent') < 2 THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'fate_four_eyes',
            MESSAGE = format('File %s may have reached its bank; two people must say that it has not.', NEW.file_id),
            HINT = 'Each says it with `nostro bank resolve --not-sent`.';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER file_event_taken_back BEFORE INSERT ON settlement.file_event
    FOR EACH ROW WHEN (NEW.from_state = 'unknown' AND NEW.state = 'cancelled')
    EXECUTE FUNCTION settlement.check_taken_back();
ALTER TABLE settlement.file_event ENABLE ALWAYS TRIGGER file_event_taken_back;

-- A person says whether the bank has a file that is UNKNOWN. When a second person says the same, it is so: sent, or
-- cancelled with every payment of it owed again and held. The state the file is in then.
CREATE FUNCTION settlement.resolve_unknown(p_file_id bigint, p_sent boolean, p_reason text, OUT outcome text, OUT is_new boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_bank_account int := (SELECT f.bank_account_id FROM settlement.payment_file f WHERE f.file_id = p_file_id);
    v_fate    text := CASE WHEN p_sent THEN 'sent' ELSE 'not_sent' END;
    v_ordinal int;
BEGIN
    PERFORM ledger.require_book((SELECT x.book_id FROM settlement.payment_file x WHERE x.file_id = p_file_id));
    PERFORM 1 FROM settlement.bank_account_root r WHERE r.bank_account_id = v_bank_account FOR NO KEY UPDATE;
    outcome := settlement.lock_file(p_file_id);
    is_new := false;
    IF outcome = 'cancelled' AND NOT p_sent OR outcome NOT IN ('unknown', 'cancelled') AND p_sent AND EXISTS (
        SELECT FROM settlement.file_transition t WHERE t.from_state = 'unknown' AND t.state = outcome) THEN
        RETURN;
    END IF;
    IF outcome <> 'unknown' THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'file_event_transition',
            MESSAGE = format('File %s is %s; people settle the fate of a file that is unknown.', p_file_id, outcome);
    END IF;
    v_ordinal := (SELECT max(e.ordinal) FROM settlement.file_event e WHERE e.file_id = p_file_id);
    INSERT INTO settlement.fate_word (file_id, event_ordinal, fate, reason)
    SELECT p_file_id, v_ordinal, v_fate, p_reason
     WHERE (SELECT w.fate FROM settlement.fate_word w
             WHERE w.file_id = p_file_id AND w.event_ordinal = v_ordinal AND w.said_by = session_user
             ORDER BY w.fate_word_id DESC LIMIT 1) IS DISTINCT FROM v_fate;
    is_new := FOUND;
    IF settlement.fate_voices(p_file_id, v_ordinal, v_fate) < 2 THEN
        RETURN;
    END IF;
    IF p_sent THEN
        PERFORM settlement.add_file_event(p_file_id, 'sent', p_reason);
        outcome := 'sent';
    ELSE
        PERFORM settlement.take_back(p_file_id, p_reason, true);
        outcome := 'cancelled';
    END IF;
END $$;
COMMENT ON FUNCTION settlement.resolve_unknown IS
    'A person''s word on a file whose fate is unknown; two equal words settle it.';

SELECT ledger.make_append_only('settlement.fate_word');
GRANT SELECT ON settlement.fate_word TO :app;
GRANT EXECUTE ON FUNCTION settlement.resolve_unknown TO :preparer, :approver;
