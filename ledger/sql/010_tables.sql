-- The books: tables and the constraints a single row can carry.
-- Rules that need more than one row are statement triggers in 020_rules.sql.

ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

CREATE SCHEMA ledger;
GRANT USAGE ON SCHEMA ledger TO :app, :analyst;

CREATE TABLE ledger.currency (
    currency_id smallint PRIMARY KEY,          -- ISO 4217 number, or 1000 and above: defined here
    code        text     NOT NULL UNIQUE,
    exponent    smallint NOT NULL,
    CONSTRAINT currency_code CHECK (code ~ '^[A-Z]{3,8}$'),
    CONSTRAINT currency_exponent CHECK (exponent BETWEEN 0 AND 8)
);
COMMENT ON TABLE ledger.currency IS 'Currencies of ISO 4217 and defined ones; amounts are integers of 10^-exponent.';

CREATE TABLE ledger.book (
    book_id                int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name                   text NOT NULL UNIQUE,
    functional_currency_id smallint NOT NULL REFERENCES ledger.currency
);
COMMENT ON TABLE ledger.book IS 'One legal entity''s books. Every other key starts with book_id.';

CREATE TABLE ledger.control (
    control text PRIMARY KEY,
    modules text[] NOT NULL
);
COMMENT ON TABLE ledger.control IS 'Control accounts and the only modules that post to them (invariant 11).';
INSERT INTO ledger.control VALUES
    ('nostro', '{setup,recon}'),
    ('cash_in_transit', '{settlement,recon}');

CREATE TABLE ledger.account (
    account_id  int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    book_id     int      NOT NULL REFERENCES ledger.book,
    code        text     NOT NULL CHECK (code ~ '^[a-z]+(:[A-Za-z0-9._-]+)+$'),
    type        text     NOT NULL CHECK (type IN ('asset', 'liability', 'equity', 'income', 'expense')),
    normal_side smallint NOT NULL GENERATED ALWAYS AS (CASE WHEN type IN ('asset', 'expense') THEN 1 ELSE -1 END) STORED,
    currency_id smallint NOT NULL REFERENCES ledger.currency,
    settleable  boolean  NOT NULL DEFAULT false,
    control     text     REFERENCES ledger.control,
    floor_minor bigint,
    ceiling_minor bigint,
    CONSTRAINT account_code UNIQUE (book_id, code),
    CONSTRAINT account_settleable_not_control CHECK (NOT (settleable AND control IS NOT NULL)),
    CONSTRAINT account_limits CHECK (ceiling_minor >= floor_minor)
);
COMMENT ON COLUMN ledger.account.normal_side IS '+1 debit-normal, -1 credit-normal; people see positive balances on this side.';
COMMENT ON COLUMN ledger.account.floor_minor IS 'Lowest balance on the normal side, minor units; NULL: none (invariant 5).';
COMMENT ON COLUMN ledger.account.ceiling_minor IS 'Highest balance on the normal side, minor units; NULL: none (invariant 5).';

CREATE TABLE ledger.account_rule (
    book_id     int  NOT NULL REFERENCES ledger.book,
    pattern     text NOT NULL,
    type        text NOT NULL CHECK (type IN ('asset', 'liability', 'equity', 'income', 'expense')),
    currency_id smallint REFERENCES ledger.currency,
    settleable  boolean NOT NULL DEFAULT false,
    floor_minor bigint,
    ceiling_minor bigint,
    PRIMARY KEY (book_id, pattern),
    CONSTRAINT account_limits CHECK (ceiling_minor >= floor_minor)
);
COMMENT ON TABLE ledger.account_rule IS 'Accounts that a journal may open: an exact code, or a prefix ending in *.';

