-- Items of one side that the first pass left, whole rows (the caller gives them as `left_rows`).
INSERT INTO open_item FROM with_hash('left_rows');
