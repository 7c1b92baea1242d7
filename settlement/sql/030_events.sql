-- What happened to files and instructions: chains of events along a declared lattice.
-- The tables refuse a step that the lattice does not know, whoever writes it.

CREATE TABLE settlement.message_received (
    message_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    book_id     int NOT NULL REFERENCES ledger.book,
    bank        text NOT NULL,
    kind        text NOT NULL,
    name        text NOT NULL,
    sha256      text NOT NULL,
    content     bytea NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    recorded_by text NOT NULL DEFAULT session_user,
    CONSTRAINT message_received_once UNIQUE (book_id, bank, sha256),
    CONSTRAINT message_received_hash CHECK (sha256 = encode(sha256(content), 'hex'))
);
COMMENT ON TABLE settlement.message_received IS 'Raw bytes of every status report; the same bytes are one message.';

CREATE TABLE settlement.message_finding (
    message_id bigint NOT NULL REFERENCES settlement.message_received,
    ordinal    int NOT NULL,
    code       text NOT NULL,
    reference  text,
    message    text NOT NULL,
    PRIMARY KEY (message_id, ordinal)
);
COMMENT ON TABLE settlement.message_finding IS 'What a status report said that could not be applied, and why.';

CREATE TABLE settlement.file_transition (
    from_state text NOT NULL,
    state      text NOT NULL,
    PRIMARY KEY (from_state, state)
);
COMMENT ON TABLE settlement.file_transition IS 'The lattice of a payment file; new is where it comes from.';
INSERT INTO settlement.file_transition (from_state, state)
SELECT split_part(line, ' ', 1), unnest(string_to_array(split_part(line, ' ', 2), ','))
  FROM unnest(ARRAY[
    'new proposed',
    'proposed approved,rejected,void,unknown',  -- unknown: it left before the books were restored (200)
    'approved sealed,rejected,void,unknown',
    'void unknown',
    'sealed sending,cancelled',
    'sending sent,failed,unknown,acknowledged,partly_rejected,rejected,executed,disputed',
    'failed sending,cancelled,acknowledged,partly_rejected,rejected,executed,disputed',
    'unknown sending,sent,cancelled,acknowledged,partly_rejected,rejected,executed,disputed,reconciled',
    'sent acknowledged,partly_rejected,rejected,executed,disputed,reconciled',
    'acknowledged partly_rejected,rejected,executed,disputed,reconciled',
    'partly_rejected rejected,executed,disputed,reconciled',
    'rejected disputed',
    'cancelled disputed',  -- it never got there, we said; the bank says that it has it
    'executed disputed,reconciled',
    'disputed reconciled']) line;

CREATE TABLE settlement.file_event (
    file_id         bigint NOT NULL REFERENCES settlement.payment_file,
    ordinal         int NOT NULL CHECK (ordinal > 0),
    prior_ordinal   int GENERATED ALWAYS AS (nullif(ordinal - 1, 0)) STORED,
    from_state      text NOT NULL,
    state           text NOT NULL,
    reason          text,
    message_id      bigint REFERENCES settlement.message_received,
    session_pid     int NOT NULL DEFAULT pg_backend_pid(),
    session_started timestamptz,
    recorded_at     timestamptz NOT NULL DEFAULT now(),
    recorded_by     text NOT NULL DEFAULT session_user,
    PRIMARY KEY (file_id, ordinal),
    UNIQUE (file_id, ordinal, state),
    CONSTRAINT file_event_first CHECK ((ordinal = 1) = (from_state = 'new')),
    CONSTRAINT file_event_transition FOREIGN KEY (from_state, state) REFERENCES settlement.file_transition,
    CONSTRAINT file_event_chain FOREIGN KEY (file_id, prior_ordinal, from_state)
        REFERENCES settlement.file_event (file_id, ordinal, state)
);
-- Only sending and what a failed attempt leaves behind may happen more than once.
CREATE UNIQUE INDEX file_event_once ON settlement.file_event (file_id, state)
    WHERE state NOT IN ('sending', 'failed', 'unknown');
COMMENT ON TABLE settlement.file_event IS 'Append-only history of a file; each event names the state it leaves.';