CREATE TABLE ledger.balance (
    account_id   int      PRIMARY KEY REFERENCES ledger.account,
    book_id      int      NOT NULL,
    normal_side  smallint NOT NULL,
    account_currency_id smallint NOT NULL,
    control      text,
    mode         text     NOT NULL DEFAULT 'strict' CHECK (mode IN ('strict', 'sharded', 'deferred')),
    shards       smallint NOT NULL DEFAULT 0 CHECK (shards BETWEEN 0 AND 64),
    floor_minor  bigint,
    ceiling_minor bigint,
    posted_minor bigint   NOT NULL DEFAULT 0,
    held_minor   bigint   NOT NULL DEFAULT 0 CHECK (held_minor >= 0),
    CONSTRAINT balance_hot_unconstrained CHECK (mode = 'strict' OR (floor_minor IS NULL AND ceiling_minor IS NULL AND control IS NULL)),
    CONSTRAINT balance_floor CHECK (normal_side * posted_minor - held_minor >= floor_minor),
    CONSTRAINT balance_ceiling CHECK (normal_side * posted_minor <= ceiling_minor)
) WITH (fillfactor = 50);
CREATE INDEX balance_limited ON ledger.balance (account_id) WHERE floor_minor IS NOT NULL OR ceiling_minor IS NOT NULL;
CREATE INDEX balance_hot ON ledger.balance (account_id) WHERE mode <> 'strict';
COMMENT ON TABLE ledger.balance IS
    'Running balance: the sum of the account''s postings, moved by the posting trigger alone (invariant 4). What the account '
    'is (book, side, currency, control, limits) is repeated here, so that a batch looks at each account once.';
COMMENT ON COLUMN ledger.balance.mode IS 'Where a post writes: here, in one of `shards` rows, or in a row a batch (032_hot.sql).';
COMMENT ON CONSTRAINT balance_floor ON ledger.balance IS 'Invariant 5: a constrained account never crosses its floor.';
COMMENT ON CONSTRAINT balance_ceiling ON ledger.balance IS 'Invariant 5: a constrained account never crosses its ceiling.';

CREATE TABLE ledger.source (
    source_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    book_id   int  NOT NULL REFERENCES ledger.book,
    kind      text NOT NULL,
    name      text NOT NULL,
    sha256    text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    UNIQUE (book_id, kind, sha256),
    UNIQUE (book_id, source_id)
);
COMMENT ON TABLE ledger.source IS 'Where entries came from: a file and its hash.';

CREATE SEQUENCE ledger.batch_id_seq;

CREATE TABLE ledger.batch (
    batch_id          bigint PRIMARY KEY,
    book_id           int    NOT NULL REFERENCES ledger.book,
    module            text,
    source_id         bigint,
    entry_count       int    NOT NULL CHECK (entry_count > 0),
    posting_count     int    NOT NULL CHECK (posting_count >= 2 * entry_count),
    xid               xid8   NOT NULL DEFAULT pg_current_xact_id(),
    system_identifier bigint NOT NULL,
    recorded_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    recorded_by       name   NOT NULL DEFAULT session_user,
    CONSTRAINT batch_source FOREIGN KEY (book_id, source_id) REFERENCES ledger.source (book_id, source_id)
);
COMMENT ON CONSTRAINT batch_source ON ledger.batch IS 'Entries come from a file of their own book.';
COMMENT ON TABLE ledger.batch IS
    'One call that posted: entry and posting ids carry the batch in their upper bits, so facts about the '
    'commit (transaction, cluster, clock, login, source) are stored once, not once a row.';

-- What a foreign key would check once a row, the statement triggers of entry, entry_text and posting check once a
-- batch: a reversed entry, a text's entry, a posting's entry and account exist.
-- An id is (batch_id << 20) + ordinal: dense, time-ordered, and it names its batch without a column.
CREATE TABLE ledger.entry (
    entry_id          bigint NOT NULL PRIMARY KEY,
    book_id           int    NOT NULL,
    effective_date    date   NOT NULL,
    posting_count     int    NOT NULL,
    first_posting_id  bigint NOT NULL,
    reverses_entry_id bigint,
    idempotency_key   text   COLLATE "C" NOT NULL CHECK (idempotency_key <> ''),
    CONSTRAINT entry_book_key UNIQUE (book_id, idempotency_key),
    CONSTRAINT entry_posting_count CHECK (posting_count >= 2),
    CONSTRAINT entry_reverses_earlier CHECK (reverses_entry_id < entry_id),
    CONSTRAINT entry_batch CHECK (entry_id >> 20 = first_posting_id >> 20)
);
CREATE UNIQUE INDEX entry_reverses_once ON ledger.entry (reverses_entry_id) WHERE reverses_entry_id IS NOT NULL;
COMMENT ON CONSTRAINT entry_book_key ON ledger.entry IS 'Invariant 3: a key means exactly one entry, for ever.';
COMMENT ON INDEX ledger.entry_reverses_once IS 'Invariant 7: at most one full reversal.';

CREATE TABLE ledger.entry_text (
    entry_id    bigint PRIMARY KEY,
    description text,
    reference   text,
    source_line int
);

