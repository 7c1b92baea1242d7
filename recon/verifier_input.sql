-- What a batch run read, each row with the hash that its proofs name it by. Views bank_file and ledger_file are the files.
CREATE VIEW input AS
SELECT *, hash(
    item_id, kind, account, currency, amount_minor, date, day, age_days, sla_days, reference, end_to_end_id, uetr,
    payment_information_id, msg_id, servicer_ref, structured_ref, remittance, party_account, party_name, bank_tx_code,
    return_reason, is_reversal, charges_minor, batch_count, corrects_id, rule, statement_line, value_date,
    instructed_amount_minor, instructed_currency, rate_e9, fees_minor, reserve_minor, chargebacks_minor, original_ref)
    AS row_hash,
    kind IN ('LINE', 'PENDING') AS is_bank
FROM (FROM bank_file UNION ALL BY NAME FROM ledger_file);

-- A batch offers every row to every rule, and what a rule finds clears.
CREATE TABLE aside (item_id BIGINT);
CREATE TABLE held (item_id BIGINT, position INTEGER);
