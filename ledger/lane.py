"""One connection that posts batches and is certain of what became of each entry.

Lives here: the transaction, the split around an entry that fails a whole batch, and what a lost connection means.
Must not live here: callers and their queue (`ledger.batcher`), rules (they are in Postgres).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

import psycopg

from ledger.db import Connection
from ledger.errors import NostroError, OutcomeUnknownError, UnavailableError, error_from_postgres
from ledger.journal import (
    EntryOutcome,
    EntryStatus,
    NewEntry,
    columns_of,
    first_accounts,
    known_accounts,
    post_each,
    prepare_post_each,
)
from ledger.wire import PreparedCall, commit

Answer = EntryOutcome | Exception

_ATTEMPTS = 5  # connections in a row that one batch may lose before its callers hear of it
_ACCOUNTS_AT_ONCE = 20_000  # of a book, when it is first posted to; further ones as entries name them
_PAUSE_MIN_S, _PAUSE_MAX_S = 0.02, 1.0


class _ConnectionLostError(Exception):
    """`held` is what COMMIT was sent for; None: COMMIT was not sent, so nothing of it is or will be in the books."""

    def __init__(self, held: tuple[EntryOutcome, ...] | None) -> None:
        super().__init__("the connection was lost")
        self.held = held


class Lane:
    """Posts batches over a connection of its own, which it makes again when it is lost.

    ``patience_s``: how long a server may fail to answer before batches are told; ``given_up`` ends that wait.
    """

    def __init__(self, connect: Callable[[], Connection], *, patience_s: float, given_up: threading.Event) -> None:
        self._connect = connect
        self._patience_s = patience_s
        self._given_up = given_up
        self._conn: Connection | None = None
        self._call: PreparedCall | None = None  # of that connection
        self._down_since: float | None = None
        self._accounts: dict[int, dict[str, int]] = {}  # by book; an account keeps its id for ever

    def close(self) -> None:
        """Close the connection."""
        if self._conn is not None:
            self._conn.close()

    def post(self, book_id: int, entries: Sequence[NewEntry], attempts: int = _ATTEMPTS) -> list[Answer]:
        """One answer an entry, in order, each as if it had been posted alone; raises nothing.

        An `EntryOutcome`, or the exception that says why there is none: `UnavailableError` when it is certain that
        the entry is not in the books, `OutcomeUnknownError` when it is not.
        """
        if not entries:
            return []
        try:
            conn = self._connected()
        except Exception as error:
            return [error] * len(entries)
        try:
            return list(self._transact(conn, book_id, entries))
        except _ConnectionLostError as lost:
            return self._resolve(book_id, entries, lost.held, attempts)
        except Exception as error:
            if len(entries) == 1:
                return [error]
        # Something that no rule of the books names (a key too long for its index, a number that is none) has failed
        # the whole batch. Nothing of it was committed: halves find the entry and let its neighbours pass.
        half = len(entries) // 2
        return self.post(book_id, entries[:half], attempts) + self.post(book_id, entries[half:], attempts)

    def _transact(self, conn: Connection, book_id: int, entries: Sequence[NewEntry]) -> tuple[EntryOutcome, ...]:
        held: tuple[EntryOutcome, ...] | None = None
        try:
            legs = columns_of(entries, self._account_ids(conn, book_id, entries))
            if self._call is None:
                self._call = prepare_post_each(conn)
            held = post_each(self._call, book_id=book_id, entries=entries, legs=legs)
            commit(conn)
            return held
        except psycopg.Error as error:
            if conn.closed:
                raise _ConnectionLostError(held) from error
            conn.rollback()
            raise error_from_postgres(error) from error
        except Exception:
            conn.rollback()
            raise

    def _account_ids(self, conn: Connection, book_id: int, entries: Sequence[NewEntry]) -> dict[str, int]:
        known = self._accounts.get(book_id)
        if known is None:
            known = self._accounts[book_id] = first_accounts(conn, book_id=book_id, limit=_ACCOUNTS_AT_ONCE)
        codes = {posting.account for entry in entries for posting in entry.postings} - known.keys()
        if codes:
            known.update(known_accounts(conn, book_id=book_id, codes=sorted(codes)))
        return known

    def _connected(self) -> Connection:
        if self._conn is not None and not self._conn.closed:
            return self._conn
        self._call = None
        self._accounts.clear()  # another server may answer now, restored from a copy
        pause_s, now_s = _PAUSE_MIN_S, time.monotonic()
        self._down_since = down_since = now_s if self._down_since is None else self._down_since
        while True:
            try:
                self._conn = self._connect()
                self._down_since = None
                return self._conn
            except (UnavailableError, psycopg.OperationalError) as error:
                left_s = down_since + self._patience_s - time.monotonic()
                if left_s <= 0 or self._given_up.wait(min(pause_s, left_s)):
                    raise UnavailableError(
                        "the database does not answer, and the entry was not posted; try again later."
                    ) from error
            pause_s = min(2 * pause_s, _PAUSE_MAX_S)

    def _resolve(
        self, book_id: int, entries: Sequence[NewEntry], held: tuple[EntryOutcome, ...] | None, attempts: int
    ) -> list[Answer]:
        """What became of a batch whose connection was lost; the row of an idempotency key decides, nothing else.

        Without COMMIT sent there is nothing to decide. With it, the keys that it was to write are posted again: the
        unique key waits for whatever the lost session still does, and answers with the entry that is there. If that
        has the id which the lost transaction gave it, all of that transaction is in the books and its answers stand.
        """
        if held is None:
            if attempts > 0:
                return self.post(book_id, entries, attempts - 1)
            return [UnavailableError("the connection is lost again and again; the entry was not posted.")] * len(
                entries
            )
        written = [n for n, one in enumerate(held) if one.status is EntryStatus.POSTED]
        found = self.post(book_id, [entries[n] for n in written], attempts - 1) if attempts > 0 else []
        told = [(n, one) for n, one in zip(written, found, strict=False) if isinstance(one, EntryOutcome)]
        if not written or any(one.entry_id == held[n].entry_id for n, one in told):
            return list(held)
        answers: list[Answer] = list(held)
        if not told:  # what the lost transaction wrote is unknown; what it refused or found there already is not
            for n in written:
                answers[n] = _unknown(entries[n].key)
            return answers
        left = [n for n in range(len(entries)) if n not in set(written)]
        again = self.post(book_id, [entries[n] for n in left], attempts - 1)
        for n, one in [*zip(written, found, strict=True), *zip(left, again, strict=True)]:
            answers[n] = one
        return answers


def _unknown(key: str) -> NostroError:
    return OutcomeUnknownError(
        f"the connection was lost in COMMIT and the database does not answer, so the outcome of entry {key} "
        "is unknown; post the same entry again: if it is in the books it is recognised by its key, not posted twice."
    )
