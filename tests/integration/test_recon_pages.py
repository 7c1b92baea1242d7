"""Statements in pages: booked when all pages are there, as one; certified from the bytes of every page."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from nostro.database import Database
from recon import ReconCheckError, ingest_files
from recon.verifier import join_raw_pages
from tests.recon_world import ACCOUNT, OPENING, BankBook, Line
from tests.settlement_world import DAY, PayeeRow, World, make_world
from tests.support import table_hashes
from tests.unit.recon.camt_files import balance, document, statement

TUESDAY = DAY + dt.timedelta(days=1)


@pytest.fixture
def world(db: Database, tmp_path: Path) -> Iterator[World]:
    made = make_world(db, tmp_path, [PayeeRow(code="P1")], accounts=("eur",))
    yield made
    made.close()


def page(number: int, *parts: str, last: bool = False, id_: str = "S1", sequence: int = 1) -> str:
    head = f"<StmtPgntn><PgNb>{number}</PgNb><LastPgInd>{str(last).lower()}</LastPgInd></StmtPgntn>"
    return statement(*parts, id_=id_, head=f"{head}<ElctrncSeqNb>{sequence}</ElctrncSeqNb>")


def line(amount_minor: int, ref: str) -> str:
    return Line(amount_minor=amount_minor, ref=ref).xml(DAY)


OPEN = balance("OPBD", "1000000.00", day=DAY.isoformat())
FIRST = page(1, OPEN, line(-500, "A1"), line(700, "A2"))
MIDDLE = page(2, line(-200, "B1"))
LAST = page(3, line(1000, "C1"), balance("CLBD", "1000010.00", day=DAY.isoformat()), last=True)


def states(report: object) -> list[list[str]]:
    return [[s.state for s in file.statements] for file in report.files]  # type: ignore[attr-defined]


def findings(world: World) -> list[tuple[object, ...]]:
    return world.rows("SELECT code, message FROM recon.findings_at(%s, '2026-12-31')", world.book_id)


def test_pages_of_one_file_book_together(world: World, bank: BankBook) -> None:
    report = bank.ingest(FIRST, MIDDLE, LAST)
    assert states(report) == [["booked"] * 3] and report.booked_lines == 4
    assert world.balance(f"assets:bank:{ACCOUNT}") == OPENING + 1000
    assert findings(world) == []
    lines = world.rows("SELECT line_ordinal, account_servicer_ref, amount_minor FROM recon.statement_line ORDER BY 1")
    assert lines == [(1, "A1", -500), (2, "A2", 700), (3, "B1", -200), (4, "C1", 1000)]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_pages_of_several_deliveries_book_with_the_last_to_arrive(
    world: World, bank: BankBook, order: tuple[int, ...]
) -> None:
    pages = [FIRST, MIDDLE, LAST]
    for place in order[:2]:
        report = bank.ingest(pages[place], name=f"{place}.xml", message_id=f"M{place}")
        assert states(report) == [["waiting"]]
        assert world.balance(f"assets:bank:{ACCOUNT}") == OPENING
        assert {str(code) for code, _ in findings(world)} == {"STATEMENT_GAP"}
    assert not bank.reconcile().certified
    report = bank.ingest(pages[order[2]], name="last.xml", message_id="M9")
    assert states(report) == [["booked"]]
    assert world.balance(f"assets:bank:{ACCOUNT}") == OPENING + 1000
    assert findings(world) == []
    run = bank.reconcile()
    assert len(run.certified) == 1
    (proof,) = world.rows("SELECT opening_minor, lines_minor, closing_minor, residual_minor FROM recon.certificate")
    assert proof == (OPENING, 1000, OPENING + 1000, 0)


def test_the_next_day_follows_and_a_second_run_changes_nothing(world: World, bank: BankBook) -> None:
    bank.ingest(FIRST, MIDDLE, LAST)
    bank.balance_minor, bank.number = OPENING + 1000, 1
    bank.ingest(bank.statement([Line(amount_minor=-5, ref="D1")], day=TUESDAY), name="next.xml", message_id="M2")
    assert world.balance(f"assets:bank:{ACCOUNT}") == OPENING + 995
    before = table_hashes(world.app)
    world.app.rollback()
    paths = sorted((world.home / "in").iterdir())
    again = ingest_files(world.app, book_id=world.book_id, paths=paths)
    assert {file.outcome for file in again.files} == {"duplicate"}
    assert table_hashes(world.app) == before


def test_a_page_again_is_a_break_and_a_changed_one_a_revision(world: World, bank: BankBook) -> None:
    bank.ingest(FIRST, MIDDLE, LAST)
    again = bank.ingest(MIDDLE, name="again.xml", message_id="M2")
    assert states(again) == [["repeated"]]
    changed = bank.ingest(page(2, line(-300, "B1")), name="changed.xml", message_id="M3")
    assert states(changed) == [["revised"]]
    assert [code for code, _ in findings(world)] == ["STATEMENT_DUP", "STATEMENT_REVISED"]
    assert world.balance(f"assets:bank:{ACCOUNT}") == OPENING + 1000


def test_two_versions_of_a_page_before_booking_are_a_question(world: World, bank: BankBook) -> None:
    bank.ingest(FIRST)
    bank.ingest(page(1, OPEN, line(-500, "A1")), name="other.xml", message_id="M2")
    bank.ingest(MIDDLE, LAST, name="rest.xml", message_id="M3")
    assert world.balance(f"assets:bank:{ACCOUNT}") == OPENING
    assert "came twice with different content" in str(findings(world)[-1][1])
    assert not bank.reconcile().certified


def test_pages_that_do_not_tie_book_nothing(world: World, bank: BankBook) -> None:
    wrong = page(3, line(999, "C1"), balance("CLBD", "1000010.00", day=DAY.isoformat()), last=True)
    report = bank.ingest(FIRST, MIDDLE, wrong)
    assert states(report) == [["waiting"] * 3]
    ((code, message),) = findings(world)
    assert code == "STATEMENT_IMBALANCE" and "differ from closing by 1 minor units" in str(message)
    assert world.balance(f"assets:bank:{ACCOUNT}") == OPENING


def test_pages_with_balances_of_their_own_book_one_after_the_other(world: World, bank: BankBook) -> None:
    middle = balance("CLBD", "1000002.00", day=DAY.isoformat())
    first = page(1, OPEN, line(200, "A1"), middle)
    second = page(
        2, balance("OPBD", "1000002.00", day=DAY.isoformat()), line(-300, "B1"),
        balance("CLBD", "999999.00", day=DAY.isoformat()), last=True,
    )  # fmt: skip
    assert states(bank.ingest(first)) == [["booked"]]
    assert states(bank.ingest(second, name="2.xml", message_id="M2")) == [["booked"]]
    assert world.balance(f"assets:bank:{ACCOUNT}") == OPENING - 100
    assert len(bank.reconcile().certified) == 1


def test_the_database_joins_only_pages_in_order_of_one_statement(world: World, bank: BankBook) -> None:
    bank.ingest(FIRST)
    bank.ingest(page(2, line(1, "X"), id_="S2"), name="2.xml", message_id="M2")
    pages = [int(str(row[0])) for row in world.rows("SELECT statement_id FROM recon.statement ORDER BY 1")]
    for wrong in (pages, pages[:1], pages[::-1], [pages[0], pages[0]]):
        with pytest.raises(psycopg.errors.CheckViolation, match="not the pages 1 to"):
            world.app.execute("SELECT recon.join_pages(%s, 0, 0)", (wrong,))
        world.app.rollback()


def test_the_verifier_reads_every_page_and_refuses_what_has_no_ends() -> None:
    data = [document(text).encode() for text in (FIRST, MIDDLE, LAST)]
    raw = join_raw_pages([(each, 1) for each in data], exponent=2)
    assert (raw.opening_minor, raw.lines_minor, raw.closing_minor) == (OPENING, 1000, OPENING + 1000)
    for pages in (data[1:], data[:2]):
        with pytest.raises(ReconCheckError, match="no single opening and closing"):
            join_raw_pages([(each, 1) for each in pages], exponent=2)
    with pytest.raises(ReconCheckError, match="different statements"):
        join_raw_pages([(data[0], 1), (document(page(2, id_="S2")).encode(), 1)], exponent=2)
