-- P1: EndToEndId and amount. EndToEndIds are unique in our books; when the bank booked a payment twice,
-- the first line (by day, then the bank's own reference) is the payment and the rest stay open.
WITH pair AS (
    SELECT l.item_id AS line_id, e.item_id AS expected_id,
           row_number() OVER (PARTITION BY e.item_id ORDER BY l.day, l.servicer_ref, l.item_id) AS choice,
           count(*) OVER (PARTITION BY l.item_id) AS rivals
    FROM line l
    JOIN expected e
      ON e.end_to_end_id = l.end_to_end_id AND e.account = l.account AND e.currency = l.currency
     AND e.amount_minor = -l.amount_minor
    CROSS JOIN parameter p
    WHERE e.kind = 'INSTRUCTION'
      AND abs(l.day - e.day) <= p.window_days
      AND (l.uetr IS NULL OR e.uetr IS NULL OR l.uetr = e.uetr)
)
SELECT expected_id AS group_id, unnest([expected_id, line_id]) AS item_id
FROM pair
WHERE choice = 1 AND rivals = 1
