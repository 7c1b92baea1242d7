-- For each item that a sum could explain, what lies open of the same party on the other side, within the window:
-- lines against expectations ($of = 'LINE'), or an expectation against several lines ($of = 'EXPECTED').
WITH target AS (
    SELECT item_id, account, currency, amount_minor, day, party_account FROM nameless_line
    WHERE $of = 'LINE' AND party_account IS NOT NULL AND end_to_end_id IS NULL AND uetr IS NULL
    UNION ALL
    SELECT item_id, account, currency, amount_minor, day, party_account FROM expected
    WHERE $of = 'EXPECTED' AND party_account IS NOT NULL
),
part AS (
    SELECT item_id, account, currency, amount_minor, day, party_account FROM expected
    WHERE $of = 'LINE'
    UNION ALL
    SELECT item_id, account, currency, amount_minor, day, party_account FROM nameless_line
    WHERE $of = 'EXPECTED' AND end_to_end_id IS NULL AND uetr IS NULL
)
SELECT t.item_id AS target_id, -t.amount_minor AS target_minor, p.item_id, p.amount_minor
FROM target t
JOIN part p ON p.account = t.account AND p.currency = t.currency AND p.party_account = t.party_account
CROSS JOIN parameter w
WHERE abs(p.day - t.day) <= w.window_days AND sign(p.amount_minor) = -sign(t.amount_minor)
  AND abs(p.amount_minor) <= abs(t.amount_minor)
ORDER BY t.item_id, p.day, p.item_id
