"""Breaks to a spreadsheet and decisions back: all or none, every fault with its row, stale rows, twice is once."""

from __future__ import annotations

import csv
import datetime as dt
from collections.abc import Callable, Iterator
from pathlib import Path

import openpyxl  # type: ignore[import-untyped]
import pytest

from nostro.database import Database
from recon import (
    DecisionFileError,
    Wish,
    breaks_list,
    end_proposal,
    export_breaks,
    import_decisions,
    propose,
)
from tests.ledger_books import fresh_database
from tests.recon_world import BankBook, Line
from tests.settlement_world import DAY, PayeeRow, World, copied, make_world

TUESDAY = DAY + dt.timedelta(days=1)
Row = dict[str, str]


@pytest.fixture(scope="module")
def morning(template: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Four breaks of one morning, in a database that each test gets a copy of; nobody is connected to it."""
    with fresh_database(template, "nostro_test_decisions") as db:
        made = make_world(db, tmp_path_factory.mktemp("morning"), [PayeeRow(code="P1")], accounts=("eur",))
        bank = BankBook(made)
        refs = ("B0", "B1", "-2+3|cmd")
        lines = [Line(amount_minor=-251 - n, ref=ref, code="PMNT/ICDT/CHRG") for n, ref in enumerate(refs)]
        bank.ingest(bank.statement([*lines, Line(amount_minor=500, ref="=cmd()", party_iban="DE02120300000000202051")]))
        bank.reconcile()
        made.close()
        yield made


@pytest.fixture
def world(morning: World, tmp_path: Path) -> Iterator[World]:
    with copied(morning, "nostro_test_decision", tmp_path) as made:
        yield made


def exported(world: World, name: str) -> tuple[Path, list[Row]]:
    path = world.home / name
    assert export_breaks(world.app, book_id=world.book_id, path=path) == 4
    if path.suffix == ".csv":
        with path.open(encoding="utf-8-sig", newline="") as file:
            return path, list(csv.DictReader(file))
    sheet = openpyxl.load_workbook(path).active
    assert sheet is not None
    head, *rows = sheet.iter_rows(values_only=True)
    return path, [{str(k): str(v or "") for k, v in zip(head, row, strict=True)} for row in rows]


def saved(path: Path, rows: list[Row], mark: str = ",") -> Path:
    if path.suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter=mark)
            writer.writeheader()
            writer.writerows(rows)
        return path
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(list(rows[0]))
    for row in rows:
        sheet.append(list(row.values()))
    book.save(path)
    return path


def states(world: World) -> list[str]:
    return sorted(row.state for row in breaks_list(world.app, book_id=world.book_id))


@pytest.mark.parametrize("name", ["breaks.csv", "breaks.xlsx"])
def test_decisions_come_back_and_the_same_file_again_changes_nothing(world: World, name: str) -> None:
    path, rows = exported(world, name)
    assert {row["reference"].removeprefix("'") for row in rows} == {"B0", "B1", "-2+3|cmd", "=cmd()"}
    assert name != "breaks.csv" or {row["reference"][0] for row in rows} == {"B", "'"}
    assert {row["amount"] for row in rows} == {"2.51", "2.52", "2.53", "-5.00"}
    rows[0] |= {"action": "assign", "owner": "alice", "due": "2026-11-06"}
    rows[1] |= {"action": "propose", "template": "claim", "reason": "the bank pays it back"}
    rows[2] |= {"action": "note", "reason": "asked the bank"}
    path = saved(path, rows)
    done = import_decisions(world.alice, book_id=world.book_id, path=path)
    assert (done.is_new, done.carried_out, done.without) == (True, {"assign": 1, "note": 1, "propose": 1}, 1)
    assert states(world) == ["assigned", "open", "open", "proposed"]
    again = import_decisions(world.alice, book_id=world.book_id, path=path)
    assert (again.is_new, again.carried_out) == (False, {})
    rows[3] |= {"comment": "saved again"}
    fresh = import_decisions(world.alice, book_id=world.book_id, path=saved(world.home / f"2-{name}", _even(rows)))
    assert (fresh.is_new, fresh.carried_out, fresh.in_effect) == (True, {}, 3)
    assert world.one("SELECT count(*) FROM recon.adjustment") == 1


def _even(rows: list[Row]) -> list[Row]:
    names = dict.fromkeys(name for row in rows for name in row)
    return [{name: row.get(name, "") for name in names} for row in rows]


def test_an_approver_decides_a_sheet_of_proposals(world: World) -> None:
    path, rows = exported(world, "breaks.csv")
    for row in rows[:3]:
        row |= {"action": "propose", "reason": "fees that are right"}
    import_decisions(world.alice, book_id=world.book_id, path=saved(path, rows, ";"))
    path, rows = exported(world, "approve.csv")
    chosen = [row for row in rows if row["state"] == "proposed"]
    chosen[0]["action"] = chosen[1]["action"] = "approve"
    chosen[2] |= {"action": "reject", "reason": "claim it instead"}
    done = import_decisions(world.bob, book_id=world.book_id, path=saved(path, rows))
    assert done.carried_out == {"approve": 2, "reject": 1}
    assert states(world) == ["approved", "approved", "open", "open"]


def test_what_was_proposed_instead_since_the_export_is_not_approved(world: World) -> None:
    path, rows = exported(world, "breaks.csv")
    rows[0] |= {"action": "propose", "reason": "fees that are right"}
    import_decisions(world.alice, book_id=world.book_id, path=saved(path, rows))
    path, rows = exported(world, "approve.csv")
    assert "alice: entry" in rows[0]["proposed"] and ":eur" in rows[0]["proposed"]
    number = int(rows[0]["proposal"])
    end_proposal(world.alice, book_id=world.book_id, adjustment_id=number, reason="better idea")
    wish = Wish(template="suspense")
    propose(world.alice, book_id=world.book_id, break_id=rows[0]["break_id"], wish=wish, reason="fees that are right")
    rows[0] |= {"action": "approve"}
    with pytest.raises(DecisionFileError) as caught:
        import_decisions(world.bob, book_id=world.book_id, path=saved(path, rows))
    assert f"proposal {number + 1} stands, the sheet shows {number}" in str(caught.value.faults)
    assert "approved" not in states(world)


def bad_action(rows: list[Row]) -> None:
    rows[0]["action"] = "forget"


def no_reason(rows: list[Row]) -> None:
    rows[1] |= {"action": "propose", "reason": ""}


def unknown_person(rows: list[Row]) -> None:
    rows[2] |= {"action": "assign", "owner": "nobody"}


def stale(rows: list[Row]) -> None:
    rows[0] |= {"action": "note", "reason": "asked the bank", "sha256": "0" * 64}


def unknown_break(rows: list[Row]) -> None:
    rows[0] |= {"action": "propose", "reason": "this is right", "break_id": "B999"}


def twice(rows: list[Row]) -> None:
    rows[0] |= {"action": "note", "reason": "asked the bank"}
    rows[1] |= {"action": "note", "reason": "asked the bank", "break_id": rows[0]["break_id"]}
    rows[1]["sha256"] = rows[0]["sha256"]


def no_text(rows: list[Row]) -> None:
    rows[0] |= {"action": "note", "reason": "asked\0the bank"}


def bad_due(rows: list[Row]) -> None:
    rows[0] |= {"action": "assign", "owner": "alice", "due": "next week"}


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (bad_action, "row 2: action 'forget'"),
        (no_reason, "row 3: propose needs a reason"),
        (unknown_person, "row 4: B"),
        (stale, "changed since the export"),
        (unknown_break, "row 2: B999 is not open any more"),
        (twice, "decided in row 2 already"),
        (bad_due, "row 2: due 'next week'"),
        (no_text, "row 2: a cell holds a character that is none"),
    ],
)
def test_a_sheet_with_a_fault_does_nothing(world: World, spoil: Callable[[list[Row]], None], fault: str) -> None:
    path, rows = exported(world, "breaks.csv")
    rows[3] |= {"action": "note", "reason": "this one is right"}
    spoil(rows)
    with pytest.raises(DecisionFileError) as caught:
        import_decisions(world.alice, book_id=world.book_id, path=saved(path, rows))
    assert any(fault in line for line in caught.value.faults), caught.value.faults
    assert states(world) == ["open"] * 4
    assert world.one("SELECT count(*) FROM recon.break_event WHERE action = 'noted'") == 0


def test_every_fault_is_listed_with_its_row(world: World) -> None:
    path, rows = exported(world, "breaks.csv")
    for spoil in (bad_action, no_reason):
        spoil(rows)
    with pytest.raises(DecisionFileError) as caught:
        import_decisions(world.alice, book_id=world.book_id, path=saved(path, rows))
    assert [line.partition(":")[0] for line in caught.value.faults] == ["row 2", "row 3"]


def test_a_file_that_is_no_such_sheet(world: World) -> None:
    path = world.home / "other.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(DecisionFileError) as caught:
        import_decisions(world.alice, book_id=world.book_id, path=path)
    assert caught.value.faults[0] == "row 1: there is no column 'break_id'"