-- Where each file stands, by state: what waits is found without a walk over all files there ever were. An index of the
-- events, like a balance of its postings: moved by the event itself and by nothing else.
CREATE TABLE settlement.file_standing (
    file_id         bigint PRIMARY KEY,
    bank_account_id int NOT NULL,
    ordinal         int NOT NULL,
    state           text NOT NULL,
    CONSTRAINT file_standing_event FOREIGN KEY (file_id, ordinal, state)
        REFERENCES settlement.file_event (file_id, ordinal, state)
);
CREATE INDEX file_standing_state ON settlement.file_standing (state, bank_account_id);
COMMENT ON TABLE settlement.file_standing IS 'The last event of each file, found by its state.';

CREATE FUNCTION settlement.move_file() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO settlement.file_standing AS s (file_id, bank_account_id, ordinal, state)
    SELECT NEW.file_id, f.bank_account_id, NEW.ordinal, NEW.state
      FROM settlement.payment_file f WHERE f.file_id = NEW.file_id
        ON CONFLICT (file_id) DO UPDATE SET ordinal = EXCLUDED.ordinal, state = EXCLUDED.state;
    RETURN NULL;
END $$;
CREATE TRIGGER file_event_moves AFTER INSERT ON settlement.file_event FOR EACH ROW EXECUTE FUNCTION settlement.move_file();
ALTER TABLE settlement.file_event ENABLE ALWAYS TRIGGER file_event_moves;

CREATE FUNCTION settlement.guard_standing() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF pg_trigger_depth() < 2 THEN
        RAISE EXCEPTION USING ERRCODE = 'restrict_violation', CONSTRAINT = 'standing_by_event',
            MESSAGE = format('%s on %s is refused: it says what the records say of which it is an index.', TG_OP, TG_RELID::regclass),
            HINT = 'Record what happened instead.';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER standing_by_event BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON settlement.file_standing
    FOR EACH STATEMENT EXECUTE FUNCTION settlement.guard_standing();
ALTER TABLE settlement.file_standing ENABLE ALWAYS TRIGGER standing_by_event;

CREATE TABLE settlement.instruction_state (
    state text PRIMARY KEY,
    rank  smallint NOT NULL UNIQUE
);
INSERT INTO settlement.instruction_state VALUES
    ('new', 0), ('received', 10), ('pending', 20), ('checked', 30), ('accepted', 40), ('in_process', 50),
    ('executed', 60), ('rejected', 90), ('cancelled', 95), ('disputed', 97), ('returned', 100);
COMMENT ON TABLE settlement.instruction_state IS 'States of an instruction at the bank; an instruction only moves to a higher rank.';

CREATE TABLE settlement.instruction_transition (
    from_state text NOT NULL REFERENCES settlement.instruction_state,
    state      text NOT NULL REFERENCES settlement.instruction_state,
    PRIMARY KEY (from_state, state)
);
-- Rejected, cancelled (before the bank had it) and returned are ends; what was executed can still come back. A payment
-- of which the bank says both that it was executed and that it was rejected is disputed, whichever it said first; so is one
-- that we cancelled since it never got there, when the bank says that it has it.
INSERT INTO settlement.instruction_transition
SELECT a.state, b.state FROM settlement.instruction_state a JOIN settlement.instruction_state b ON a.rank < b.rank
 WHERE a.state NOT IN ('rejected', 'cancelled', 'returned')
   AND NOT (a.state = 'executed' AND b.state = 'rejected') AND NOT (b.state = 'cancelled' AND a.state <> 'new')
UNION ALL
SELECT unnest(ARRAY['rejected', 'cancelled']), 'disputed';

