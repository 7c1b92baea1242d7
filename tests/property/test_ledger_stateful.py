"""The books on a real Postgres against a model of dictionaries: any life of them, shrunk when the two differ.

Every step does the same to both: post (whole or each for itself), retry, reverse, hold and resolve, open and close
periods, publish, seal. Two steps may run at once, in two threads: then some order of the two must explain both answers.
The server is killed and started again, and the books are dumped and restored into another server, while they live.
After every step balances, holds and the number of entries agree; at the end of a life everything that can be read.

NOSTRO_HYPOTHESIS=long runs more and longer lives; NOSTRO_HYPOTHESIS=1000 as many as said.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import ClassVar

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from ledger import (
    Connection,
    Knowledge,
    OutcomeUnknownError,
    RefusedError,
    Seal,
    StatementCursor,
    UnavailableError,
    balance,
    events,
    list_holds,
    list_seals,
    period_status,
    publish,
    seal,
    statement,
    statement_page,
    trial_balance,
    verify,
    verify_seals,
)
from nostro.database import Database, initialise
from nostro.users import add_user
from tests.cluster import Cluster, move, throw_away_cluster
from tests.property.ledger_model import Model, ModelAccount, Refusal
from tests.property.ledger_operations import (
    ACCOUNTS,
    DAYS,
    KINDS,
    NOON,
    Operation,
    draw_operation,
    open_account,
    post_operation,
)

STEPS = [
    *KINDS,
    *["race"] * 5,
    *["publish", "publish", "publish_beside_a_post", "seal", "seal", "certify", "look", "look", "look", "disaster"],
]
_books = count(1)
NAME = "nostro_stateful"


@dataclass(slots=True)
class World:
    """Two servers, one of which has the books; connections by login and number, opened when first used."""

    clusters: tuple[Cluster, Cluster]
    databases: list[Database]
    folder: Path
    here: int = 0
    crashes: int = 0
    moves: int = 0
    _open: dict[tuple[str, int], Connection] = field(default_factory=dict)

    @property
    def database(self) -> Database:
        return self.databases[self.here]

    def conn(self, login: str, number: int = 0) -> Connection:
        if (login, number) not in self._open:
            self._open[login, number] = self.database.login(login)
        return self._open[login, number]

    def close(self) -> None:
        for conn in self._open.values():
            conn.close()
        self._open.clear()

    def crash(self) -> None:
        """Kill the server with everything it has, and let it recover."""
        self.clusters[self.here].kill()
        self.close()
        self.databases[self.here] = self.clusters[self.here].start()
        self.crashes += 1

    def move(self) -> None:
        """Go on with a dump of the books, restored into the other server."""
        self.close()
        move(self.database, self.databases[1 - self.here], self.folder / "books.dump")
        self.here = 1 - self.here
        self.moves += 1


def refusal(error: RefusedError) -> Outcome:
    return Outcome(refused=frozenset({error.constraint or type(error).__name__}))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a step answered: a value, or the names of the rules that (may) refuse it."""

    value: object = None
    refused: frozenset[str] = frozenset()

    def explains(self, got: Outcome) -> bool:
        """Whether this, the model's, is what the books answered."""
        return (
            self.value == got.value if not self.refused else got.refused != frozenset() and got.refused <= self.refused
        )


def asked(model: Model, operation: Operation) -> tuple[Outcome, Model]:
    """The model's answer and the model after it."""
    trial = model.fork()
    try:
        return Outcome(operation.model(trial)), trial
    except Refusal as refusal:
        return Outcome(refused=refusal.names), model


def done(conn: Connection, operation: Operation) -> Outcome:
    """The books' answer."""
    try:
        return Outcome(operation.books(conn))
    except RefusedError as error:
        if "does not exist" in str(error) and error.constraint is None and "account" not in str(error):
            raise
        return Outcome(refused=frozenset({error.constraint or type(error).__name__}))


