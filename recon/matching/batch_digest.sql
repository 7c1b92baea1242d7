-- A digest of every row that the later passes gave, account by account, that does not depend on their order: how many,
-- the sum and the exclusive or of their hashes. What several accounts give adds up, and so does what the first pass gave.
SELECT 'match' AS part, account, count(*) AS rows, sum(h::HUGEINT)::VARCHAR AS total, bit_xor(h)::VARCHAR AS parity
FROM (SELECT account, hash(set_ordinal, rule, rule_version, item_id, amount_minor, row_hash) AS h FROM late_match)
GROUP BY account
UNION ALL
SELECT 'proof', account, count(*), sum(h::HUGEINT)::VARCHAR, bit_xor(h)::VARCHAR
FROM (SELECT account, hash(set_ordinal, rule, rule_version, account, currency, legs, bank_minor, ledger_minor,
                           bank_minor + ledger_minor, explained_code, rivals, margin, is_fungible) AS h FROM late_proof)
GROUP BY account
UNION ALL
SELECT 'break', account, count(*), sum(h::HUGEINT)::VARCHAR, bit_xor(h)::VARCHAR
FROM (SELECT account, hash(item_id, code, break_id, kind, account, currency, amount_minor, date, age_days, row_hash,
                           items, residual_minor, days) AS h FROM break_item)
GROUP BY account
UNION ALL
SELECT 'certificate', account, count(*), sum(h::HUGEINT)::VARCHAR, bit_xor(h)::VARCHAR
FROM (SELECT account, hash(account, currency, bank_minor, bank_items, ledger_minor, ledger_items, bank_cleared_minor,
                           bank_cleared_items, ledger_cleared_minor, ledger_cleared_items, explained_minor,
                           bank_open_minor, bank_open_items, ledger_open_minor, ledger_open_items, residual_minor) AS h
      FROM certificate)
GROUP BY account
