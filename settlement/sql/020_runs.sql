-- A night's work on paper: run → obligation (what a payee is owed, netted) → payment file → instruction.
-- Nothing here claims a posting or moves money; that is sealing (040).

CREATE TABLE settlement.run (
    run_id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    book_id         int NOT NULL REFERENCES ledger.book,
    bank_account_id int NOT NULL REFERENCES settlement.bank_account_root,
    profile_id      int NOT NULL REFERENCES settlement.bank_profile_version,
    account_version int NOT NULL,
    business_date   date NOT NULL,
    cycle           int NOT NULL CHECK (cycle > 0),
    proposed_at     timestamptz NOT NULL,
    execution_date  date NOT NULL,
    cutoff_at       timestamptz NOT NULL,
    prepared_by     text NOT NULL DEFAULT session_user,
    recorded_at     timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT run_cycle UNIQUE (bank_account_id, business_date, cycle),
    FOREIGN KEY (bank_account_id, account_version) REFERENCES settlement.bank_account_version
);
COMMENT ON TABLE settlement.run IS 'One proposal for one bank account and business date; cycle counts them.';
COMMENT ON COLUMN settlement.run.proposed_at IS 'The caller''s clock; it is printed in the file.';

CREATE TABLE settlement.obligation (
    obligation_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id           bigint NOT NULL REFERENCES settlement.run,
    payee_id         int NOT NULL,
    payee_version_id bigint NOT NULL REFERENCES settlement.payee_version,
    account_id       int NOT NULL,
    owed_minor       bigint NOT NULL,
    pay_minor        bigint NOT NULL,
    CONSTRAINT obligation_once UNIQUE (run_id, payee_id),
    CONSTRAINT obligation_amount CHECK (pay_minor BETWEEN 1 AND owed_minor OR (pay_minor = 0 AND owed_minor = 0))
);
COMMENT ON TABLE settlement.obligation IS 'What a payee is owed net, and how much of it this run pays (the rest is re-booked).';

CREATE TABLE settlement.proposal_member (
    obligation_id bigint NOT NULL REFERENCES settlement.obligation,
    posting_id    bigint NOT NULL,
    PRIMARY KEY (obligation_id, posting_id)
);
COMMENT ON TABLE settlement.proposal_member IS 'The postings an obligation was netted from; not yet claimed.';

CREATE TABLE settlement.payment_file (
    file_id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id                 bigint NOT NULL REFERENCES settlement.run,
    part                   int NOT NULL CHECK (part > 0),
    book_id                int NOT NULL REFERENCES ledger.book,
    bank_account_id        int NOT NULL REFERENCES settlement.bank_account_root,
    rail                   text NOT NULL,
    currency_id            smallint NOT NULL REFERENCES ledger.currency,
    execution_date         date NOT NULL,
    msg_id                 text NOT NULL,
    payment_information_id text NOT NULL,
    sha256                 text NOT NULL,
    instruction_count      int NOT NULL CHECK (instruction_count > 0),
    total_minor            bigint NOT NULL CHECK (total_minor > 0),
    content                bytea NOT NULL,
    CONSTRAINT payment_file_part UNIQUE (run_id, part),
    CONSTRAINT payment_file_msg_id UNIQUE (msg_id),
    CONSTRAINT payment_file_payment_information_id UNIQUE (payment_information_id),
    CONSTRAINT payment_file_id_length
        CHECK (length(msg_id) BETWEEN 1 AND 35 AND length(payment_information_id) BETWEEN 1 AND 35),
    CONSTRAINT payment_file_hash CHECK (sha256 = encode(sha256(content), 'hex'))
);
COMMENT ON TABLE settlement.payment_file IS 'The final bytes of a pain.001, fixed when proposed; approval, seal and send live on it.';

