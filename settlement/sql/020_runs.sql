-- A night's work on paper: run → obligation (what a payee is owed, netted) → payment file → batch → instruction.
-- Nothing here claims a posting or moves money; that is sealing (040).

CREATE TABLE settlement.run (
    run_id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    book_id         int NOT NULL REFERENCES ledger.book,
    bank_account_id int NOT NULL REFERENCES settlement.bank_account_root,
    profile_id      int NOT NULL REFERENCES settlement.bank_profile_version,
    account_version int NOT NULL,
    business_date   date NOT NULL,
    cycle           int NOT NULL CHECK (cycle > 0),
    payees          text[],
    proposed_at     timestamptz NOT NULL,
    execution_date  date NOT NULL,
    cutoff_at       timestamptz NOT NULL,
    prepared_by     text NOT NULL DEFAULT session_user,
    recorded_at     timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT run_cycle UNIQUE (bank_account_id, business_date, cycle),
    FOREIGN KEY (bank_account_id, account_version) REFERENCES settlement.bank_account_version
);
COMMENT ON TABLE settlement.run IS 'One proposal for one bank account and business date; cycle counts them.';
COMMENT ON COLUMN settlement.run.payees IS 'An ad-hoc run pays these payees alone, whatever their schedule; NULL: everybody who is due.';
COMMENT ON COLUMN settlement.run.proposed_at IS 'The caller''s clock; it is printed in the file.';

CREATE TABLE settlement.obligation (
    obligation_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id           bigint NOT NULL,
    payee_id         int NOT NULL,
    payee_version_id bigint NOT NULL,
    account_id       int NOT NULL,
    owed_minor       bigint NOT NULL,
    pay_minor        bigint NOT NULL,
    rolling_minor    bigint NOT NULL DEFAULT 0,
    fixed_minor      bigint NOT NULL DEFAULT 0,
    rest_minor       bigint NOT NULL,
    posting_ids      bigint[] NOT NULL,
    whole_batch_ids  bigint[] NOT NULL DEFAULT '{}',
    whole_count      int NOT NULL DEFAULT 0,
    left_out_ids     bigint[] NOT NULL DEFAULT '{}',
    cut_through_id   bigint NOT NULL DEFAULT 0,
    CONSTRAINT obligation_once UNIQUE (run_id, payee_id),
    CONSTRAINT obligation_amount CHECK (
        CASE WHEN owed_minor > 0 THEN pay_minor > 0 AND rolling_minor >= 0 AND fixed_minor >= 0
                                      AND pay_minor + rolling_minor + fixed_minor <= owed_minor
             WHEN owed_minor < 0 THEN pay_minor BETWEEN owed_minor AND -1 AND rolling_minor = 0 AND fixed_minor = 0
             ELSE pay_minor = 0 AND rolling_minor = 0 AND fixed_minor = 0 END),
    CONSTRAINT obligation_postings CHECK (cardinality(posting_ids) + whole_count > 0 AND (whole_count > 0) = (cardinality(whole_batch_ids) > 0))
);
COMMENT ON TABLE settlement.obligation IS
    'What a payee is owed net, and how much of it this run pays (negative: collects) and reserves; the rest is re-booked.';
COMMENT ON COLUMN settlement.obligation.posting_ids IS
    'The postings it was netted from, in order, but for those of whole batches; not yet claimed. All of them: proposal_member.';
COMMENT ON COLUMN settlement.obligation.whole_batch_ids IS
    'Batches of the ledger of which it was netted from everything that lies on the account, in blocks (ADR 0010); whole_count postings.';
COMMENT ON COLUMN settlement.obligation.left_out_ids IS 'What else was open up to the end of the cut, in order: not due, held, waiting.';
COMMENT ON COLUMN settlement.obligation.cut_through_id IS 'No posting with an id up to this one can have been missed by the cut (062_frontier.sql).';
COMMENT ON COLUMN settlement.obligation.rest_minor IS 'What the payee was owed beside these postings when they were cut: not due, held.';

