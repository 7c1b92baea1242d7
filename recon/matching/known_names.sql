-- The parties of each account by the names that open expectations have for them.
SELECT DISTINCT account, party_name FROM expected WHERE party_name IS NOT NULL
