"""Any life of holds against a model of ten lines: what is available, held and posted agree after every step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from ledger import (
    CeilingError,
    Connection,
    FloorError,
    HoldError,
    HoldPosting,
    HoldState,
    NewHold,
    RefusedError,
    expire_due,
    list_holds,
    place_holds,
    post_batch,
    post_holds,
    verify,
    void_holds,
)
from nostro.database import Database
from tests.ledger_books import Books, entry, fresh_database, open_books

WALLET = "liabilities:wallet:W1"
START = datetime(2026, 11, 2, 12, tzinfo=UTC)
AMOUNTS = st.integers(1, 60)
KEYS = st.integers(0, 5).map("h{}".format)
MINUTES = st.one_of(st.none(), st.integers(0, 10))


@pytest.fixture(scope="module")
def database(template: Database) -> Iterator[Database]:
    """One database for this file; each example has a book of its own in it."""
    with fresh_database(template, "nostro_test_holds_properties") as opened:
        yield opened


@dataclass(slots=True)
class Model:
    """What should be: the wallet's balance, and of each hold (amount, expiry, state)."""

    balance: int = 0
    holds: dict[str, tuple[int, datetime | None, HoldState]] = field(default_factory=dict)

    @property
    def available(self) -> int:
        """What a hold or a draw may take."""
        return self.balance - sum(a for a, _, state in self.holds.values() if state is HoldState.OPEN)


def machine(books: Books, conn: Connection) -> type[RuleBasedStateMachine]:
    """A machine over these books; each example starts with a wallet of its own balance."""
    numbers = count()

    class HoldMachine(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.books = open_books(books.db)
            self.model = Model()
            self.now = START

        def outcome(self, expected: bool, refused: RefusedError | None) -> None:
            assert expected is (refused is None), refused

        @rule(amount=AMOUNTS)
        def fund(self, amount: int) -> None:
            post_batch(
                conn, book_id=self.books.book, entries=[entry(f"f{next(numbers)}", "assets:cash", WALLET, amount)]
            )
            self.model.balance += amount

        @rule(amount=AMOUNTS)
        def draw(self, amount: int) -> None:
            expected, refused = amount <= self.model.available, None
            try:
                post_batch(
                    conn, book_id=self.books.book, entries=[entry(f"d{next(numbers)}", WALLET, "assets:cash", amount)]
                )
                self.model.balance -= amount
            except (FloorError, CeilingError) as error:
                refused = error
            self.outcome(expected, refused)

        @rule(key=KEYS, amount=AMOUNTS, minutes=MINUTES)
        def place(self, key: str, amount: int, minutes: int | None) -> None:
            expires = None if minutes is None else self.now + timedelta(minutes=minutes)
            known = self.model.holds.get(key)
            expected = amount <= self.model.available if known is None else known[:2] == (amount, expires)
            refused = None
            try:
                (placed,) = place_holds(conn, book_id=self.books.book, holds=[NewHold(key, WALLET, amount, expires)])
                assert placed.is_new is (known is None)
                if known is None:
                    self.model.holds[key] = (amount, expires, HoldState.OPEN)
            except RefusedError as error:
                refused = error
            self.outcome(expected, refused)

        @rule(key=KEYS, amount=st.one_of(st.none(), AMOUNTS), extra=st.sampled_from([0, 0, 0, 1]))
        def post(self, key: str, amount: int | None, extra: int) -> None:
            held, expires, state = self.model.holds.get(key, (0, None, HoldState.VOIDED))
            drawn = held if amount is None else amount
            live = state is HoldState.OPEN and (expires is None or self.now < expires)
            expected, refused = live and extra == 0 and 0 < drawn <= held, None
            paid = entry(f"p{next(numbers)}", WALLET, "assets:cash", max(drawn, 1) + extra)
            try:
                post_holds(conn, book_id=self.books.book, postings=[HoldPosting(key, paid, amount)], at=self.now)
                self.model.holds[key] = (held, expires, HoldState.POSTED)
                self.model.balance -= drawn
            except HoldError as error:
                refused = error
            except FloorError as error:
                assert extra == 1
                refused = error
            self.outcome(expected, refused)

        @rule(key=KEYS)
        def void(self, key: str) -> None:
            held, expires, state = self.model.holds.get(key, (0, None, HoldState.EXPIRED))
            refused = None
            try:
                void_holds(conn, book_id=self.books.book, keys=[key], at=self.now)
                self.model.holds[key] = (held, expires, HoldState.VOIDED)
            except HoldError as error:
                refused = error
            self.outcome(state in {HoldState.OPEN, HoldState.VOIDED}, refused)

        @rule(minutes=st.integers(0, 5))
        def expire(self, minutes: int) -> None:
            self.now += timedelta(minutes=minutes)
            due = {
                key
                for key, (_, expires, state) in self.model.holds.items()
                if state is HoldState.OPEN and expires is not None and expires <= self.now
            }
            assert set(expire_due(conn, book_id=self.books.book, now=self.now)) == due
            for key in due:
                self.model.holds[key] = (*self.model.holds[key][:2], HoldState.EXPIRED)

        @invariant()
        def the_books_are_the_model(self) -> None:
            found = conn.execute(
                "SELECT -posted_minor, -posted_minor - held_minor FROM ledger.balance WHERE account_id = %s",
                (self.books[WALLET],),
            ).fetchone()
            assert found == (self.model.balance, self.model.available)
            states = {h.key: h.state for h in list_holds(conn, book_id=self.books.book, state=None)}
            assert states == {key: state for key, (_, _, state) in self.model.holds.items()}

        def teardown(self) -> None:
            assert verify(conn, book_id=self.books.book) == ()
            conn.rollback()

    return HoldMachine


def test_any_life_of_holds(database: Database) -> None:
    books = open_books(database)
    with database.app() as conn:
        run_state_machine_as_test(
            machine(books, conn),
            settings=settings(
                max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
            ),
        )
