"""Counting a send, in the books and in the journal of sends, before any byte leaves.

Lives here: comparing the two, and the step that commits SENDING. Must not live here: the journal's file
(`send_journal`), what people do about a difference (`reconciling`), moving bytes (`transport`).

Books that were restored from a backup, or are a copy, do not know everything that left, and would send it again. The
journal is not restored with them, so the two differ, and nothing is sent. One difference is no restore: a sender that
died after the count was committed and before the journal's line was written had sent nothing; the line is added.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from psycopg.rows import class_row

from ledger import Connection, committed, transaction, translate_errors
from settlement.errors import RestoredError
from settlement.iso20022.ids import book_prefix
from settlement.send_journal import FIRST_DIGEST, JournalState, SendJournal, SentLine
from settlement.transport import Transport

_SENDS = """
SELECT number::bigint, token::text, book_id, file_id, part, bank, msg_id, sha256, size_bytes, previous, digest,
       to_char(started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS started_at
  FROM settlement.send WHERE number > %s ORDER BY number
"""
_ANSWERED = "SELECT msg_id FROM settlement.answered_strangers(%s, %s)"


@dataclass(frozen=True, slots=True)
class SendHead:
    """What the books know: their journal (None: never opened), whether this server is still its, the last send."""

    journal_no: int | None
    journal_id: str | None
    same_server: bool | None
    number: int
    digest: str
    has_sent: bool


@dataclass(frozen=True, slots=True)
class SendState:
    """Books and journal compared. `difference` is None when they agree; numbers count sends."""

    books: int
    journal: int | None
    difference: str | None


def require_reconciled(conn: Connection, home: Path) -> None:
    """Raises `RestoredError` when books and journal of sends differ."""
    journal = SendJournal(home)
    with journal.locked():
        agree(conn, journal)


def send_state(conn: Connection, home: Path) -> SendState:
    """The comparison, for people; changes nothing."""
    head = books_head(conn)
    try:
        state = SendJournal(home).read()
    except RestoredError as error:
        return SendState(head.number, None, str(error).rstrip("."))
    missing = [] if state is None else _missing(conn, head, state)
    difference = None if (state is None and _is_new(head)) or missing else _difference(conn, head, state)
    return SendState(head.number, None if state is None else state.number, difference)


def books_head(conn: Connection) -> SendHead:
    """The books' side."""
    with translate_errors(), conn.cursor(row_factory=class_row(SendHead)) as cursor:
        head = cursor.execute("SELECT * FROM settlement.send_head()").fetchone()
    assert head is not None
    return head


def agree(conn: Connection, journal: SendJournal) -> tuple[str, int, str]:
    """Id, last number and digest of the journal, once it says what the books say. The caller holds the journal's lock.

    Opens the journal of books that have never sent anything, and adds the line that a killed sender did not write.
    Raises `RestoredError`.
    """
    head, state = books_head(conn), journal.read()
    if head.journal_id is None:
        head, state = _open_first(conn, journal, head, state)
    elif (state is None or state.journal_id != head.journal_id) and journal.promote(head.journal_id):
        state = journal.read()  # people had signed; the file had not been put in its place
    if state is not None:
        for sent in _missing(conn, head, state):
            _write(conn, journal, sent)
            state = journal.read()
    why = _difference(conn, head, state)
    if why is not None or state is None:
        raise RestoredError(f"nothing is sent: {why}; look with `nostro bank reconcile-sends`.")
    return state.journal_id, state.number, state.digest


def _is_new(head: SendHead) -> bool:
    return head.journal_id is None and not head.has_sent


def _open_first(
    conn: Connection, journal: SendJournal, head: SendHead, state: JournalState | None
) -> tuple[SendHead, JournalState | None]:
    """A journal of no sends belongs to books that never sent anything, whichever was written before the other."""
    if head.has_sent or (state is not None and (state.number > 0 or not state.is_original)):
        return head, state
    if state is None:
        journal.open(uuid.uuid4().hex, number=0, digest=FIRST_DIGEST)
        state = journal.read()
    assert state is not None
    with committed(conn):
        conn.execute("SELECT settlement.open_send_journal(%s)", (state.journal_id,))
    return books_head(conn), state


def _missing(conn: Connection, head: SendHead, state: JournalState) -> Sequence[SentLine]:
    """The one send that was counted and not written down, if that is all that the journal lacks."""
    if state.journal_id != head.journal_id or not state.is_original or head.number != state.number + 1:
        return ()
    sends = sends_after(conn, state.number)
    return sends if [sent.previous for sent in sends] == [state.digest] else ()


def sends_after(conn: Connection, number: int) -> list[SentLine]:
    """Sends that the books know beyond a number, in order."""
    with translate_errors(), conn.cursor(row_factory=class_row(SentLine)) as cursor:
        return cursor.execute(_SENDS, (number,)).fetchall()


def _difference(conn: Connection, head: SendHead, state: JournalState | None) -> str | None:
    """Why books and journal do not belong together, in one clause; None when they do."""
    if state is None:
        return f"the books know {head.number} sends and their journal (sends.jsonl in NOSTRO_HOME) is missing"
    if head.journal_id is None:
        return f"the journal knows {state.number} sends and the books have no journal: they were restored from a backup"
    if state.number > head.number:
        return (
            f"the journal knows {state.number} sends and the books only {head.number}: they were restored from a backup"
        )
    if not head.same_server:
        return "the books are in another server or database than they sent from: they were restored, or are a copy"
    if state.journal_id != head.journal_id:
        return "the journal of sends is not the books' own"
    if not state.is_original:
        return "the journal of sends is a copy of the one that was opened: the home was restored, moved, or is a copy"
    if state.number < head.number:
        return f"the books know {head.number} sends and the journal only {state.number}: the home is an older one"
    if state.digest != head.digest:
        return f"send {head.number} of the journal is not that of the books"
    return None


def begin(
    conn: Connection, home: Path, *, content: bytes, count: Callable[[tuple[str, int, str]], int]
) -> tuple[SentLine, OSError | None]:
    """Commit SENDING (`count`, given the journal's head) and write the send down.

    Gives the send, and what kept the journal's line from being written (then no byte may leave). Raises
    `RestoredError`, and what `count` raises.
    """
    journal = SendJournal(home)
    with journal.locked():
        head = agree(conn, journal)
        with committed(conn):
            number = count(head)
        (sent,) = sends_after(conn, number - 1)
        try:
            _write(conn, journal, sent, content)
        except OSError as error:
            return sent, error
    return sent, None


def note(home: Path, number: int, state: str, receipt: str) -> None:
    """Write down how an attempt ended."""
    journal = SendJournal(home)
    with journal.locked():
        journal.note(number, state, receipt)


def refuse_strangers(conn: Connection, *, book_id: int, bank: str, transport: Transport) -> None:
    """Refuse to send while the bank has, or has answered, a file with our ids that the books never sent.

    Raises `RestoredError`. A bank that does not let its folder be listed says nothing.
    """
    prefix = prefix_of(conn, book_id)
    try:
        there = strangers_at(conn, book_id, prefix, transport)
    except OSError:
        there = []
    with translate_errors():
        answered = conn.execute(_ANSWERED, (book_id, prefix)).fetchall()
    if there:
        raise RestoredError(
            f"nothing is sent: {bank} has {there[0]}.xml, which the books never sent; look with "
            "`nostro bank reconcile-sends`."
        )
    if answered:
        raise RestoredError(
            f"nothing is sent: a bank has answered {answered[0][0]}, which the books never sent; look with "
            "`nostro bank reconcile-sends`."
        )


def prefix_of(conn: Connection, book_id: int) -> str:
    """What every MsgId of a book begins with."""
    with translate_errors():
        row = conn.execute("SELECT name FROM ledger.book WHERE book_id = %s", (book_id,)).fetchone()
    assert row is not None
    return book_prefix(str(row[0]), book_id)


def strangers_at(conn: Connection, book_id: int, prefix: str, transport: Transport) -> list[str]:
    """MsgIds of our files in a bank's folder that the books never sent. Raises `OSError` when it cannot be asked."""
    ours = [name[: -len(".xml")] for name in transport.listing() if name.startswith(prefix) and name.endswith(".xml")]
    if not ours:
        return []
    with translate_errors():
        rows = conn.execute("SELECT settlement.never_sent(%s, %s)", (book_id, ours)).fetchall()
    return [str(row[0]) for row in rows]


_CONTENT = """
SELECT coalesce(r.content, f.content)
  FROM settlement.payment_file f LEFT JOIN settlement.recall_file r ON r.file_id = f.file_id AND r.part = %s
 WHERE f.file_id = %s
"""


def _write(conn: Connection, journal: SendJournal, sent: SentLine, content: bytes | None = None) -> None:
    with transaction(conn):  # ended before the bytes move: nothing stays open while they do
        if content is None:
            row = conn.execute(_CONTENT, (sent.part, sent.file_id)).fetchone()
            content = b"" if row is None else bytes(row[0])  # type: ignore[call-overload]
        told = conn.execute("SELECT settlement.send_manifest(%s, %s)", (sent.file_id, sent.part)).fetchone()
    journal.write(sent, content=content, manifest=None if told is None else told[0])
