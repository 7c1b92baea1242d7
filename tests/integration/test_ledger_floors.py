"""Limits under real threads, by history: what every caller was told can have happened one after the other."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from benchmarks.history import History, serial_order
from ledger import (
    CeilingError,
    Connection,
    EntryStatus,
    FloorError,
    HoldPosting,
    NewHold,
    place_holds,
    post_batch,
    post_holds,
    post_independent,
    verify,
    void_holds,
)
from nostro.database import Database
from tests.integration.test_ledger_concurrency import together
from tests.ledger_books import Books, entry, fresh_database, open_books

WALLET, CASH = "liabilities:wallet:W1", "assets:cash"
NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def database(template: Database) -> Iterator[Database]:
    """One database for this file; each test has a book of its own in it."""
    with fresh_database(template, "nostro_test_floors") as opened:
        yield opened


@pytest.fixture
def books(database: Database) -> Iterator[Books]:
    """Books whose wallet (floor 0) has 1000; whatever the threads did, every invariant holds at the end."""
    opened = open_books(database)
    with database.app() as conn:
        post_batch(conn, book_id=opened.book, entries=[entry("fund", CASH, WALLET, 1000)])
    yield opened
    with database.app() as conn:
        assert verify(conn, book_id=opened.book) == ()


def allowed(work: Callable[[], object]) -> bool:
    """Whether the books did it; a refusal for any other reason than a limit is an error."""
    try:
        work()
    except (FloorError, CeilingError):
        return False
    return True


def available(books: Books, code: str) -> int:
    with books.db.app() as conn:
        row = conn.execute(
            "SELECT normal_side * posted_minor - held_minor FROM ledger.balance WHERE account_id = %s", (books[code],)
        ).fetchone()
    assert row is not None
    return int(str(row[0]))


def test_sixty_four_threads_drain_one_account_and_never_cross_its_floor(books: Books) -> None:
    history = History()

    def work(conn: Connection, number: int) -> None:
        dice = random.Random(number)
        for n in range(3):
            amount = dice.randint(1, 40)
            draw = entry(f"{number}-{n}", WALLET, CASH, amount)
            history.record(
                -amount, lambda draw=draw: allowed(lambda: post_batch(conn, book_id=books.book, entries=[draw]))
            )

    together(books, work, workers=64)
    assert len(history.attempts) == 64 * 3
    paid = -sum(one.delta_minor for one in history.attempts if one.accepted)
    assert available(books, WALLET) == 1000 - paid >= 0
    assert any(not one.accepted for one in history.attempts)
    assert serial_order(history.attempts, opening_minor=1000, floor_minor=0) is not None


def test_draws_payments_and_holds_at_once_have_a_serial_order(books: Books) -> None:
    history = History()

    def work(conn: Connection, number: int) -> None:
        dice = random.Random(100 + number)
        mine: list[tuple[str, int]] = []
        for n in range(14):
            key, amount = f"{number}-{n}", dice.randint(50, 400)
            way = dice.choice(["draw", "draw each", "pay in", "hold", "hold", "give up", "post in part"])
            if way in {"give up", "post in part"} and mine:
                held, whole = mine.pop()
                part = dice.randint(1, whole)
                if way == "give up":
                    history.record(
                        whole, lambda held=held: void_holds(conn, book_id=books.book, keys=[held], at=NOON) == 1
                    )
                else:
                    drawn = HoldPosting(held, entry(key, WALLET, CASH, part), part)
                    history.record(
                        whole - part,
                        lambda drawn=drawn: allowed(
                            lambda: post_holds(conn, book_id=books.book, postings=[drawn], at=NOON)
                        ),
                    )
            elif way == "hold":
                hold = NewHold(key, WALLET, amount)
                if history.record(
                    -amount, lambda hold=hold: allowed(lambda: place_holds(conn, book_id=books.book, holds=[hold]))
                ):
                    mine.append((key, amount))
            elif way == "pay in":
                paid = entry(key, CASH, WALLET, amount)
                history.record(
                    amount, lambda paid=paid: allowed(lambda: post_batch(conn, book_id=books.book, entries=[paid]))
                )
            else:
                draw = entry(key, WALLET, CASH, amount)
                history.record(-amount, lambda draw=draw, way=way: drawn_by(conn, draw, way))

    def drawn_by(conn: Connection, draw: object, way: str) -> bool:
        if way == "draw":
            return allowed(lambda: post_batch(conn, book_id=books.book, entries=[draw]))  # type: ignore[list-item]
        (one,) = post_independent(conn, book_id=books.book, entries=[draw])  # type: ignore[list-item]
        assert one.constraint in {None, "balance_floor"}
        return one.status is EntryStatus.POSTED

    together(books, work, workers=8)
    assert {one.accepted for one in history.attempts} == {True, False}
    order = serial_order(history.attempts, opening_minor=1000, floor_minor=0)
    assert order is not None
    assert available(books, WALLET) == 1000 + sum(one.delta_minor for one in order if one.accepted)


def test_payments_into_a_full_account_have_a_serial_order(books: Books) -> None:
    """A ceiling is a floor under the room that is left."""
    with books.db.app() as conn:
        conn.execute(
            "SELECT ledger.open_accounts(%s, %s, %s, %s, %s, %s::text[], %s::bigint[], %s::bigint[])",
            (books.book, ["assets:box"], ["asset"], ["EUR"], [False], [None], [None], [500]),
        )
    history = History()

    def work(conn: Connection, number: int) -> None:
        dice = random.Random(200 + number)
        for n in range(12):
            amount = dice.randint(20, 200)
            fills = dice.random() < 0.7
            pair = ("assets:box", CASH) if fills else (CASH, "assets:box")
            move = entry(f"{number}-{n}", *pair, amount)
            history.record(
                -amount if fills else amount,
                lambda move=move: allowed(lambda: post_batch(conn, book_id=books.book, entries=[move])),
            )

    together(books, work, workers=8)
    assert {one.accepted for one in history.attempts} == {True, False}
    order = serial_order(history.attempts, opening_minor=500, floor_minor=0)
    assert order is not None
