-- What banks and acquirers sent, what it proved, what it cleared. Every table is append-only;
-- states are rows in later tables, never updates. `*_attempt` tables log; everything else is the record.

CREATE TABLE recon.source_file (
    file_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    book_id      int    NOT NULL REFERENCES ledger.book,
    sha256       text   NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    name         text   NOT NULL,
    byte_count   bigint NOT NULL,
    content_zlib bytea  NOT NULL,
    recorded_at  timestamptz NOT NULL DEFAULT now(),
    recorded_by  text   NOT NULL DEFAULT session_user,
    CONSTRAINT source_file_once UNIQUE (book_id, sha256)
);
ALTER TABLE recon.source_file ALTER COLUMN content_zlib SET STORAGE EXTERNAL;
COMMENT ON TABLE recon.source_file IS 'Originals, refused ones too: the raw bytes (zlib) by their hash.';

CREATE TABLE recon.source_outcome (
    file_id     bigint NOT NULL REFERENCES recon.source_file,
    ordinal     int    NOT NULL CHECK (ordinal > 0),
    kind        text   NOT NULL,
    outcome     text   NOT NULL CHECK (outcome IN ('accepted', 'refused', 'redelivered', 'informative')),
    reason      text,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (file_id, ordinal),
    CONSTRAINT source_outcome_reason CHECK (outcome IN ('accepted', 'informative') OR reason IS NOT NULL)
);
COMMENT ON TABLE recon.source_outcome IS
    'What became of a file. A refused file may be accepted later (its account was set up since); the last row counts.';

CREATE TABLE recon.ingest_attempt (
    attempt_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    book_id     int  NOT NULL REFERENCES ledger.book,
    sha256      text NOT NULL,
    name        text NOT NULL,
    outcome     text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    recorded_by text NOT NULL DEFAULT session_user
);
COMMENT ON TABLE recon.ingest_attempt IS 'Log of every delivery, repeated ones too.';

CREATE TABLE recon.statement (
    statement_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    book_id         int    NOT NULL REFERENCES ledger.book,
    bank_account_id int    NOT NULL REFERENCES settlement.bank_account_root,
    file_id         bigint NOT NULL REFERENCES recon.source_file,
    ordinal         int    NOT NULL CHECK (ordinal <> 0),
    kind            text   NOT NULL CHECK (kind IN ('camt.052', 'camt.053', 'camt.054', 'mt940', 'mt942', 'bai2', 'bai2.intraday')),
    stmt_id         text   NOT NULL,
    sequence        bigint,
    page            int,
    from_date       date,
    closing_date    date,
    opening_minor   bigint,
    closing_minor   bigint,
    proof           text   NOT NULL CHECK (proof IN ('proven', 'violated', 'unproven', 'impossible')),
    entry_count     int    NOT NULL,
    row_count       int    NOT NULL,
    content_sha256  text   NOT NULL,
    CONSTRAINT statement_once UNIQUE (bank_account_id, kind, stmt_id, content_sha256),
    CONSTRAINT statement_file UNIQUE (file_id, ordinal)
);
COMMENT ON TABLE recon.statement IS 'End-of-day statements (camt.053, mt940, bai2), reports and notifications (informative), one row for each content.';
COMMENT ON COLUMN recon.statement.ordinal IS
    'Its place in the file; negative: joined from pages, the last of which stands at that place (recon.statement_page).';

CREATE TABLE recon.statement_page (
    page_statement_id bigint PRIMARY KEY REFERENCES recon.statement,
    statement_id      bigint NOT NULL REFERENCES recon.statement,
    page              int    NOT NULL CHECK (page > 0),
    CONSTRAINT statement_page_once UNIQUE (statement_id, page)
);
COMMENT ON TABLE recon.statement_page IS 'Pages that prove and book only together, and the statement they make.';

