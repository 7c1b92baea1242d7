-- P1: UETR and amount, for lines whose EndToEndId is missing, cut off or mangled on the way. An
-- EndToEndId that names another of our instructions speaks against it.
WITH pair AS (
    SELECT l.item_id AS line_id, e.item_id AS expected_id,
           row_number() OVER (PARTITION BY e.item_id ORDER BY l.day, l.servicer_ref, l.item_id) AS choice
    FROM line l
    JOIN expected e
      ON e.uetr = l.uetr AND e.account = l.account AND e.currency = l.currency
     AND e.amount_minor = -l.amount_minor
    CROSS JOIN parameter p
    WHERE e.kind = 'INSTRUCTION'
      AND abs(l.day - e.day) <= p.window_days
      AND is_plain(l.return_reason, l.is_reversal, l.bank_tx_code)
      AND coalesce(l.party_account = e.party_account, true)
      AND (l.item_id NOT IN (SELECT item_id FROM naming_line)
           OR EXISTS (SELECT 1 FROM named n WHERE n.line_id = l.item_id AND n.expected_id = e.item_id))
)
SELECT expected_id AS group_id, unnest([expected_id, line_id]) AS item_id
FROM pair
WHERE choice = 1 AND line_id IN (SELECT line_id FROM pair GROUP BY line_id HAVING count(*) = 1)
