-- The same digest of what the first pass cleared.
SELECT 'match' AS part, account, count(*) AS rows, sum(h::HUGEINT)::VARCHAR AS total, bit_xor(h)::VARCHAR AS parity
FROM (SELECT account, hash(set_ordinal, rule, rule_version, item_id, amount_minor, row_hash) AS h FROM first_match)
GROUP BY account
UNION ALL
SELECT 'proof', account, count(*), sum(h::HUGEINT)::VARCHAR, bit_xor(h)::VARCHAR
FROM (SELECT account, hash(set_ordinal, rule, rule_version, account, currency, legs, bank_minor, ledger_minor,
                           explained_minor, explained_code, rivals, margin, is_fungible) AS h FROM first_proof)
GROUP BY account
