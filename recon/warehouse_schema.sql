-- The DuckDB file: typed tables, and one documented view a question. Amounts are BIGINT minor units, debit
-- positive on our books, credit positive on the bank's side; money(minor, exponent) gives an exact decimal.

CREATE MACRO money(minor, exponent) AS
    CAST(minor AS DECIMAL(20, 0)) * CASE exponent
        WHEN 0 THEN 1.00000000 WHEN 1 THEN 0.10000000 WHEN 2 THEN 0.01000000 WHEN 3 THEN 0.00100000 WHEN 4 THEN 0.00010000
        WHEN 5 THEN 0.00001000 WHEN 6 THEN 0.00000100 WHEN 7 THEN 0.00000010 WHEN 8 THEN 0.00000001 END;

CREATE TABLE account (book VARCHAR, account_id INTEGER, account VARCHAR, type VARCHAR, normal_side SMALLINT, currency VARCHAR,
    exponent SMALLINT, control VARCHAR, settleable BOOLEAN);
CREATE TABLE entry (entry_id BIGINT, effective_date DATE, entry_key VARCHAR, reverses_entry_id BIGINT, known_seq BIGINT);
CREATE TABLE publication (last_seq BIGINT, published_at TIMESTAMPTZ);
CREATE TABLE posting (posting_id BIGINT, entry_id BIGINT, account_id INTEGER, effective_date DATE, amount_minor BIGINT);
CREATE TABLE bank_account (book VARCHAR, bank_account VARCHAR, bank VARCHAR, iban VARCHAR, currency VARCHAR, exponent SMALLINT,
    nostro_account_id INTEGER, transit_account_id INTEGER, opening_date DATE, opening_minor BIGINT);
CREATE TABLE payout (book VARCHAR, instruction_id BIGINT, end_to_end_id VARCHAR, payee VARCHAR, payee_name VARCHAR, payee_iban VARCHAR,
    bank_account VARCHAR, currency VARCHAR, exponent SMALLINT, business_date DATE, execution_date DATE, amount_minor BIGINT,
    state VARCHAR, reason_code VARCHAR, msg_id VARCHAR, payment_information_id VARCHAR,
    transit_posting_id BIGINT);
CREATE TABLE statement (book VARCHAR, bank_account VARCHAR, currency VARCHAR, kind VARCHAR, stmt_id VARCHAR, sequence BIGINT,
    closing_date DATE, opening_minor BIGINT, closing_minor BIGINT, entry_count INTEGER, proof VARCHAR, is_booked BOOLEAN,
    booked_count INTEGER, booked_minor BIGINT, file_name VARCHAR, file_sha256 VARCHAR, findings VARCHAR,
    previous_closing_minor BIGINT, previous_closing_date DATE);
CREATE TABLE statement_line (bank_account VARCHAR, stmt_id VARCHAR, line_ordinal INTEGER, detail_ordinal INTEGER, booking_date DATE,
    amount_minor BIGINT, currency VARCHAR, account_servicer_ref VARCHAR, end_to_end_id VARCHAR, file_name VARCHAR, source_line INTEGER,
    n_posting_id BIGINT, t_posting_id BIGINT);
CREATE TABLE intraday_entry (book VARCHAR, bank_account VARCHAR, entry_date DATE, status VARCHAR, amount_minor BIGINT, currency VARCHAR,
    account_servicer_ref VARCHAR, end_to_end_id VARCHAR, party_name VARCHAR, kind VARCHAR, report VARCHAR, state VARCHAR,
    replaced_by VARCHAR, replaced_by_line INTEGER);
CREATE TABLE cleared_leg (book VARCHAR, match_set_id BIGINT, business_date DATE, rule VARCHAR, rule_version INTEGER, is_routine BOOLEAN,
    posting_id BIGINT, amount_minor BIGINT);
CREATE TABLE run (book VARCHAR, run_id BIGINT, business_date DATE, item_count INTEGER, input_sha256 VARCHAR);
CREATE TABLE break (book VARCHAR, business_date DATE, break_id VARCHAR, code VARCHAR, item_ref VARCHAR, bank_account VARCHAR,
    currency VARCHAR, amount_minor BIGINT, item_count INTEGER, first_date DATE, age_days INTEGER, explanation VARCHAR, proposal VARCHAR);
CREATE TABLE open_item (book VARCHAR, business_date DATE, posting_id BIGINT, bank_account VARCHAR, currency VARCHAR, amount_minor BIGINT,
    kind VARCHAR, reference VARCHAR, item_date DATE, age_days INTEGER, code VARCHAR, break_id VARCHAR);
CREATE TABLE suspense_item (book VARCHAR, account VARCHAR, currency VARCHAR, exponent SMALLINT, reference VARCHAR, code VARCHAR,
    reason VARCHAR, amount_minor BIGINT, posting_count INTEGER, since DATE, age_days INTEGER, bucket VARCHAR);
CREATE TABLE certificate (book VARCHAR, bank_account VARCHAR, currency VARCHAR, business_date DATE, opening_minor BIGINT,
    lines_minor BIGINT, closing_minor BIGINT, nostro_minor BIGINT, transit_minor BIGINT, open_minor BIGINT, residual_minor BIGINT,
    sha256 VARCHAR);
CREATE TABLE expected_receipt (book VARCHAR, payout_id VARCHAR, acquirer VARCHAR, bank_account VARCHAR, currency VARCHAR,
    exponent SMALLINT, payout_date DATE, gross_minor BIGINT, refunds_minor BIGINT, chargebacks_minor BIGINT, fees_minor BIGINT,
    net_minor BIGINT, t_posting_id BIGINT);
