-- Charges, interest and sweeps by the bank's transaction code, that no policy covers.
SELECT item_id AS group_id, item_id FROM line
WHERE regexp_matches(coalesce(bank_tx_code, ''), '/(CHRG|INTR|COMM|FEES|SWEP)$')
