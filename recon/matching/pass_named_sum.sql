-- A line that names several expectations by references of their own and is their sum: one payment for several invoices.
-- All or nothing: each is named by this line alone, nothing that both state differs, and every day is within the window.
WITH part AS (
    SELECT n.line_id, n.expected_id, n.key, n.line_minor, n.expected_minor, n.days,
           n.agrees AND n.same_account AND n.same_currency AS agrees, count(*) OVER (PARTITION BY n.expected_id) AS lines
    FROM named n
    JOIN line l ON l.item_id = n.line_id
    JOIN open_item e ON e.item_id = n.expected_id
)
SELECT line_id AS group_id, unnest(list_append(list(expected_id), line_id)) AS item_id
FROM part CROSS JOIN parameter p
GROUP BY line_id
HAVING count(DISTINCT key) > 1 AND sum(expected_minor) + min(line_minor) = 0 AND bool_and(agrees) AND max(lines) = 1
   AND bool_and(abs(days) <= p.window_days)