CREATE TABLE settlement.status_code (
    code    text PRIMARY KEY,
    state   text REFERENCES settlement.instruction_state,
    policy  text NOT NULL CHECK (policy IN ('none', 'fix_data', 're_date', 'retry', 'human', 'stop')),
    noted   boolean NOT NULL,
    meaning text NOT NULL
);
INSERT INTO settlement.status_code VALUES
    ('RCVD', 'received', 'none', false, 'The bank has it.'),
    ('PRES', 'received', 'none', false, 'It was presented.'),
    ('PDNG', 'pending', 'none', false, 'The bank is still checking.'),
    ('ACFW', 'pending', 'human', true, 'The bank waits for our confirmation.'),
    ('PATC', NULL, 'human', true, 'More people must sign at the bank.'),
    ('ACTC', 'checked', 'none', false, 'Its form is right.'),
    ('ACCP', 'accepted', 'none', false, 'It is accepted.'),
    ('ACFC', 'accepted', 'none', false, 'It is accepted and the funds are there.'),
    ('ACWC', 'accepted', 'none', true, 'It is accepted with a change, such as another date.'),
    ('ACWP', 'accepted', 'none', false, 'The payee''s bank has it and has not credited it.'),
    ('ACSP', 'in_process', 'none', false, 'It is being settled.'),
    ('ACIS', 'in_process', 'none', false, 'A cheque was issued.'),
    ('ACPD', 'in_process', 'none', false, 'The clearing has it.'),
    ('ACSC', 'executed', 'none', false, 'Our account was debited.'),
    ('ACCC', 'executed', 'none', false, 'The payee was credited.'),
    ('CPUC', 'executed', 'none', false, 'The payee picked up the cash.'),
    ('RJCT', 'rejected', 'human', false, 'It is rejected; the reason decides.'),
    ('CANC', 'rejected', 'human', false, 'It is cancelled, as somebody asked.'),
    ('BLCK', NULL, 'stop', true, 'The funds are blocked and neither credited nor returned.'),
    ('PART', NULL, 'none', false, 'Payments of the file differ; each says its own.'),
    ('RCVC', NULL, 'none', true, 'Name and account were compared and belong together.'),
    ('RVCM', NULL, 'human', true, 'Name and account were compared and some do not match.'),
    ('RVNC', NULL, 'none', true, 'Name and account are still being compared.'),
    ('RVMC', NULL, 'human', true, 'The name is close to that of the account, not the same.'),
    ('RVNM', NULL, 'human', true, 'The name is not that of the account.'),
    ('RVNA', NULL, 'human', true, 'Name and account could not be compared.');
COMMENT ON TABLE settlement.status_code IS
    'ISO 20022 payment status codes: the state each one proves (none: it only informs), and what is done about it.';
COMMENT ON COLUMN settlement.status_code.noted IS 'Whether it is kept for each payment it was said of, whatever its state.';

CREATE TABLE settlement.instruction_event (
    instruction_id bigint NOT NULL,
    ordinal        int NOT NULL CHECK (ordinal > 0),
    from_state     text NOT NULL,
    state          text NOT NULL,
    status_code    text,
    reason_code    text,
    reason_text    text,
    message_id     bigint,
    recorded_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (instruction_id, ordinal),
    CONSTRAINT instruction_event_first CHECK ((ordinal = 1) = (from_state = 'new'))
);
COMMENT ON TABLE settlement.instruction_event IS 'What the bank said of an instruction, forward only.';
CREATE INDEX instruction_event_disputed ON settlement.instruction_event (instruction_id) WHERE state = 'disputed';

-- A statement trigger does for thousands of rows in one join what row-wise foreign keys would do one by one.
CREATE FUNCTION settlement.check_instruction_events() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_row record;
BEGIN
    SELECT n.* INTO v_row
      FROM new_rows n
      LEFT JOIN LATERAL (SELECT * FROM settlement.instruction i WHERE i.instruction_id = n.instruction_id LIMIT 1) i
             ON true
      LEFT JOIN settlement.instruction_transition t ON t.from_state = n.from_state AND t.state = n.state
      LEFT JOIN LATERAL (SELECT * FROM settlement.instruction_event p
                          WHERE p.instruction_id = n.instruction_id AND p.ordinal = n.ordinal - 1 LIMIT 1) p
             ON p.state = n.from_state
     WHERE i.instruction_id IS NULL OR t.state IS NULL OR (n.ordinal > 1 AND p.instruction_id IS NULL)
     LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'instruction_event_transition',
            MESSAGE = format('instruction %s cannot go from %s to %s', v_row.instruction_id, v_row.from_state, v_row.state);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER instruction_event_check AFTER INSERT ON settlement.instruction_event
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION settlement.check_instruction_events();
ALTER TABLE settlement.instruction_event ENABLE ALWAYS TRIGGER instruction_event_check;

