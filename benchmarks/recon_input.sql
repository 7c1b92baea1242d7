-- Expectations by number: fifty accounts in turn, thirty days each, one class of case by the last three digits. Amounts
-- and references derive from the number alone, so the same count gives the same rows.
CREATE MACRO spread(n, salt) AS (hash(n, salt) % 1000000000)::BIGINT;

CREATE TABLE event AS
SELECT n, (n * 50) // $rows AS account_no, n % 1000 AS class,
       (((n % greatest($rows // 50, 1)) * 21) // greatest($rows // 50, 1))::INTEGER AS day,
       CASE WHEN n % 1000 >= 996 THEN 5000 + (n // 1000) % 900000 ELSE 1000 + spread(n, 1) % 900000 END AS amount,
       'E2E-' || lpad((n % 97)::VARCHAR, 2, '0') || substr(md5(n::VARCHAR), 1, 18) AS reference,
       'DE' || lpad((CASE WHEN n % 1000 >= 996 THEN n // 1000 ELSE n // 5 END)::VARCHAR, 18, '0') AS iban,
       'Party ' || (n // 5)::VARCHAR || ' Trading GmbH' AS name,
       md5((n + 1000000000)::VARCHAR)::UUID::VARCHAR AS uetr
FROM range($rows) t(n);

CREATE VIEW shaped AS
SELECT NULL::BIGINT AS item_id, NULL::VARCHAR AS kind, NULL::VARCHAR AS account, NULL::VARCHAR AS currency,
       NULL::BIGINT AS amount_minor, NULL::DATE AS date, NULL::INTEGER AS day, NULL::INTEGER AS age_days,
       NULL::INTEGER AS sla_days, NULL::VARCHAR AS reference, NULL::VARCHAR AS end_to_end_id, NULL::VARCHAR AS uetr,
       NULL::VARCHAR AS payment_information_id, NULL::VARCHAR AS msg_id, NULL::VARCHAR AS servicer_ref,
       NULL::VARCHAR AS structured_ref, NULL::VARCHAR AS remittance, NULL::VARCHAR AS party_account,
       NULL::VARCHAR AS party_name, NULL::VARCHAR AS bank_tx_code, NULL::VARCHAR AS return_reason,
       NULL::BOOLEAN AS is_reversal, NULL::BIGINT AS charges_minor, NULL::INTEGER AS batch_count,
       NULL::BIGINT AS corrects_id, NULL::VARCHAR AS rule, NULL::VARCHAR AS statement_line, NULL::DATE AS value_date,
       NULL::BIGINT AS instructed_amount_minor, NULL::VARCHAR AS instructed_currency, NULL::BIGINT AS rate_e9,
       NULL::BIGINT AS fees_minor, NULL::BIGINT AS reserve_minor, NULL::BIGINT AS chargebacks_minor,
       NULL::VARCHAR AS original_ref
WHERE false;

CREATE VIEW ledger_item AS
FROM shaped UNION ALL BY NAME
SELECT 2 * n AS item_id, 'INSTRUCTION' AS kind, 'acct-' || lpad(account_no::VARCHAR, 2, '0') AS account,
       'EUR' AS currency, -amount AS amount_minor, DATE '2026-10-01' + day AS date, day, 22 - day AS age_days,
       2 AS sla_days, reference, reference AS end_to_end_id, CASE WHEN n % 4 = 0 OR class BETWEEN 880 AND 919 THEN uetr END AS uetr,
       CASE WHEN class BETWEEN 986 AND 995 THEN 'PMT-' || (n // 1000)::VARCHAR END AS payment_information_id,
       iban AS party_account, name AS party_name, false AS is_reversal
FROM event
WHERE class NOT BETWEEN 978 AND 980;

CREATE VIEW single_line AS
SELECT 2 * n + 1 AS item_id, 'LINE' AS kind, 'acct-' || lpad(account_no::VARCHAR, 2, '0') AS account, 'EUR' AS currency,
       amount + CASE WHEN class BETWEEN 970 AND 974 THEN 25 WHEN class IN (984, 985) THEN 731 ELSE 0 END AS amount_minor,
       day + CASE WHEN class IN (981, 982) THEN 4 WHEN n % 10 = 0 THEN 1 ELSE 0 END AS day,
       CASE WHEN class BETWEEN 880 AND 919 OR class BETWEEN 935 AND 969 OR class >= 996 THEN NULL
            WHEN class BETWEEN 920 AND 934 THEN left(reference, 20) ELSE reference END AS end_to_end_id,
       CASE WHEN class BETWEEN 880 AND 919 THEN uetr END AS uetr,
       CASE WHEN class BETWEEN 940 AND 969 THEN 'INV ' || reference || ' thank you' END AS remittance,
       'BK' || lpad(n::VARCHAR, 12, '0') AS servicer_ref,
       CASE WHEN class NOT IN (935, 936) THEN iban END AS party_account, upper(name) AS party_name,
       'PMNT/ICDT/ESCT' AS bank_tx_code, false AS is_reversal,
       CASE WHEN class BETWEEN 970 AND 974 THEN 25 END AS charges_minor
FROM event
WHERE class NOT BETWEEN 975 AND 977 AND class NOT BETWEEN 986 AND 995;

CREATE VIEW bank_line AS
FROM shaped UNION ALL BY NAME
SELECT * REPLACE (item_id::BIGINT AS item_id), DATE '2026-10-01' + day AS date, 22 - day AS age_days, 2 AS sla_days,
       servicer_ref AS reference
FROM single_line
UNION ALL BY NAME
SELECT item_id + 4 * $rows AS item_id, kind, account, currency, amount_minor, day, end_to_end_id,
       servicer_ref || 'B' AS servicer_ref, party_account, party_name, bank_tx_code, is_reversal,
       DATE '2026-10-01' + day AS date, 22 - day AS age_days, 2 AS sla_days, servicer_ref || 'B' AS reference
FROM single_line WHERE (item_id - 1) // 2 % 1000 = 983
UNION ALL BY NAME
SELECT 2 * min(n) + 1 AS item_id, 'LINE' AS kind, 'acct-' || lpad(account_no::VARCHAR, 2, '0') AS account,
       'EUR' AS currency, sum(amount)::BIGINT AS amount_minor, max(day) AS day, 'PMT-' || (min(n) // 1000)::VARCHAR AS payment_information_id,
       count(*)::INTEGER AS batch_count, 'BT' || lpad(min(n)::VARCHAR, 12, '0') AS servicer_ref,
       'PMNT/ICDT/DMCT' AS bank_tx_code, false AS is_reversal, DATE '2026-10-01' + max(day) AS date,
       22 - max(day) AS age_days, 2 AS sla_days, 'BT' || lpad(min(n)::VARCHAR, 12, '0') AS reference
FROM event WHERE class BETWEEN 986 AND 995
GROUP BY account_no, n // 1000;
