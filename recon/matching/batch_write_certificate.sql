COPY (SELECT * FROM certificate ORDER BY account, currency) TO $path (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 1000000, PARQUET_VERSION v2)
