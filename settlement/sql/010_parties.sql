-- Who we pay, from which bank accounts, by which banks: everything `nostro setup` declares.
-- Every table is append-only; a change is a new version row and the views show the latest one.

CREATE SCHEMA settlement;
GRANT USAGE ON SCHEMA settlement TO :app, :analyst;

CREATE TABLE settlement.book_setup (
    book_id     int NOT NULL REFERENCES ledger.book,
    version     int NOT NULL CHECK (version > 0),
    body        jsonb NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    recorded_by text NOT NULL DEFAULT session_user,
    PRIMARY KEY (book_id, version)
);
COMMENT ON TABLE settlement.book_setup IS 'Policies, tolerances and acquirers of a book, as declared; the last version counts.';

CREATE TABLE settlement.bank_profile_version (
    profile_id  int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    book_id     int NOT NULL REFERENCES ledger.book,
    code        text NOT NULL,
    version     int NOT NULL CHECK (version > 0),
    body        jsonb NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    recorded_by text NOT NULL DEFAULT session_user,
    CONSTRAINT bank_profile_version_order UNIQUE (book_id, code, version)
);
COMMENT ON TABLE settlement.bank_profile_version IS 'How one bank wants its files: message, charset, rails, calendar, transport, tariff.';

CREATE TABLE settlement.bank_account_root (
    bank_account_id    int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    book_id            int NOT NULL REFERENCES ledger.book,
    code               text NOT NULL,
    bank               text NOT NULL,
    iban               text NOT NULL,
    currency_id        smallint NOT NULL REFERENCES ledger.currency,
    rail               text NOT NULL CHECK (rail IN (
        'SEPA', 'SEPA_INST', 'DOMESTIC', 'CROSS_BORDER', 'US_ACH', 'US_WIRE', 'UK_FPS', 'UK_CHAPS')),
    nostro_account_id  int NOT NULL UNIQUE REFERENCES ledger.account,
    transit_account_id int NOT NULL UNIQUE REFERENCES ledger.account,
    opening_date       date NOT NULL,
    opening_minor      bigint NOT NULL,
    recorded_at        timestamptz NOT NULL DEFAULT now(),
    recorded_by        text NOT NULL DEFAULT session_user,
    CONSTRAINT bank_account_code UNIQUE (book_id, code),
    CONSTRAINT bank_account_iban UNIQUE (book_id, iban, currency_id)
);
COMMENT ON TABLE settlement.bank_account_root IS 'What never changes about one of our bank accounts; also the lock of its proposals.';

CREATE TABLE settlement.bank_account_version (
    bank_account_id int NOT NULL REFERENCES settlement.bank_account_root,
    version         int NOT NULL CHECK (version > 0),
    holder          jsonb NOT NULL,
    minimum_minor   bigint NOT NULL CHECK (minimum_minor > 0),
    maximum_minor   bigint NOT NULL,
    recorded_at     timestamptz NOT NULL DEFAULT now(),
    recorded_by     text NOT NULL DEFAULT session_user,
    PRIMARY KEY (bank_account_id, version),
    CHECK (maximum_minor >= minimum_minor)
);
COMMENT ON TABLE settlement.bank_account_version IS 'Holder as printed in files, and the rail''s limits in minor units of the account.';

CREATE TABLE settlement.payee (
    payee_id    int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    book_id     int NOT NULL REFERENCES ledger.book,
    code        text NOT NULL,
    account_id  int NOT NULL REFERENCES ledger.account,
    currency_id smallint NOT NULL REFERENCES ledger.currency,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    recorded_by text NOT NULL DEFAULT session_user,
    CONSTRAINT payee_code UNIQUE (book_id, code),
    CONSTRAINT payee_account UNIQUE (account_id)
);
COMMENT ON TABLE settlement.payee IS 'One payee = one settleable account = one currency.';

