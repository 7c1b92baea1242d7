-- The line is on another of our accounts than the expectation it names.
SELECT expected_id AS group_id, unnest([expected_id, line_id]) AS item_id
FROM reference_pair
WHERE NOT same_account AND same_currency AND opposite AND expected_minor + line_minor = 0