-- What foreign keys would check once a row: run and payee version exist (and stay, since both are append-only).
CREATE FUNCTION settlement.check_obligations() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    v_bad bigint;
BEGIN
    SELECT n.obligation_id INTO v_bad
      FROM new_rows n
      LEFT JOIN LATERAL (SELECT true AS is_there FROM settlement.payee_version v
                          WHERE v.payee_version_id = n.payee_version_id LIMIT 1) v ON true
     WHERE v.is_there IS NULL OR n.run_id NOT IN (SELECT r.run_id FROM settlement.run r WHERE r.run_id IN (SELECT w.run_id FROM new_rows w))
     LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'obligation_known',
            MESSAGE = format('Obligation %s is of a run or a payee version that is not there.', v_bad);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER check_obligations AFTER INSERT ON settlement.obligation
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION settlement.check_obligations();
ALTER TABLE settlement.obligation ENABLE ALWAYS TRIGGER check_obligations;

CREATE VIEW settlement.proposal_member AS
SELECT o.obligation_id, m.posting_id
  FROM settlement.obligation o
 CROSS JOIN LATERAL (SELECT unnest(o.posting_ids) UNION ALL
                     SELECT (b.batch_id << 20) + unnest(b.posting_nos) FROM ledger.posting_block b
                      WHERE b.account_id = o.account_id AND b.batch_id = ANY (o.whole_batch_ids)) m (posting_id);
COMMENT ON VIEW settlement.proposal_member IS 'The postings an obligation was netted from, one a row.';

-- The same from an obligation's columns. (Without a setting and without rights of its own, so that the planner writes it
-- into a query; a view that others than the app may read writes it out.)
CREATE FUNCTION settlement.taken_postings(p_account_id int, p_posting_ids bigint[], p_whole_batch_ids bigint[])
    RETURNS TABLE (posting_id bigint)
LANGUAGE sql STABLE AS $$
    SELECT pg_catalog.unnest(p_posting_ids)
    UNION ALL
    SELECT (b.batch_id << 20) + pg_catalog.unnest(b.posting_nos) FROM ledger.posting_block b
     WHERE b.account_id = p_account_id AND b.batch_id = ANY (p_whole_batch_ids)
$$;

-- The least and the greatest id that such postings can have. A batch that has blocks has every posting in one, so between
-- these nothing else of the account is but what lies between the postings themselves.
CREATE FUNCTION settlement.lowest_taken(p_posting_ids bigint[], p_whole_batch_ids bigint[]) RETURNS bigint
LANGUAGE sql IMMUTABLE AS $$
    SELECT least(p_posting_ids[1], p_whole_batch_ids[1] << 20)
$$;
CREATE FUNCTION settlement.highest_taken(p_posting_ids bigint[], p_whole_batch_ids bigint[]) RETURNS bigint
LANGUAGE sql IMMUTABLE AS $$
    SELECT greatest(p_posting_ids[cardinality(p_posting_ids)],
                    ((p_whole_batch_ids[cardinality(p_whole_batch_ids)] + 1) << 20) - 1)
$$;

CREATE TABLE settlement.payment_file (
    file_id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id                 bigint NOT NULL REFERENCES settlement.run,
    part                   int NOT NULL CHECK (part > 0),
    book_id                int NOT NULL REFERENCES ledger.book,
    bank_account_id        int NOT NULL REFERENCES settlement.bank_account_root,
    rail                   text NOT NULL,
    direction              text NOT NULL DEFAULT 'pay' CHECK (direction IN ('pay', 'collect')),
    currency_id            smallint NOT NULL REFERENCES ledger.currency,
    msg_id                 text NOT NULL,
    content                bytea NOT NULL,
    sha256                 text NOT NULL GENERATED ALWAYS AS (encode(sha256(content), 'hex')) STORED,
    instruction_count      int NOT NULL CHECK (instruction_count > 0),
    total_minor            bigint NOT NULL CHECK (total_minor > 0),
    CONSTRAINT payment_file_part UNIQUE (run_id, part),
    CONSTRAINT payment_file_msg_id UNIQUE (msg_id),
    CONSTRAINT payment_file_id_length CHECK (length(msg_id) BETWEEN 1 AND 35)
);
COMMENT ON TABLE settlement.payment_file IS 'The final bytes of a pain.001 (direction collect: pain.008), fixed when proposed; approval, seal and send live on it.';

