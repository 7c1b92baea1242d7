-- Items that the tables of views_named.sql and views_keys.sql bring together, open or not; a key of ours that some line
-- has is a pair with itself.
SELECT 'NAMED' AS word, line_id, expected_id FROM named
UNION ALL
SELECT 'STATED', line_id, expected_id FROM stated_difference
UNION ALL
SELECT 'KEYED', item_id, item_id FROM expected_key
