SELECT set_ordinal, rule, rule_version, account, currency, legs, bank_minor, ledger_minor,
       bank_minor + ledger_minor AS explained_minor, explained_code, rivals, margin, is_fungible
FROM late_proof