CREATE TABLE settlement.payment_batch (
    file_id                bigint NOT NULL REFERENCES settlement.payment_file,
    batch                  int NOT NULL CHECK (batch > 0),
    payment_information_id text NOT NULL,
    execution_date         date NOT NULL,
    service_level          text,
    local_instrument       text,
    sequence_type          text,
    charge_bearer          text NOT NULL,
    instruction_count      int NOT NULL CHECK (instruction_count > 0),
    total_minor            bigint NOT NULL CHECK (total_minor > 0),
    PRIMARY KEY (file_id, batch),
    CONSTRAINT payment_batch_payment_information_id UNIQUE (payment_information_id),
    CONSTRAINT payment_batch_id_length CHECK (length(payment_information_id) BETWEEN 1 AND 35)
);
COMMENT ON TABLE settlement.payment_batch IS
    'A block of a payment file (PmtInf): payments that the bank is to execute on one day on the same terms, and books together.';
COMMENT ON COLUMN settlement.payment_batch.batch IS 'Its place in the file; rail, currency and direction are the file''s.';
COMMENT ON COLUMN settlement.payment_batch.sequence_type IS 'Of direct debits: FRST, RCUR, OOFF or FNAL; local_instrument is their scheme.';

CREATE TABLE settlement.instruction (
    instruction_id     bigint PRIMARY KEY,
    file_id            bigint NOT NULL,
    batch              int NOT NULL,
    ordinal            int NOT NULL CHECK (ordinal > 0),
    payee_id           int NOT NULL,
    payee_code         text NOT NULL,
    payee_name         text NOT NULL,
    payee_iban         text NOT NULL,
    payable_account_id int NOT NULL,
    amount_minor       bigint NOT NULL CHECK (amount_minor > 0),
    direction          text NOT NULL DEFAULT 'pay' CHECK (direction IN ('pay', 'collect')),
    end_to_end_id      text COLLATE "C" NOT NULL,
    uetr               text COLLATE "C",
    execution_date     date NOT NULL,
    CONSTRAINT instruction_ordinal UNIQUE (file_id, ordinal),
    CONSTRAINT instruction_end_to_end_id UNIQUE (end_to_end_id),
    CONSTRAINT instruction_uetr UNIQUE (uetr),
    CONSTRAINT instruction_id_length CHECK (length(end_to_end_id) BETWEEN 1 AND 35)
);
-- A payee's collections, to find the last one under its mandate.
CREATE INDEX instruction_collection ON settlement.instruction (payee_id, instruction_id) WHERE direction = 'collect';
COMMENT ON TABLE settlement.instruction IS
    'One credit transfer (direction collect: direct debit) of a file; its id is its obligation''s. amount_minor is positive.';
COMMENT ON COLUMN settlement.instruction.ordinal IS 'Its place in the file; batches follow each other.';

CREATE TABLE settlement.approval (
    file_id           bigint NOT NULL REFERENCES settlement.payment_file,
    sha256            text NOT NULL,
    instruction_count int NOT NULL,
    total_minor       bigint NOT NULL,
    payee_digest      text NOT NULL,
    approved_by       text NOT NULL DEFAULT session_user,
    approved_at       timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT approval_once PRIMARY KEY (file_id, approved_by)
);
COMMENT ON TABLE settlement.approval IS
    'A second person''s signature under hash, count, total and payees of a file; large files need two.';

CREATE FUNCTION settlement.payee_digest(p_file_id bigint) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT ledger.require_book((SELECT x.book_id FROM settlement.payment_file x WHERE x.file_id = p_file_id));
    SELECT encode(sha256(convert_to(string_agg(s.line, E'\n' ORDER BY s.batch, s.ordinal), 'UTF8')), 'hex')
      FROM (SELECT b.batch, 0 AS ordinal,
                   concat_ws('|', b.payment_information_id, to_char(b.execution_date, 'YYYY-MM-DD'), coalesce(b.service_level, ''),
                             coalesce(b.local_instrument, ''), coalesce(b.sequence_type, ''), b.charge_bearer,
                             b.instruction_count, b.total_minor) AS line
              FROM settlement.payment_batch b WHERE b.file_id = p_file_id
            UNION ALL
            SELECT i.batch, i.ordinal, concat_ws('|', i.end_to_end_id, i.payee_name, i.payee_iban, i.amount_minor)
              FROM settlement.instruction i WHERE i.file_id = p_file_id) s
$$;
COMMENT ON FUNCTION settlement.payee_digest IS
    'SHA-256 over a file''s batches, each with its terms and totals, then EndToEndId, name, IBAN and amount of its instructions.';
GRANT EXECUTE ON FUNCTION settlement.payee_digest(bigint) TO :app;

