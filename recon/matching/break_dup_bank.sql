-- The payment this line names has been booked already: same reference, same amount, another line. A line
-- that repeats an open line of an expectation it would have cleared is a repeat as well.
WITH repeated AS (
    SELECT l.item_id
    FROM line l
    JOIN cleared_line c
      ON c.account = l.account AND c.currency = l.currency AND c.amount_minor = l.amount_minor
    WHERE c.end_to_end_id = l.end_to_end_id
       OR c.uetr = l.uetr
       OR (c.servicer_ref = l.servicer_ref AND c.end_to_end_id IS NOT DISTINCT FROM l.end_to_end_id)
       OR (c.payment_information_id = l.payment_information_id AND c.batch_count = l.batch_count
           AND l.batch_count > 1)
    UNION
    SELECT item_id
    FROM (SELECT line_id AS item_id,
                 row_number() OVER (PARTITION BY expected_id
                                    ORDER BY l.day, l.servicer_ref, l.item_id) AS choice
          FROM reference_pair r JOIN line l ON l.item_id = r.line_id
          WHERE r.same_account AND r.same_currency AND r.expected_minor + r.line_minor = 0)
    WHERE choice > 1
    UNION
    -- It names, in whatever place, an expectation of its amount that has cleared.
    SELECT l.item_id
    FROM line l
    JOIN line_key k ON k.item_id = l.item_id
    JOIN (SELECT own_key AS key, account, currency, amount_minor
          FROM item
          WHERE kind IN ('INSTRUCTION', 'RECEIPT') AND item_id NOT IN (SELECT item_id FROM open_item)
            AND -amount_minor IN (SELECT amount_minor FROM line)
          UNION
          SELECT norm(reference), account, currency, amount_minor FROM cleared_reference) c
      ON c.key = k.key AND c.account = l.account AND c.currency = l.currency AND c.amount_minor = -l.amount_minor
)
SELECT item_id AS group_id, item_id FROM repeated
