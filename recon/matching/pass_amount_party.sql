-- P5: amount, date and the other party's account, one line and one expectation, nothing else in reach, before or
-- after. Lines with something like a reference are left to the scored pass, and so is what one of them could mean: a
-- reference with a letter wrong still says more than silence.
WITH reach AS (
    SELECT l.item_id AS line_id, e.item_id AS expected_id,
           l.end_to_end_id IS NULL AND l.structured_ref IS NULL
               AND NOT regexp_matches(coalesce(l.remittance, ''), '[A-Za-z0-9_./-]*[0-9][A-Za-z0-9_./-]{7,}') AS is_silent
    FROM nameless_line l
    JOIN expected e
      ON e.account = l.account AND e.currency = l.currency AND e.amount_minor = -l.amount_minor
     AND e.party_account = l.party_account
    CROSS JOIN parameter p
    WHERE abs(l.day - e.day) <= p.window_days
      AND (l.uetr = e.uetr OR e.item_id NOT IN (SELECT expected_id FROM spoken_for))
)
SELECT r.expected_id AS group_id, unnest([r.expected_id, r.line_id]) AS item_id
FROM reach r
JOIN weak_candidate w ON w.line_id = r.line_id AND w.expected_id = r.expected_id
WHERE r.is_silent
  AND r.line_id IN (SELECT line_id FROM reach GROUP BY line_id HAVING count(*) = 1)
  AND r.expected_id IN (SELECT expected_id FROM reach GROUP BY expected_id HAVING count(*) = 1)
