SELECT line_id, expected_id FROM weak_candidate ORDER BY line_id, expected_id
