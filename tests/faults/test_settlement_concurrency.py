"""Several workers at the same step: one effect, whoever is first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import TypeVar

import pytest

from ledger import Connection, NostroError
from nostro.database import Database
from settlement import (
    FileState,
    approve,
    approve_recall,
    payment_file,
    poll,
    propose,
    release,
    request_file_recall,
    seal,
    send_recalls,
)
from tests.settlement_world import DAY, PayeeRow, World, make_world, moment, pain002

WORKERS = 8
T = TypeVar("T")


@pytest.fixture
def world(db: Database, tmp_path: Path) -> Iterator[World]:
    made = make_world(db, tmp_path, [PayeeRow(code=f"P{n}") for n in range(20)])
    for n in range(20):
        made.owe(f"P{n}", 100)
    yield made
    made.close()


def together(world: World, work: Callable[[Connection], T], *, login: str = "service") -> list[T | NostroError]:
    """Run the same work in several sessions that start at the same moment."""
    barrier = Barrier(WORKERS)

    def worker(_: int) -> T | NostroError:
        with world.db.login(login) as conn:
            barrier.wait()
            try:
                return work(conn)
            except NostroError as error:
                return error

    with ThreadPoolExecutor(WORKERS) as pool:
        return list(pool.map(worker, range(WORKERS)))


def test_workers_that_seal_one_file_post_once(world: World) -> None:
    (file_id,) = world.approve_all()
    results = together(world, lambda conn: seal(conn, file_id, now=moment()))
    assert [r.state for r in results if not isinstance(r, NostroError)] == [FileState.SEALED] * WORKERS
    assert sum(not isinstance(r, NostroError) and r.is_new for r in results) == 1
    assert world.balance("assets:transit:eur-payouts") == -2000


def test_workers_that_propose_get_one_proposal(world: World) -> None:
    results = together(
        world,
        lambda conn: propose(conn, book_id=world.book_id, business_date=DAY, now=moment(), bank_account="eur-payouts"),
    )
    files = {p.file_id for r in results if not isinstance(r, NostroError) for p in r}
    assert len(files) == 1
    assert sum(p.is_new for r in results if not isinstance(r, NostroError) for p in r) == 1
    assert world.one("SELECT count(*) FROM settlement.run") == 1


def test_workers_that_approve_sign_once(world: World) -> None:
    (proposed,) = world.propose()
    results = together(world, lambda conn: approve(conn, proposed.file_id), login="bob")
    assert [r for r in results if isinstance(r, NostroError)] == []
    assert world.one("SELECT count(*) FROM settlement.approval") == 1
    assert payment_file(world.app, proposed.file_id).state is FileState.APPROVED


def test_workers_that_send_a_recall_send_once(world: World) -> None:
    (file_id,) = world.pay()
    (outbox,) = {path.parent for path in world.home.glob("bank/nordbank/outbox/*.xml")}
    request_file_recall(world.alice, file_id, reason_code="TECH", reason="paid by mistake")
    asked = together(world, lambda conn: approve_recall(conn, file_id, now=moment()), login="bob")
    assert sum(not isinstance(r, NostroError) for r in asked) >= 1
    results = together(world, lambda conn: send_recalls(conn, file_id, home=world.home))
    sent = [step for r in results if not isinstance(r, NostroError) for step in r]
    assert sum(step.is_new for step in sent) == 1
    assert all(r.retryable for r in results if isinstance(r, NostroError))
    assert world.one("SELECT count(*) FROM settlement.recall_event WHERE state = 'sending'") == 1
    assert len(list(outbox.glob("*-R1.xml"))) == 1


def test_workers_that_release_send_once(world: World) -> None:
    (file_id,) = world.approve_all()
    results = together(world, lambda conn: release(conn, file_id, home=world.home, now=moment()))
    assert payment_file(world.app, file_id).state is FileState.SENT
    assert world.one("SELECT count(*) FROM settlement.file_event WHERE state = 'sending'") == 1
    assert sum(not isinstance(r, NostroError) and r.is_new for r in results) == 1
    assert all(r.retryable for r in results if isinstance(r, NostroError))
    assert len(list((world.home / "bank/nordbank/outbox").iterdir())) == 1


def test_workers_that_poll_apply_once(world: World) -> None:
    (file_id,) = world.pay()
    world.answer("r.xml", pain002(payment_file(world.app, file_id).msg_id, group="RJCT", group_reason="AM05"))
    results = together(world, lambda conn: poll(conn, home=world.home))
    reports = [r for r in results if not isinstance(r, NostroError)]
    assert len(reports) == WORKERS
    assert sum(m.rejected for r in reports for m in r.messages) == 20
    assert world.balance("assets:transit:eur-payouts") == 0
    assert world.one("SELECT count(*) FROM settlement.reopening") == 20


def test_seals_of_two_files_and_new_sales_do_not_deadlock(db: Database, tmp_path: Path) -> None:
    payees = [PayeeRow(code=f"Q{n:03d}") for n in range(64)]
    world = make_world(db, tmp_path, payees, max_transactions=8)
    for payee in payees:
        world.owe(payee.code, 100)
    ids = world.approve_all()
    assert len(ids) == WORKERS
    remaining = list(ids)
    results = together(world, lambda conn: seal(conn, remaining.pop(), now=moment()))
    assert [r.state for r in results if not isinstance(r, NostroError)] == [FileState.SEALED] * WORKERS
    assert world.balance("assets:transit:eur-payouts") == -6400
    world.close()
