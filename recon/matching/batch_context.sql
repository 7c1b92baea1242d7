-- What the break queries read besides what is open: cleared lines that an open one may repeat, and payers we know.
CREATE TABLE cleared_line AS
SELECT b.item_id, b.account, b.currency, b.amount_minor, b.end_to_end_id, b.uetr, b.servicer_ref,
       b.payment_information_id, b.batch_count
FROM raw_bank b
WHERE b.kind = 'LINE'
  AND (b.end_to_end_id IN (SELECT end_to_end_id FROM line) OR b.uetr IN (SELECT uetr FROM line)
       OR b.servicer_ref IN (SELECT servicer_ref FROM line)
       OR (b.batch_count > 1 AND b.payment_information_id IN (SELECT payment_information_id FROM line)))
  AND b.item_id NOT IN (SELECT item_id FROM open_item);

CREATE TABLE acquirer AS
SELECT DISTINCT party_name AS name, party_account AS iban
FROM raw_ledger
WHERE kind = 'RECEIPT' AND party_account IN (SELECT party_account FROM line WHERE amount_minor < 0);

CREATE TABLE cleared_expected AS
SELECT item_id, account, currency, amount_minor, end_to_end_id
FROM raw_ledger
WHERE kind = 'INSTRUCTION' AND end_to_end_id IN (SELECT end_to_end_id FROM expected WHERE kind = 'INSTRUCTION')
  AND item_id NOT IN (SELECT item_id FROM open_item);
