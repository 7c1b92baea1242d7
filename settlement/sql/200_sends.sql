-- What left for banks, counted: books that were restored from a backup have forgotten sends, and must not send again
-- before people have compared them with the journal beside the books and with the bank.
--
-- Every send has a number and a digest chained to the one before. The journal of sends, a file outside of the database,
-- has the same chain. Sending asks for the journal's head; a head that is not the books' own is refused.

CREATE TABLE settlement.send_journal (
    journal_no        int  PRIMARY KEY CHECK (journal_no > 0),
    journal_id        text NOT NULL,
    server            text NOT NULL,
    database          text NOT NULL,
    first_number      bigint NOT NULL CHECK (first_number > 0),
    opened_by         text NOT NULL DEFAULT session_user,
    opened_at         timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT send_journal_id UNIQUE (journal_id)
);
COMMENT ON TABLE settlement.send_journal IS
    'Each journal of sends, and the server and database it belongs to. Another one is opened when people have reconciled.';
COMMENT ON COLUMN settlement.send_journal.server IS 'The system identifier; empty when the server could not read its own control file.';
COMMENT ON COLUMN settlement.send_journal.database IS
    'Numbers of the database and of this table: a restore gives others, a rename or an upgrade of the schema does not.';

-- Which server and database this is. A server cannot read its control file where its user may not enter the folder above.
CREATE FUNCTION settlement.send_place(OUT server text, OUT database text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    database := (SELECT d.oid::text FROM pg_database d WHERE d.datname = current_database())
                || '/' || 'settlement.send_journal'::regclass::oid;
    server := (SELECT c.system_identifier::text FROM pg_control_system() c);
EXCEPTION WHEN OTHERS THEN
    server := '';
END $$;
COMMENT ON FUNCTION settlement.send_place IS 'Internal: what send_head compares.';

CREATE FUNCTION settlement.send_digest(
    p_previous text, p_number bigint, p_token uuid, p_book_id int, p_file_id bigint, p_part int, p_bank text,
    p_msg_id text, p_sha256 text, p_size_bytes bigint) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT encode(sha256(convert_to(p_previous || '|' || p_number || '|' || p_token || '|' || p_book_id || '|' || p_file_id
        || '|' || p_part || '|' || p_bank || '|' || p_msg_id || '|' || p_sha256 || '|' || p_size_bytes, 'UTF8')), 'hex')
$$;

CREATE TABLE settlement.send (
    number       bigint PRIMARY KEY CHECK (number > 0),
    prior_number bigint GENERATED ALWAYS AS (nullif(number - 1, 0)) STORED,
    journal_no   int    NOT NULL REFERENCES settlement.send_journal,
    token        uuid   NOT NULL DEFAULT gen_random_uuid(),
    book_id      int    NOT NULL REFERENCES ledger.book,
    file_id      bigint NOT NULL REFERENCES settlement.payment_file,
    part         int    NOT NULL CHECK (part >= 0),
    bank         text   NOT NULL,
    msg_id       text   NOT NULL,
    sha256       text   NOT NULL,
    size_bytes   bigint NOT NULL,
    previous     text   NOT NULL,
    digest       text   NOT NULL,
    started_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_by   text   NOT NULL DEFAULT session_user,
    CONSTRAINT send_number_digest UNIQUE (number, digest),
    CONSTRAINT send_first CHECK (number > 1 OR previous = repeat('0', 64)),
    CONSTRAINT send_chain FOREIGN KEY (prior_number, previous) REFERENCES settlement.send (number, digest),
    CONSTRAINT send_digest_right CHECK (
        digest = settlement.send_digest(previous, number, token, book_id, file_id, part, bank, msg_id, sha256, size_bytes))
);
CREATE INDEX send_msg_id ON settlement.send (msg_id);
COMMENT ON TABLE settlement.send IS
    'Every attempt to send a file (part 0) or a recall of it, in order, chained; the journal of sends has the same lines.';

CREATE TABLE settlement.send_review (
    review_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    digest    text  NOT NULL,
    findings  jsonb NOT NULL,
    opened_by text NOT NULL DEFAULT session_user,
    opened_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE settlement.send_review IS 'What the journal of sends, the books and the banks'' folders said when people compared them.';

CREATE TABLE settlement.send_review_word (
    review_id bigint NOT NULL REFERENCES settlement.send_review,
    said_by   text   NOT NULL DEFAULT session_user,
    reason    text   NOT NULL CHECK (reason <> ''),
    said_at   timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT send_review_word_once PRIMARY KEY (review_id, said_by),
    CONSTRAINT send_review_own_name CHECK (said_by = session_user)
);
COMMENT ON TABLE settlement.send_review_word IS 'Two people sign what was found; then sending goes on.';

CREATE TABLE settlement.lost_send (
    lost_send_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    review_id    bigint NOT NULL REFERENCES settlement.send_review,
    book_id      int    NOT NULL REFERENCES ledger.book,
    bank         text   NOT NULL,
    msg_id       text   NOT NULL,
    part         int    NOT NULL CHECK (part >= 0),
    source       text   NOT NULL CHECK (source IN ('journal', 'bank', 'answer')),
    sha256       text,
    content      bytea,
    manifest     jsonb  NOT NULL,
    CONSTRAINT lost_send_once UNIQUE NULLS NOT DISTINCT (book_id, msg_id, sha256),
    CONSTRAINT lost_send_hash CHECK (sha256 IS NOT DISTINCT FROM encode(sha256(content), 'hex'))
);
COMMENT ON TABLE settlement.lost_send IS
    'A file that left for a bank and that restored books do not know as sent. Its payees are not paid until its fate is decided.';
COMMENT ON COLUMN settlement.lost_send.content IS 'Its bytes; NULL when only an answer of the bank speaks of it.';

CREATE TABLE settlement.lost_payment (
    lost_send_id  bigint NOT NULL REFERENCES settlement.lost_send,
    ordinal       int    NOT NULL,
    end_to_end_id text   NOT NULL,
    uetr          text,
    payee_code    text,
    iban          text   NOT NULL,
    amount_minor  bigint NOT NULL CHECK (amount_minor > 0),
    PRIMARY KEY (lost_send_id, ordinal)
);
COMMENT ON TABLE settlement.lost_payment IS 'The payments of a lost send; payee_code is NULL when only the bank has the file.';

CREATE TABLE settlement.lost_send_word (
    lost_send_word_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    lost_send_id bigint NOT NULL REFERENCES settlement.lost_send,
    outcome      text   NOT NULL CHECK (outcome IN ('not_sent', 'by_hand')),
    reason       text   NOT NULL CHECK (reason <> ''),
    said_by      text   NOT NULL DEFAULT session_user,
    said_at      timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT lost_send_own_name CHECK (said_by = session_user)
);
CREATE INDEX lost_send_word_send ON settlement.lost_send_word (lost_send_id);

CREATE TABLE settlement.lost_send_end (
    lost_send_id bigint PRIMARY KEY REFERENCES settlement.lost_send,
    outcome      text NOT NULL CHECK (outcome IN ('adopted', 'not_sent', 'by_hand')),
    file_id      bigint REFERENCES settlement.payment_file,
    ended_by     text NOT NULL DEFAULT session_user,
    ended_at     timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT lost_send_adopted CHECK ((outcome = 'adopted') = (file_id IS NOT NULL))
);
COMMENT ON TABLE settlement.lost_send_end IS
    'What became of a lost send: adopted (a file of the books again), or two people say that it never left, or was booked by hand.';

SELECT ledger.make_append_only(name::regclass) FROM unnest(ARRAY[
    'settlement.send_journal', 'settlement.send', 'settlement.send_review', 'settlement.send_review_word', 'settlement.lost_send',
    'settlement.lost_payment', 'settlement.lost_send_word', 'settlement.lost_send_end']) name;

SELECT settlement.keep_outstanding('settlement.lost_send', 'lost_send', 'lost_send_id'),
       settlement.keep_outstanding('settlement.lost_send_end', 'lost_send', 'lost_send_id');

CREATE FUNCTION settlement.lost_send_voices(p_lost_send_id bigint, p_outcome text) RETURNS int
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT count(*)::int
      FROM (SELECT DISTINCT ON (w.said_by) w.outcome FROM settlement.lost_send_word w
             WHERE w.lost_send_id = p_lost_send_id ORDER BY w.said_by, w.lost_send_word_id DESC) last
     WHERE last.outcome = p_outcome
$$;

-- Whoever writes the row, the owner included: what may have been paid is free again only when two people say so.
CREATE FUNCTION settlement.check_lost_send_end() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NEW.outcome <> 'adopted' AND settlement.lost_send_voices(NEW.lost_send_id, NEW.outcome) < 2 THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'lost_send_four_eyes',
            MESSAGE = format('Lost send %s may have been paid; two people must say what became of it.', NEW.lost_send_id),
            HINT = 'Each says it with `nostro bank lost-send`.';
    END IF;
    IF NEW.outcome = 'adopted' AND NOT EXISTS (
        SELECT FROM settlement.lost_send l JOIN settlement.payment_file f ON f.file_id = NEW.file_id
          LEFT JOIN settlement.recall_file r ON r.file_id = f.file_id AND r.part = l.part
         WHERE l.lost_send_id = NEW.lost_send_id AND l.book_id = f.book_id
           AND (l.msg_id, l.sha256) = (coalesce(r.msg_id, f.msg_id), coalesce(r.sha256, f.sha256))) THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'lost_send_same_bytes',
            MESSAGE = format('File %s is not lost send %s.', NEW.file_id, NEW.lost_send_id);
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER lost_send_end_check BEFORE INSERT ON settlement.lost_send_end
    FOR EACH ROW EXECUTE FUNCTION settlement.check_lost_send_end();
ALTER TABLE settlement.lost_send_end ENABLE ALWAYS TRIGGER lost_send_end_check;

-- A file that nobody sent becomes UNKNOWN only because it is a lost send.
CREATE FUNCTION settlement.check_adopted() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM settlement.lost_send l JOIN settlement.payment_file f USING (book_id, msg_id, sha256)
                    WHERE f.file_id = NEW.file_id) THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'file_event_adopted',
            MESSAGE = format('File %s is %s and is not known to have left.', NEW.file_id, NEW.from_state);
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER file_event_adopted BEFORE INSERT ON settlement.file_event
    FOR EACH ROW WHEN (NEW.state = 'unknown' AND NEW.from_state <> 'sending')
    EXECUTE FUNCTION settlement.check_adopted();
ALTER TABLE settlement.file_event ENABLE ALWAYS TRIGGER file_event_adopted;

-- What the books know of sends: their journal, whether this server and database are still the journal's, the last send.
CREATE FUNCTION settlement.send_head(
    OUT journal_no int, OUT journal_id text, OUT same_server boolean, OUT number bigint, OUT digest text, OUT has_sent boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT j.journal_no, j.journal_id, j.database = here.database AND (j.server = here.server OR '' IN (j.server, here.server)),
           coalesce(s.number, 0), coalesce(s.digest, repeat('0', 64)),
           EXISTS (SELECT FROM settlement.file_event e WHERE e.state = 'sending')
      FROM settlement.send_place() here
      LEFT JOIN LATERAL (SELECT * FROM settlement.send_journal j ORDER BY j.journal_no DESC LIMIT 1) j ON true
      LEFT JOIN LATERAL (SELECT * FROM settlement.send s ORDER BY s.number DESC LIMIT 1) s ON true
$$;
COMMENT ON FUNCTION settlement.send_head IS 'The books'' side of the comparison with the journal of sends.';

CREATE FUNCTION settlement.add_send_journal(p_journal_id text) RETURNS int
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO settlement.send_journal (journal_no, journal_id, server, database, first_number)
    SELECT coalesce((SELECT max(j.journal_no) FROM settlement.send_journal j), 0) + 1, p_journal_id, here.server, here.database,
           coalesce((SELECT max(s.number) FROM settlement.send s), 0) + 1
      FROM settlement.send_place() here
    RETURNING journal_no
$$;
COMMENT ON FUNCTION settlement.add_send_journal IS 'Internal: the caller has decided.';

-- The first journal of a deployment that has never sent anything.
CREATE FUNCTION settlement.open_send_journal(p_journal_id text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM settlement.send_journal) OR EXISTS (SELECT FROM settlement.file_event e WHERE e.state = 'sending') THEN
        RETURN false;
    END IF;
    PERFORM settlement.add_send_journal(p_journal_id);
    RETURN true;
EXCEPTION WHEN unique_violation THEN
    RETURN false;  -- another session was first
END $$;

-- Counts a send that is about to happen. Refuses when the journal whose head the caller read is not the books'.
CREATE FUNCTION settlement.count_send(
    p_file_id bigint, p_part int, p_journal_id text, p_number bigint, p_digest text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_head record;
    v_file record;
    v_token uuid := gen_random_uuid();
BEGIN
    PERFORM 1 FROM settlement.send_journal j ORDER BY j.journal_no DESC LIMIT 1 FOR NO KEY UPDATE;
    SELECT * INTO v_head FROM settlement.send_head();
    IF v_head.same_server IS NOT TRUE OR (v_head.journal_id, v_head.number, v_head.digest) IS DISTINCT FROM (p_journal_id, p_number, p_digest) THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'sends_agree',
            MESSAGE = format('The journal of sends ends at send %s, the books at %s, or they are not of the same deployment.',
                             p_number, v_head.number),
            HINT = 'Look with `nostro bank reconcile-sends`; nothing is sent before two people have signed what it finds.';
    END IF;
    SELECT f.book_id, b.bank, coalesce(r.msg_id, f.msg_id) AS msg_id, coalesce(r.sha256, f.sha256) AS sha256,
           octet_length(coalesce(r.content, f.content))::bigint AS size INTO v_file
      FROM settlement.payment_file f JOIN settlement.bank_account_root b USING (bank_account_id)
      LEFT JOIN settlement.recall_file r ON r.file_id = f.file_id AND r.part = p_part
     WHERE f.file_id = p_file_id;
    IF EXISTS (SELECT FROM settlement.lost_send l
                WHERE l.book_id = v_file.book_id AND l.msg_id = v_file.msg_id AND l.sha256 IS DISTINCT FROM v_file.sha256
                  -- unless two people have said that it never did
                  AND NOT EXISTS (SELECT FROM settlement.lost_send_end e WHERE e.lost_send_id = l.lost_send_id AND e.outcome = 'not_sent')) THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'send_id_left',
            MESSAGE = format('Another file has left as %s, or may have, before the books were restored.', v_file.msg_id),
            HINT = 'Two people say that it never got one (`nostro bank lost-send`), or reject or cancel this file and propose again.';
    END IF;
    INSERT INTO settlement.send (number, journal_no, token, book_id, file_id, part, bank, msg_id, sha256, size_bytes, previous, digest)
    VALUES (v_head.number + 1, v_head.journal_no, v_token, v_file.book_id, p_file_id, p_part, v_file.bank, v_file.msg_id, v_file.sha256,
            v_file.size, v_head.digest, settlement.send_digest(v_head.digest, v_head.number + 1, v_token, v_file.book_id, p_file_id,
                                                              p_part, v_file.bank, v_file.msg_id, v_file.sha256, v_file.size));
    RETURN v_head.number + 1;
END $$;
COMMENT ON FUNCTION settlement.count_send IS 'Internal: called where sending begins.';

-- What a send paid, enough to find its payments again in books that forgot it.
CREATE FUNCTION settlement.send_manifest(p_file_id bigint, p_part int) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT ledger.require_book((SELECT x.book_id FROM settlement.payment_file x WHERE x.file_id = p_file_id));
    SELECT jsonb_build_object(
        'bank_account', b.code, 'business_date', r.business_date, 'cycle', r.cycle, 'proposed_at', r.proposed_at,
        'cutoff_at', r.cutoff_at, 'part', f.part, 'direction', f.direction, 'recall_part', p_part,
        'execution_date', r.execution_date,
        'batches', (SELECT jsonb_agg(jsonb_build_object(
                               'payment_information_id', b.payment_information_id, 'execution_date', b.execution_date,
                               'service_level', b.service_level, 'local_instrument', b.local_instrument,
                               'sequence_type', b.sequence_type, 'charge_bearer', b.charge_bearer,
                               'count', b.instruction_count) ORDER BY b.batch)
                      FROM settlement.payment_batch b WHERE b.file_id = f.file_id),
        'payments', CASE p_part WHEN 0 THEN (
            SELECT jsonb_agg(jsonb_build_object('end_to_end_id', i.end_to_end_id, 'uetr', i.uetr, 'payee', i.payee_code,
                                                'iban', i.payee_iban, 'amount_minor', i.amount_minor,
                                                'rolling_minor', o.rolling_minor, 'fixed_minor', o.fixed_minor) ORDER BY i.ordinal)
              FROM settlement.instruction i
             CROSS JOIN LATERAL (SELECT * FROM settlement.obligation o WHERE o.obligation_id = i.instruction_id LIMIT 1) o
             WHERE i.file_id = f.file_id) ELSE '[]' END)
      FROM settlement.payment_file f JOIN settlement.run r USING (run_id)
      JOIN settlement.bank_account_root b ON b.bank_account_id = f.bank_account_id
     WHERE f.file_id = p_file_id
$$;

-- Of these ids of files with our tag: those that the books never sent and that nobody has looked at.
CREATE FUNCTION settlement.never_sent(p_book_id int, p_msg_ids text[]) RETURNS SETOF text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT ledger.require_book(p_book_id);
    SELECT g.msg_id FROM unnest(p_msg_ids) g (msg_id)
     WHERE NOT EXISTS (SELECT FROM settlement.send s WHERE s.msg_id = g.msg_id AND s.book_id = p_book_id)
       AND NOT EXISTS (SELECT FROM settlement.lost_send l WHERE l.msg_id = g.msg_id AND l.book_id = p_book_id)
     ORDER BY g.msg_id
$$;

-- Ids of files with our tag that banks have answered and that the books do not know.
CREATE FUNCTION settlement.answered_strangers(p_book_id int, p_tag text)
    RETURNS TABLE (bank text, msg_id text, name text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT ledger.require_book(p_book_id);
    SELECT DISTINCT ON (f.reference) m.bank, f.reference, m.name
      FROM settlement.message_finding f JOIN settlement.message_received m USING (message_id)
     WHERE m.book_id = p_book_id AND f.code = 'file' AND starts_with(f.reference, p_tag)
       AND NOT EXISTS (SELECT FROM settlement.send s WHERE s.msg_id = f.reference AND s.book_id = p_book_id)
       AND NOT EXISTS (SELECT FROM settlement.lost_send l WHERE l.msg_id = f.reference AND l.book_id = p_book_id)
     ORDER BY f.reference, m.message_id
$$;

CREATE VIEW settlement.lost_send_current AS
SELECT l.lost_send_id, l.book_id, l.bank, l.msg_id, l.part, l.source, l.sha256, l.manifest ->> 'bank_account' AS bank_account,
       (SELECT count(*)::int FROM settlement.lost_payment p WHERE p.lost_send_id = l.lost_send_id) AS payment_count,
       (SELECT sum(p.amount_minor)::bigint FROM settlement.lost_payment p WHERE p.lost_send_id = l.lost_send_id) AS total_minor,
       coalesce(e.outcome, 'open') AS state, e.file_id
  FROM settlement.lost_send l LEFT JOIN settlement.lost_send_end e USING (lost_send_id);
COMMENT ON VIEW settlement.lost_send_current IS
    'What left for banks and was forgotten by a restore: open (its payees are not paid), adopted, not_sent, by_hand.';

GRANT SELECT ON settlement.send_journal, settlement.send, settlement.send_review, settlement.send_review_word,
    settlement.lost_send, settlement.lost_payment, settlement.lost_send_word, settlement.lost_send_end,
    settlement.lost_send_current TO :app;
GRANT EXECUTE ON FUNCTION settlement.send_head, settlement.open_send_journal, settlement.send_manifest, settlement.never_sent,
    settlement.answered_strangers TO :app;
