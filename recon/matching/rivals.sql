-- Rivals of every set that a later pass found: items that could stand in for a member, being on the same side of the same
-- account, of the same amount, and sharing the member's value of the rule's key (no key: within the window), that no
-- rule up to this one took. A set of the first pass has none: its key and amount are its own.
CREATE TABLE rival AS
WITH placed AS (
    SELECT i.item_id, i.kind = 'LINE' AS is_line, i.account, i.currency, i.amount_minor, i.day, i.end_to_end_id, i.uetr,
           i.servicer_ref, i.payment_information_id, i.corrects_id, g.set_ordinal,
           coalesce(g.position, 1000000) AS position, r.key
    FROM item i
    LEFT JOIN leg g USING (item_id)
    LEFT JOIN rule r ON r.position = g.position
    WHERE i.kind IN ('LINE', 'INSTRUCTION', 'RECEIPT')
),
crowded AS (
    SELECT p.* FROM placed p
    JOIN (SELECT account, currency, amount_minor, is_line FROM placed
          GROUP BY ALL HAVING count(*) > 1 AND max(position) > min(position)) c
    USING (account, currency, amount_minor, is_line)
)
SELECT m.set_ordinal, count(DISTINCT o.item_id)::INTEGER AS rivals
FROM crowded m
JOIN crowded o ON o.account = m.account AND o.currency = m.currency AND o.amount_minor = m.amount_minor
              AND o.is_line = m.is_line AND o.position > m.position
CROSS JOIN parameter p
WHERE m.set_ordinal IS NOT NULL
  AND CASE m.key WHEN 'end_to_end_id' THEN o.end_to_end_id = m.end_to_end_id
                 WHEN 'uetr' THEN o.uetr = m.uetr
                 WHEN 'servicer_ref' THEN o.servicer_ref = m.servicer_ref
                 WHEN 'payment_information_id' THEN o.payment_information_id = m.payment_information_id
                 WHEN 'corrects_id' THEN o.corrects_id = m.corrects_id
                 ELSE abs(o.day - m.day) <= p.window_days END
GROUP BY m.set_ordinal
