-- The simulated banks' own state (SQLite, one file a home). Nothing of the product reads it.
CREATE TABLE IF NOT EXISTS setting (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS account (
    code TEXT PRIMARY KEY,
    balance_minor INTEGER NOT NULL,
    statement_number INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

-- Files taken from an outbox. The same name written again is another arrival.
CREATE TABLE IF NOT EXISTS arrival (
    bank TEXT NOT NULL,
    name TEXT NOT NULL,
    modified_ns INTEGER NOT NULL,
    PRIMARY KEY (bank, name, modified_ns)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS file (
    file_id INTEGER PRIMARY KEY,
    bank TEXT NOT NULL,
    message TEXT NOT NULL,
    message_id TEXT NOT NULL,
    created TEXT NOT NULL,
    payment_count INTEGER NOT NULL,
    accepted INTEGER NOT NULL,
    reports INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS file_message ON file (bank, message_id);

CREATE TABLE IF NOT EXISTS batch (
    batch_id INTEGER PRIMARY KEY,
    file_id INTEGER NOT NULL REFERENCES file,
    payment_information_id TEXT NOT NULL,
    account TEXT NOT NULL REFERENCES account,
    execution_date TEXT NOT NULL,
    collects INTEGER NOT NULL DEFAULT 0,  -- a direct debit: money comes in
    closed_on TEXT
);
CREATE INDEX IF NOT EXISTS batch_due ON batch (closed_on, account);

CREATE TABLE IF NOT EXISTS payment (
    payment_id INTEGER PRIMARY KEY,
    batch_id INTEGER NOT NULL REFERENCES batch,
    instruction_id TEXT,
    end_to_end_id TEXT NOT NULL,
    uetr TEXT,
    amount_minor INTEGER NOT NULL,
    creditor_name TEXT NOT NULL,
    creditor_iban TEXT NOT NULL,
    remittance TEXT,
    reject_reason TEXT
);
CREATE INDEX IF NOT EXISTS payment_batch ON payment (batch_id);
CREATE INDEX IF NOT EXISTS payment_amount ON payment (amount_minor);

CREATE INDEX IF NOT EXISTS payment_reference ON payment (end_to_end_id);

-- Returns, returns taken back, and late bookings, waiting for their day.
CREATE TABLE IF NOT EXISTS later (
    later_id INTEGER PRIMARY KEY,
    payment_id INTEGER NOT NULL REFERENCES payment,
    kind TEXT NOT NULL,
    day TEXT NOT NULL,
    account TEXT NOT NULL,
    amount_minor INTEGER NOT NULL,
    reason TEXT,
    done INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS later_due ON later (done, account, day);
CREATE INDEX IF NOT EXISTS later_payment ON later (payment_id);

CREATE TABLE IF NOT EXISTS paid_payout (payout_id TEXT PRIMARY KEY, day TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS statement (
    account TEXT NOT NULL,
    day TEXT NOT NULL,
    statement_id TEXT NOT NULL,
    opening_minor INTEGER NOT NULL,
    closing_minor INTEGER NOT NULL,
    line_count INTEGER NOT NULL,
    body BLOB,                      -- the <Stmt> element, compressed; kept only while it may be repeated
    repeated INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (account, day)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS planned (
    ordinal INTEGER PRIMARY KEY,
    kind_no INTEGER NOT NULL,
    day TEXT NOT NULL,
    last_day TEXT NOT NULL,
    done INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE IF NOT EXISTS truth (
    ordinal INTEGER PRIMARY KEY,
    item_ref TEXT NOT NULL,
    code TEXT NOT NULL,
    bank_account TEXT NOT NULL,
    day TEXT NOT NULL,
    kind_no INTEGER NOT NULL
);

CREATE TABLE IF NOT EXISTS closed_day (day TEXT PRIMARY KEY, report TEXT NOT NULL) WITHOUT ROWID;
