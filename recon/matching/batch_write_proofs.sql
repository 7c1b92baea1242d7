COPY (
    SELECT * EXCLUDE (place) FROM first_proof
    UNION ALL
    SELECT set_ordinal, rule::rule_word, rule_version, account::account_word, currency::currency_word, legs, bank_minor,
           ledger_minor, bank_minor + ledger_minor, explained_code, rivals, margin, is_fungible
    FROM late_proof
) TO $path (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, PARQUET_VERSION v2, DICTIONARY_SIZE_LIMIT 64)