-- A login's name as people and setup files write it: without the deployment's prefix.
CREATE FUNCTION settlement.person(p_login text DEFAULT session_user) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN starts_with(p_login, d.prefix) THEN substr(p_login, length(d.prefix) + 1) ELSE p_login END
      FROM (SELECT regexp_replace(pg_get_userbyid(nspowner), 'owner$', '') AS prefix
              FROM pg_namespace WHERE nspname = 'settlement') d
$$;

-- What the book's set-up lets the session's login sign in a currency. NULL: no limit. declared_by: who declared the set-up in
-- force, where it has such limits, or has done away with limits, or with how payees are guarded (screening, new details).
CREATE FUNCTION settlement.approval_terms(
    p_book_id int, p_currency_id smallint, OUT limit_minor bigint, OUT dual_above_minor bigint, OUT declared_by text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(t.terms -> 'approvers' ->> settlement.person(), t.terms ->> 'limit_minor')::bigint,
           (t.terms ->> 'dual_above_minor')::bigint,
           CASE WHEN t.terms IS NOT NULL OR EXISTS (
                     SELECT FROM settlement.book_setup was
                      WHERE was.book_id = p_book_id AND was.version < s.version
                        AND (was.body -> 'approvals' -> c.code IS NOT NULL
                             OR was.body -> 'screening' IS DISTINCT FROM s.body -> 'screening'
                             OR was.body -> 'payee_changes' IS DISTINCT FROM s.body -> 'payee_changes'))
                THEN s.recorded_by END
      FROM settlement.book_setup s
      JOIN ledger.currency c ON c.currency_id = p_currency_id
     CROSS JOIN LATERAL (SELECT s.body -> 'approvals' -> c.code AS terms) t
     WHERE s.book_id = p_book_id
       AND s.version = (SELECT max(l.version) FROM settlement.book_setup l WHERE l.book_id = p_book_id)
$$;

-- Four eyes hold for whoever writes the row, the owner included: the signature is the login's own,
-- the login is not the preparer, what is signed is what is stored, and it is within the login's limit.
CREATE FUNCTION settlement.check_approval() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_file     settlement.payment_file;
    v_prepared text;
    v_terms    record;
BEGIN
    SELECT * INTO v_file FROM settlement.payment_file WHERE file_id = NEW.file_id;
    SELECT * INTO v_terms FROM settlement.approval_terms(v_file.book_id, v_file.currency_id);
    SELECT r.prepared_by INTO v_prepared FROM settlement.run r WHERE r.run_id = v_file.run_id;
    IF NEW.approved_by <> session_user THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'approval_own_name',
            MESSAGE = format('file %s: an approval is signed by the login that gives it (%s), not by %s',
                             NEW.file_id, session_user, NEW.approved_by);
    END IF;
    IF NEW.approved_by = v_prepared THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'approval_four_eyes',
            MESSAGE = format('file %s was prepared by %s, who cannot approve it', NEW.file_id, v_prepared),
            HINT = 'Another member of the approver group must.';
    END IF;
    IF (NEW.sha256, NEW.instruction_count, NEW.total_minor, NEW.payee_digest)
       IS DISTINCT FROM
       (v_file.sha256, v_file.instruction_count, v_file.total_minor, settlement.payee_digest(NEW.file_id)) THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'approval_signs_file',
            MESSAGE = format('file %s: what was signed (hash, count, total, payees) is not what is stored', NEW.file_id),
            HINT = 'Look at the file again and approve what you see.';
    END IF;
    IF v_terms.declared_by = session_user THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'approval_own_limit',
            MESSAGE = format('file %s: %s declared the approval limits in force, or how payees are guarded, and cannot sign under them',
                             NEW.file_id, settlement.person()),
            HINT = 'Another member of the approver group must.';
    END IF;
    IF v_file.total_minor > v_terms.limit_minor THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'approval_limit',
            MESSAGE = format('file %s pays %s minor units; %s may approve up to %s', NEW.file_id, v_file.total_minor,
                             settlement.person(), v_terms.limit_minor),
            HINT = 'An approver with a higher limit must.';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER approval_check BEFORE INSERT ON settlement.approval
    FOR EACH ROW EXECUTE FUNCTION settlement.check_approval();
ALTER TABLE settlement.approval ENABLE ALWAYS TRIGGER approval_check;

-- A file says what its instructions say, and so does each of its batches: count and total are theirs, and batches follow
-- each other. (And what foreign keys of instructions would check.)
CREATE FUNCTION settlement.check_instructions() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan SET enable_memoize = off AS $$
DECLARE
    v_bad record;
BEGIN
    WITH has AS MATERIALIZED (
        SELECT i.file_id, i.batch, count(*) AS n, sum(i.amount_minor) AS minor,
               max(i.ordinal) - min(i.ordinal) + 1 AS span, min(i.execution_date) AS first_date, max(i.execution_date) AS last_date,
               bool_and((o.pay_minor = CASE i.direction WHEN 'pay' THEN i.amount_minor ELSE -i.amount_minor END
                         AND o.account_id = i.payable_account_id AND o.payee_id = i.payee_id) IS TRUE) AS is_owed,
               min(o.run_id) AS first_run_id, max(o.run_id) AS last_run_id, min(i.direction) AS first_direction, max(i.direction) AS last_direction
          FROM (SELECT DISTINCT n.file_id FROM new_rows n) t
         CROSS JOIN LATERAL (SELECT * FROM settlement.instruction i WHERE i.file_id = t.file_id OFFSET 0) i
          LEFT JOIN LATERAL (SELECT o.run_id, o.pay_minor, o.account_id, o.payee_id FROM settlement.obligation o
                              WHERE o.obligation_id = i.instruction_id LIMIT 1) o ON true
         GROUP BY i.file_id, i.batch
    ), file AS (
        SELECT h.file_id, sum(h.n) AS n, sum(h.minor) AS minor, bool_and(h.is_owed) AS is_owed, min(h.first_run_id) AS first_run_id,
               max(h.last_run_id) AS last_run_id, min(h.first_direction) AS first_direction, max(h.last_direction) AS last_direction
          FROM has h GROUP BY h.file_id
    )
    SELECT t.file_id, false AS is_batch INTO v_bad
      FROM file t
      LEFT JOIN settlement.payment_file f ON f.file_id = t.file_id
     WHERE (t.n = f.instruction_count AND t.minor = f.total_minor AND t.is_owed AND (t.first_run_id, t.last_run_id) = (f.run_id, f.run_id)
            AND (t.first_direction, t.last_direction) = (f.direction, f.direction)) IS NOT TRUE
    UNION ALL
    SELECT file_id, true
      FROM has h
      FULL JOIN (SELECT * FROM settlement.payment_batch x WHERE x.file_id IN (SELECT t.file_id FROM file t)) b USING (file_id, batch)
     WHERE h.n IS DISTINCT FROM b.instruction_count OR h.minor IS DISTINCT FROM b.total_minor OR h.span <> h.n
        OR (h.first_date, h.last_date) IS DISTINCT FROM (b.execution_date, b.execution_date)
     LIMIT 1;
    IF FOUND AND NOT v_bad.is_batch THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'payment_file_totals',
            MESSAGE = format('file %s: its instructions do not give its count and total', v_bad.file_id);
    ELSIF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'payment_batch_totals',
            MESSAGE = format('file %s: its instructions do not give count, total and date of its batches', v_bad.file_id);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER instruction_check AFTER INSERT ON settlement.instruction
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION settlement.check_instructions();
ALTER TABLE settlement.instruction ENABLE ALWAYS TRIGGER instruction_check;

-- A file that has its instructions is whole.
CREATE FUNCTION settlement.check_batches() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_file bigint := (SELECT n.file_id FROM new_rows n
                       WHERE EXISTS (SELECT FROM settlement.instruction i WHERE i.file_id = n.file_id) LIMIT 1);
BEGIN
    IF v_file IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'payment_batch_totals',
            MESSAGE = format('file %s has its instructions and takes no further batch', v_file);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER payment_batch_check AFTER INSERT ON settlement.payment_batch
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION settlement.check_batches();
ALTER TABLE settlement.payment_batch ENABLE ALWAYS TRIGGER payment_batch_check;

SELECT ledger.make_append_only(name::regclass) FROM unnest(ARRAY[
    'settlement.run', 'settlement.obligation', 'settlement.payment_file', 'settlement.payment_batch',
    'settlement.instruction', 'settlement.approval']) name;

GRANT SELECT ON settlement.run, settlement.obligation, settlement.proposal_member, settlement.payment_file,
    settlement.payment_batch, settlement.instruction, settlement.approval TO :app;
