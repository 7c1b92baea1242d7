CREATE MACRO norm(text) AS upper(regexp_replace(text, '[^A-Za-z0-9]', '', 'g'));

-- The two sides as they come in, each row with a hash of all of it and its EndToEndId normalised. `raw_bank` and `raw_ledger` are views over a
-- frame or over Parquet files; nothing here stores a row.
CREATE MACRO with_hash(side) AS TABLE
SELECT *, hash(
    item_id, kind, account, currency, amount_minor, date, day, age_days, sla_days, reference, end_to_end_id, uetr,
    payment_information_id, msg_id, servicer_ref, structured_ref, remittance, party_account, party_name, bank_tx_code,
    return_reason, is_reversal, charges_minor, batch_count, corrects_id, rule, statement_line, value_date,
    instructed_amount_minor, instructed_currency, rate_e9, fees_minor, reserve_minor, chargebacks_minor, original_ref) AS row_hash,
    norm(end_to_end_id) AS own_key
FROM query_table(side);

CREATE VIEW bank AS FROM with_hash('raw_bank');
CREATE VIEW ledger AS FROM with_hash('raw_ledger');

CREATE TABLE parameter (window_days INTEGER, rounding_minor BIGINT, fx_band_ppm BIGINT);
