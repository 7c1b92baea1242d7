-- Pairs of a line and an expectation it names, which no account proves to be of one party, whose names are spelt in two
-- ways or whose number is a weak one.
SELECT n.line_id, n.expected_id, n.is_weak, l.account, l.party_name AS line_name, e.party_name AS expected_name
FROM named n
JOIN open_item l ON l.item_id = n.line_id
JOIN open_item e ON e.item_id = n.expected_id
WHERE n.agrees AND n.same_account AND NOT coalesce(l.party_account = e.party_account, false)
  AND (n.is_weak OR coalesce(upper(strip_accents(l.party_name)) <> upper(strip_accents(e.party_name)), false))
