-- What is open when the rules have ended, for the results; the taxonomy takes it from `open_item` code by code.
CREATE TABLE rest AS
SELECT item_id, kind, account, currency, amount_minor, date, day, age_days, reference, row_hash FROM open_item;
