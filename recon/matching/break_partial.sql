-- A payout that came in parts, which do not add up yet, and there is still time.
SELECT expected_id AS group_id, unnest(list_append(line_ids, expected_id)) AS item_id
FROM reference_group CROSS JOIN parameter p
WHERE kind = 'RECEIPT' AND lines >= 2 AND residual_minor > 0
  AND days <= p.window_days AND expected_age <= p.window_days
