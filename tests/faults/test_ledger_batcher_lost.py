"""Invariant 8 through the batcher: connections lost before, in and after COMMIT, and a server killed under load.

A server of its own; its sessions are ended by pg_terminate_backend, its processes by their ids. Whatever happens,
every caller learns the truth: posted once, refused, certainly not posted, or unknown with the way to find out.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from psycopg import sql

from ledger import (
    Batcher,
    Connection,
    EntryOutcome,
    EntryStatus,
    OutcomeUnknownError,
    UnavailableError,
    post_batch,
    verify,
)
from ledger.lane import Answer, Lane
from nostro.database import Database, initialise
from tests.cluster import Cluster, throw_away_cluster
from tests.faults.test_ledger_kill import present
from tests.ledger_books import Books, entry, open_books

CALLERS, KILLS = 8, 2
WALLET = "liabilities:wallet:W1"
POSTED, REPLAYED, REFUSED = EntryStatus.POSTED, EntryStatus.REPLAYED, EntryStatus.REFUSED
BEFORE = entry("before", "assets:cash", "income:sales", 7)
DRAW = entry("draw", WALLET, "assets:cash", 50)  # of an empty wallet
BATCH = [entry("sale", "assets:cash", "income:sales", 5), DRAW, BEFORE, entry("more", "assets:cash", "income:sales", 6)]

# COMMIT of a batch with a key that is in public.pause sleeps.
_PAUSE = (
    "CREATE TABLE public.pause (key text)",
    "CREATE FUNCTION public.pause() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN"
    " IF EXISTS (SELECT FROM public.pause p WHERE p.key = NEW.idempotency_key) THEN PERFORM pg_sleep(60); END IF;"
    " RETURN NULL; END $$",
    "CREATE CONSTRAINT TRIGGER pause AFTER INSERT ON ledger.entry DEFERRABLE INITIALLY DEFERRED"
    " FOR EACH ROW EXECUTE FUNCTION public.pause()",
)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with throw_away_cluster("nostro_batcher") as opened:
        yield opened


@pytest.fixture(scope="module")
def database(cluster: Cluster) -> Database:
    """A session that asks for it waits in COMMIT, all written, for a standby that does not exist."""
    opened = cluster.start()
    initialise(opened)
    with opened.admin() as admin:
        admin.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        admin.execute(sql.SQL("ALTER DATABASE {} SET synchronous_commit = 'local'").format(sql.Identifier(opened.name)))
    with opened.owner() as conn:
        conn.execute("SET synchronous_commit = 'local'")
        for statement in _PAUSE:
            conn.execute(statement)
    cluster.kill()
    return cluster.start()


@pytest.fixture
def books(database: Database) -> Iterator[Books]:
    opened = open_books(database)
    with database.app() as conn:
        post_batch(conn, book_id=opened.book, entries=[BEFORE])
    yield opened
    with database.app() as conn:
        assert verify(conn, book_id=opened.book) == ()


def until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread or session does."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it does not come about"
        time.sleep(0.01)


@dataclass(frozen=True, slots=True)
class OnItsWay:
    """A batch whose session waits; ``again`` lets the lane connect once more."""

    admin: Connection
    found: Future[list[Answer]]
    again: threading.Event

    def end_session(self) -> None:
        """End the session that posts, and wait until it has gone."""
        self.admin.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name = 'lane'"
        )

    def statuses(self) -> list[EntryStatus | type[Exception]]:
        """What became of each entry."""
        found = self.found.result(timeout=60)
        return [one.status if isinstance(one, EntryOutcome) else type(one) for one in found]


@contextmanager
def posting(books: Books, wait_event: str, *, commit: str = "local", comes_back: bool = True) -> Iterator[OnItsWay]:
    """`BATCH` on its way, caught where its session waits for that event."""
    again, connected = threading.Event(), threading.Event()

    def connect() -> Connection:
        if connected.is_set() and not comes_back:
            raise UnavailableError("Postgres does not answer")
        assert not connected.is_set() or again.wait(timeout=30)
        conn = books.db.app()
        durability = "local" if connected.is_set() else commit
        conn.execute("SELECT set_config('application_name', 'lane', false)")
        conn.execute("SELECT set_config('synchronous_commit', %s, false)", (durability,))
        conn.commit()
        connected.set()
        return conn

    lane = Lane(connect, patience_s=0.2, given_up=threading.Event())
    waits = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'lane' AND wait_event = %s"
    with ThreadPoolExecutor(1) as pool, books.db.admin() as admin:
        found = pool.submit(lane.post, books.book, BATCH)
        until(lambda: admin.execute(waits, (wait_event,)).fetchone() is not None)
        yield OnItsWay(admin, found, again)
        found.result(timeout=60)
        lane.close()


@contextmanager
def cash_locked(books: Books) -> Iterator[Connection]:
    """Nobody posts to cash until this connection rolls back."""
    with books.db.owner() as blocker:
        blocker.execute("SELECT FROM ledger.balance WHERE account_id = %s FOR UPDATE", (books["assets:cash"],))
        yield blocker


@contextmanager
def commit_pauses(books: Books) -> Iterator[None]:
    with books.db.owner() as conn:
        conn.execute("INSERT INTO public.pause VALUES ('sale')")
    yield
    with books.db.owner() as conn:
        conn.execute("DELETE FROM public.pause")


def fill_the_wallet(books: Books) -> None:
    with books.db.app() as conn:
        post_batch(conn, book_id=books.book, entries=[entry("fund", "assets:cash", WALLET, 100)])


def keys_in(books: Books) -> set[str]:
    with books.db.app() as conn:
        found = present(conn, books)
    assert set(found.values()) == {1}
    return set(found)


def test_lost_before_commit_nothing_was_written_and_the_batch_is_posted(books: Books) -> None:
    with cash_locked(books) as blocker, posting(books, "transactionid") as on_its_way:
        on_its_way.end_session()
        assert keys_in(books) == {"before"}
        blocker.rollback()
        on_its_way.again.set()
        assert on_its_way.statuses() == [POSTED, REFUSED, REPLAYED, POSTED]
    assert keys_in(books) == {"before", "sale", "more"}


def test_lost_before_commit_without_a_server_is_certainly_not_posted(books: Books) -> None:
    with cash_locked(books) as blocker, posting(books, "transactionid", comes_back=False) as on_its_way:
        on_its_way.end_session()
        blocker.rollback()
        assert on_its_way.statuses() == [UnavailableError] * 4
    assert keys_in(books) == {"before"}


def test_lost_in_commit_and_rolled_back_everything_is_judged_again(books: Books) -> None:
    """The lost refusal does not stand either: the wallet was filled meanwhile."""
    with commit_pauses(books), posting(books, "PgSleep") as on_its_way:
        on_its_way.end_session()
        with books.db.owner() as conn:
            conn.execute("DELETE FROM public.pause")
        fill_the_wallet(books)
        on_its_way.again.set()
        assert on_its_way.statuses() == [POSTED, POSTED, REPLAYED, POSTED]
    assert keys_in(books) == {"before", "fund", "sale", "draw", "more"}


def test_lost_after_commit_the_first_answers_stand(books: Books) -> None:
    """Posted by this very call, not replayed; and refused, though the wallet could pay it now."""
    with posting(books, "SyncRep", commit="on") as on_its_way:
        assert keys_in(books) == {"before"}  # written, not yet visible
        on_its_way.end_session()
        fill_the_wallet(books)
        on_its_way.again.set()
        assert on_its_way.statuses() == [POSTED, REFUSED, REPLAYED, POSTED]
    assert keys_in(books) == {"before", "fund", "sale", "more"}


def test_lost_in_commit_without_a_server_is_unknown_and_its_key_tells_later(books: Books) -> None:
    with posting(books, "SyncRep", commit="on", comes_back=False) as on_its_way:
        on_its_way.end_session()
        assert on_its_way.statuses() == [OutcomeUnknownError, REFUSED, REPLAYED, OutcomeUnknownError]
        unknown = on_its_way.found.result()[0]
        assert "post the same entry again" in str(unknown)
    with Batcher(books.db.app) as batcher:
        assert not batcher.post(BATCH[0], book_id=books.book).is_new
    assert keys_in(books) == {"before", "sale", "more"}


def test_callers_whose_server_is_killed_learn_the_truth(cluster: Cluster, books: Books) -> None:
    stop, dice = threading.Event(), random.Random(20261102)
    acknowledged: list[str] = []
    not_posted: list[str] = []
    unknown: list[str] = []

    def call(number: int) -> None:
        for n in range(100_000):
            if stop.is_set():
                return
            one = entry(f"{number}-{n}", "assets:cash", "income:sales", n + 1)
            try:
                assert batcher.post(one, book_id=books.book, timeout_s=60).is_new
                acknowledged.append(one.key)
            except UnavailableError:
                not_posted.append(one.key)
            except OutcomeUnknownError:
                unknown.append(one.key)

    with Batcher(books.db.app, patience_s=30) as batcher, ThreadPoolExecutor(CALLERS) as pool:
        calls = [pool.submit(call, number) for number in range(CALLERS)]
        for _ in range(KILLS):
            so_far = len(acknowledged)
            until(lambda so_far=so_far: len(acknowledged) > so_far + 50)  # type: ignore[misc]
            time.sleep(dice.uniform(0.0, 0.2))
            cluster.kill()
            cluster.start()
        so_far = len(acknowledged)
        until(lambda: len(acknowledged) > so_far + 50)
        stop.set()
        for one in calls:
            one.result(timeout=60)
    found = keys_in(books)
    assert found >= set(acknowledged)
    assert found.isdisjoint(not_posted)
    assert found - set(acknowledged) - {"before"} <= set(unknown)
