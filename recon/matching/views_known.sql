-- What the books know of what open lines say, beyond what is open itself.

-- Accounts of parties that we know from our own books: money from one of them is not somebody else's.
CREATE TABLE known_party AS
SELECT DISTINCT party_account FROM all_ledger
WHERE party_account IN (SELECT party_account FROM line WHERE amount_minor < 0);

-- Files of ours that lines name.
CREATE TABLE known_file AS
SELECT DISTINCT payment_information_id FROM all_ledger
WHERE payment_information_id IN (SELECT payment_information_id FROM line);

-- References of ours that a line could mean and that the first pass has cleared already.
CREATE TABLE cleared_reference AS
SELECT DISTINCT end_to_end_id AS reference, account, currency, amount_minor
FROM all_ledger
WHERE end_to_end_id IN (SELECT end_to_end_id FROM line UNION SELECT structured_ref FROM line
                        UNION SELECT unnest(regexp_extract_all(remittance, '[A-Za-z0-9][A-Za-z0-9_./:-]*[A-Za-z0-9]'))
                              FROM line
                        UNION SELECT unnest(list_transform(
                                  regexp_extract_all(remittance, '\b(?:[A-Za-z0-9]{4}[ -]){2,}[A-Za-z0-9]{1,4}\b'),
                                  lambda text: regexp_replace(text, '[ -]', '', 'g')))
                              FROM line)
  AND item_id NOT IN (SELECT item_id FROM item);
