"""The exact-key part by datacompy (Polars): run by the interpreter of an environment that has it.

Lives here: one comparison and its figures. Must not live here: anything of the program, which is not there.
"""

import json
import resource
import sys
import time

import datacompy
import polars as pl

COLUMNS = ["item_id", "account", "currency", "amount_minor", "end_to_end_id"]


def main(folder: str) -> None:
    started, processor = time.perf_counter(), time.process_time()
    lines = pl.read_parquet(f"{folder}/bank.parquet", columns=COLUMNS).with_columns(-pl.col("amount_minor"))
    books = pl.read_parquet(f"{folder}/ledger.parquet", columns=COLUMNS)
    keys = ["account", "currency", "amount_minor", "end_to_end_id"]
    compared = datacompy.PolarsCompare(
        lines.drop_nulls("end_to_end_id"), books, join_columns=keys, df1_name="bank", df2_name="ledger"
    )
    found = {
        "pairs": compared.intersect_rows.height,
        "bank_only": compared.df1_unq_rows.height,
        "ledger_only": compared.df2_unq_rows.height,
        "wall_s": time.perf_counter() - started,
        "cpu_s": time.process_time() - processor,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
