"""Single posts in company: many callers post one entry each, they share a commit, each gets its own answer.

Lives here: the queue, the callers' waiting, the threads that post. Must not live here: connections and what their
loss means (`ledger.lane`), rules (they are in Postgres).
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from copy import copy
from enum import Enum
from types import TracebackType

from ledger.db import Connection
from ledger.errors import OutcomeUnknownError, UnavailableError
from ledger.journal import EntryStatus, NewEntry, PostedEntry
from ledger.lane import Answer, Lane


class _State(Enum):
    """Where an entry is; from TAKEN on it cannot be taken back."""

    NEW = 0
    QUEUED = 1
    TAKEN = 2
    WITHDRAWN = 3


class _Waiting:
    """One caller's entry and where to call when its answer is there."""

    __slots__ = ("answer", "book_id", "done", "entry", "future", "state")

    def __init__(self, entry: NewEntry, book_id: int) -> None:
        self.entry = entry
        self.book_id = book_id
        self.state = _State.NEW
        self.answer: Answer | None = None
        self.done: threading.Lock | None = None  # held until the answer is there: the cheapest wait of a thread
        self.future: asyncio.Future[None] | None = None

    def posted(self) -> PostedEntry:
        """The entry in the books, or the caller's own refusal raised."""
        answer = self.answer
        assert answer is not None
        if isinstance(answer, Exception):  # one exception may be the answer of many callers: to each its own
            raise copy(answer) from answer.__cause__
        if answer.entry_id is None or answer.first_posting_id is None:
            raise answer.error or AssertionError(answer)
        return PostedEntry(answer.key, answer.entry_id, answer.first_posting_id, answer.status is EntryStatus.POSTED)


