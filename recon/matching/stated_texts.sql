-- What lines and expectations say of reference and party that differ by what is stated, where no account proves the
-- party: for `alike_pair`.
SELECT m.line_id, m.expected_id, norm(concat_ws(' ', l.end_to_end_id, l.structured_ref, l.remittance)) AS text,
       upper(concat_ws(' ', l.end_to_end_id, l.structured_ref, l.remittance)) AS words,
       coalesce(e.own_key, '') AS reference, coalesce(l.party_name, '') AS line_name,
       coalesce(e.party_name, '') AS expected_name
FROM stated_difference m
JOIN nameless_line l ON l.item_id = m.line_id
JOIN expected e ON e.item_id = m.expected_id
WHERE m.same_party AND (l.party_account = e.party_account) IS NOT TRUE
ORDER BY m.line_id, m.expected_id
