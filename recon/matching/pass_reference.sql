-- A line and an expectation that it names, amounts equal, within the window. When several of a side carry the same
-- reference and amount, the first of each (by day, then the bank's own reference) belong together; what is left
-- over on either side is a repeat and stays open.
WITH pair AS (
    SELECT n.line_id, n.expected_id, n.key, n.line_minor, l.account,
           dense_rank() OVER (PARTITION BY n.key, n.line_minor, l.account ORDER BY l.day, l.servicer_ref, l.item_id) AS line_rank,
           dense_rank() OVER (PARTITION BY n.key, n.line_minor, l.account ORDER BY e.day, e.item_id) AS expected_rank
    FROM named n
    JOIN line l ON l.item_id = n.line_id
    JOIN expected e ON e.item_id = n.expected_id
    CROSS JOIN parameter p
    WHERE n.kind = $kind AND ($source = 'any' OR n.source = $source)
      AND n.same_account AND n.same_currency AND n.line_minor + n.expected_minor = 0 AND n.agrees
      AND coalesce(l.batch_count, 1) <= 1
      AND abs(n.days) <= p.window_days
)
SELECT expected_id AS group_id, unnest([expected_id, line_id]) AS item_id
FROM pair
WHERE line_rank = expected_rank