-- The chain: closing(d) = opening(d+1) is a foreign key, and a statement has at most one successor.
CREATE TABLE recon.statement_booking (
    statement_id    bigint PRIMARY KEY REFERENCES recon.statement,
    bank_account_id int    NOT NULL,
    previous_id     bigint,
    opening_minor   bigint NOT NULL,
    closing_minor   bigint NOT NULL,
    closing_date    date   NOT NULL,
    booked_count    int    NOT NULL,
    booked_minor    bigint NOT NULL,
    recorded_at     timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT statement_proves CHECK (opening_minor + booked_minor = closing_minor),
    CONSTRAINT statement_chain_key UNIQUE (bank_account_id, statement_id, closing_minor),
    CONSTRAINT statement_chain FOREIGN KEY (bank_account_id, previous_id, opening_minor)
        REFERENCES recon.statement_booking (bank_account_id, statement_id, closing_minor),
    CONSTRAINT statement_one_successor UNIQUE (previous_id)
);
CREATE UNIQUE INDEX statement_one_first ON recon.statement_booking (bank_account_id) WHERE previous_id IS NULL;
CREATE INDEX statement_booking_date ON recon.statement_booking (bank_account_id, closing_date);
COMMENT ON TABLE recon.statement_booking IS 'Statements that are proven and booked, as a chain of balances for each bank account.';

CREATE TABLE recon.statement_line (
    statement_id            bigint  NOT NULL REFERENCES recon.statement_booking,
    line_ordinal            int     NOT NULL,
    detail_ordinal          int     NOT NULL,
    book_id                 int     NOT NULL,
    amount_minor            bigint  NOT NULL,
    entry_amount_minor      bigint  NOT NULL,
    currency                text    NOT NULL,
    status                  text    NOT NULL,
    is_reversal             boolean NOT NULL,
    booking_date            date    NOT NULL,
    value_date              date,
    account_servicer_ref    text,
    entry_ref               text,
    msg_id                  text,
    payment_information_id  text,
    instruction_id          text,
    end_to_end_id           text,
    uetr                    text,
    transaction_id          text,
    mandate_id              text,
    structured_ref          text,
    remittance              text,
    party_name              text,
    party_account           text,
    bank_tx_code            text,
    proprietary_code        text,
    return_reason           text,
    charges_minor           bigint,
    instructed_amount_minor bigint,
    instructed_currency     text,
    batch_count             int,
    additional_info         text,
    source_line             int,
    n_posting_id            bigint,
    t_posting_id            bigint UNIQUE,
    PRIMARY KEY (statement_id, line_ordinal, detail_ordinal),
    CONSTRAINT statement_line_currency CHECK (currency ~ '^[A-Z]{3}$'),
    CONSTRAINT statement_line_status CHECK (status IN ('BOOK', 'PDNG', 'INFO', 'FUTR')),
    CONSTRAINT statement_line_booked CHECK ((n_posting_id IS NULL) = (t_posting_id IS NULL)),
    CONSTRAINT statement_line_posts CHECK (t_posting_id IS NULL OR (status = 'BOOK' AND amount_minor <> 0))
);
CREATE INDEX statement_line_end_to_end ON recon.statement_line (end_to_end_id) WHERE end_to_end_id IS NOT NULL;
CREATE INDEX statement_line_uetr ON recon.statement_line (uetr) WHERE uetr IS NOT NULL;
CREATE INDEX statement_line_servicer ON recon.statement_line (account_servicer_ref) WHERE account_servicer_ref IS NOT NULL;
CREATE INDEX statement_line_batch ON recon.statement_line (payment_information_id)
    WHERE batch_count > 1 AND detail_ordinal = 0;
-- The few lines that policy may post: returns, charges, interest.
CREATE INDEX statement_line_routine ON recon.statement_line (book_id, statement_id)
    WHERE return_reason IS NOT NULL OR right(bank_tx_code, 5) IN ('/CHRG', '/INTR', '/COMM', '/FEES');
COMMENT ON TABLE recon.statement_line IS
    'One row a posting unit of a booked statement. amount_minor: credit positive (our account at the bank). '
    'n_posting_id and t_posting_id are its legs on the nostro and the cash-in-transit account.';

CREATE TABLE recon.quarantine (
    file_id           bigint NOT NULL REFERENCES recon.source_file,
    ordinal           int    NOT NULL,
    statement_ordinal int    NOT NULL,
    line_ordinal      int    NOT NULL,
    rule              text   NOT NULL,
    message           text   NOT NULL,
    source_line       int,
    reference         text,
    PRIMARY KEY (file_id, ordinal)
);
COMMENT ON TABLE recon.quarantine IS 'Entries that could not be read exactly; their statement stays unproven.';

