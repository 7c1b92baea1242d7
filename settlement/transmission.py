"""Sending sealed files: SENDING is committed before any byte leaves, SENT after the file stands at the bank.

Lives here: the dual-write protocol and what is done about an interrupted send: it is looked up; what cannot be
found stays UNKNOWN until the bank answers, two people say what they found out, or a person sends the identical file
again.
Must not live here: the states themselves (Postgres), moving bytes (`transport`).
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
from dataclasses import dataclass
from pathlib import Path

from psycopg.rows import kwargs_row

from ledger import Connection, committed, translate_errors
from settlement.approval import seal
from settlement.errors import FileStateError, FileTamperedError, NotKnownError, SendFailedError, SendUnknownError
from settlement.model import AT_THE_BANK, FileState, StepResult
from settlement.sending import begin, note, refuse_strangers, require_reconciled
from settlement.setup_model import Bank
from settlement.setup_model import FolderTransport as FolderTerms
from settlement.transport import FolderTransport, NotDeliveredError, Transport


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """What is sent: queries and calls, each over a payment file and (of recalls) which recall of it."""

    word: str
    ready: frozenset[FileState]
    parcel: str
    interrupted: str
    begin: str
    begin_again: str
    end: str
    content: str


_PAYMENTS = _Kind(
    word="file",
    ready=frozenset({FileState.SEALED, FileState.FAILED}),
    parcel="""
SELECT f.book_id, b.bank AS bank_code, f.file_id, 0 AS part, f.msg_id, f.sha256, f.state, f.reason, p.body AS bank,
       f.session_pid, f.session_started
  FROM settlement.file_current f
  JOIN settlement.bank_account_root b USING (bank_account_id)
  JOIN settlement.bank_profile p ON p.book_id = b.book_id AND p.code = b.bank
 WHERE f.file_id = %(file_id)s
""",
    interrupted="""
SELECT file_id, 0 FROM settlement.file_current
 WHERE book_id = %s AND state IN ('sending', 'unknown') ORDER BY file_id
""",
    begin="SELECT settlement.begin_sending(%(file_id)s, %(started)s, %(journal)s, %(number)s, %(digest)s)",
    begin_again="SELECT settlement.begin_resending(%(file_id)s, %(started)s, %(journal)s, %(number)s, %(digest)s)",
    end="SELECT settlement.end_sending(%(file_id)s, %(state)s, %(reason)s)",
    content="SELECT content FROM settlement.payment_file WHERE file_id = %(file_id)s",
)
_RECALLS = _Kind(
    word="the recall of file",
    ready=frozenset({FileState.APPROVED, FileState.FAILED}),
    parcel="""
SELECT f.book_id, b.bank AS bank_code, f.file_id, f.part, f.msg_id, f.sha256, f.state, f.reason, p.body AS bank,
       f.session_pid, f.session_started
  FROM settlement.recall_file_current f
  JOIN settlement.bank_account_root b USING (bank_account_id)
  JOIN settlement.bank_profile p ON p.book_id = b.book_id AND p.code = b.bank
 WHERE f.file_id = %(file_id)s AND f.part = %(part)s
""",
    interrupted="""
SELECT file_id, part FROM settlement.recall_file_current
 WHERE book_id = %s AND state IN ('sending', 'unknown') ORDER BY file_id, part
""",
    begin="""
SELECT settlement.begin_sending_recall(%(file_id)s, %(part)s, %(started)s, %(journal)s, %(number)s, %(digest)s)
""",
    begin_again="""
