-- Rivals of every set that a later pass found: items that could stand in for a member, being on the same side of the same
-- account, of the same amount, and sharing the member's value of the rule's key (no key: within the window), that no
-- rule up to this one took. A set of the first pass has none: its key and amount are its own. Who has company is found
-- by a hash; the columns themselves are compared among these.
CREATE TABLE rival AS
WITH placed AS (
    SELECT item_id, hash(account, currency, amount_minor, kind = 'LINE') AS spot
    FROM item WHERE kind IN ('LINE', 'INSTRUCTION', 'RECEIPT')
),
crowded AS MATERIALIZED (
    SELECT p.spot, g.set_ordinal, coalesce(g.position, 1000000) AS position, r.key, i.kind = 'LINE' AS is_line, i.*
    FROM placed p
    JOIN (SELECT spot FROM placed GROUP BY spot HAVING count(*) > 1) USING (spot)
    JOIN item i USING (item_id)
    LEFT JOIN leg g USING (item_id)
    LEFT JOIN rule r ON r.position = g.position
)
SELECT m.set_ordinal, count(DISTINCT o.item_id)::INTEGER AS rivals
FROM crowded m
JOIN crowded o ON o.spot = m.spot AND o.account = m.account AND o.currency = m.currency
              AND o.amount_minor = m.amount_minor AND o.is_line = m.is_line AND o.position > m.position
CROSS JOIN parameter p
WHERE m.set_ordinal IS NOT NULL
  AND CASE m.key WHEN 'end_to_end_id' THEN o.end_to_end_id = m.end_to_end_id
                 WHEN 'uetr' THEN o.uetr = m.uetr
                 WHEN 'servicer_ref' THEN o.servicer_ref = m.servicer_ref
                 WHEN 'payment_information_id' THEN o.payment_information_id = m.payment_information_id
                 WHEN 'corrects_id' THEN o.corrects_id = m.corrects_id
                 ELSE abs(o.day - m.day) <= p.window_days END
GROUP BY m.set_ordinal
