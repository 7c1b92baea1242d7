-- For each item that a sum could explain, what lies open of the same party on the other side, within the window:
-- lines against expectations ($of = 'LINE'), or an expectation against several lines ($of = 'EXPECTED'). A line that
-- states charges or another currency differs from what it pays, so it is no sum. What another open line names
-- is spoken for, whatever that line's amount, and so is what one as good as names.
WITH plain_line AS (
    SELECT item_id, account, currency, amount_minor, day, party_account FROM nameless_line
    WHERE party_account IS NOT NULL AND end_to_end_id IS NULL AND uetr IS NULL
      AND coalesce(charges_minor, 0) = 0 AND instructed_amount_minor IS NULL
),
spoken_for AS (
    SELECT n.expected_id FROM named n JOIN line l ON l.item_id = n.line_id
    UNION
    SELECT e.item_id FROM expected e JOIN line l ON l.uetr = e.uetr
    UNION
    SELECT e.item_id  -- or begins to name: with its amount, from its party, or short by what the line charges
    FROM line_key k
    JOIN line l ON l.item_id = k.item_id
    JOIN expected e ON e.account = l.account AND left(norm(e.end_to_end_id), 12) = left(k.key, 12)
    WHERE length(k.key) >= 12 AND starts_with(norm(e.end_to_end_id), k.key)
      AND (e.amount_minor = -l.amount_minor OR e.party_account = l.party_account
           OR e.amount_minor + l.amount_minor = abs(l.charges_minor))
    UNION
    SELECT e.item_id  -- or differs from by exactly what is stated, from its party: charges, deductions, an exchange
    FROM line l
    JOIN expected e ON e.account = l.account AND e.currency = l.currency AND e.party_account = l.party_account
    CROSS JOIN parameter w
    WHERE abs(l.day - e.day) <= w.window_days AND sign(e.amount_minor) = -sign(l.amount_minor)
      AND e.amount_minor + l.amount_minor <> 0
      AND (e.amount_minor + l.amount_minor
               IN (abs(l.charges_minor), e.fees_minor, e.reserve_minor, e.chargebacks_minor)
           OR (e.instructed_amount_minor = l.instructed_amount_minor AND e.instructed_currency = l.instructed_currency))
),
free AS (
    SELECT * FROM expected WHERE item_id NOT IN (SELECT expected_id FROM spoken_for)
),
target AS (
    SELECT * FROM plain_line WHERE $of = 'LINE'
    UNION ALL
    SELECT item_id, account, currency, amount_minor, day, party_account FROM free
    WHERE $of = 'EXPECTED' AND party_account IS NOT NULL
),
part AS (
    SELECT item_id, account, currency, amount_minor, day, party_account FROM free
    WHERE $of = 'LINE'
    UNION ALL
    SELECT * FROM plain_line WHERE $of = 'EXPECTED'
)
SELECT t.item_id AS target_id, -t.amount_minor AS target_minor, p.item_id, p.amount_minor
FROM target t
JOIN part p ON p.account = t.account AND p.currency = t.currency AND p.party_account = t.party_account
CROSS JOIN parameter w
WHERE abs(p.day - t.day) <= w.window_days AND sign(p.amount_minor) = -sign(t.amount_minor)
  AND abs(p.amount_minor) <= abs(t.amount_minor)
ORDER BY t.item_id, p.day, p.item_id
