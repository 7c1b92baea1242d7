"""The DuckDB file: every documented view and example works, the content is the books' and always the same."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from pathlib import Path

import duckdb
import psycopg
import pytest

from ledger import NewEntry, NewPosting, RefusedError, post_batch
from nostro.database import Database
from recon import QualityScore, build_warehouse, export_days, quality_scores
from tests.recon_world import ACCOUNT, OPENING, BankBook, Line
from tests.settlement_world import DAY, PayeeRow, World, make_world

DOCS = Path(__file__).resolve().parents[2] / "docs" / "analysts.md"


@pytest.fixture
def world(db: Database, tmp_path: Path) -> Iterator[World]:
    made = make_world(db, tmp_path, [PayeeRow(code="P1", name='Zoë "Z" O\'Neill')], accounts=("eur",))
    made.owe("P1", 10_000)
    made.pay()
    e2e = str(made.one("SELECT end_to_end_id FROM settlement.instruction"))
    bank = BankBook(made)
    bank.ingest(
        bank.statement([Line(amount_minor=-10_000, ref="B1", end_to_end_id=e2e), Line(amount_minor=77, ref="B2")])
    )
    made.app.execute(
        "SELECT ledger.open_accounts(%s, '{assets:suspense:eur}', '{asset}', '{EUR}', '{f}', '{NULL}', '{NULL}')",
        (made.book_id,),
    )
    legs = (NewPosting("assets:suspense:eur", 123), NewPosting("income:fees:eur", -123))
    post_batch(made.app, book_id=made.book_id, entries=[NewEntry("wait-1", DAY, legs, reference="B7")])
    made.app.commit()
    bank.reconcile()
    yield made
    made.close()


def dump(path: Path) -> dict[str, list[tuple[object, ...]]]:
    with duckdb.connect(str(path), read_only=True) as db:
        views = [row[0] for row in db.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall()]
        return {view: db.execute('SELECT * FROM "' + view + '"').fetchall() for view in sorted(views)}


def test_views_answer_and_stay_the_same(world: World, tmp_path: Path) -> None:
    path = tmp_path / "warehouse" / "nostro.duckdb"
    report = build_warehouse(world.app, path)
    first = dump(path)
    assert set(first) == set(report.views)
    assert report.tables["statement_line"] == 2
    with duckdb.connect(str(path), read_only=True) as reader:
        build_warehouse(world.app, path)
        assert reader.execute("SELECT count(*) FROM certificates").fetchone() == (1,)
    assert dump(path) == first
    assert [p.name for p in path.parent.iterdir()] == ["nostro.duckdb"]
    with duckdb.connect(str(path), read_only=True) as db:
        assert db.execute("SELECT code, item_ref, amount::VARCHAR FROM open_breaks").fetchall() == [
            ("UNIDENTIFIED_RECEIPT", "B2", "-0.77000000")
        ]
        assert db.execute("SELECT at_bank::VARCHAR, closing_minor FROM cash_position").fetchall() == [
            (f"{(OPENING - 10_000 + 77) / 100:.2f}000000", OPENING - 10_000 + 77)
        ]
        assert db.execute("SELECT payee_name, cleared_by, cleared_on FROM payouts").fetchall() == [
            ('Zoë "Z" O\'Neill', "exact-end-to-end", DAY)
        ]
        waiting = "SELECT account, reference, amount::VARCHAR, age_days, bucket FROM open_suspense"
        assert db.execute(waiting).fetchall() == [("assets:suspense:eur", "B7", "1.23000000", 0, "0-1")]
        assert db.execute("SELECT sum(posted_minor) FROM trial_balance").fetchone() == (0,)
        types = db.execute(
            "SELECT DISTINCT data_type FROM duckdb_columns() WHERE NOT internal AND column_name LIKE '%_minor'"
        ).fetchall()
    assert types == [("BIGINT",)]


def test_statements_of_one_day_are_chained_as_they_were_booked_and_a_day_without_a_match_counts(
    world: World, tmp_path: Path
) -> None:
    """Whatever their ids sort like; and the ages are those of the report."""
    bank = BankBook(world, balance_minor=OPENING - 10_000 + 77)
    tuesday, friday = DAY + dt.timedelta(days=1), DAY + dt.timedelta(days=4)
    for n, name in enumerate(("Z", "A")):
        bank.ingest(bank.statement([Line(amount_minor=-1)], day=tuesday, stmt_id=name, numbered=False), name=f"{n}.xml")
    report = bank.reconcile(friday)
    path = tmp_path / "nostro.duckdb"
    build_warehouse(world.app, path)
    with duckdb.connect(str(path), read_only=True) as db:
        assert db.execute("SELECT stmt_id, follows FROM statement_chain").fetchall() == [
            (f"S{DAY:%Y%m%d}", True), ("A", True), ("Z", True),
        ]  # fmt: skip
        assert db.execute(
            "SELECT rule, sets, in_breaks_of_day FROM match_rate WHERE business_date = ?", [friday]
        ).fetchall() == [(None, 0, 3)]
        ages = db.execute("SELECT age_days, sum(breaks)::INT FROM break_ageing GROUP BY ALL ORDER BY ALL").fetchall()
    assert ages == [(each.bucket, each.break_count) for each in report.ageing]


def test_no_column_is_a_float(world: World, tmp_path: Path) -> None:
    path = tmp_path / "nostro.duckdb"
    build_warehouse(world.app, path)
    with duckdb.connect(str(path), read_only=True) as db:
        rows = db.execute(
            "SELECT table_name, column_name FROM duckdb_columns()"
            " WHERE NOT internal AND data_type IN ('DOUBLE', 'FLOAT')"
        ).fetchall()
    assert rows == []


def test_documentation_lists_every_view_as_its_comment(world: World, tmp_path: Path) -> None:
    report = build_warehouse(world.app, tmp_path / "nostro.duckdb")
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", DOCS.read_text(encoding="utf-8"), re.MULTILINE))
    assert rows == report.views


def test_scores_of_a_day_with_a_stranger_among_its_lines(world: World, tmp_path: Path) -> None:
    """A payment of 100.00 cleared with its line, 0.77 came from nobody: two of three items in time."""
    path = tmp_path / "nostro.duckdb"
    build_warehouse(world.app, path)
    (score,) = quality_scores(path, DAY)
    assert score == QualityScore(ACCOUNT, True, 10_000, 6_666, 0, 10_000 * 20_000 // 20_077)
    assert quality_scores(path, DAY - dt.timedelta(days=1)) == ()


def test_days_as_parquet_are_the_same_rows_and_replace_only_what_we_wrote(world: World, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    first = export_days(world.app, lake)
    files = {path.relative_to(lake): path.read_bytes() for path in lake.rglob("*.parquet")}
    assert first.files["cash_items"] == 1 and first.files["certificates"] == 1
    assert f"cash_items/bank_account={ACCOUNT}/day={DAY}" in {path.parent.as_posix() for path in files}
    export_days(world.app, lake)
    assert {path.relative_to(lake): path.read_bytes() for path in lake.rglob("*.parquet")} == files
    assert {path.name for path in tmp_path.iterdir() if "lake" in path.name or "days" in path.name} == {"lake"}
    build_warehouse(world.app, tmp_path / "nostro.duckdb")
    with duckdb.connect(str(tmp_path / "nostro.duckdb"), read_only=True) as db:
        for table, wanted in (("postings", "posting"), ("statement_lines", "statement_line"), ("breaks", "break")):
            found = db.read_parquet(f"{lake}/{table}/**/*.parquet", hive_partitioning=True)
            assert len(found.fetchall()) == len(db.table(wanted).fetchall()) > 0
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine.txt").write_text("mine")
    with pytest.raises(RefusedError, match="something else than an export"):
        export_days(world.app, other)
    assert [path.name for path in other.iterdir()] == ["mine.txt"]


def test_analyst_reads_views_and_nothing_else(world: World) -> None:
    with world.db.login("ann") as ann:
        assert ann.execute("SELECT bank_account FROM recon.certificate_current").fetchall() == [(ACCOUNT,)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege), ann.transaction():
            ann.execute("SELECT * FROM recon.statement_line")
