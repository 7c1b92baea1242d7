-- For each item that a sum could explain, what lies open of the same party on the other side, within the window (the
-- party is its account, or, where only a name is given, the account that named_party has for the name):
-- lines against expectations ($of = 'LINE'), or an expectation against several lines ($of = 'EXPECTED'). A line that
-- states charges or another currency differs from what it pays, so it is no sum, nor is one that states a number of
-- something else, and what another open line names is not a part of one. What another line as good as names is held: no part either, but it stands in the way of its like.
WITH plain_line AS (
    SELECT item_id, account, currency, amount_minor, day, coalesce(l.party_account, n.party_account) AS party_account
    FROM nameless_line l LEFT JOIN named_party n USING (item_id)
    WHERE coalesce(l.party_account, n.party_account) IS NOT NULL AND end_to_end_id IS NULL AND uetr IS NULL
      AND coalesce(charges_minor, 0) = 0 AND instructed_amount_minor IS NULL AND NOT states_number(concat_ws(' ', structured_ref, remittance), date)
),
free AS (
    SELECT *, item_id IN (SELECT expected_id FROM half_spoken_for UNION SELECT expected_id FROM alike_spoken_for) AS is_held
    FROM expected
    WHERE item_id NOT IN (SELECT expected_id FROM spoken_for)
),
target AS (
    SELECT * FROM plain_line WHERE $of = 'LINE'
    UNION ALL
    SELECT item_id, account, currency, amount_minor, day, party_account FROM free
    WHERE $of = 'EXPECTED' AND party_account IS NOT NULL AND NOT is_held
),
part AS (
    SELECT item_id, account, currency, amount_minor, day, party_account, is_held FROM free
    WHERE $of = 'LINE'
    UNION ALL
    SELECT *, false FROM plain_line WHERE $of = 'EXPECTED'
)
SELECT t.item_id AS target_id, -t.amount_minor AS target_minor, p.item_id, p.amount_minor, p.is_held
FROM target t
JOIN part p ON p.account = t.account AND p.currency = t.currency AND p.party_account = t.party_account
CROSS JOIN parameter w
WHERE abs(p.day - t.day) <= w.window_days AND sign(p.amount_minor) = -sign(t.amount_minor)
  AND abs(p.amount_minor) <= abs(t.amount_minor)
ORDER BY t.item_id, p.day, p.item_id
