-- Each open item's one code, and the break that it is part of, named by its anchor: the bank line with the smallest
-- reference, else the smallest item. What no query took is in flight.
CREATE TABLE coded AS
WITH anchored AS (
    SELECT g.code, g.group_id, g.item_id,
           first_value(g.item_id) OVER (PARTITION BY g.code, g.group_id
                                        ORDER BY o.kind <> 'LINE', o.reference, g.item_id) AS anchor_id
    FROM grouped g JOIN rest o USING (item_id)
)
SELECT o.item_id, coalesce(a.code, 'TIMING') AS code, 'B' || a.anchor_id AS break_id
FROM rest o LEFT JOIN anchored a USING (item_id);
