"""The life of a break through workers that die at every commit: before it nothing is done, after it nothing twice."""

from __future__ import annotations

import csv
import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from psycopg.pq import TransactionStatus

import ledger.transactions
from ledger import Connection, OutcomeUnknownError
from nostro.database import Database
from recon import (
    BreakStateError,
    approve_proposal,
    breaks_list,
    export_breaks,
    import_decisions,
    list_runs,
    open_proposal,
    verify_run,
)
from tests.recon_world import BankBook, Line
from tests.settlement_world import DAY, PayeeRow, World, make_world

TUESDAY = DAY + dt.timedelta(days=1)
_plain = ledger.transactions._transaction


class DiedError(Exception):
    """The worker ended after its commit and told nobody."""


class Reaper:
    """Ends the worker's session at the first commit it has not ended one at yet, before it; then the same after it."""

    def __init__(self, world: World) -> None:
        self.watch = world.db.owner()
        self.watch.autocommit = True
        self.watch.execute("RESET ROLE")
        self.step, self.boundary = "", 0
        self.deaths: set[tuple[str, int, str]] = set()

    @contextmanager
    def transaction(self, conn: Connection) -> Iterator[None]:
        is_outermost = conn.info.transaction_status is TransactionStatus.IDLE
        with _plain(conn):
            yield
            if is_outermost:
                self.boundary += 1
                if self._is_first("before"):
                    self.watch.execute("SELECT pg_terminate_backend(%s, 10000)", (conn.info.backend_pid,))
        if is_outermost and self._is_first("after"):
            raise DiedError

    def _is_first(self, when: str) -> bool:
        here = (self.step, self.boundary, when)
        is_first = bool(self.step) and here not in self.deaths
        if is_first:
            self.deaths.add(here)
        return is_first


@pytest.fixture
def world(db: Database, tmp_path: Path) -> Iterator[World]:
    made = make_world(db, tmp_path, [PayeeRow(code="P1")], accounts=("eur",))
    yield made
    made.close()


def decided(world: World) -> Path:
    """The exported breaks with a proposal for each."""
    path = world.home / "breaks.csv"
    assert export_breaks(world.app, book_id=world.book_id, path=path) == 2
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row |= {"action": "propose", "template": "claim", "reason": "the bank pays it back"}
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def whole(world: World, reaper: Reaper) -> None:
    """Nothing is half done: a file with its proposals, an approval with its entry, a run with what goes with it."""
    row = reaper.watch.execute(
        "SELECT (SELECT count(*) FROM recon.decision_file) * 2 - (SELECT count(*) FROM recon.adjustment),"
        " (SELECT count(*) FROM recon.adjustment_approval) - (SELECT count(*) FROM ledger.entry e"
        "   JOIN recon.adjustment_approval a USING (entry_id)),"
        " (SELECT count(*) FROM recon.run) - (SELECT count(*) FROM recon.run_material),"
        " (SELECT count(*) FROM recon.stage_leg) + (SELECT count(*) FROM recon.stage_open)"
    ).fetchone()
    assert row == (0, 0, 0, 0)
    on_disk = list(world.home.glob("certificates/*/*.json"))
    kept = reaper.watch.execute("SELECT count(*) FROM recon.certificate").fetchone()
    assert kept is not None and 0 < len(on_disk) <= int(str(kept[0]))


def test_every_commit_of_a_breaks_life_is_a_good_place_to_die(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    bank = BankBook(world)
    bank.ingest(bank.statement([Line(amount_minor=-251 - n, ref=f"B{n}", code="PMNT/ICDT/CHRG") for n in range(2)]))
    bank.reconcile()
    path = decided(world)
    names = sorted(row.break_id for row in breaks_list(world.app, book_id=world.book_id))
    bank.ingest(bank.statement([], day=TUESDAY))
    reaper = Reaper(world)
    monkeypatch.setattr(ledger.transactions, "_transaction", reaper.transaction)

    def approve(name: str) -> Callable[[], object]:
        def once() -> None:
            try:
                number = open_proposal(world.bob, book_id=world.book_id, break_id=name)
                approve_proposal(world.bob, book_id=world.book_id, adjustment_id=number)
            except BreakStateError:  # approved by the worker that died after it
                (row,) = (r for r in breaks_list(world.bob, book_id=world.book_id) if r.break_id == name)
                assert row.state == "approved"

        return once

    steps: dict[str, Callable[[], object]] = {
        "import": lambda: import_decisions(world.alice, book_id=world.book_id, path=path),
        "approve 1": approve(names[0]),
        "approve 2": approve(names[1]),
        "run": lambda: bank.reconcile(TUESDAY),
    }
    for step, work in steps.items():
        for _ in range(40):
            reaper.step, reaper.boundary = step, 0
            try:
                work()
                break
            except (DiedError, OutcomeUnknownError):
                whole(world, reaper)
            finally:
                reaper.step = ""
            for person in ("app", "alice", "bob"):
                getattr(world, person).close()
                setattr(world, person, world.db.app() if person == "app" else world.db.login(person))
        else:
            raise AssertionError(f"{step} never ends")
        whole(world, reaper)
    assert {(step, when) for step, _, when in reaper.deaths} == {(s, w) for s in steps for w in ("before", "after")}
    assert breaks_list(world.app, book_id=world.book_id) == []
    (run,) = list_runs(world.app, book_id=world.book_id, business_date=TUESDAY)
    assert verify_run(world.app, book_id=world.book_id, run_id=run.run_id).faults == ()
    assert world.one("SELECT count(*) FROM recon.adjustment_approval") == 2
    assert world.one("SELECT count(*) FROM recon.match_set WHERE rule = 'adjustment'") == 2
    reaper.watch.close()
