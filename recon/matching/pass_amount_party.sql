-- P5: amount, date and the other party's account, one line and one expectation, nothing else in reach.
WITH candidate AS (
    SELECT w.line_id, w.expected_id
    FROM nameless_line l
    JOIN expected e
      ON e.account = l.account AND e.amount_minor = -l.amount_minor AND e.party_account = l.party_account
    JOIN weak_candidate w ON w.line_id = l.item_id AND w.expected_id = e.item_id
),
pair AS (
    SELECT line_id, expected_id,
           count(*) OVER (PARTITION BY line_id) AS expectations,
           count(*) OVER (PARTITION BY expected_id) AS lines
    FROM candidate
)
SELECT expected_id AS group_id, unnest([expected_id, line_id]) AS item_id
FROM pair
WHERE expectations = 1 AND lines = 1
