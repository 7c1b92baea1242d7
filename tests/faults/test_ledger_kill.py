"""Invariant 8 by kill −9: what was acknowledged is there once, what was not is there once or not at all, whole.

A server of its own in a temporary folder; the postmaster and every backend it has are killed by their process ids
at random moments while writers post, and started again. Only processes that this test started are touched.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from ledger import Connection, NewEntry, post_batch, verify
from nostro.database import initialise
from tests.cluster import Cluster, throw_away_cluster
from tests.faults.ledger_writer import BATCHES
from tests.ledger_books import Books, entry, open_books

ROUNDS, WRITERS = 3, 3
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with throw_away_cluster("nostro_kill") as opened:
        yield opened


def batch_of(writer: str, number: int) -> list[NewEntry]:
    """What the writer posts under this number."""
    size = BATCHES[number % len(BATCHES)]
    return [entry(f"{writer}:{number}:{n}", "assets:cash", "income:sales", number + n + 1) for n in range(size)]


def present(conn: Connection, books: Books) -> dict[str, int]:
    """How often each key is in the books."""
    rows = conn.execute(
        "SELECT idempotency_key, count(*) FROM ledger.entry WHERE book_id = %s GROUP BY 1", (books.book,)
    ).fetchall()
    return {str(key): int(str(times)) for key, times in rows}


def check(conn: Connection, books: Books, acks: dict[str, Path], tried: dict[str, int]) -> dict[str, int]:
    """O2 and O3 of the fault catalogue; returns the number after each writer's last known batch."""
    found = present(conn, books)
    assert set(found.values()) <= {1}
    following: dict[str, int] = {}
    for writer, path in acks.items():
        acknowledged = [int(line) for line in path.read_text().split()]
        assert acknowledged == list(range(len(acknowledged)))
        for number in acknowledged:
            assert all(one.key in found for one in batch_of(writer, number)), f"{writer}: {number} was lost"
        unknown = len(acknowledged)
        there = [one.key in found for one in batch_of(writer, unknown)]
        assert all(there) or not any(there), f"{writer}: {unknown} is there in part"
        assert f"{writer}:{unknown + 1}:0" not in found
        # The unknown outcome is resolved by posting the same keys again: not by guessing.
        posted = post_batch(conn, book_id=books.book, entries=batch_of(writer, unknown))
        assert {one.is_new for one in posted} == {not there[0]}
        with path.open("a") as stream:
            stream.write(f"{unknown}\n")
        following[writer] = unknown + 1
        tried[writer] += there[0]
    return following


def test_acknowledged_is_there_after_kill_9(cluster: Cluster, tmp_path: Path) -> None:
    database = cluster.start()
    initialise(database)
    books = open_books(database)
    dice = random.Random(20261102)
    acks = {f"w{n}": tmp_path / f"w{n}.acks" for n in range(WRITERS)}
    for path in acks.values():
        path.touch()
    numbers = dict.fromkeys(acks, 0)
    committed_but_unheard = dict.fromkeys(acks, 0)
    command = [sys.executable, "-m", "tests.faults.ledger_writer"]
    for _ in range(ROUNDS):
        writers = [
            subprocess.Popen(
                [*command, database.conninfo(), str(books.book), writer, str(numbers[writer]), str(path)], cwd=ROOT
            )
            for writer, path in acks.items()
        ]
        wait_for_acks(acks, numbers)
        time.sleep(dice.uniform(0.05, 0.8))
        cluster.kill()
        for process in writers:
            assert process.wait(timeout=20) == 0
        cluster.start()
        with database.app() as conn:
            conn.execute("SET statement_timeout = '60s'")
            numbers = check(conn, books, acks, committed_but_unheard)
            assert verify(conn, book_id=books.book) == ()
    assert all(number > ROUNDS for number in numbers.values())


def wait_for_acks(acks: dict[str, Path], numbers: dict[str, int]) -> None:
    """Until every writer has posted something this round."""
    deadline = time.monotonic() + 30
    while any(len(path.read_text().split()) <= numbers[writer] for writer, path in acks.items()):
        assert time.monotonic() < deadline, "the writers do not get going"
        time.sleep(0.02)


def test_a_backend_killed_in_the_middle_leaves_nothing(cluster: Cluster) -> None:
    """One transaction open with postings when the server dies: none of it is there afterwards."""
    database = cluster.start()
    initialise(database)
    books = open_books(database)
    conn = database.app()
    with pytest.raises(psycopg.OperationalError), conn.transaction():
        post_batch(conn, book_id=books.book, entries=[entry("open", "assets:cash", "income:sales", 1)])
        cluster.kill()
        conn.execute("SELECT 1")
    conn.close()
    cluster.start()
    with database.app() as after:
        assert present(after, books) == {}
        assert verify(after, book_id=books.book) == ()
