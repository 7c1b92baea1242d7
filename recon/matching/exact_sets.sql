-- Sets of the first pass as (expected, line) pairs, for small runs; large ones are written from the table itself.
SELECT expected_id, line_id, is_receipt FROM exact_pair