CREATE TABLE recon.statement_finding (
    finding_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    book_id         int    NOT NULL REFERENCES ledger.book,
    bank_account_id int    NOT NULL REFERENCES settlement.bank_account_root,
    file_id         bigint REFERENCES recon.source_file,
    statement_id    bigint REFERENCES recon.statement,
    code            text   NOT NULL CHECK (code IN ('STATEMENT_IMBALANCE', 'STATEMENT_GAP', 'STATEMENT_DUP',
                                                    'STATEMENT_REVISED', 'LATE_CHANGE')),
    item_ref        text   NOT NULL,
    message         text   NOT NULL,
    closing_date    date,
    CONSTRAINT statement_finding_once UNIQUE NULLS NOT DISTINCT (file_id, bank_account_id, code, item_ref)
);
COMMENT ON TABLE recon.statement_finding IS
    'Breaks of whole statements. IMBALANCE and GAP end when the statement books; the others when a person resolves them.';

CREATE TABLE recon.finding_resolution (
    finding_id  bigint NOT NULL REFERENCES recon.statement_finding,
    ordinal     int  NOT NULL CHECK (ordinal > 0),
    is_resolved boolean NOT NULL,
    reason      text NOT NULL CHECK (length(reason) >= 3),
    resolved_by text NOT NULL DEFAULT session_user,
    resolved_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT finding_resolution_once PRIMARY KEY (finding_id, ordinal)
);
COMMENT ON TABLE recon.finding_resolution IS 'A finding that people accepted, or took up again; the last row counts.';

CREATE TABLE recon.expected_receipt (
    receipt_id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    book_id           int    NOT NULL REFERENCES ledger.book,
    file_id           bigint NOT NULL REFERENCES recon.source_file,
    source_line       int    NOT NULL,
    payout_id         text   NOT NULL,
    acquirer          text   NOT NULL,
    bank_account_id   int    NOT NULL REFERENCES settlement.bank_account_root,
    currency_id       smallint NOT NULL REFERENCES ledger.currency,
    payout_date       date   NOT NULL,
    gross_minor       bigint NOT NULL,
    refunds_minor     bigint NOT NULL,
    chargebacks_minor bigint NOT NULL,
    fees_minor        bigint NOT NULL,
    net_minor         bigint NOT NULL CHECK (net_minor > 0),
    line_count        int    NOT NULL,
    t_posting_id      bigint NOT NULL UNIQUE,
    CONSTRAINT expected_receipt_once UNIQUE (book_id, payout_id),
    CONSTRAINT expected_receipt_net
        CHECK (net_minor = gross_minor - refunds_minor - chargebacks_minor - fees_minor)
);
COMMENT ON TABLE recon.expected_receipt IS 'Payouts that acquirers reported; t_posting_id is the debit on T.';

CREATE TABLE recon.routine_posting (
    posting_id      bigint PRIMARY KEY,
    book_id         int    NOT NULL REFERENCES ledger.book,
    line_posting_id bigint NOT NULL REFERENCES recon.statement_line (t_posting_id),
    rule            text   NOT NULL CHECK (rule IN ('routine-return', 'routine-charge', 'routine-interest')),
    instruction_id  bigint REFERENCES settlement.instruction
);
CREATE INDEX routine_posting_line ON recon.routine_posting (line_posting_id);
COMMENT ON TABLE recon.routine_posting IS 'T legs that approved policy posted in answer to a bank line.';

CREATE TABLE recon.run (
    run_id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    book_id       int  NOT NULL REFERENCES ledger.book,
    business_date date NOT NULL,
    input_sha256  text NOT NULL,
    rules_sha256  text NOT NULL,
    item_count    int  NOT NULL,
    exact_keys        int    NOT NULL,
    exact_keys_again  int    NOT NULL,
    snapshot          pg_snapshot NOT NULL DEFAULT pg_current_snapshot(),
    xid               xid8   NOT NULL DEFAULT pg_current_xact_id(),
    system_identifier bigint NOT NULL,
    high_batch_id     bigint NOT NULL,
    step_id           bigint,
    run_before        bigint REFERENCES recon.run,
    unmatch_digest    numeric NOT NULL,
    decision_digest   numeric NOT NULL,
    recorded_at       timestamptz NOT NULL DEFAULT now(),
    recorded_by       text   NOT NULL DEFAULT session_user,
    CONSTRAINT run_once UNIQUE (book_id, business_date, input_sha256),
    CONSTRAINT run_engines_agree CHECK (exact_keys = exact_keys_again)
);
COMMENT ON TABLE recon.run IS 'One reconciliation of a book and day; the same inputs are the same run.';
COMMENT ON CONSTRAINT run_engines_agree ON recon.run IS
    'Keys that one line and one expectation carry, counted by DuckDB and again by Polars: equal, or nothing is published.';
