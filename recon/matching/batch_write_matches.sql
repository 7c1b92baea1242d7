COPY (
    SELECT set_ordinal, rule, rule_version, item_id, amount_minor, row_hash FROM first_match
    UNION ALL
    SELECT set_ordinal, rule::rule_word, rule_version, item_id, amount_minor, row_hash FROM late_match
) TO $path (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, PARQUET_VERSION v2, DICTIONARY_SIZE_LIMIT 64)
