-- Rivals of the sets in `found`: open items that could stand in for a member, being on the same side of the same
-- account, of the same amount, and sharing the member's value of the rule's key (no key: within the window).
WITH member AS (
    SELECT f.group_id, i.* FROM found f JOIN open_item i USING (item_id)
)
SELECT m.group_id, count(DISTINCT o.item_id) AS rivals
FROM member m
JOIN open_item o
  ON o.account = m.account AND o.currency = m.currency AND o.amount_minor = m.amount_minor AND o.item_id <> m.item_id
 AND (o.kind = 'LINE' AND m.kind = 'LINE'
      OR o.kind IN ('INSTRUCTION', 'RECEIPT') AND m.kind IN ('INSTRUCTION', 'RECEIPT'))
CROSS JOIN parameter p
WHERE CASE $key WHEN 'end_to_end_id' THEN o.end_to_end_id = m.end_to_end_id
                WHEN 'uetr' THEN o.uetr = m.uetr
                WHEN 'servicer_ref' THEN o.servicer_ref = m.servicer_ref
                WHEN 'payment_information_id' THEN o.payment_information_id = m.payment_information_id
                WHEN 'corrects_id' THEN o.corrects_id = m.corrects_id
                ELSE abs(o.day - m.day) <= p.window_days END
  AND o.item_id NOT IN (SELECT item_id FROM found)
GROUP BY m.group_id
