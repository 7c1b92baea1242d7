-- What the passes read. `open_item` loses the items of each set as it is taken, so a query sees at once what an
-- earlier one took; the tables of keys are made once and joined with what is still open.
CREATE VIEW line AS
SELECT * FROM open_item WHERE kind = 'LINE';

-- What we expect of the bank: payments to be booked, payouts to arrive.
CREATE VIEW expected AS
SELECT * FROM open_item WHERE kind IN ('INSTRUCTION', 'RECEIPT');

-- Whether a line states something like a reference, ours or not, whole or spoilt.
CREATE MACRO states_reference(end_to_end_id, structured_ref, remittance) AS
    end_to_end_id IS NOT NULL OR structured_ref IS NOT NULL
    OR regexp_matches(coalesce(remittance, ''), '[A-Za-z0-9_./-]*[0-9][A-Za-z0-9_./-]{7,}');

-- Whether a text states a number of somebody's: a word with five figures and more, or a long one with any, that is no
-- date and no amount. Eight figures are a date when they are one of the years about the line's day.
CREATE MACRO states_number(text, of_day) AS
    len(list_filter(regexp_extract_all(coalesce(text, ''), '[A-Za-z0-9][A-Za-z0-9_./:-]*[A-Za-z0-9]'),
                    lambda word: (regexp_matches(word, '([0-9][^0-9]*){5}')
                                  OR length(word) >= 16 AND regexp_matches(word, '[0-9]'))
                        AND NOT regexp_full_match(word, '[0-9]{1,2}[./-][0-9]{1,2}[./-](20)?[0-9]{2}')
                        AND NOT (regexp_full_match(word, '20[0-9]{2}[./-]?[01][0-9][./-]?[0-3][0-9]')
                                 AND coalesce(abs(try_cast(word[:4] AS INTEGER) - year(of_day)) <= 1, false))
                        AND NOT regexp_full_match(word, '[0-9.]*[0-9]\.[0-9]{2}'))) > 0;

-- Lines of the bank's own, or about another booking: they are no payment and no receipt of their own.
CREATE MACRO is_plain(return_reason, is_reversal, bank_tx_code) AS
    return_reason IS NULL AND NOT is_reversal
    AND NOT regexp_matches(coalesce(bank_tx_code, ''), '/(CHRG|INTR|COMM|FEES|SWEP|CHBK)$');
