-- Pairs that could be one by all that is said, and nobody can tell which: by amount and date alone; or a line gives how
-- several open references of its amount begin.
SELECT line_id, expected_id FROM weak_candidate
UNION
SELECT b.line_id, b.expected_id
FROM beginning b
JOIN line l ON l.item_id = b.line_id
JOIN expected e ON e.item_id = b.expected_id
CROSS JOIN parameter p
WHERE b.is_equal AND coalesce(l.party_account = e.party_account, true) AND abs(l.day - e.day) <= p.window_days
QUALIFY count(*) OVER (PARTITION BY b.line_id) > 1
ORDER BY line_id, expected_id
