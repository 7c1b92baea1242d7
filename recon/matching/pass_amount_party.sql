-- P5: amount, date and the other party's account, one line and one expectation, nothing else in reach, before or
-- after. Lines with something like a reference are left to the scored pass, and so is what one of them could mean, even
-- if it gives no account: a reference with a letter wrong still says more than silence.
WITH stated AS (
    SELECT *, states_reference(end_to_end_id, structured_ref, remittance) OR states_number(concat_ws(' ', structured_ref, remittance), date) AS states
    FROM nameless_line
),
reach AS (
    SELECT l.item_id AS line_id, e.item_id AS expected_id, NOT l.states AS is_silent
    FROM stated l
    JOIN expected e
      ON e.account = l.account AND e.currency = l.currency AND e.amount_minor = -l.amount_minor
    CROSS JOIN parameter p
    WHERE (l.party_account = e.party_account OR l.party_account IS NULL AND l.states)
      AND abs(l.day - e.day) <= p.window_days
      AND (l.uetr = e.uetr OR e.item_id NOT IN (SELECT expected_id FROM spoken_for))
)
SELECT r.expected_id AS group_id, unnest([r.expected_id, r.line_id]) AS item_id
FROM reach r
JOIN weak_candidate w ON w.line_id = r.line_id AND w.expected_id = r.expected_id
WHERE r.is_silent
  AND r.line_id IN (SELECT line_id FROM reach GROUP BY line_id HAVING count(*) = 1)
  AND r.expected_id IN (SELECT expected_id FROM reach GROUP BY expected_id HAVING count(*) = 1)
  AND r.expected_id NOT IN (SELECT expected_id FROM half_spoken_for)
