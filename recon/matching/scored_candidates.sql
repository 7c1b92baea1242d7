-- Pairs that a search rates: a line that names nobody whole and an expectation of the same amount, within the window,
-- with nothing that both state against it. Texts are normalised here, once a pair. A crowd (a line or an expectation
-- with more than $crowd partners by amount) keeps only pairs of one party: the rest is a question, not a search.
WITH plain_line AS (
    SELECT item_id, account, currency, amount_minor, day, uetr, party_account, party_name, payment_information_id,
           msg_id, norm(concat_ws(' ', end_to_end_id, structured_ref, remittance)) AS text,
           upper(concat_ws(' ', end_to_end_id, structured_ref, remittance)) AS words,
           end_to_end_id IS NOT NULL OR states_number(concat_ws(' ', structured_ref, remittance), date) AS states_reference
    FROM nameless_line
),
pair AS (
    SELECT l.item_id AS line_id, e.item_id AS expected_id, l.day - e.day AS days, l.text, l.words, l.states_reference, e.own_key AS reference,
           l.party_account = e.party_account AS same_party, l.party_name AS line_name, e.party_name AS expected_name,
           e.party_account, e.amount_minor, e.account, l.day AS line_day, e.day AS expected_day
    FROM plain_line l
    JOIN expected e ON e.account = l.account AND e.currency = l.currency AND e.amount_minor = -l.amount_minor
    CROSS JOIN parameter p
    LEFT JOIN known_party k ON k.party_account = l.party_account
    WHERE abs(l.day - e.day) <= p.window_days
      AND (l.uetr = e.uetr OR e.item_id NOT IN (SELECT expected_id FROM spoken_for))
      AND coalesce(l.uetr = e.uetr, true)
      AND (coalesce(l.party_account = e.party_account, true) OR e.kind = 'RECEIPT' AND k.party_account IS NULL)
      AND coalesce(l.payment_information_id = e.payment_information_id, true)
      AND coalesce(l.msg_id = e.msg_id, true)
)
SELECT line_id, expected_id, days, line_day, expected_day, states_reference,
       expected_id IN (SELECT expected_id FROM half_spoken_for)
           AND (line_id, expected_id) NOT IN (SELECT (line_id, expected_id) FROM half_spoken_for) AS is_held,
       coalesce(same_party, false) AS same_party,
       same_party IS NOT NULL AND NOT same_party AS other_party, account, amount_minor, party_account,
       coalesce(line_name, '') AS line_name, coalesce(expected_name, '') AS expected_name,
       coalesce(text, '') AS text, coalesce(words, '') AS words, coalesce(reference, '') AS reference
FROM pair
WHERE line_id NOT IN (SELECT line_id FROM pair GROUP BY line_id HAVING count(*) > $crowd)
      AND expected_id NOT IN (SELECT expected_id FROM pair GROUP BY expected_id HAVING count(*) > $crowd)
   OR same_party
ORDER BY line_id, expected_id
