"""Intraday reports: each announced entry once, nothing posted, replaced by the booked one, never counted twice."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest
from psycopg import errors, sql
from psycopg.types.json import Jsonb

from ledger import format_amount
from nostro.database import Database
from recon import Announced, build_warehouse, intraday_report
from tests.recon_world import ACCOUNT, IBAN, OPENING, BankBook, Line
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


def mt94x(number: str, *fields: str) -> str:
    return "\n".join([":20:X", f":25:{IBAN}", f":28C:{number}", *fields, "-", ""])


def bai2(modifier: int, opening: int, *details: str) -> str:
    closing = opening + sum((-1 if d.startswith("16,4") else 1) * int(d.split(",")[2]) for d in details)
    account = [f"03,{IBAN},EUR,010,{opening},,,015,{closing},,/", *details]
    total = opening + closing + sum(int(detail.split(",")[2]) for detail in details)
    return "\n".join(
        [
            f"01,BANK,US,{DAY:%y%m%d},2300,1,,,2/",
            f"02,US,BANK,1,{DAY:%y%m%d},2359,EUR,{modifier}/",
            *account,
            f"49,{total},{len(account) + 1}/",
            f"98,{total},1,{len(account) + 3}/",
            f"99,{total},1,{len(account) + 5}/",
        ]
    )


def mt942_then_mt940() -> tuple[str, str]:
    sent, lost, due = (
        f":61:{DAY:%y%m%d%m%d}{mark}{amount},00NTRF{e2e}//{ref}"
        for mark, amount, e2e, ref in (("D", 100, "E1", "R1"), ("D", 3, "NONREF", "R2"), ("ED", 40, "NONREF", "R3"))
    )
    during = mt94x("1/1", ":34F:EUR0,", f":13D:{DAY:%y%m%d}1200+0100", sent, lost, due)
    opening, closing = f":60F:C{DAY:%y%m%d}EUR1000000,00", f":62F:C{DAY:%y%m%d}EUR999900,00"
    return during, mt94x("1/1", opening, sent, closing)


def bai2_then_prior_day() -> tuple[str, str]:
    sent, lost = "16,475,10000,Z,R1,E1,OUT/", "16,475,300,Z,R2,,OUT/"
    return bai2(3, OPENING, sent, lost), bai2(2, OPENING, sent)


@pytest.mark.parametrize(("files", "waiting"), [(mt942_then_mt940, {-4_000: "announced"}), (bai2_then_prior_day, {})])
def test_the_statement_of_the_day_replaces_other_formats_too(
    world: World, files: Callable[[], tuple[str, str]], waiting: dict[int, str]
) -> None:
    """Neither says whether an entry is booked: what the day's statement lacks is missing, not pending for ever."""
    bank = BankBook(world)
    during, after = files()
    assert bank.ingest_text(during, "noon.txt").files[0].outcome == "informative"
    assert {amount: state for amount, state, _ in states(world)} == {-10_000: "announced", -300: "announced"} | waiting
    (now,) = intraday_report(world.app, book_id=world.book_id).positions
    assert (now.announced_minor, now.pending_minor) == (0, -10_300 + sum(waiting))
    assert bank.ingest_text(after, "evening.txt").files[0].outcome == "accepted"
    assert {amount: state for amount, state, _ in states(world)} == {-10_000: "replaced", -300: "missing"} | waiting
    (now,) = intraday_report(world.app, book_id=world.book_id).positions
    assert (now.booked_minor, now.pending_minor) == (OPENING - 10_000, sum(waiting))


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
