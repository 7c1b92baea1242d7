-- Who is named without an account, and who could be meant: lines with a name alone (item_id), and each party that the
-- open expectations of the same account know by name (no item_id).
SELECT item_id, account, NULL::VARCHAR AS party_account, party_name FROM nameless_line
WHERE party_account IS NULL AND party_name IS NOT NULL
UNION ALL
SELECT DISTINCT NULL::BIGINT, account, party_account, party_name FROM expected
WHERE party_account IS NOT NULL AND party_name IS NOT NULL
