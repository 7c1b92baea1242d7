-- The result's digest again, from the files.
SELECT 'match' AS part, count(*) AS rows, sum(h::HUGEINT)::VARCHAR AS total, bit_xor(h)::VARCHAR AS parity
FROM (SELECT hash(set_ordinal, rule, rule_version, item_id, amount_minor, row_hash) AS h FROM match)
UNION ALL
SELECT 'proof', count(*), sum(h::HUGEINT)::VARCHAR, bit_xor(h)::VARCHAR
FROM (SELECT hash(set_ordinal, rule, rule_version, account, currency, legs, bank_minor, ledger_minor, explained_minor,
                  explained_code, rivals, margin, is_fungible) AS h FROM proof)
UNION ALL
SELECT 'break', count(*), sum(h::HUGEINT)::VARCHAR, bit_xor(h)::VARCHAR
FROM (SELECT hash(item_id, code, break_id, kind, account, currency, amount_minor, date, age_days, row_hash, items,
                  residual_minor, days) AS h FROM break_item)
UNION ALL
SELECT 'certificate', count(*), sum(h::HUGEINT)::VARCHAR, bit_xor(h)::VARCHAR
FROM (SELECT hash(account, currency, bank_minor, bank_items, ledger_minor, ledger_items, bank_cleared_minor,
                  bank_cleared_items, ledger_cleared_minor, ledger_cleared_items, explained_minor, bank_open_minor,
                  bank_open_items, ledger_open_minor, ledger_open_items, residual_minor) AS h FROM certificate)
ORDER BY part
