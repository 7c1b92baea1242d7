-- What the break queries read besides what is open: cleared lines that an open one may repeat, and payers we know.
-- A line that the first pass cleared can be repeated by its UETR only: had another line its EndToEndId and amount,
-- the first pass would have left both.
CREATE TABLE cleared_line AS
SELECT i.item_id, i.account, i.currency, i.amount_minor, i.end_to_end_id, i.uetr, i.servicer_ref,
       i.payment_information_id, i.batch_count
FROM item i
WHERE i.kind = 'LINE' AND i.item_id NOT IN (SELECT item_id FROM open_item)
  AND (i.end_to_end_id IN (SELECT end_to_end_id FROM line) OR i.uetr IN (SELECT uetr FROM line)
       OR i.servicer_ref IN (SELECT servicer_ref FROM line)
       OR (i.batch_count > 1 AND i.payment_information_id IN (SELECT payment_information_id FROM line)))
UNION ALL
SELECT b.item_id, b.account, b.currency, b.amount_minor, b.end_to_end_id, b.uetr, b.servicer_ref,
       b.payment_information_id, b.batch_count
FROM raw_bank b
WHERE b.kind = 'LINE' AND b.uetr IN (SELECT uetr FROM line WHERE uetr IS NOT NULL)
  AND b.item_id NOT IN (SELECT item_id FROM item);

CREATE TABLE acquirer AS
SELECT DISTINCT party_name AS name, party_account AS iban
FROM all_ledger
WHERE kind = 'RECEIPT' AND party_account IN (SELECT party_account FROM line WHERE amount_minor < 0);

-- Nor can an instruction that the first pass cleared have a second of its EndToEndId and amount.
CREATE TABLE cleared_expected AS
SELECT item_id, account, currency, amount_minor, end_to_end_id
FROM item
WHERE kind = 'INSTRUCTION' AND item_id NOT IN (SELECT item_id FROM open_item)
  AND end_to_end_id IN (SELECT end_to_end_id FROM expected WHERE kind = 'INSTRUCTION');