COMMENT ON COLUMN recon.run.step_id IS 'The last step of recon.cash_step when the run was published.';
COMMENT ON COLUMN recon.run.run_before IS 'The run whose open items this one went on from; none: it read all of the ledger''s cash in transit.';
COMMENT ON COLUMN recon.run.unmatch_digest IS 'Sum of hashes of every un-match that the run could know; decision_digest the same of approved decisions by its day.';
COMMENT ON COLUMN recon.run.snapshot IS
    'What was committed when the run was published; with xid, system_identifier and high_batch_id: the postings that it could know.';

-- What each run could not know: batches that were not committed then, or that came after the books were restored elsewhere.
CREATE VIEW recon.run_unknown_batch AS
SELECT r.run_id, b.batch_id
  FROM recon.run r JOIN ledger.batch b ON b.book_id = r.book_id AND b.system_identifier = r.system_identifier AND b.xid >= pg_snapshot_xmin(r.snapshot)
 WHERE NOT pg_visible_in_snapshot(b.xid, r.snapshot) AND NOT (b.xid = r.xid AND b.batch_id <= r.high_batch_id)
UNION ALL
SELECT r.run_id, b.batch_id
  FROM recon.run r JOIN ledger.batch b ON b.book_id = r.book_id AND b.system_identifier <> r.system_identifier AND b.batch_id > r.high_batch_id;
COMMENT ON VIEW recon.run_unknown_batch IS 'Batches of postings that a run could not know.';

CREATE TABLE recon.run_verification (
    run_id      bigint NOT NULL REFERENCES recon.run,
    ordinal     int    NOT NULL CHECK (ordinal > 0),
    is_whole    boolean NOT NULL,
    verified_at timestamptz NOT NULL DEFAULT now(),
    verified_by text   NOT NULL DEFAULT session_user,
    CONSTRAINT run_verification_once PRIMARY KEY (run_id, ordinal)
);
COMMENT ON TABLE recon.run_verification IS
    'Runs that the verifier found to hold: whole, from the whole ledger, or from the run before, which held, and what changed since.';

CREATE TABLE recon.run_attempt (
    attempt_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    book_id       int    NOT NULL REFERENCES ledger.book,
    business_date date   NOT NULL,
    run_id        bigint NOT NULL REFERENCES recon.run,
    is_new        boolean NOT NULL,
    recorded_at   timestamptz NOT NULL DEFAULT now(),
    recorded_by   text   NOT NULL DEFAULT session_user
);

-- A finding belongs to the first run that sees it and to every later day; earlier days never learn of it.
CREATE TABLE recon.finding_seen (
    finding_id    bigint PRIMARY KEY REFERENCES recon.statement_finding,
    business_date date NOT NULL
);

CREATE TABLE recon.match_set (
    match_set_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    book_id      int    NOT NULL REFERENCES ledger.book,
    run_id       bigint NOT NULL REFERENCES recon.run,
    set_ordinal  int    NOT NULL,
    rule         text   NOT NULL,
    rule_version int    NOT NULL,
    leg_count    int    NOT NULL CHECK (leg_count >= 2),
    as_of_date   date   NOT NULL,
    bank_minor   bigint  NOT NULL,
    books_minor  bigint  NOT NULL,
    rivals       int     CHECK (rivals >= 0),
    margin       int,
    is_fungible  boolean NOT NULL,
    CONSTRAINT match_set_ordinal UNIQUE (run_id, set_ordinal),
    CONSTRAINT match_set_book UNIQUE (match_set_id, book_id),
    CONSTRAINT match_set_equation CHECK (bank_minor + books_minor = 0),
    CONSTRAINT match_set_rivals CHECK (rivals IS NOT NULL OR rule IN ('adjustment', 'adjustment-undone', 'manual-match'))
);
COMMENT ON TABLE recon.match_set IS
    'A group of T postings that adds up to zero, the rule that found it, and its proof: the equation (bank lines against '
    'everything else), how many open items could have stood in for a member, and by how much it was ahead of them.';
COMMENT ON COLUMN recon.match_set.rivals IS 'Open items that could have stood in for a member; none: people decided, nobody counted.';
COMMENT ON COLUMN recon.match_set.margin IS 'Points ahead of the next best, where sets are scored.';