SELECT ledger.make_append_only(name::regclass) FROM unnest(ARRAY[
    'settlement.message_received', 'settlement.message_finding', 'settlement.file_transition',
    'settlement.file_event', 'settlement.instruction_state', 'settlement.instruction_transition',
    'settlement.status_code', 'settlement.instruction_event']) name;

CREATE VIEW settlement.file_current AS
SELECT f.file_id, f.run_id, f.part, f.book_id, s.bank_account_id, f.rail, f.currency_id,
       (SELECT min(b.execution_date) FROM settlement.payment_batch b WHERE b.file_id = f.file_id) AS execution_date,
       f.msg_id, f.sha256, f.instruction_count, f.total_minor,
       s.state, s.ordinal AS event_ordinal, e.reason, e.session_pid, e.session_started,
       e.recorded_by, e.recorded_at
  FROM settlement.file_standing s
  JOIN settlement.payment_file f ON f.file_id = s.file_id
 CROSS JOIN LATERAL (SELECT * FROM settlement.file_event e WHERE e.file_id = s.file_id AND e.ordinal = s.ordinal LIMIT 1) e;

CREATE VIEW settlement.instruction_event_last AS
SELECT e.*
  FROM settlement.instruction_event e
  LEFT JOIN settlement.instruction_event later
         ON later.instruction_id = e.instruction_id AND later.ordinal = e.ordinal + 1
 WHERE later.instruction_id IS NULL;

-- The one way files move. The lock makes concurrent callers take turns; the tables above have the last word.
CREATE FUNCTION settlement.add_file_event(
    p_file_id bigint, p_state text, p_reason text DEFAULT NULL, p_message_id bigint DEFAULT NULL,
    p_session_started timestamptz DEFAULT NULL) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_last settlement.file_event;
BEGIN
    PERFORM 1 FROM settlement.payment_file f WHERE f.file_id = p_file_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'file_known',
            MESSAGE = format('there is no payment file %s', p_file_id),
            HINT = 'List the files with `nostro settle show`.';
    END IF;
    SELECT * INTO v_last FROM settlement.file_event e WHERE e.file_id = p_file_id ORDER BY e.ordinal DESC LIMIT 1;
    IF NOT EXISTS (SELECT FROM settlement.file_transition t
                    WHERE t.from_state = coalesce(v_last.state, 'new') AND t.state = p_state) THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'file_event_transition',
            MESSAGE = format('file %s is %s and cannot become %s', p_file_id, coalesce(v_last.state, 'new'), p_state)
                      || coalesce(' (' || v_last.reason || ')', '');
    END IF;
    INSERT INTO settlement.file_event (file_id, ordinal, from_state, state, reason, message_id, session_started)
    VALUES (p_file_id, coalesce(v_last.ordinal, 0) + 1, coalesce(v_last.state, 'new'), p_state, p_reason,
            p_message_id, p_session_started);
    RETURN coalesce(v_last.ordinal, 0) + 1;
END $$;

CREATE FUNCTION settlement.lock_file(p_file_id bigint) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM 1 FROM settlement.payment_file f WHERE f.file_id = p_file_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'file_known',
            MESSAGE = format('there is no payment file %s', p_file_id),
            HINT = 'List the files with `nostro settle show`.';
    END IF;
    RETURN (SELECT e.state FROM settlement.file_event e
             WHERE e.file_id = p_file_id ORDER BY e.ordinal DESC LIMIT 1);
END $$;
COMMENT ON FUNCTION settlement.lock_file IS 'Locks a file until the transaction ends and gives its state. Internal.';

GRANT SELECT ON settlement.message_received, settlement.message_finding, settlement.file_transition,
    settlement.file_event, settlement.instruction_state, settlement.instruction_transition,
    settlement.status_code, settlement.instruction_event, settlement.file_current,
    settlement.instruction_event_last TO :app;
GRANT SELECT ON settlement.file_current, settlement.message_finding TO :analyst;
