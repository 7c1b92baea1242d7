-- P6: a truncated EndToEndId of at least 16 characters that begins exactly one open EndToEndId.
WITH beginning AS (
    SELECT l.item_id AS line_id, e.item_id AS expected_id,
           l.amount_minor + e.amount_minor = 0
               AND l.day - e.day BETWEEN 0 AND p.window_days
               AND (l.uetr IS NULL OR e.uetr IS NULL OR l.uetr = e.uetr)
               AND (l.party_account IS NULL OR e.party_account IS NULL OR l.party_account = e.party_account)
               AS agrees,
           count(*) OVER (PARTITION BY l.item_id) AS expectations,
           count(*) OVER (PARTITION BY e.item_id) AS lines
    FROM line l
    JOIN expected e
      ON e.account = l.account AND e.currency = l.currency
     AND left(e.end_to_end_id, 16) = left(l.end_to_end_id, 16)
     AND starts_with(e.end_to_end_id, l.end_to_end_id)
    CROSS JOIN parameter p
    WHERE length(l.end_to_end_id) BETWEEN 16 AND length(e.end_to_end_id) - 1
      AND sign(l.amount_minor) = -sign(e.amount_minor)
)
SELECT expected_id AS group_id, unnest([expected_id, line_id]) AS item_id
FROM beginning
WHERE agrees AND expectations = 1 AND lines = 1
