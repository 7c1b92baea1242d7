UPDATE named SET agrees = false
WHERE (line_id, expected_id) IN (SELECT (line_id, expected_id) FROM against)