CREATE TABLE settlement.payee_version (
    payee_version_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    payee_id         int NOT NULL REFERENCES settlement.payee,
    version          int NOT NULL CHECK (version > 0),
    name             text NOT NULL,
    iban             text NOT NULL,
    bic              text,
    country          text,
    town             text,
    street           text,
    postcode         text,
    bank_account_id  int NOT NULL REFERENCES settlement.bank_account_root,
    minimum_minor    bigint NOT NULL CHECK (minimum_minor >= 0),
    maximum_minor    bigint CHECK (maximum_minor > 0),
    delay_days       int NOT NULL CHECK (delay_days BETWEEN 0 AND 3660),
    hold             boolean NOT NULL,
    schedule         text NOT NULL DEFAULT 'daily',
    reserve_bps      int NOT NULL DEFAULT 0 CHECK (reserve_bps BETWEEN 0 AND 9999),
    reserve_days     int NOT NULL DEFAULT 0,
    reserve_fixed_minor bigint NOT NULL DEFAULT 0 CHECK (reserve_fixed_minor >= 0),
    reserve_account_id  int REFERENCES ledger.account,
    negative         text NOT NULL DEFAULT 'carry' CHECK (negative IN ('carry', 'offset', 'debit')),
    mandate_id       text,
    mandate_signed   date,
    mandate_scheme   text CHECK (mandate_scheme IN ('CORE', 'B2B')),
    mandate_sequence text CHECK (mandate_sequence IN ('FRST', 'RCUR', 'OOFF', 'FNAL')),
    intermediary_bic   text,
    purpose            text CHECK (length(purpose) BETWEEN 1 AND 4),
    creditor_reference text CHECK (length(creditor_reference) BETWEEN 5 AND 25),
    regulatory_country text CHECK (length(regulatory_country) = 2),
    regulatory_code    text CHECK (length(regulatory_code) BETWEEN 1 AND 10),
    regulatory_text    text CHECK (length(regulatory_text) BETWEEN 1 AND 35),
    charge_bearer      text CHECK (charge_bearer IN ('SLEV', 'SHAR', 'DEBT', 'CRED')),
    recorded_at      timestamptz NOT NULL DEFAULT now(),
    recorded_by      text NOT NULL DEFAULT session_user,
    CONSTRAINT payee_version_order UNIQUE (payee_id, version),
    CONSTRAINT payee_version_schedule CHECK (schedule ~
        '^(daily|manual|(weekly:[1-7](,[1-7])*|monthly:[0-9]+(,[0-9]+)*):(following|modified_following|preceding))$'),
    CONSTRAINT payee_version_reserve CHECK (
        (reserve_bps = 0) = (reserve_days = 0) AND reserve_days BETWEEN 0 AND 3660
        AND (reserve_account_id IS NOT NULL OR (reserve_bps = 0 AND reserve_fixed_minor = 0))),
    CONSTRAINT payee_version_regulatory CHECK (regulatory_country IS NULL OR num_nonnulls(regulatory_code, regulatory_text) > 0),
    CONSTRAINT payee_version_mandate CHECK (
        num_nonnulls(mandate_id, mandate_signed, mandate_scheme, mandate_sequence) = CASE WHEN mandate_id IS NULL THEN 0 ELSE 4 END
        AND length(mandate_id) BETWEEN 1 AND 35 AND (negative <> 'debit' OR mandate_id IS NOT NULL))
);
COMMENT ON TABLE settlement.payee_version IS 'Bank details and payout rules of a payee; a file names the version it pays.';
COMMENT ON COLUMN settlement.payee_version.schedule IS
    'daily, manual, or weekly:<ISO weekdays>:<roll>, monthly:<days, 31 = last>:<roll>; which dates these are, the bank''s calendar says.';
COMMENT ON COLUMN settlement.payee_version.creditor_reference IS 'ISO 11649 (RF); stands in every payment instead of a text.';
COMMENT ON COLUMN settlement.payee_version.delay_days IS 'T+n in open days of the bank that pays.';
COMMENT ON COLUMN settlement.payee_version.negative IS
    'carry: later sales cover it; offset: the payee''s reserve covers it first; debit: collected under the mandate.';

SELECT ledger.make_append_only(name::regclass) FROM unnest(ARRAY[
    'settlement.book_setup', 'settlement.bank_profile_version', 'settlement.bank_account_root',
    'settlement.bank_account_version', 'settlement.payee', 'settlement.payee_version']) name;

CREATE VIEW settlement.setup_current AS
SELECT DISTINCT ON (book_id) book_id, version, body
  FROM settlement.book_setup ORDER BY book_id, version DESC;

CREATE VIEW settlement.bank_profile AS
SELECT DISTINCT ON (book_id, code) profile_id, book_id, code, version, body
  FROM settlement.bank_profile_version ORDER BY book_id, code, version DESC;

CREATE VIEW settlement.bank_account AS
SELECT r.bank_account_id, r.book_id, r.code, r.bank, r.iban, r.currency_id, c.code AS currency, c.exponent,
       r.rail, r.nostro_account_id, r.transit_account_id, r.opening_date, r.opening_minor,
       p.body ->> 'holidays' AS holidays, p.body ->> 'timezone' AS timezone,
       p.profile_id, v.version, v.holder, v.minimum_minor, v.maximum_minor
  FROM settlement.bank_account_root r
  JOIN ledger.currency c USING (currency_id)
  JOIN settlement.bank_profile p ON p.book_id = r.book_id AND p.code = r.bank
  JOIN LATERAL (SELECT * FROM settlement.bank_account_version v
                 WHERE v.bank_account_id = r.bank_account_id ORDER BY v.version DESC LIMIT 1) v ON true;

CREATE VIEW settlement.payee_current AS
SELECT p.book_id, p.code, p.account_id, p.currency_id, v.*
  FROM settlement.payee p
  JOIN settlement.payee_version v USING (payee_id)
  LEFT JOIN settlement.payee_version newer
         ON newer.payee_id = v.payee_id AND newer.version = v.version + 1
 WHERE newer.payee_id IS NULL;

CREATE VIEW settlement.acquirer AS
SELECT s.book_id, a ->> 'code' AS code, a ->> 'name' AS name, a ->> 'iban' AS iban,
       a ->> 'receivable' AS receivable
  FROM settlement.setup_current s, jsonb_array_elements(s.body -> 'acquirers') a;

GRANT SELECT ON ALL TABLES IN SCHEMA settlement TO :app;
GRANT SELECT ON settlement.bank_account, settlement.payee_current, settlement.acquirer TO :analyst;