SELECT settlement.begin_resending_recall(%(file_id)s, %(part)s, %(started)s, %(journal)s, %(number)s, %(digest)s)
""",
    end="SELECT settlement.end_sending_recall(%(file_id)s, %(part)s, %(state)s, %(reason)s)",
    content="SELECT content FROM settlement.recall_file WHERE file_id = %(file_id)s AND part = %(part)s",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parcel:
    """A file as its sender needs it; `part` says which recall of the payment file it is."""

    kind: _Kind
    home: Path
    book_id: int
    bank_code: str
    file_id: int
    part: int
    msg_id: str
    sha256: str
    state: FileState
    reason: str | None
    transport: Transport
    session_pid: int
    session_started: dt.datetime | None

    @property
    def name(self) -> str:
        return f"{self.msg_id}.xml"

    @property
    def said(self) -> str:
        return f"{self.kind.word} {self.file_id}"

    @property
    def key(self) -> dict[str, object]:
        return {"file_id": self.file_id, "part": self.part}

    def result(self, state: FileState, *, is_new: bool, reason: str | None = None) -> StepResult:
        return StepResult(file_id=self.file_id, state=state, is_new=is_new, reason=reason)


def carrier_of(bank: Bank, home: Path) -> Transport:
    """What carries files to and from a bank, as its profile says. Paths of a profile are below `home`."""
    terms = bank.transport
    if isinstance(terms, FolderTerms):
        return FolderTransport(home / terms.outbox)
    from settlement.sftp import SftpServer, SftpTransport  # loads an SSH library, which a folder does not need

    server = SftpServer(
        host=terms.host,
        port=terms.port,
        user=terms.user,
        known_hosts=home / terms.known_hosts,
        key=None if terms.key is None else home / terms.key,
        password_file=None if terms.password_file is None else home / terms.password_file,
        timeout_s=terms.timeout_s,
    )
    return SftpTransport(server, outbox=terms.remote_outbox, inbox=terms.remote_inbox)


def release(
    conn: Connection,
    file_id: int,
    *,
    home: Path,
    now: dt.datetime,
    resend: bool = False,
    transport: Transport | None = None,
) -> StepResult:
    """Seal an approved file when it is not sealed, and send it to its bank; again: nothing happens twice.

    The result's state says what happened: ``sent`` (or further), or ``void`` with the reason when something
    changed before sealing. An interrupted send is looked up first and never repeated by itself; `resend` is a
    person's decision to send the identical bytes again to a bank that refuses duplicates.
    `transport` replaces the bank profile's. Raises `RestoredError` (the books may have forgotten what they sent),
    `SendFailedError` (nothing arrived, try again),
    `SendUnknownError` (it may have arrived), `ResendRefusedError`, `FileStateError`, `AccessError`.
    """
    parcel = _parcel(conn, file_id, home, transport)
    if parcel.state in (FileState.PROPOSED, FileState.APPROVED):
        require_reconciled(conn, home)
        sealed = seal(conn, file_id, now=now)
        if sealed.state is FileState.VOID:
            return sealed
        parcel = _parcel(conn, file_id, home, transport)
    return _deliver(conn, parcel, resend=resend, home=home)


def release_recall(
    conn: Connection, file_id: int, part: int, *, home: Path, resend: bool = False, transport: Transport | None = None
) -> StepResult:
    """Send an approved recall of a payment file to its bank, as `release` sends a sealed file; never twice."""
    return _deliver(conn, _parcel(conn, file_id, home, transport, _RECALLS, part), resend=resend, home=home)


def _deliver(conn: Connection, parcel: _Parcel, *, resend: bool, home: Path) -> StepResult:
    if parcel.state in (FileState.SENDING, FileState.UNKNOWN):
        found = _look_up(conn, parcel)
        if found.state in AT_THE_BANK or not resend:
            return _known(parcel, found)
        return _send(conn, parcel, again=True)
    if parcel.state in parcel.kind.ready:
        try:
            return _send(conn, parcel, again=False)
        except FileStateError:
            now_state = _parcel(conn, parcel.file_id, home, parcel.transport, parcel.kind, parcel.part).state
            if now_state in AT_THE_BANK:
                return parcel.result(now_state, is_new=False)
            raise SendFailedError(f"{parcel.said} is being sent by another session; ask again in a moment.") from None
    if parcel.state in AT_THE_BANK or parcel.state in (FileState.VOID, FileState.CANCELLED):
        return parcel.result(parcel.state, is_new=False, reason=parcel.reason)
    raise FileStateError(f"{parcel.said} is {parcel.state} and cannot be sent.")


def resolve_interrupted(conn: Connection, *, book_id: int, home: Path) -> list[StepResult]:
    """Look up every send of a payment file that was interrupted; only files whose state changed are returned."""
    return _resolve(conn, book_id, home, _PAYMENTS)


def resolve_interrupted_recalls(conn: Connection, *, book_id: int, home: Path) -> list[StepResult]:
    """The same for recalls; the files of the results are those whose payments are asked back."""
    return _resolve(conn, book_id, home, _RECALLS)


def _resolve(conn: Connection, book_id: int, home: Path, kind: _Kind) -> list[StepResult]:
    with translate_errors():
        rows = conn.execute(kind.interrupted, (book_id,)).fetchall()
    resolved = []
    for row in rows:
        parcel = _parcel(conn, int(str(row[0])), home, None, kind, int(str(row[1])))
        if not _sender_alive(conn, parcel):
            try:
                result = _look_up(conn, parcel)
            except SendUnknownError:
                continue  # the bank cannot be asked now; the file stays as it is
            if result.is_new:
                resolved.append(result)
    return resolved


def resolve_unknown(conn: Connection, file_id: int, *, sent: bool, reason: str) -> StepResult:
    """Say as the session's login whether the bank has a file whose fate is unknown, and why that is known.

    When a second person says the same, it is so: ``sent``, or ``cancelled`` and every payment of it owed again, held
    until a person releases it. Until then the result's state is ``unknown``. Raises `FileStateError` when it is
    another state, `AccessError`, `NotKnownError`.
    """
    with committed(conn):
        row = conn.execute(
            "SELECT outcome, is_new FROM settlement.resolve_unknown(%s, %s, %s)", (file_id, sent, reason)
        ).fetchone()
    assert row is not None
    state = FileState(str(row[0]))
    waits = "a second person must say the same" if state is FileState.UNKNOWN else None
    return StepResult(file_id=file_id, state=state, is_new=bool(row[1]), reason=waits)


def _parcel(
    conn: Connection, file_id: int, home: Path, transport: Transport | None, kind: _Kind = _PAYMENTS, part: int = 0
) -> _Parcel:
    def parcel(bank: object, state: str, **values: object) -> _Parcel:
        carrier = transport or carrier_of(Bank.model_validate(bank), home)
        return _Parcel(kind=kind, home=home, state=FileState(state), transport=carrier, **values)  # type: ignore[arg-type]

    with translate_errors(), conn.cursor(row_factory=kwargs_row(parcel)) as cursor:
        found = cursor.execute(kind.parcel, {"file_id": file_id, "part": part}).fetchone()
    if found is None and kind is _RECALLS:
        raise NotKnownError(f"there is no recall {part} of file {file_id}; list them with `nostro settle recalls`.")
    if found is None:
        raise NotKnownError(f"there is no payment file {file_id}; list them with `nostro settle show`.")
    return found


def _send(conn: Connection, parcel: _Parcel, *, again: bool) -> StepResult:
    with translate_errors():
        row = conn.execute(parcel.kind.content, parcel.key).fetchone()
    content = bytes(row[0]) if row is not None else b""  # type: ignore[call-overload]
    if hashlib.sha256(content).hexdigest() != parcel.sha256:
        raise FileTamperedError(f"{parcel.said} is not what was approved; do not send it.")
    number, unwritten = _begin(conn, parcel, content, again=again)
    # From here on the books say SENDING. Whatever happens, the file is looked up before anything else is done.
    try:
        if unwritten is not None:
            raise NotDeliveredError(f"the journal of sends cannot be written ({unwritten})")
        receipt = parcel.transport.deliver(parcel.name, content)
    except NotDeliveredError as error:
        _ended(conn, parcel, number, FileState.FAILED, str(error))
        raise SendFailedError(
            f"{parcel.said} was not delivered: {error}; nothing reached the bank, send it again."
        ) from error
    except OSError as error:
        _ended(conn, parcel, number, FileState.UNKNOWN, str(error))
        raise SendUnknownError(f"{parcel.said} may have been delivered ({error}); poll the bank.") from error
    _ended(conn, parcel, number, FileState.SENT, receipt)
    return parcel.result(FileState.SENT, is_new=True, reason=receipt)


def _begin(conn: Connection, parcel: _Parcel, content: bytes, *, again: bool) -> tuple[int, OSError | None]:
    """Commit SENDING and write the send into the journal; its number, and why it could not be written."""
    refuse_strangers(conn, book_id=parcel.book_id, bank=parcel.bank_code, transport=parcel.transport)

    def count(head: tuple[str, int, str]) -> int:
        started = conn.execute("SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()").fetchone()
        assert started is not None
        query = parcel.kind.begin_again if again else parcel.kind.begin
        known = dict(zip(("journal", "number", "digest"), head, strict=True))
        row = conn.execute(query, {**parcel.key, **known, "started": started[0]}).fetchone()
        assert row is not None
        return int(str(row[0]))

    sent, unwritten = begin(conn, parcel.home, content=content, count=count)
    return sent.number, unwritten


def _ended(conn: Connection, parcel: _Parcel, number: int, state: FileState, reason: str) -> None:
    _end(conn, parcel, state, reason)
    with contextlib.suppress(OSError):  # the books have it; the journal's result line is for people
        note(parcel.home, number, state.value, reason)


def _end(conn: Connection, parcel: _Parcel, state: FileState, reason: str) -> bool:
    with committed(conn):
        row = conn.execute(parcel.kind.end, {**parcel.key, "state": state.value, "reason": reason}).fetchone()
    return row is not None and bool(row[0])


def _look_up(conn: Connection, parcel: _Parcel) -> StepResult:
    """What became of an interrupted send. Absence proves nothing: banks take files away."""
    if parcel.state is FileState.SENDING and _sender_alive(conn, parcel):
        raise SendFailedError(f"{parcel.said} is being sent by another session; ask again in a moment.")
    try:
        there = parcel.transport.look_up(parcel.name)
    except OSError as error:
        raise SendUnknownError(
            f"{parcel.said} may have reached the bank, which cannot be asked now ({error}); poll it again."
        ) from error
    if there == parcel.sha256:
        is_new = _end(conn, parcel, FileState.SENT, f"found at the bank as {parcel.name}")
        return parcel.result(FileState.SENT, is_new=is_new)
    why = f"{parcel.name} is not in the outbox" if there is None else f"another file is in the outbox as {parcel.name}"
    is_new = parcel.state is FileState.SENDING and _end(conn, parcel, FileState.UNKNOWN, why)
    return parcel.result(FileState.UNKNOWN, is_new=is_new, reason=why)


def _known(parcel: _Parcel, found: StepResult) -> StepResult:
    if found.state is FileState.UNKNOWN:
        raise SendUnknownError(
            f"{parcel.said} may have reached the bank ({found.reason}). Its status report or statement will "
            "tell; else ask the bank and say what it says with `nostro bank resolve` (two people), or send the "
            "identical file again with --resend if the bank refuses duplicates."
        )
    return found


def _sender_alive(conn: Connection, parcel: _Parcel) -> bool:
    """Whether the session that committed SENDING still runs (this one does not count: it is not sending)."""
    with translate_errors():
        row = conn.execute(
            "SELECT backend_start FROM pg_stat_activity WHERE pid = %s AND pid <> pg_backend_pid()",
            (parcel.session_pid,),
        ).fetchone()
    # Another login's start time is hidden; then a session of that number counts as the sender.
    return parcel.state is FileState.SENDING and row is not None and row[0] in (None, parcel.session_started)