CREATE TABLE recon.match_leg (
    book_id              int    NOT NULL,
    posting_id           bigint NOT NULL,
    generation           int    NOT NULL DEFAULT 0 CHECK (generation >= 0),
    match_set_id         bigint NOT NULL,
    row_sha256           bytea  NOT NULL CHECK (length(row_sha256) = 32),
    unmatched_generation int GENERATED ALWAYS AS (CASE WHEN generation > 0 THEN generation - 1 END) STORED,
    CONSTRAINT match_leg_exclusive PRIMARY KEY (book_id, posting_id, generation)
);
CREATE INDEX match_leg_set ON recon.match_leg (match_set_id);
COMMENT ON COLUMN recon.match_leg.row_sha256 IS 'Hash of the row that the run saw (recon.item_rows): what was decided from cannot be changed later.';
COMMENT ON TABLE recon.match_leg IS
    'Each T posting is in at most one live set: the key says so. A generation above 0 needs the un-match of the one before.';

CREATE TABLE recon.unmatch_request (
    request_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    book_id      int    NOT NULL REFERENCES ledger.book,
    match_set_id bigint NOT NULL REFERENCES recon.match_set,
    reason       text   NOT NULL CHECK (length(reason) >= 5),
    requested_by text   NOT NULL DEFAULT session_user,
    requested_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX unmatch_request_set ON recon.unmatch_request (match_set_id);
COMMENT ON TABLE recon.unmatch_request IS 'Somebody wants a cleared set taken back; another person does it.';

CREATE TABLE recon.unmatch (
    book_id    int    NOT NULL,
    posting_id bigint NOT NULL,
    generation int    NOT NULL,
    request_id bigint NOT NULL REFERENCES recon.unmatch_request,
    done_by    text   NOT NULL DEFAULT session_user,
    done_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (book_id, posting_id, generation),
    CONSTRAINT unmatch_leg FOREIGN KEY (book_id, posting_id, generation)
        REFERENCES recon.match_leg (book_id, posting_id, generation)
);
ALTER TABLE recon.match_leg ADD CONSTRAINT match_leg_generation
    FOREIGN KEY (book_id, posting_id, unmatched_generation) REFERENCES recon.unmatch (book_id, posting_id, generation);

CREATE TABLE recon.break_run (
    run_id          bigint NOT NULL REFERENCES recon.run,
    break_id        text   NOT NULL,
    code            text   NOT NULL,
    item_ref        text   NOT NULL,
    bank_account_id int    NOT NULL,
    currency        text   NOT NULL,
    amount_minor    bigint NOT NULL,
    item_count      int    NOT NULL,
    first_date      date,
    age_days        int    NOT NULL,
    explanation     text   NOT NULL,
    proposal        text   NOT NULL,
    proposal_legs   jsonb  NOT NULL,
    finding_id      bigint REFERENCES recon.statement_finding,
    suggested_rule  text,
    PRIMARY KEY (run_id, break_id)
);
COMMENT ON TABLE recon.break_run IS
    'The breaks of a run. break_id comes from the anchor posting (B…) or finding (S…) and stays the same from run to run; '
    'amount_minor is the sum of its items on T.';

CREATE TABLE recon.open_item (
    run_id          bigint NOT NULL REFERENCES recon.run,
    posting_id      bigint NOT NULL,
    bank_account_id int    NOT NULL,
    amount_minor    bigint NOT NULL,
    kind            text   NOT NULL,
    reference       text,
    item_date       date   NOT NULL,
    age_days        int    NOT NULL,
    code            text   NOT NULL,
    break_id        text,
    row_sha256      bytea  NOT NULL CHECK (length(row_sha256) = 32),
    CONSTRAINT open_item_one_code PRIMARY KEY (run_id, posting_id),
    CONSTRAINT open_item_break FOREIGN KEY (run_id, break_id) REFERENCES recon.break_run,
    CONSTRAINT open_item_in_flight CHECK ((code = 'TIMING') = (break_id IS NULL))
);
COMMENT ON TABLE recon.open_item IS 'Every open T posting of a run with exactly one code. TIMING: in flight, within its time.';

CREATE TABLE recon.certificate (
    bank_account_id int    NOT NULL REFERENCES settlement.bank_account_root,
    business_date   date   NOT NULL,
    sha256          text   NOT NULL,
    book_id         int    NOT NULL REFERENCES ledger.book,
    run_id          bigint NOT NULL REFERENCES recon.run,
    statement_id    bigint NOT NULL REFERENCES recon.statement_booking,
    opening_minor   bigint NOT NULL,
    lines_minor     bigint NOT NULL,
    closing_minor   bigint NOT NULL,
    nostro_minor    bigint NOT NULL,
    transit_minor   bigint NOT NULL,
    open_minor      bigint NOT NULL,
    residual_minor  bigint NOT NULL GENERATED ALWAYS AS (
        abs(opening_minor + lines_minor - closing_minor) + abs(nostro_minor - closing_minor)
        + abs(transit_minor - open_minor)) STORED,
    body            text   NOT NULL,
    CONSTRAINT certificate_once PRIMARY KEY (bank_account_id, business_date, run_id),
    CONSTRAINT certificate_residual CHECK (residual_minor = 0),
    CONSTRAINT certificate_hash CHECK (sha256 = encode(sha256(convert_to(body, 'UTF8')), 'hex'))
);
COMMENT ON CONSTRAINT certificate_residual ON recon.certificate IS
    'Books = bank, to the minor unit: N is the closing balance, T is the sum of open items, opening + lines = closing.';

-- Bulk input of one transaction: the functions take the rows of their own transaction and delete them.
CREATE UNLOGGED TABLE recon.stage_line (
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    LIKE recon.statement_line
);
ALTER TABLE recon.stage_line
    ALTER statement_id DROP NOT NULL, ALTER book_id DROP NOT NULL, ALTER booking_date DROP NOT NULL;
CREATE UNLOGGED TABLE recon.stage_leg (
    xid          xid8 NOT NULL DEFAULT pg_current_xact_id(),
    set_ordinal  int NOT NULL,
    rule         text NOT NULL,
    rule_version int NOT NULL,
    posting_id   bigint NOT NULL,
    rivals       int,
    margin       int,
    is_fungible  boolean NOT NULL,
    row_sha256   text NOT NULL
);
CREATE UNLOGGED TABLE recon.stage_break (
    xid           xid8 NOT NULL DEFAULT pg_current_xact_id(),
    break_id      text NOT NULL,
    code          text NOT NULL,
    item_ref      text NOT NULL,
    account       text NOT NULL,
    currency      text NOT NULL,
    amount_minor  bigint NOT NULL,
    item_count    int NOT NULL,
    first_date    date,
    age_days      int NOT NULL,
    explanation   text NOT NULL,
    proposal      text NOT NULL,
    proposal_legs jsonb NOT NULL,
    finding_id    bigint,
    suggested_rule text
);
CREATE UNLOGGED TABLE recon.stage_open (
    xid        xid8 NOT NULL DEFAULT pg_current_xact_id(),
    posting_id bigint NOT NULL,
    kind       text NOT NULL,
    reference  text,
    item_date  date NOT NULL,
    age_days   int NOT NULL,
    code       text NOT NULL,
    break_id   text,
    row_sha256 text NOT NULL
);
CREATE UNLOGGED TABLE recon.stage_receipt (
    xid               xid8 NOT NULL DEFAULT pg_current_xact_id(),
    source_line       int NOT NULL,
    payout_id         text NOT NULL,
    acquirer          text NOT NULL,
    bank_account      text NOT NULL,
    currency          text NOT NULL,
    payout_date       date NOT NULL,
    gross_minor       bigint NOT NULL,
    refunds_minor     bigint NOT NULL,
    chargebacks_minor bigint NOT NULL,
    fees_minor        bigint NOT NULL,
    net_minor         bigint NOT NULL,
    line_count        int NOT NULL
);

SELECT ledger.make_append_only(t) FROM unnest(ARRAY[
    'recon.source_file', 'recon.source_outcome', 'recon.ingest_attempt', 'recon.statement', 'recon.statement_page',
    'recon.statement_booking', 'recon.statement_line', 'recon.quarantine', 'recon.statement_finding',
    'recon.finding_resolution', 'recon.expected_receipt', 'recon.routine_posting', 'recon.run',
    'recon.run_attempt', 'recon.run_verification', 'recon.finding_seen', 'recon.match_set', 'recon.match_leg', 'recon.unmatch_request', 'recon.unmatch',
    'recon.break_run', 'recon.open_item', 'recon.certificate']::regclass[]) t;

SELECT recon.record_events(t, 'book')
  FROM unnest(ARRAY['recon.run', 'recon.unmatch_request', 'recon.unmatch']::regclass[]) t;
SELECT recon.record_events('recon.finding_resolution', 'finding');

GRANT SELECT ON ALL TABLES IN SCHEMA recon TO :app;
GRANT INSERT ON recon.stage_line, recon.stage_leg, recon.stage_break, recon.stage_open, recon.stage_receipt TO :service;
