SELECT set_ordinal, rule, rule_version, item_id, amount_minor, row_hash FROM late_match