class Batcher:
    """Posts single entries of many callers in shared commits.

    While one batch is committed the next one gathers, so the busier the callers, the larger the batches; nobody waits
    for company that does not come for longer than ``linger_s``. Threads call `post`, coroutines `post_async`.

    ``connect`` opens a connection of the login that posts; there are ``connections`` of them, one thread each.
    ``max_batch`` entries share a commit at most. When ``max_waiting`` entries wait, further callers wait for room.
    ``patience_s``: how long a batch waits for a server that does not answer before its callers hear of it.

    Entries of different callers are posted in no order that they can rely on; a caller who needs one entry before
    another waits for the first answer. Use it as a context manager, or call `close`.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        *,
        connections: int = 2,
        max_batch: int = 256,
        max_waiting: int = 10_000,
        linger_s: float = 0.0,
        patience_s: float = 30.0,
    ) -> None:
        if min(connections, max_batch, max_waiting) < 1 or linger_s < 0 or patience_s < 0:
            raise ValueError("connections, max_batch and max_waiting are at least 1, times are not negative")
        self._max_batch, self._max_waiting, self._linger_s = max_batch, max_waiting, linger_s
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)  # lanes wait here for entries
        self._room = threading.Condition(self._lock)  # callers wait here for room
        self._room_async: list[asyncio.Future[None]] = []
        self._queues: dict[int, deque[_Waiting]] = {}  # by book; in the order in which books take turns
        self._waiting = 0  # entries in the queues
        self._posting = 0  # entries in the lanes
        self._callers = 0  # how many callers there seem to be: what waited and was posted at once, of late
        self._share = 1  # of the callers, a lane's
        self._wanted = 1  # entries that end a lane's waiting
        self._lanes = connections
        self._closed = False
        self._given_up = threading.Event()
        self.batches = 0  # committed so far, or refused
        self.entries = 0  # answered so far
        lanes = [Lane(connect, patience_s=patience_s, given_up=self._given_up) for _ in range(connections)]
        self._threads = [
            threading.Thread(target=self._run, args=(lane,), name=f"ledger-batcher-{n}", daemon=True)
            for n, lane in enumerate(lanes)
        ]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Batcher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def waiting(self) -> int:
        """Entries in the queue."""
        return self._waiting

    @property
    def taken(self) -> int:
        """Entries whose commit is under way."""
        return self._posting

    @property
    def closed(self) -> bool:
        """Whether no more entries are taken."""
        return self._closed

    # --- callers --------------------------------------------------------------------------------------------------

    def post(self, entry: NewEntry, *, book_id: int, timeout_s: float | None = 30.0) -> PostedEntry:
        """Post one entry and wait until it is committed; the answer is that of `post_batch` with this entry alone.

        Raises the entry's own refusal (`RefusedError`). `UnavailableError`: it is certain that it was not posted (no
        room or no turn within ``timeout_s``, no server, closed), trying again is safe. `OutcomeUnknownError`: the
        time was over, or the server gone, while its commit was under way; posting the same entry again tells.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        one = _Waiting(entry, book_id)
        one.done = threading.Lock()
        one.done.acquire()
        with self._lock:
            while not self._put(one):
                left_s = None if deadline is None else deadline - time.monotonic()
                if left_s is not None and left_s <= 0:
                    raise self._no_room()
                self._room.wait(left_s)
        try:
            in_time = one.done.acquire(timeout=-1 if deadline is None else max(deadline - time.monotonic(), 0))
        except BaseException:  # Ctrl-C
            self._take_back(one)
            raise
        if not in_time:
            self._leave(one)
        return one.posted()

    async def post_async(self, entry: NewEntry, *, book_id: int, timeout_s: float | None = 30.0) -> PostedEntry:
        """The same for coroutines. A cancelled call withdraws its entry if its commit has not begun."""
        loop = asyncio.get_running_loop()
        one = _Waiting(entry, book_id)
        one.future = future = loop.create_future()
        timer = None if timeout_s is None else loop.call_later(timeout_s, _set, (future,))
        try:
            while (room := self._put_or_room(one, loop)) is not None:
                await asyncio.wait((room, future), return_when=asyncio.FIRST_COMPLETED)
                if future.done():
                    break
            await future
        except asyncio.CancelledError:
            self._take_back(one)
            raise
        finally:
            if timer is not None:
                timer.cancel()
        if one.answer is None:
            self._leave(one)
        return one.posted()

    def close(self, timeout_s: float | None = None) -> None:
        """Take no more entries, post those that wait, end the threads and connections. Again: nothing.

        Entries that cannot be posted within ``timeout_s`` get `UnavailableError`; a commit under way is waited for.
        """
        with self._lock:
            self._closed = True
            self._work.notify_all()
            self._room.notify_all()
            self._wake_room()
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(None if deadline is None else max(deadline - time.monotonic(), 0))
        if any(thread.is_alive() for thread in self._threads):
            self._given_up.set()
            self._abandon()
            for thread in self._threads:
                thread.join()

    # --- the queue; the lock is held ------------------------------------------------------------------------------

    def _put(self, one: _Waiting) -> bool:
        """Queue the entry; false when there is no room."""
        if self._closed:
            raise UnavailableError("the batcher is closed; the entry was not posted.")
        if self._waiting >= self._max_waiting:
            return False
        self._queues.setdefault(one.book_id, deque()).append(one)
        one.state = _State.QUEUED
        self._waiting += 1
        if self._waiting >= self._wanted:
            self._work.notify()
        return True

    def _pick(self) -> list[_Waiting]:
        """The oldest entries of the book whose turn it is; the book then goes to the end."""
        picked: list[_Waiting] = []
        while not picked and self._queues:
            book_id = next(iter(self._queues))
            queue = self._queues.pop(book_id)
            while queue and len(picked) < self._share:
                one = queue.popleft()
                if one.state is _State.QUEUED:
                    one.state = _State.TAKEN
                    picked.append(one)
            if queue:
                self._queues[book_id] = queue
        self._waiting -= len(picked)
        self._posting += len(picked)
        self._room.notify(len(picked))
        self._wake_room()
        return picked

    def _wake_room(self) -> None:
        for room in self._room_async:
            _wake(room.get_loop(), [room])
        self._room_async.clear()

    # --- the same, without the lock -------------------------------------------------------------------------------

    def _put_or_room(self, one: _Waiting, loop: asyncio.AbstractEventLoop) -> asyncio.Future[None] | None:
        """Queue the entry and return None, or return what to await before another try."""
        with self._lock:
            if self._put(one):
                return None
            self._room_async.append(room := loop.create_future())
            return room

    def _no_room(self) -> UnavailableError:
        return UnavailableError(
            f"{self._max_waiting} entries wait to be posted and no room came up in time; the entry was not posted, "
            "try again later."
        )

    def _take_back(self, one: _Waiting) -> _State:
        """Withdraw the entry, unless its commit has begun; returns where it was."""
        with self._lock:
            state = one.state
            if state is _State.QUEUED:
                one.state = _State.WITHDRAWN  # the lane that comes to it passes over it
                self._waiting -= 1
            return state

    def _leave(self, one: _Waiting) -> None:
        """The caller's time is over: raise what is known, or return when the answer has just come."""
        state = self._take_back(one)
        if one.answer is not None:
            return
        if state is _State.NEW:
            raise self._no_room()
        if state is _State.QUEUED:
            raise UnavailableError("no turn came up in time; the entry was not posted, try again later.")
        raise OutcomeUnknownError(
            f"the time was over while entry {one.entry.key} was being committed, so its outcome is unknown; post the "
            "same entry again: if it is in the books it is recognised by its key and not posted twice."
        )

    # --- lanes ----------------------------------------------------------------------------------------------------

    def _run(self, lane: Lane) -> None:
        try:
            batch: list[_Waiting] = []
            while batch := self._take(len(batch)):
                self._answer(batch, lane.post(batch[0].book_id, [one.entry for one in batch]))
        except BaseException as error:  # a fault of this program: nobody waits for ever
            said = OutcomeUnknownError(f"a fault of the program ended the batch, its outcome is unknown: {error!r}.")
            self._answer(batch, [said] * len(batch))
            raise
        finally:
            lane.close()

    def _take(self, answered: int) -> list[_Waiting]:
        """Wait for entries, a little longer for company, and take a batch; nothing when all is done."""
        with self._lock:
            while True:
                while not self._waiting:
                    if self._closed:
                        return []
                    self._wanted = 1
                    self._work.wait()
                engaged = self._waiting + self._posting + answered
                self._callers = max(engaged, self._callers - 1 - self._callers // 16)
                self._share = min(-(-self._callers // self._lanes), self._max_batch)
                if self._waiting < self._share and self._linger_s > 0 and not self._closed:
                    self._wanted = self._share
                    self._work.wait(self._linger_s)
                    self._wanted = 1
                if picked := self._pick():
                    if self._waiting:
                        self._work.notify()
                    return picked

    def _answer(self, batch: list[_Waiting], answers: list[Answer]) -> None:
        awaited: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
        with self._lock:
            self._posting -= len(batch)
            self.batches += 1
            self.entries += len(batch)
        for one, answer in zip(batch, answers, strict=True):
            one.answer = answer
            if one.done is not None:
                one.done.release()
            elif one.future is not None:
                awaited.setdefault(one.future.get_loop(), []).append(one.future)
        for loop, futures in awaited.items():
            _wake(loop, futures)

    def _abandon(self) -> None:
        """Answer everybody who still waits for a turn."""
        with self._lock:
            left = [one for queue in self._queues.values() for one in queue if one.state is _State.QUEUED]
            self._queues.clear()
            self._waiting = 0
            self._posting += len(left)
            for one in left:
                one.state = _State.TAKEN
        said = UnavailableError("the batcher was closed before the entry was posted; try again later.")
        self._answer(left, [said] * len(left))


def _set(futures: Iterable[asyncio.Future[None]]) -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)


def _wake(loop: asyncio.AbstractEventLoop, futures: list[asyncio.Future[None]]) -> None:
    with suppress(RuntimeError):  # the loop is closed: nobody waits there any more
        loop.call_soon_threadsafe(_set, futures)
