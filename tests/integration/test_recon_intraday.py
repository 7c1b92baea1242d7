"""Intraday reports: each announced entry once, nothing posted, replaced by the booked one, never counted twice."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from psycopg import errors, sql
from psycopg.types.json import Jsonb

from ledger import format_amount
from nostro.database import Database
from recon import Announced, build_warehouse, intraday_report
from tests.recon_world import ACCOUNT, OPENING, BankBook, Line
from tests.settlement_world import DAY, PayeeRow, World, make_world
from tests.unit.recon.camt_files import details, document, entry, statement

TUESDAY = DAY + dt.timedelta(days=1)


@pytest.fixture
def world(db: Database, tmp_path: Path) -> Iterator[World]:
    made = make_world(db, tmp_path, [PayeeRow(code="P1")], accounts=("eur",))
    yield made
    made.close()


def told(amount_minor: int, *, ref: str = "", e2e: str = "", status: str = "BOOK", day: dt.date = DAY) -> str:
    return entry(
        format_amount(abs(amount_minor), 2),
        "CRDT" if amount_minor > 0 else "DBIT",
        status=f"<Sts><Cd>{status}</Cd></Sts>",
        booked=f"<BookgDt><Dt>{day}</Dt></BookgDt>",
        ref=ref,
        inside=details(f"<Refs><EndToEndId>{e2e}</EndToEndId></Refs>") if e2e else "",
    )


def report(bank: BankBook, name: str, *entries: str) -> None:
    body = statement(*entries, id_=name)
    text = document(body, message_id=name).replace("camt.053.001", "camt.052.001")
    text = text.replace("BkToCstmrStmt", "BkToCstmrAcctRpt").replace("<Stmt>", "<Rpt>").replace("</Stmt>", "</Rpt>")
    result = bank.ingest_text(text, f"{name}.xml").files[0]
    assert (result.outcome, result.reason) == ("informative", None)


def states(world: World) -> list[tuple[int, str, str | None]]:
    found = intraday_report(world.app, book_id=world.book_id)
    return [(e.amount_minor, e.state, e.replaced_by) for e in found.entries]


def test_booked_lines_replace_what_was_announced(world: World, tmp_path: Path) -> None:
    bank = BankBook(world)
    entries = world.one("SELECT count(*) FROM ledger.entry")
    sent, odd, repeated = told(-10_000, ref="R1", e2e="E1"), told(5_000, status="PDNG"), told(-700)
    report(bank, "noon", sent, odd, repeated, repeated)
    report(bank, "three", sent, told(5_000), repeated, repeated, told(-100, ref="R4"))
    assert world.one("SELECT count(*) FROM ledger.entry") == entries
    found = intraday_report(world.app, book_id=world.book_id)
    assert sorted((e.amount_minor, e.status, e.state) for e in found.entries) == [
        (-10_000, "BOOK", "announced"), (-700, "BOOK", "announced"), (-700, "BOOK", "announced"),
        (-100, "BOOK", "announced"), (5_000, "BOOK", "announced"),
    ]  # fmt: skip
    (now,) = found.positions
    assert (now.booked_minor, now.announced_minor, now.pending_minor) == (OPENING, -6_500, 0)
    assert now.expected_minor == OPENING - 6_500
    assert any("expected 999935.00 EUR" in line for line in found.render())

    booked = [
        Line(amount_minor=-10_000, ref="R1", end_to_end_id="E1"),
        Line(amount_minor=5_000),
        Line(amount_minor=-700),
    ]
    bank.ingest(bank.statement(booked))
    assert sorted(states(world)) == [
        (-10_000, "replaced", f"S{DAY:%Y%m%d}"), (-700, "missing", None), (-700, "replaced", f"S{DAY:%Y%m%d}"),
        (-100, "missing", None), (5_000, "replaced", f"S{DAY:%Y%m%d}"),
    ]  # fmt: skip
    report(bank, "tuesday", told(-900, e2e="E9", status="PDNG", day=TUESDAY), told(-800, e2e="E8", day=TUESDAY))
    found = intraday_report(world.app, book_id=world.book_id, state=Announced.ANNOUNCED, day=TUESDAY)
    (now,) = found.positions
    assert (now.booked_minor, now.closing_date) == (OPENING - 5_700, DAY)
    assert (now.announced_minor, now.pending_minor, now.expected_minor) == (-800, -900, OPENING - 6_500)
    assert [entry.end_to_end_id for entry in found.entries] == ["E9", "E8"]

    # The bank books under a reference that it had not named before: the EndToEndId says that it is the same.
    bank.ingest(bank.statement([Line(amount_minor=-800, ref="R8", end_to_end_id="E8")], day=TUESDAY), name="2.xml")
    assert (-800, "replaced", f"S{TUESDAY:%Y%m%d}") in states(world)
    assert (-900, "announced", None) in states(world)  # pending still

    built = build_warehouse(world.app, tmp_path / "nostro.duckdb")
    with duckdb.connect(str(built.path), read_only=True) as db:
        rows = db.execute(
            "SELECT state, count(*) FROM intraday WHERE bank_account = ? GROUP BY ALL ORDER BY 1", [ACCOUNT]
        )
        assert rows.fetchall() == [("announced", 1), ("missing", 2), ("replaced", 4)]


def test_lines_have_a_currency_and_a_status(world: World) -> None:
    bank = BankBook(world)
    report(bank, "noon", told(-500, ref="R1"))
    bank.ingest(bank.statement([Line(amount_minor=-500, ref="R1")]))
    with world.db.owner() as owner:
        for table in ("statement_line", "intraday_line"):
            known = sql.Identifier("recon", table)
            query = sql.SQL(
                "INSERT INTO {known} SELECT (jsonb_populate_record(l, %s)).* FROM {known} l LIMIT 1"
            ).format(known=known)
            for column, value in (("currency", "eur"), ("currency", "EURO"), ("status", "SENT")):
                changed = {column: value, "line_ordinal": 99, "t_posting_id": None, "n_posting_id": None}
                with pytest.raises(errors.CheckViolation) as caught:
                    owner.execute(query, (Jsonb(changed),))
                assert caught.value.diag.constraint_name == f"{table}_{column}"
                owner.rollback()
