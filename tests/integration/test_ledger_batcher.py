"""Single posts that share commits: real threads, coroutines and connections; every caller gets its own answer."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from ledger import (
    Batcher,
    Connection,
    FloorError,
    IdempotencyConflictError,
    NewEntry,
    NewPosting,
    NostroError,
    OutcomeUnknownError,
    PostedEntry,
    UnavailableError,
    close_period,
    post_batch,
    request_close_override,
    verify,
)
from nostro.database import Database
from tests.ledger_books import DAY, Books, entry, fresh_database, open_books

CALLERS = 32


@pytest.fixture(scope="module")
def database(template: Database) -> Iterator[Database]:
    """One database for this file; each test has a book of its own in it."""
    with fresh_database(template, "nostro_test_batcher") as opened:
        yield opened


@pytest.fixture
def books(database: Database) -> Iterator[Books]:
    """Empty books; whatever the callers did, every invariant holds at the end."""
    opened = open_books(database)
    yield opened
    with database.app() as conn:
        assert verify(conn, book_id=opened.book) == ()


Answer = PostedEntry | Exception


def answers_of(batcher: Batcher, wanted: Sequence[tuple[int, NewEntry]]) -> list[Answer]:
    """Each entry posted by a thread of its own, all at once."""

    def ask(book: int, one: NewEntry) -> Answer:
        try:
            return batcher.post(one, book_id=book)
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(wanted)) as pool:
        return [future.result() for future in [pool.submit(ask, *each) for each in wanted]]


@contextmanager
def held_back(books: Books) -> Iterator[tuple[Callable[[], Connection], threading.Event]]:
    """A way to connect that waits until the event is set: what is posted before that queues up."""
    gate = threading.Event()

    def connect() -> Connection:
        gate.wait(timeout=20)
        return books.db.app()

    try:
        yield connect, gate
    finally:
        gate.set()


def until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread does."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it does not come about"
        time.sleep(0.005)


def in_one_batch(books: Books, entries: Sequence[NewEntry]) -> list[Answer]:
    """Post the entries in the order given, by a thread each, so that all share one batch."""
    with (
        held_back(books) as (connect, gate),
        Batcher(connect, connections=1) as batcher,
        ThreadPoolExecutor(99) as pool,
    ):
        first = pool.submit(batcher.post, entry("opens the lane", "assets:cash", "income:sales", 1), book_id=books.book)
        until(lambda: batcher.taken == 1)
        futures: list[Future[PostedEntry]] = []
        for n, one in enumerate(entries):
            futures.append(pool.submit(batcher.post, one, book_id=books.book))
            until(lambda n=n: batcher.waiting == n + 1)  # type: ignore[misc]
        gate.set()
        found: list[Answer] = [error if (error := future.exception()) else future.result() for future in futures]  # type: ignore[misc]
        assert first.result().is_new
        assert batcher.batches == 2
        return found


def keys_in(books: Books) -> Counter[str]:
    with books.db.app() as conn:
        rows = conn.execute("SELECT idempotency_key FROM ledger.entry WHERE book_id = %s", (books.book,)).fetchall()
    return Counter(str(key) for (key,) in rows)


def test_callers_share_commits_and_each_gets_its_own_entry(books: Books) -> None:
    with Batcher(books.db.app) as batcher:

        def work(number: int) -> list[PostedEntry]:
            mine = [entry(f"{number}-{n}", "assets:cash", "income:sales", number + n + 1) for n in range(20)]
            return [batcher.post(one, book_id=books.book) for one in mine]

        with ThreadPoolExecutor(CALLERS) as pool:
            posted = list(pool.map(work, range(CALLERS)))
        assert batcher.entries == CALLERS * 20
        assert batcher.batches < batcher.entries / 3
    for number, mine in enumerate(posted):
        assert [one.key for one in mine] == [f"{number}-{n}" for n in range(20)]
        assert all(one.is_new for one in mine)
    with books.db.app() as conn:
        rows = conn.execute(
            "SELECT e.idempotency_key, e.entry_id, e.first_posting_id, p.amount_minor FROM ledger.entry e"
            " JOIN ledger.posting p ON p.posting_id = e.first_posting_id WHERE e.book_id = %s",
            (books.book,),
        ).fetchall()
    assert {row[0]: row[1:3] for row in rows} == {
        one.key: (one.entry_id, one.first_posting_id) for mine in posted for one in mine
    }
    assert all(amount == sum(map(int, str(key).split("-"))) + 1 for key, _, _, amount in rows)


def close_through_the_day_before(books: Books) -> None:
    day = DAY.replace(day=DAY.day - 1)
    with books.db.login("alice") as conn:
        request_close_override(conn, book_id=books.book, through=day, reason="no bank account is live yet")
    with books.db.login("bob") as conn:
        close_period(conn, book_id=books.book, through=day)


def kinds() -> list[NewEntry]:
    """One entry of every kind of answer; the first and the last are good."""
    huge = 2**63
    return [
        entry("good", "assets:cash", "income:sales", 5, description="a sale", reference="R-1"),
        entry("replayed", "assets:cash", "income:sales", 7),
        entry("conflict", "assets:cash", "income:sales", 8),
        NewEntry("unbalanced", DAY, (NewPosting("assets:cash", 5), NewPosting("income:sales", -4))),
        NewEntry("alone", DAY, (NewPosting("assets:cash", 5),)),
        NewEntry("bare", DAY, ()),
        entry("unknown", "assets:cash", "income:never-opened", 5),
        entry("control", "assets:bank:main", "income:sales", 5),
        entry("zero", "assets:cash", "income:sales", 0),
        entry("floor", "liabilities:wallet:W1", "assets:cash", 5),
        entry("closed", "assets:cash", "income:sales", 5, day=DAY.replace(day=DAY.day - 1)),
        entry("", "assets:cash", "income:sales", 5),
        entry("long" * 3000, "assets:cash", "income:sales", 5),
        entry("nul\0", "assets:cash", "income:sales", 5),
        entry("half \ud800", "assets:cash", "income:sales", 5),
        entry("huge", "assets:cash", "income:sales", huge),
        NewEntry("overflow", DAY, tuple(NewPosting("assets:cash", huge - 1) for _ in range(3))),
        NewEntry("float", DAY, (NewPosting("assets:cash", 1.5), NewPosting("income:sales", -1.5))),  # type: ignore[arg-type]
        entry("good too", "assets:cash", "income:sales", 6),
    ]


def test_every_answer_is_that_of_the_entry_posted_alone(books: Books) -> None:
    twin = open_books(books.db)
    for one in (books, twin):
        with one.db.app() as conn:
            post_batch(conn, book_id=one.book, entries=[entry("replayed", "assets:cash", "income:sales", 7)])
            post_batch(conn, book_id=one.book, entries=[entry("conflict", "assets:cash", "income:sales", 9)])
        close_through_the_day_before(one)
    found = in_one_batch(books, kinds())
    for one, ours in zip(kinds(), found, strict=True):
        with twin.db.app() as conn:
            try:
                alone: Answer = post_batch(conn, book_id=twin.book, entries=[one])[0]
            except Exception as error:
                alone = error
        assert type(ours) is type(alone), (one.key[:20], ours, alone)
        if isinstance(ours, PostedEntry) and isinstance(alone, PostedEntry):
            assert ours.is_new == alone.is_new == (one.key != "replayed")
        elif isinstance(ours, NostroError) and isinstance(alone, NostroError):
            assert alone.constraint in (None, ours.constraint), (one.key[:20], ours, alone)
    assert keys_in(books) == keys_in(twin) + Counter({"opens the lane": 1})


def test_one_key_several_times_in_a_batch(books: Books) -> None:
    same = [entry("k", "assets:cash", "income:sales", 5)] * 3
    other = entry("k", "assets:cash", "income:sales", 6)
    first, second, conflict, third = in_one_batch(books, [*same[:2], other, same[2]])
    assert isinstance(first, PostedEntry) and first.is_new
    for again in (second, third):
        assert isinstance(again, PostedEntry) and not again.is_new and again.entry_id == first.entry_id
    assert isinstance(conflict, IdempotencyConflictError)


def test_a_wallet_drained_through_the_batcher_never_crosses_its_floor(books: Books) -> None:
    wallet = "liabilities:wallet:W1"
    with books.db.app() as conn:
        post_batch(conn, book_id=books.book, entries=[entry("fund", "assets:cash", wallet, 1000)])
    with Batcher(books.db.app) as batcher:

        def work(number: int) -> Counter[str]:
            seen: Counter[str] = Counter()
            for n in range(5):
                try:
                    batcher.post(entry(f"{number}-{n}", wallet, "assets:cash", 30), book_id=books.book)
                    seen["paid"] += 1
                except FloorError as refused:
                    assert f"{number}-{n}" in str(refused)
                    seen["refused"] += 1
            return seen

        with ThreadPoolExecutor(CALLERS) as pool:
            seen = sum(pool.map(work, range(CALLERS)), Counter[str]())
    assert seen == {"paid": 1000 // 30, "refused": CALLERS * 5 - 1000 // 30}
    assert len(keys_in(books)) == 1 + 1000 // 30


def test_several_books_at_once(books: Books) -> None:
    all_books = [books, open_books(books.db), open_books(books.db)]
    wanted = [(one.book, entry(f"k{n}", "assets:cash", "income:sales", n + 1)) for n in range(10) for one in all_books]
    with Batcher(books.db.app) as batcher:
        found = answers_of(batcher, wanted)
    assert all(isinstance(one, PostedEntry) and one.is_new for one in found)
    for one in all_books:
        assert keys_in(one) == Counter(f"k{n}" for n in range(10))


def test_a_busy_book_does_not_keep_another_waiting(books: Books) -> None:
    other = open_books(books.db)
    order: list[int] = []

    async def ask(batcher: Batcher, book: int, key: str) -> None:
        await batcher.post_async(entry(key, "assets:cash", "income:sales", 1), book_id=book)
        order.append(book)

    async def run() -> None:
        with held_back(books) as (connect, gate):
            batcher = Batcher(connect, connections=1, max_batch=10)
            many = [asyncio.create_task(ask(batcher, books.book, f"k{n}")) for n in range(200)]
            await asyncio.sleep(0)
            one = asyncio.create_task(ask(batcher, other.book, "one"))
            await asyncio.sleep(0)
            gate.set()
            await asyncio.gather(one, *many)
            batcher.close()

    asyncio.run(run())
    assert order.index(other.book) <= 2 * 10
    assert len(order) == 201


# --- time, room, the end -------------------------------------------------------------------------------------------


def test_who_runs_out_of_time_learns_whether_the_entry_may_still_be_posted(books: Books) -> None:
    lock = "SELECT FROM ledger.balance WHERE account_id = %s FOR UPDATE"
    with books.db.owner() as blocker, Batcher(books.db.app, connections=1, max_waiting=1) as batcher:
        blocker.execute(lock, (books["assets:cash"],))
        with ThreadPoolExecutor(3) as pool:

            def ask(key: str, timeout_s: float) -> Future[PostedEntry]:
                one = entry(key, "assets:cash", "income:sales", 5)
                return pool.submit(batcher.post, one, book_id=books.book, timeout_s=timeout_s)

            under_way = ask("under way", 0.3)
            until(lambda: batcher.taken == 1)
            waiting = ask("waiting", 0.2)
            until(lambda: batcher.waiting == 1)
            no_room = ask("no room", 0.1)
            with pytest.raises(OutcomeUnknownError, match="under way"):
                under_way.result()
            with pytest.raises(UnavailableError, match="no turn"):
                waiting.result()
            with pytest.raises(UnavailableError, match="no room"):
                no_room.result()
        assert UnavailableError.retryable and not OutcomeUnknownError.retryable
        blocker.rollback()
        again = batcher.post(entry("under way", "assets:cash", "income:sales", 5), book_id=books.book)
        assert not again.is_new  # the unknown is resolved by its key
    assert keys_in(books) == {"under way": 1}


def test_callers_wait_for_room(books: Books) -> None:
    wanted = [(books.book, entry(f"k{n}", "assets:cash", "income:sales", 1)) for n in range(40)]
    with Batcher(books.db.app, max_waiting=2) as batcher:
        assert all(isinstance(one, PostedEntry) for one in answers_of(batcher, wanted))

    async def run() -> list[PostedEntry]:
        with Batcher(books.db.app, max_waiting=2) as batcher:
            tasks = [batcher.post_async(one, book_id=book) for book, one in wanted]
            return await asyncio.gather(*tasks)

    assert not any(one.is_new for one in asyncio.run(run()))


def test_closing_posts_what_waits_and_takes_no_more(books: Books) -> None:
    with held_back(books) as (connect, gate), ThreadPoolExecutor(20) as pool:
        batcher = Batcher(connect)
        entries = [entry(f"k{n}", "assets:cash", "income:sales", 1) for n in range(12)]
        futures = [pool.submit(batcher.post, one, book_id=books.book) for one in entries]
        until(lambda: batcher.waiting + batcher.taken == 12)
        closing = pool.submit(batcher.close)
        until(lambda: batcher.closed)
        with pytest.raises(UnavailableError, match="closed"):
            batcher.post(entry("late", "assets:cash", "income:sales", 1), book_id=books.book)
        gate.set()
        closing.result()
        assert all(future.result().is_new for future in futures)
        batcher.close()  # again: nothing
    assert keys_in(books) == Counter(one.key for one in entries)


def test_closing_without_a_server_tells_everybody(books: Books) -> None:
    def connect() -> Connection:
        raise UnavailableError("Postgres does not answer")

    batcher = Batcher(connect, connections=2)
    with ThreadPoolExecutor(6) as pool:
        futures = [
            pool.submit(batcher.post, entry(f"k{n}", "assets:cash", "income:sales", 1), book_id=books.book)
            for n in range(6)
        ]
        until(lambda: batcher.waiting + batcher.taken == 6)
        batcher.close(timeout_s=0.1)
        for future in futures:
            with pytest.raises(UnavailableError, match=r"not posted|closed"):
                future.result()


def test_a_login_without_rights_refuses_every_caller(books: Books) -> None:
    with Batcher(lambda: books.db.login("nobody")) as batcher:
        (found,) = answers_of(batcher, [(books.book, entry("k", "assets:cash", "income:sales", 1))])
    assert isinstance(found, NostroError) and "no login" in str(found)


# --- coroutines ----------------------------------------------------------------------------------------------------


def test_coroutines_get_their_own_answers(books: Books) -> None:
    async def run() -> list[PostedEntry | BaseException]:
        with Batcher(books.db.app) as batcher:
            entries = [entry(f"k{n}", "assets:cash", "income:sales", n % 10) for n in range(100)]
            tasks = [batcher.post_async(one, book_id=books.book) for one in entries]
            return await asyncio.gather(*tasks, return_exceptions=True)

    found = asyncio.run(run())
    for n, one in enumerate(found):
        if n % 10 == 0:  # a posting of nothing
            assert isinstance(one, NostroError) and one.constraint == "posting_amount_not_zero"
        else:
            assert isinstance(one, PostedEntry) and one.key == f"k{n}"
    assert len(keys_in(books)) == 90


def test_a_coroutine_out_of_time_or_cancelled_withdraws_its_entry(books: Books) -> None:
    async def run() -> None:
        with held_back(books) as (connect, gate):
            batcher = Batcher(connect, connections=1)

            def ask(key: str, timeout_s: float | None = None) -> asyncio.Task[PostedEntry]:
                one = entry(key, "assets:cash", "income:sales", 1)
                return asyncio.create_task(batcher.post_async(one, book_id=books.book, timeout_s=timeout_s))

            first = ask("first")
            while batcher.taken == 0:
                await asyncio.sleep(0.005)
            late, cancelled = ask("late", 0.05), ask("cancelled")
            with pytest.raises(UnavailableError, match="no turn"):
                await late
            cancelled.cancel()
            with pytest.raises(asyncio.CancelledError):
                await cancelled
            gate.set()
            assert (await first).is_new
            batcher.close()

    asyncio.run(run())
    assert keys_in(books) == {"first": 1}
