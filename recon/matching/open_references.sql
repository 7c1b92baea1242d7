-- References of every expectation that the first pass left, cleared since or not: what a beginning may belong to.
-- They are counted, so no order is given.
SELECT account, own_key AS reference
FROM item
WHERE kind IN ('INSTRUCTION', 'RECEIPT') AND end_to_end_id IS NOT NULL
