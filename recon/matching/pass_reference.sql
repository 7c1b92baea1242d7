-- A line and an expectation that it names, amounts equal, within the window. When several of a side carry the same
-- reference and amount, the first of each (by day, then the bank's own reference) belong together; what is left
-- over on either side is a repeat and stays open. That holds for one party: two payees may give one number to their
-- invoices, and a line that could be either's is the one's whom no other line means, or nobody's. Whose it is does not
-- hang on the day: a number of two parties is that when the other's invoice is outside the window, too.
WITH pair AS (
    SELECT n.line_id, n.expected_id, n.key, n.line_minor, l.account, l.day AS line_day, l.servicer_ref, e.day AS expected_day,
           coalesce(e.party_name, e.party_account, '') AS party, abs(n.days) <= p.window_days AS is_near
    FROM named n
    JOIN line l ON l.item_id = n.line_id
    JOIN expected e ON e.item_id = n.expected_id
    CROSS JOIN parameter p
    WHERE n.kind = $kind AND ($source = 'any' OR n.source = $source)
      AND n.same_account AND n.same_currency AND n.line_minor + n.expected_minor = 0 AND n.agrees
      AND coalesce(l.batch_count, 1) <= 1
),
meant AS (
    SELECT *, min(party) OVER (PARTITION BY line_id, key) = max(party) OVER (PARTITION BY line_id, key) AS is_one
    FROM pair
),
ranked AS (
    SELECT *, dense_rank() OVER (PARTITION BY key, line_minor, account, party ORDER BY line_day, servicer_ref, line_id) AS line_rank,
           dense_rank() OVER (PARTITION BY key, line_minor, account, party ORDER BY expected_day, expected_id) AS expected_rank
    FROM meant WHERE is_one AND is_near
),
plain AS (
    SELECT line_id, expected_id FROM ranked WHERE line_rank = expected_rank
),
left_over AS (
    SELECT line_id, expected_id, is_near, count(*) OVER (PARTITION BY line_id, key) AS expectations,
           count(*) OVER (PARTITION BY expected_id, key) AS lines
    FROM meant WHERE NOT is_one AND expected_id NOT IN (SELECT expected_id FROM plain)
)
SELECT expected_id AS group_id, unnest([expected_id, line_id]) AS item_id
FROM (SELECT * FROM plain UNION SELECT line_id, expected_id FROM left_over WHERE is_near AND expectations = 1 AND lines = 1)