class BooksMachine(RuleBasedStateMachine):
    """One book; every rule does the same to it and to the model."""

    world: ClassVar[World]
    steps: ClassVar[dict[str, int]] = {}

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.now = NOON
        self.published: list[tuple[int, int]] = []  # (seq, entries of the book known then)
        self.seals: tuple[Seal, ...] = ()
        row = self.app.execute("SELECT ledger.define_book(%s, 'EUR')", (f"book {next(_books)}",)).fetchone()
        assert row is not None
        self.book = int(str(row[0]))
        self.app.commit()
        # A bank account: without its certificate, closing needs a second person.
        open_account(self.app, self.book, "assets:bank:main", ModelAccount("asset"), control="nostro")

    @property
    def app(self) -> Connection:
        return self.world.conn("service")

    def count(self, what: str) -> None:
        self.steps[what] = self.steps.get(what, 0) + 1

    @initialize(first=ACCOUNTS, second=ACCOUNTS)
    def begin(self, first: ModelAccount, second: ModelAccount) -> None:
        for code, type_ in (("x:0", first.type), ("x:1", second.type)):
            open_account(self.app, self.book, code, ModelAccount(type_))
            self.model.open(code, ModelAccount(type_))

    def draw(self, data: st.DataObject, kind: str) -> Operation:
        operation = draw_operation(data.draw, self.model, self.book, self.now, kind)
        self.now = max(self.now, operation.at or self.now)
        self.count(kind)
        return operation

    @rule(data=st.data(), what=st.sampled_from(STEPS))
    def step(self, data: st.DataObject, what: str) -> None:
        """One rule draws all kinds of steps, so that few lives see all of them."""
        if what in KINDS:
            operation = self.draw(data, what)
            self.same(operation, done(self.world.conn(operation.login), operation))
        else:
            self.count(what)
            getattr(self, what)(data)

    def same(self, operation: Operation, got: Outcome) -> None:
        """The model answers so too, and goes on from there."""
        expected, after = asked(self.model, operation)
        assert expected.explains(got), (expected, got)
        self.model = after
        self.count("refused" if got.refused else "accepted")

    def race(self, data: st.DataObject) -> None:
        """Two at once (or one twice): the answers are those of one after the other, in one of the two orders."""
        one = self.draw(data, data.draw(st.sampled_from(KINDS)))
        pair = (one, one if data.draw(st.booleans()) else self.draw(data, data.draw(st.sampled_from(KINDS))))
        start = threading.Barrier(2)

        def run(number: int) -> Outcome:
            conn = self.world.conn(pair[number].login, number)
            start.wait(timeout=20)
            return done(conn, pair[number])

        for number in (0, 1):
            self.world.conn(pair[number].login, number).rollback()
        with ThreadPoolExecutor(2) as pool:
            got = list(pool.map(run, (0, 1)))
        raced = [operation.that_answered(answer.value) for operation, answer in zip(pair, got, strict=True)]
        for order in ((0, 1), (1, 0)):
            early, between = asked(self.model, raced[order[0]])
            late, after = asked(between, raced[order[1]])
            if early.explains(got[order[0]]) and late.explains(got[order[1]]):
                self.model = after
                break
        else:
            raise AssertionError(
                f"no order of the two explains {got}; expected {[asked(self.model, one)[0] for one in pair]}"
            )
        self.count("raced")

    def publish(self, data: st.DataObject | None = None) -> None:
        self.published.append((publish(self.app), len(self.model.entries)))

    def publish_beside_a_post(self, data: st.DataObject) -> None:
        """What has not committed is not published; it is not below the published point later either."""
        known = len(self.model.entries)
        operation = post_operation(data.draw, self.model, self.book)
        other = self.world.conn("service", 1)
        other.rollback()
        try:
            with other.transaction():
                got = Outcome(operation.books(other))
                self.published.append((publish(self.app), known))
        except RefusedError as error:
            got = refusal(error)
        self.same(operation, got)

    def seal(self, data: st.DataObject | None = None) -> None:
        """Seal a little at a time; what was sealed stays, wherever the books live."""
        size = data.draw(st.integers(1, 5)) if data else 3
        self.seals += seal(self.app, book_id=self.book, entries=size)
        known = self.published[-1][1] if self.published else 0
        assert list_seals(self.app, book_id=self.book) == self.seals
        assert sum(one.entry_count for one in self.seals) <= known
        report = verify_seals(self.app, book_id=self.book, anchored=self.seals)
        assert report.faults == ()
        assert report.checked_entries + report.unsealed_entries == known

    def certify(self, data: st.DataObject) -> None:
        """As reconciliation does when it has proven the bank account through a day."""
        through = data.draw(DAYS) - timedelta(days=4)
        with self.world.database.owner() as owner:
            owner.execute(
                "SELECT ledger.record_certificate(book_id, account_id, %s, repeat('0', 64))"
                " FROM ledger.account WHERE book_id = %s AND control = 'nostro'",
                (through, self.book),
            )
        self.model.certified = max(self.model.certified, through)

    def look(self, data: st.DataObject) -> None:
        """Trial balance, balance and statement, of a date and as known at a published point."""
        known, first = None, None
        as_of: date | None = data.draw(st.none() | DAYS)
        if self.published and data.draw(st.booleans()):
            seq, first = data.draw(st.sampled_from(self.published))
            known = Knowledge(seq, datetime.now(UTC))
        day = as_of or date.max
        trial = trial_balance(self.app, book_id=self.book, as_of=as_of, known=known)
        said = {row.code: row.posted_minor for row in trial.rows if row.posted_minor}
        expected = {code: self.model.balance(code, as_of=day, first=first) for code in self.model.accounts}
        assert said == {code: amount for code, amount in expected.items() if amount}
        assert trial.is_zero
        code = data.draw(st.sampled_from(sorted(self.model.accounts)))
        side = self.model.accounts[code].side
        (one,) = balance(self.app, book_id=self.book, account=code, as_of=as_of, known=known)
        assert (one.posted_minor, one.balance_minor) == (expected[code], side * expected[code])
        rows = list(statement(self.app, book_id=self.book, account=code, as_of=as_of, known=known))
        assert sorted((row.effective_date, row.key, row.amount_minor, row.description) for row in rows) == sorted(
            (entry.day, key, side * amount, entry.description)
            for key, entry in list(self.model.entries.items())[:first]
            for account, amount in entry.legs
            if account == code and entry.day <= day
        )
        days = [row.effective_date for row in rows]
        assert days == sorted(days) and (not rows or rows[-1].balance_minor == side * expected[code])
        paged, start = [], date.min if not rows else data.draw(st.sampled_from(days))
        skipped = sum(row.effective_date < start for row in rows)
        place: date | StatementCursor | None = start
        while place is not None:
            page = statement_page(
                self.app, book_id=self.book, account=code, start=place, limit=2, as_of=as_of, known=known
            )
            paged += page.rows
            place = page.more
        assert paged == rows[skipped:]
        self.app.rollback()

    def disaster(self, data: st.DataObject) -> None:
        """A step meets a lost connection and has not happened; done again, it has. The books outlive their server."""
        what = data.draw(st.sampled_from(["backend"] * 10 + ["server", "move"]))
        operation = post_operation(data.draw, self.model, self.book)
        lost = self.world.conn("service", 1)
        self.app.rollback()
        if what == "backend":
            self.app.execute("SELECT pg_terminate_backend(%s, 5000)", (lost.info.backend_pid,))
            self.app.commit()
        elif what == "server":
            self.world.crash()
        else:
            self.world.move()
        with pytest.raises((UnavailableError, OutcomeUnknownError)):
            operation.books(lost)
        self.world.close()
        self.count(what)
        self.same(operation, done(self.app, operation))

    @invariant()
    def balances_and_holds_agree(self) -> None:
        rows = self.app.execute(
            "SELECT code, posted_minor, held_minor, balance_minor FROM ledger.account_balance"
            " WHERE book_id = %s AND starts_with(code, 'x:')",
            (self.book,),
        ).fetchall()
        expected = set()
        for code, account in self.model.accounts.items():
            posted = self.model.balance(code)
            expected.add((code, posted, self.model.held(code), account.side * posted))
        assert set(rows) == expected
        keys = self.app.execute("SELECT count(*) FROM ledger.entry WHERE book_id = %s", (self.book,)).fetchone()
        assert keys == (len(self.model.entries),)
        self.app.rollback()

    def teardown(self) -> None:
        try:
            if sys.exc_info() == (None, None, None):  # a life that failed has said why
                self.everything_agrees()
        finally:
            self.world.close()

    def everything_agrees(self) -> None:
        conn, book = self.app, self.book
        conn.rollback()
        assert verify(conn, book_id=book) == ()
        rows = conn.execute(
            "SELECT idempotency_key, effective_date, description, reference, array_agg(account ORDER BY posting_id),"
            " array_agg(amount_minor ORDER BY posting_id) FROM ledger.journal WHERE book_id = %s"
            " GROUP BY 1, 2, 3, 4",
            (book,),
        ).fetchall()
        assert {(*row[:4], *sorted(zip(row[4], row[5], strict=True))) for row in rows} == {  # type: ignore[call-overload]
            (key, entry.day, entry.description, entry.reference, *sorted(entry.legs))
            for key, entry in self.model.entries.items()
        }
        found = {h.key: (h.account, h.amount_minor, h.expires_at) for h in list_holds(conn, book_id=book, state=None)}
        assert found == {key: (hold.account, hold.amount, hold.expires) for key, hold in self.model.holds.items()}
        ended = {
            h.key: (h.state.value, h.posted_minor, h.entry_key) for h in list_holds(conn, book_id=book, state=None)
        }
        assert ended == {key: hold.ended or ("open", 0, None) for key, hold in self.model.holds.items()}
        periods = period_status(conn, book_id=book)
        assert (periods.closed_through or date.min, periods.soft_closed_through or date.min) == (
            self.model.closed,
            self.model.soft,
        )
        conn.rollback()
        self.publish()
        numbers = [(event.seq, event.key) for event in events(conn, book_id=book)]
        assert [seq for seq, _ in numbers] == sorted({seq for seq, _ in numbers})
        keys = list(self.model.entries)
        for seq, known in self.published:
            assert {key for number, key in numbers if number <= seq} == set(keys[:known])
        assert conn.execute("SELECT * FROM ledger.verify_rollup(%s)", (book,)).fetchall() == []
        self.seal()
        conn.rollback()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Two servers with the same roles; each life has a book of its own in the one database."""
    with throw_away_cluster(NAME) as first, throw_away_cluster(NAME) as second:
        databases = [cluster.start() for cluster in (first, second)]
        for database in databases:
            with psycopg.connect(database.admin_conninfo, autocommit=True) as admin:
                # A background transaction would rightly hold back what the model takes for published.
                admin.execute("ALTER SYSTEM SET autovacuum = off")
                admin.execute("SELECT pg_reload_conf()")
            initialise(database)
            add_user(database, "alice", "preparer")
            add_user(database, "bob", "approver")
        yield World((first, second), databases, tmp_path_factory.mktemp("dumps"))


def test_the_books_follow_the_model(world: World) -> None:
    BooksMachine.world = world
    profile = os.environ.get("NOSTRO_HYPOTHESIS", "20")
    lives = 300 if profile == "long" else int(profile)
    run_state_machine_as_test(
        BooksMachine,
        settings=settings(
            max_examples=lives,
            stateful_step_count=30 if lives < 100 else 60,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
        ),
    )
    print(f"{lives} lives, {sum(BooksMachine.steps.values())} steps: {BooksMachine.steps}")
