"""What banks answer: reading pain.002 files from the inboxes into the books.

Lives here: finding status reports, reading them, handing them to Postgres. Must not live here: what a status
does (Postgres), statements and notifications (reconciliation reads those).
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from psycopg.rows import class_row

from ledger import Connection, committed, translate_errors
from settlement.iso20022 import Reason, StatusReport, StatusReportRefusedError, TransactionStatus, read_pain002
from settlement.model import MessageFinding, PollReport, ReceivedMessage, StepResult
from settlement.setup_model import Bank
from settlement.transmission import carrier_of, resolve_interrupted

_HEAD_BYTES = 4096
_MARK = b"CstmrPmtStsRpt"
_NAMESPACE = b"pain.002."
_SILENT = frozenset({"PART", "PATC"})


@dataclass(frozen=True, slots=True)
class _Applied:
    message_id: int
    is_new: bool
    file_id: int | None
    changed: int
    rejected: int


def poll(conn: Connection, *, home: Path, book_id: int | None = None) -> PollReport:
    """Look up interrupted sends, fetch what banks left on their servers, and take in every new status report.

    A bank that cannot be reached is reported and keeps nobody waiting. Files stay where they are; bytes seen before
    change nothing. What cannot be read or applied is kept with findings. Each report is its own committed
    transaction.
    """
    resolved: list[StepResult] = []
    messages: list[ReceivedMessage] = []
    fetched: list[str] = []
    unreachable: list[str] = []
    for book in _books(conn, book_id):
        resolved += resolve_interrupted(conn, book_id=book, home=home)
        for bank, profile in _profiles(conn, book):
            inbox = home / profile.transport.inbox
            try:
                fetched += [path.name for path in carrier_of(profile, home).fetch(inbox)]
            except OSError as error:
                unreachable.append(f"{bank}: {error}")
            seen = _seen(conn, book, bank)
            for path in sorted(inbox.glob("*.xml")) if inbox.is_dir() else ():
                if path.name.startswith(".") or not _is_status_report(path):
                    continue
                content = path.read_bytes()
                known = seen.get(hashlib.sha256(content).hexdigest())
                if known is None:
                    messages.append(receive(conn, book_id=book, bank=bank, name=path.name, content=content))
                else:
                    messages.append(_again(path.name, bank, known))
    return PollReport(
        resolved=tuple(resolved), messages=tuple(messages), fetched=tuple(fetched), unreachable=tuple(unreachable)
    )


def _seen(conn: Connection, book_id: int, bank: str) -> dict[str, int]:
    """Message number by hash of every report of a bank that was taken in before."""
    with translate_errors():
        rows = conn.execute(
            "SELECT sha256, message_id FROM settlement.message_received WHERE book_id = %s AND bank = %s",
            (book_id, bank),
        ).fetchall()
    return {str(sha256): int(str(message_id)) for sha256, message_id in rows}


def _again(name: str, bank: str, message_id: int) -> ReceivedMessage:
    """A report that lies in the inbox since an earlier poll; what it said was said then."""
    return ReceivedMessage(
        name=name, bank=bank, message_id=message_id, file_id=None, is_new=False, changed=0, rejected=0, findings=()
    )


def receive(conn: Connection, *, book_id: int, bank: str, name: str, content: bytes) -> ReceivedMessage:
    """Take in one status report of a bank, readable or not."""
    if (known := _known(conn, book_id, bank, content)) is not None:
        applied = _Applied(known, False, None, 0, 0)
    else:
        try:
            applied = _apply(conn, book_id, bank, name, content, read_pain002(content))
        except StatusReportRefusedError as error:
            applied = _keep(conn, book_id, bank, name, content, f"{error} [{error.rule}]")
    return ReceivedMessage(
        name=name,
        bank=bank,
        message_id=applied.message_id,
        file_id=applied.file_id,
        is_new=applied.is_new,
        changed=applied.changed,
        rejected=applied.rejected,
        findings=tuple(_findings(conn, applied.message_id)),
    )


def _books(conn: Connection, book_id: int | None) -> list[int]:
    with translate_errors():
        rows = conn.execute(
            "SELECT book_id FROM ledger.book WHERE %s::int IS NULL OR book_id = %s ORDER BY book_id",
            (book_id, book_id),
        ).fetchall()
    return [int(str(row[0])) for row in rows]


def _profiles(conn: Connection, book_id: int) -> Iterator[tuple[str, Bank]]:
    with translate_errors():
        rows = conn.execute(
            "SELECT code, body FROM settlement.bank_profile WHERE book_id = %s ORDER BY code", (book_id,)
        ).fetchall()
    for code, body in rows:
        yield str(code), Bank.model_validate(body)


def _is_status_report(path: Path) -> bool:
    with path.open("rb") as stream:
        head = stream.read(_HEAD_BYTES)
    return _MARK in head or _NAMESPACE in head


def _known(conn: Connection, book_id: int, bank: str, content: bytes) -> int | None:
    with translate_errors():
        row = conn.execute(
            "SELECT message_id FROM settlement.message_received WHERE book_id = %s AND bank = %s AND sha256 = %s",
            (book_id, bank, hashlib.sha256(content).hexdigest()),
        ).fetchone()
    return None if row is None else int(str(row[0]))


_RECEIVE = """
SELECT message_id, is_new, file_id, changed, rejected
  FROM settlement.receive_pain002(%s, %s, %s, %s, %s::date, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""


def _apply(conn: Connection, book_id: int, bank: str, name: str, content: bytes, report: StatusReport) -> _Applied:
    original = report.group.original_message_id
    with translate_errors():
        row = conn.execute(
            "SELECT payment_information_id FROM settlement.payment_file WHERE msg_id = %s", (original,)
        ).fetchone()
    status, reasons = report.covering_status(None if row is None else str(row[0]))
    listed = [told for told in report.transactions if told.effective_status not in _SILENT | {None}]
    values = (
        book_id,
        bank,
        name,
        content,
        _created_on(report),
        original,
        status,
        _code(reasons),
        [told.end_to_end_id for told in listed],
        [told.uetr for told in listed],
        [told.effective_status for told in listed],
        [_code(told.reasons) for told in listed],
        [_words(told) for told in listed],
        [] if original else ["the report names no original message (OrgnlMsgId)"],
    )
    return _received(conn, values)


def _keep(conn: Connection, book_id: int, bank: str, name: str, content: bytes, fault: str) -> _Applied:
    return _received(conn, (book_id, bank, name, content, None, None, None, None, [], [], [], [], [], [fault]))


def _received(conn: Connection, values: tuple[object, ...]) -> _Applied:
    with committed(conn), conn.cursor(row_factory=class_row(_Applied)) as cursor:
        applied = cursor.execute(_RECEIVE, values).fetchone()
    assert applied is not None
    return applied


def _findings(conn: Connection, message_id: int) -> list[MessageFinding]:
    with translate_errors(), conn.cursor(row_factory=class_row(MessageFinding)) as cursor:
        return cursor.execute(
            "SELECT code, reference, message FROM settlement.message_finding WHERE message_id = %s ORDER BY ordinal",
            (message_id,),
        ).fetchall()


def _created_on(report: StatusReport) -> dt.date | None:
    """The bank's own date of the report; it dates the entries of rejects."""
    try:
        return dt.date.fromisoformat((report.created_at or "")[:10])
    except ValueError:
        return None


def _code(reasons: tuple[Reason, ...]) -> str | None:
    return next((reason.code or reason.proprietary for reason in reasons if reason.code or reason.proprietary), None)


def _words(told: TransactionStatus) -> str | None:
    return " ".join(line for reason in told.reasons for line in reason.additional) or None