CREATE TABLE ledger.posting (
    posting_id     bigint   NOT NULL PRIMARY KEY,
    entry_id       bigint   NOT NULL,
    amount_minor   bigint   NOT NULL,
    account_id     int      NOT NULL,
    book_id        int      NOT NULL,
    effective_date date     NOT NULL,
    currency_id    smallint NOT NULL,
    in_block       boolean  NOT NULL DEFAULT false,
    CONSTRAINT posting_amount_not_zero CHECK (amount_minor <> 0),
    CONSTRAINT posting_batch CHECK (posting_id >> 20 = entry_id >> 20)
);
COMMENT ON TABLE ledger.posting IS 'Debit positive, credit negative, minor units of the account''s currency.';
COMMENT ON CONSTRAINT posting_amount_not_zero ON ledger.posting IS 'Invariant 1: no zero posting.';

-- Postings by account are found in one of two places (ADR 0010). Those of ordinary batches: by this index. Those of a
-- batch that has several postings for each account (in_block): by one row an account (one for every 64 postings), which
-- the posting trigger writes and which repeats what readers by account need.
CREATE INDEX posting_account ON ledger.posting (account_id, posting_id) WHERE NOT in_block;
CREATE TABLE ledger.posting_block (
    account_id  int      NOT NULL,
    batch_id    bigint   NOT NULL,
    block_no    smallint NOT NULL,
    book_id     int      NOT NULL,
    first_date  date     NOT NULL,
    last_date   date     NOT NULL,
    total_minor bigint   NOT NULL,
    posting_nos int[]    STORAGE PLAIN NOT NULL,
    entry_nos   int[]    STORAGE PLAIN NOT NULL,
    amounts     bigint[] STORAGE PLAIN NOT NULL,
    dates       date[]   STORAGE PLAIN NOT NULL,
    PRIMARY KEY (account_id, batch_id, block_no)
);
-- What is usual inside the arrays helps no plan, and finding it out takes longer than all other statistics.
ALTER TABLE ledger.posting_block ALTER posting_nos SET STATISTICS 0, ALTER entry_nos SET STATISTICS 0,
    ALTER amounts SET STATISTICS 0, ALTER dates SET STATISTICS 0;
COMMENT ON TABLE ledger.posting_block IS
    'The postings marked in_block by account and batch, at most 64 a row; numbers are ids without their batch.';
COMMENT ON COLUMN ledger.posting_block.first_date IS
    'The first date of all of the account''s postings in the batch (last_date: the last), alike in all of its blocks.';
COMMENT ON COLUMN ledger.posting_block.total_minor IS
    'The sum of amounts. With first_date and last_date it answers for the whole block, which then need not be unpacked.';
CREATE VIEW ledger.account_posting AS
SELECT p.account_id, p.posting_id >> 20 AS batch_id, p.posting_id, p.entry_id, p.amount_minor, p.effective_date, p.book_id
  FROM ledger.posting p WHERE NOT p.in_block
UNION ALL
SELECT b.account_id, b.batch_id, (b.batch_id << 20) + u.posting_no AS posting_id, (b.batch_id << 20) + u.entry_no AS entry_id,
       u.amount_minor, u.effective_date, b.book_id
  FROM ledger.posting_block b
 CROSS JOIN LATERAL unnest(b.posting_nos, b.entry_nos, b.amounts, b.dates) AS u (posting_no, entry_no, amount_minor, effective_date);
COMMENT ON VIEW ledger.account_posting IS
    'Postings by account. Conditions enter its two parts only as account_id = value or = ANY (array), or inside a LATERAL query '
    'with OFFSET 0; give bounds for posting_id and for batch_id. By id, by entry or in bulk read ledger.posting.';

CREATE TABLE ledger.publication (
    publication_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    last_seq       bigint NOT NULL UNIQUE,
    published_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE ledger.batch_seq (
    batch_id       bigint PRIMARY KEY REFERENCES ledger.batch,
    first_seq      bigint NOT NULL UNIQUE,
    last_seq       bigint NOT NULL UNIQUE CHECK (last_seq >= first_seq),
    publication_id bigint NOT NULL REFERENCES ledger.publication
);
COMMENT ON TABLE ledger.batch_seq IS
    'Knowledge order: a dense sequence over committed entries, given below the xmin watermark (DESIGN §2).';

GRANT SELECT ON ALL TABLES IN SCHEMA ledger TO :app;
