-- The line names an expectation in another currency.
SELECT expected_id AS group_id, unnest([expected_id, line_id]) AS item_id
FROM reference_pair
WHERE NOT same_currency AND opposite
