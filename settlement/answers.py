"""What banks answer: status reports, returns and answers to recalls, from the inboxes into the books.

Lives here: finding answers, reading them, handing them to Postgres. Must not live here: what a status
does (Postgres), statements and notifications (reconciliation reads those).
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from psycopg.rows import class_row

from ledger import Connection, RefusedError, committed, currency, parse_amount_minor, transaction, translate_errors
from settlement.iso20022 import (
    ASKED_OF_US,
    HEAD_BYTES,
    AnswerKind,
    Reason,
    RecallAnswer,
    ReturnReport,
    StatusReport,
    StatusReportRefusedError,
    answer_kind,
    read_camt029,
    read_pacs004,
    read_pain002,
)
from settlement.model import MessageFinding, PollReport, ReceivedMessage, StepResult
from settlement.service import require_service
from settlement.setup_model import Bank
from settlement.transmission import carrier_of, resolve_interrupted, resolve_interrupted_recalls

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

    Raises `AccessError` for a person's login.
    """
    with transaction(conn):
        require_service(conn, "banks' answers are taken in")
    resolved: list[StepResult] = []
    recalls: list[StepResult] = []
    messages: list[ReceivedMessage] = []
    fetched: list[str] = []
    unreachable: list[str] = []
    for book in _books(conn, book_id):
        resolved += resolve_interrupted(conn, book_id=book, home=home)
        recalls += resolve_interrupted_recalls(conn, book_id=book, home=home)
        for bank, profile in _profiles(conn, book):
            inbox = home / profile.transport.inbox
            try:
                fetched += [path.name for path in carrier_of(profile, home).fetch(inbox)]
            except OSError as error:
                unreachable.append(f"{bank}: {error}")
            seen = _seen(conn, book, bank)
            for path in sorted(inbox.glob("*.xml")) if inbox.is_dir() else ():
                if path.name.startswith(".") or not is_answer(path):
                    continue
                content = path.read_bytes()
                known = seen.get(hashlib.sha256(content).hexdigest())
                if known is None:
                    messages.append(receive(conn, book_id=book, bank=bank, name=path.name, content=content))
                else:
                    messages.append(_again(path.name, bank, known))
    return PollReport(
        resolved=tuple(resolved),
        messages=tuple(messages),
        fetched=tuple(fetched),
        unreachable=tuple(unreachable),
        recalls=tuple(recalls),
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
            answer = _counted(conn, book_id, _read(content))
        except StatusReportRefusedError as error:
            kind = answer_kind(content[:HEAD_BYTES]) or AnswerKind.CUSTOMER_STATUS
            answer = _Answer(kind=kind, findings=(f"{error} [{error.rule}]",))
        applied = _received(conn, book_id, bank, name, content, answer)
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


def is_answer(path: Path) -> bool:
    """Whether a file is a bank's answer to us (a status report, a return, …) and no statement."""
    with path.open("rb") as stream:
        return answer_kind(stream.read(HEAD_BYTES)) is not None


def _known(conn: Connection, book_id: int, bank: str, content: bytes) -> int | None:
    with translate_errors():
        row = conn.execute(
            "SELECT message_id FROM settlement.message_received WHERE book_id = %s AND bank = %s AND sha256 = %s",
            (book_id, bank, hashlib.sha256(content).hexdigest()),
        ).fetchone()
    return None if row is None else int(str(row[0]))


RECEIVE_ANSWER = """
SELECT message_id, is_new, file_id, changed, rejected
  FROM settlement.receive_answer(%s, %s, %s, %s, %s, %s::date, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s,
                                 %s, %s::date[], %s::bigint[], %s)
"""


@dataclass(frozen=True, slots=True)
class _Told:
    """What an answer says of one payment."""

    end_to_end_id: str | None
    uetr: str | None
    code: str | None
    reasons: tuple[Reason, ...] = ()
    date: str | None = None
    amount_minor: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """What an answer says, whichever message it is."""

    kind: str
    created_at: str | None = None
    original_message_id: str | None = None
    covering: tuple[str | None, tuple[Reason, ...]] = (None, ())
    of_file: tuple[tuple[str, tuple[Reason, ...]], ...] = ()
    batches: tuple[
        tuple[str, tuple[str | None, tuple[Reason, ...]]], ...
    ] = ()  # PmtInfId, and what covers its payments
    payments: tuple[_Told, ...] = ()
    stated_count: str | None = None
    findings: tuple[str, ...] = ()


_SENT_COUNT = """
SELECT p.instruction_count FROM settlement.payment_file p WHERE p.msg_id = %(msg_id)s AND p.book_id = %(book)s
UNION ALL
SELECT r.payment_count FROM settlement.recall_file r JOIN settlement.payment_file p USING (file_id)
 WHERE r.msg_id = %(msg_id)s AND p.book_id = %(book)s
"""


def _counted(conn: Connection, book_id: int, answer: _Answer) -> _Answer:
    """The answer, with a finding when it counts another number of payments in our file than we sent."""
    stated = answer.stated_count
    if stated is None or not stated.isascii() or not stated.isdigit():
        return answer
    with translate_errors():
        row = conn.execute(_SENT_COUNT, {"msg_id": answer.original_message_id, "book": book_id}).fetchone()
    if row is None or int(str(row[0])) == int(stated):
        return answer
    fault = (
        f"it counts {int(stated)} payments in {answer.original_message_id}, which has {row[0]}; what it says is applied"
    )
    return replace(answer, findings=(*answer.findings, fault))


def _read(content: bytes) -> _Answer:
    """Raises `StatusReportRefusedError`."""
    kind = answer_kind(content[:HEAD_BYTES])
    if kind in ASKED_OF_US:
        return _Answer(kind=kind, findings=(ASKED_OF_US[kind],))
    if kind is AnswerKind.RETURN:
        return _returns(read_pacs004(content))
    if kind is AnswerKind.RECALL_ANSWER:
        return _recalls(read_camt029(content))
    return _statuses(read_pain002(content))


def _statuses(report: StatusReport) -> _Answer:
    original = report.group.original_message_id
    of_file = [(report.group.status, report.group.reasons)]
    of_file += [(g.status, g.reasons) for g in report.payment_informations]
    return _Answer(
        kind=report.kind,
        created_at=report.created_at,
        original_message_id=original,
        covering=report.covering_of_file(),
        batches=tuple(report.covering_of_groups()),
        stated_count=report.group.original_count,
        of_file=tuple((status, reasons) for status, reasons in of_file if status is not None),
        payments=tuple(
            _Told(_named(t.end_to_end_id, t.instruction_id), t.uetr, t.effective_status, t.reasons, t.execution_date)
            for t in report.transactions
            if t.effective_status not in _SILENT | {None}
        ),
        findings=() if original else ("the report names no original message (OrgnlMsgId)",),
    )


def _returns(report: ReturnReport) -> _Answer:
    """A return on its way; the statement will book it."""
    return _Answer(
        kind=AnswerKind.RETURN,
        created_at=report.created_at,
        payments=tuple(
            _Told(
                _named(r.end_to_end_id, r.instruction_id), r.uetr, "RTRN", r.reasons, None, _minor(r.amount, r.currency)
            )
            for r in report.returns
        ),
    )


def _recalls(answer: RecallAnswer) -> _Answer:
    return _Answer(
        kind=AnswerKind.RECALL_ANSWER,
        created_at=answer.created_at,
        original_message_id=answer.original_message_id,
        covering=(answer.status, answer.reasons),
        batches=tuple((batch.payment_information_id, (batch.status, batch.reasons)) for batch in answer.batches),
        payments=tuple(_Told(_named(p.end_to_end_id), p.uetr, p.status, p.reasons) for p in answer.payments),
    )


def _named(*references: str | None) -> str | None:
    """The payment's reference: its EndToEndId, or our instruction id, which is the same."""
    return next((each for each in references if each not in (None, "NOTPROVIDED")), None)


def _minor(amount: str | None, code: str | None) -> int | None:
    """None for what is no amount of a currency we know; the statement has the true one."""
    if amount is None or code is None:
        return None
    try:
        return parse_amount_minor(amount, currency(code).exponent)
    except RefusedError:
        return None


def _received(conn: Connection, book_id: int, bank: str, name: str, content: bytes, answer: _Answer) -> _Applied:
    told = answer.payments
    values = (
        book_id,
        bank,
        answer.kind,
        name,
        content,
        _day(answer.created_at),
        answer.original_message_id,
        answer.covering[0],
        _code(answer.covering[1]),
        [code for code, _ in answer.of_file],
        [_code(reasons) for _, reasons in answer.of_file],
        [batch for batch, _ in answer.batches],
        [code for _, (code, _) in answer.batches],
        [_code(reasons) for _, (_, reasons) in answer.batches],
        [t.end_to_end_id for t in told],
        [t.uetr for t in told],
        [t.code for t in told],
        [_code(t.reasons) for t in told],
        [_words(t.reasons) for t in told],
        [_day(t.date) for t in told],
        [t.amount_minor for t in told],
        list(answer.findings),
    )
    with committed(conn), conn.cursor(row_factory=class_row(_Applied)) as cursor:
        applied = cursor.execute(RECEIVE_ANSWER, values).fetchone()
    assert applied is not None
    return applied


def _findings(conn: Connection, message_id: int) -> list[MessageFinding]:
    with translate_errors(), conn.cursor(row_factory=class_row(MessageFinding)) as cursor:
        return cursor.execute(
            "SELECT code, reference, message FROM settlement.message_finding WHERE message_id = %s ORDER BY ordinal",
            (message_id,),
        ).fetchall()


def _day(text: str | None) -> dt.date | None:
    """The day of a bank's date or moment; None for what is none."""
    try:
        return dt.date.fromisoformat((text or "")[:10])
    except ValueError:
        return None


def _code(reasons: tuple[Reason, ...]) -> str | None:
    return next((reason.code or reason.proprietary for reason in reasons if reason.code or reason.proprietary), None)


def _words(reasons: tuple[Reason, ...]) -> str | None:
    return " ".join(line for reason in reasons for line in reason.additional) or None