CREATE TABLE settlement.instruction (
    instruction_id     bigint PRIMARY KEY REFERENCES settlement.obligation,
    file_id            bigint NOT NULL REFERENCES settlement.payment_file,
    ordinal            int NOT NULL CHECK (ordinal > 0),
    payee_id           int NOT NULL,
    payee_code         text NOT NULL,
    payee_name         text NOT NULL,
    payee_iban         text NOT NULL,
    payable_account_id int NOT NULL,
    amount_minor       bigint NOT NULL CHECK (amount_minor > 0),
    end_to_end_id      text NOT NULL,
    uetr               text,
    execution_date     date NOT NULL,
    CONSTRAINT instruction_ordinal UNIQUE (file_id, ordinal),
    CONSTRAINT instruction_end_to_end_id UNIQUE (end_to_end_id),
    CONSTRAINT instruction_uetr UNIQUE (uetr),
    CONSTRAINT instruction_id_length CHECK (length(end_to_end_id) BETWEEN 1 AND 35)
);
COMMENT ON TABLE settlement.instruction IS 'One credit transfer of a file; its id is its obligation''s.';

CREATE TABLE settlement.approval (
    file_id           bigint PRIMARY KEY REFERENCES settlement.payment_file,
    sha256            text NOT NULL,
    instruction_count int NOT NULL,
    total_minor       bigint NOT NULL,
    payee_digest      text NOT NULL,
    approved_by       text NOT NULL DEFAULT session_user,
    approved_at       timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE settlement.approval IS 'A second person''s signature under hash, count, total and payees of a file.';

CREATE FUNCTION settlement.payee_digest(p_file_id bigint) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT encode(sha256(convert_to(string_agg(
               concat_ws('|', i.end_to_end_id, i.payee_name, i.payee_iban, i.amount_minor), E'\n'
               ORDER BY i.ordinal), 'UTF8')), 'hex')
      FROM settlement.instruction i WHERE i.file_id = p_file_id
$$;
COMMENT ON FUNCTION settlement.payee_digest IS 'SHA-256 over EndToEndId, name, IBAN and amount of every instruction in order.';
GRANT EXECUTE ON FUNCTION settlement.payee_digest(bigint) TO :app;

-- Four eyes hold for whoever writes the row, the owner included: the signature is the login's own,
-- the login is not the preparer, and what is signed is what is stored.
CREATE FUNCTION settlement.check_approval() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_file     settlement.payment_file;
    v_prepared text;
BEGIN
    SELECT * INTO v_file FROM settlement.payment_file WHERE file_id = NEW.file_id;
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
    RETURN NEW;
END $$;
CREATE TRIGGER approval_check BEFORE INSERT ON settlement.approval
    FOR EACH ROW EXECUTE FUNCTION settlement.check_approval();
ALTER TABLE settlement.approval ENABLE ALWAYS TRIGGER approval_check;

-- A file says what its instructions say: count and total are theirs.
CREATE FUNCTION settlement.check_instructions() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_file bigint;
BEGIN
    SELECT f.file_id INTO v_file
      FROM settlement.payment_file f
      JOIN settlement.instruction i USING (file_id)
      LEFT JOIN LATERAL (SELECT * FROM settlement.obligation o WHERE o.obligation_id = i.instruction_id LIMIT 1) o
             ON true
     WHERE f.file_id IN (SELECT n.file_id FROM new_rows n)
     GROUP BY f.file_id
    HAVING count(*) <> f.instruction_count OR sum(i.amount_minor) <> f.total_minor
        OR bool_or(o.run_id IS DISTINCT FROM f.run_id OR o.pay_minor <> i.amount_minor
                   OR o.account_id <> i.payable_account_id OR o.payee_id <> i.payee_id)
     LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'payment_file_totals',
            MESSAGE = format('file %s: its instructions do not give its count and total', v_file);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER instruction_check AFTER INSERT ON settlement.instruction
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION settlement.check_instructions();
ALTER TABLE settlement.instruction ENABLE ALWAYS TRIGGER instruction_check;

SELECT ledger.make_append_only(name::regclass) FROM unnest(ARRAY[
    'settlement.run', 'settlement.obligation', 'settlement.proposal_member', 'settlement.payment_file',
    'settlement.instruction', 'settlement.approval']) name;

GRANT SELECT ON settlement.run, settlement.obligation, settlement.proposal_member, settlement.payment_file,
    settlement.instruction, settlement.approval TO :app;
