-- The same digest of what the first pass cleared.
SELECT d.part, w.account, d.rows, d.total::VARCHAR AS total, d.parity::VARCHAR AS parity
FROM (SELECT 'match' AS part, place, count(*) AS rows, sum(h::HUGEINT) AS total, bit_xor(h) AS parity
      FROM (SELECT place, hash(set_ordinal, rule::VARCHAR, rule_version, item_id, amount_minor, row_hash) AS h
            FROM first_match)
      GROUP BY place
      UNION ALL
      SELECT 'proof', place, count(*), sum(h::HUGEINT), bit_xor(h)
      FROM (SELECT place, hash(set_ordinal, rule::VARCHAR, rule_version, account::VARCHAR, currency::VARCHAR, legs,
                               bank_minor, ledger_minor, explained_minor, explained_code, rivals, margin, is_fungible) AS h
            FROM first_proof)
      GROUP BY place) d
JOIN place w USING (place)
