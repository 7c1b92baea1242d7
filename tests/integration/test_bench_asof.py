"""The plans that `nostro bench asof --plans` keeps come from the functions' own statements, by index alone."""

from __future__ import annotations

from datetime import date

from benchmarks.asof import load
from benchmarks.asof_plans import plans
from nostro.database import Database


def test_each_statement_of_a_balance_and_a_page_is_explained(db: Database) -> None:
    with db.app() as conn, db.owner() as owner:
        ids, seqs, _, _ = load(conn, 3_000, None)
        conn.commit()
        text = plans(owner, account=ids[0], day=date(2026, 1, 1), seq=seqs[-1], limit=15)
    assert [line for line in text.splitlines() if line.startswith("-- a ")] == [
        "-- a balance as of 2026-01-01: 1 runs and the latest postings",
        "-- a balance as of 2026-01-01, known at sequence 3,000: 1 runs and the latest postings",
        "-- a page of 15 lines from 2026-01-01",
        "-- a page of 15 lines from 2026-01-01, known at sequence 3,000",
    ]
    for index in ("rollup_run_pkey", "rollup_pkey", "posting_account", "posting_day_pkey", "entry_text_pkey"):
        assert f"using {index}" in text or f"Backward using {index}" in text, index
    assert "Seq Scan" not in text
    assert text.count("Buffers: shared hit=") > 12
