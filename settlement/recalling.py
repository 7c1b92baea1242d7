"""Asking payments back and giving collections back: what two people agreed on becomes one file a payment file and
approval, a camt.055 about payments (a recall), a pain.007 about direct debits (a reversal).

Lives here: requests, the file and its gate, what each recall has come to. Must not live here: who may (Postgres),
moving bytes (`transmission`), reading the bank's answer (`answers`).

Ids follow from what is asked back: the MsgId is that of the payment file with ``-R1`` (then ``-R2``, …) behind it, the
id of each request is the payment's EndToEndId, because a payment is asked back once; that of a second part of a
collection has ``-2`` behind it. A payment file pays or collects, so its recalls are all of one kind.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from operator import attrgetter
from pathlib import Path

from psycopg.rows import class_row

from ledger import Connection, transaction, translate_errors
from settlement.composing import RunFrame, read_frame
from settlement.errors import FileStateError, FileTamperedError, NotKnownError, ProposalRefusedError
from settlement.iso20022 import (
    Cancellation,
    CancellationFile,
    FileLimits,
    Finding,
    MessageVersion,
    OriginalGroup,
    Reversal,
    ReversalFile,
    Totals,
    check_business_rules,
    gate_file,
    render,
    transliterate,
)
from settlement.model import StepResult
from settlement.reading import payment_file
from settlement.setup_check import rail_calendar
from settlement.setup_model import DirectDebit as DebitTerms
from settlement.transmission import release_recall
from settlement.transport import Transport

_ASKED = """
SELECT i.instruction_id, q.request_no, i.end_to_end_id, i.amount_minor AS paid_minor, q.amount_minor, i.uetr,
       i.execution_date, i.direction, q.reason_code, m.part, b.payment_information_id
  FROM settlement.recall_request q
  JOIN settlement.instruction i USING (instruction_id)
  JOIN settlement.payment_batch b USING (file_id, batch)
  LEFT JOIN settlement.recall_member m USING (instruction_id, request_no)
 WHERE i.file_id = %s
 ORDER BY i.ordinal, q.request_no
"""
_PARTS = "SELECT part, created_at, content FROM settlement.recall_file WHERE file_id = %s ORDER BY part"
_EXPONENT = """
SELECT c.exponent
  FROM settlement.instruction i
  JOIN settlement.payment_file f USING (file_id)
  JOIN ledger.currency c USING (currency_id)
 WHERE i.end_to_end_id = %s
"""
_RECALLS = """
SELECT kind, file_id, part, end_to_end_id, request_no, payee, bank_account, currency, exponent::int, amount_minor,
       paid_minor, reason_code, reason, requested_by, approved_by, msg_id, state, answer
  FROM settlement.recall
 WHERE book_id = %s AND (%s::bigint IS NULL OR file_id = %s)
 ORDER BY instruction_id, request_no
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall:
    """A payment that was asked back (`kind` recall), or a collection that is given back, whole or a part (reversal).

    `request_no` counts the parts of a collection; this one is `amount_minor` of the `paid_minor` collected. `part` and
    `msg_id` are of its file, None until a second person approved. `state`: requested, approved, sending, failed,
    unknown, sent, accepted, refused, partly_returned, returned, reversed; `answer` holds the bank's codes.
    Amounts are minor units of `currency`.
    """

    kind: str
    file_id: int
    part: int | None
    end_to_end_id: str
    request_no: int
    payee: str
    bank_account: str
    currency: str
    exponent: int
    amount_minor: int
    paid_minor: int
    reason_code: str
    reason: str
    requested_by: str
    approved_by: str | None
    msg_id: str | None
    state: str
    answer: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    instruction_id: int
    request_no: int
    end_to_end_id: str
    paid_minor: int
    amount_minor: int
    uetr: str | None
    execution_date: dt.date
    direction: str
    reason_code: str
    part: int | None
    payment_information_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    part: int
    created_at: dt.datetime
    content: bytes


def request_recall(conn: Connection, *, end_to_end_id: str, reason_code: str, reason: str) -> bool:
    """Ask a payment back that was sent (DUPL, TECH, FRAD, CUST, AM09, AC03). False when it was asked back before.

    The code goes to the bank once another person approved; the reason stays in the books. Raises `FileStateError` when
    it was not sent.
    """
    return _request(conn, end_to_end_id, reason_code, reason, "pay")


def request_reversal(
    conn: Connection,
    *,
    end_to_end_id: str,
    reason_code: str,
    reason: str,
    amount_minor: int | None = None,
    number: int = 1,
) -> bool:
    """Ask that a settled direct debit be given back (AM05, AM09, MD05, MS02), or `amount_minor` of it where its bank
    takes reversals of parts. False when it was asked before: a part is known by its `number` (1 to 9, no gap), which
    without an amount is all that is left.

    Nothing leaves before another person approved; the next part waits for that. Raises `FileStateError` when it is not
    settled, something else of it went back, more would go back than was collected, or that part is another amount.
    """
    return _request(conn, end_to_end_id, reason_code, reason, "collect", number, amount_minor)


def _request(
    conn: Connection,
    end_to_end_id: str,
    reason_code: str,
    reason: str,
    direction: str,
    number: int = 1,
    amount_minor: int | None = None,
) -> bool:
    with transaction(conn):
        row = conn.execute(
            "SELECT settlement.request_recall(%s, %s, %s, %s, %s, %s)",
            (end_to_end_id, reason_code, reason, direction, number, amount_minor),
        ).fetchone()
    return row is not None and bool(row[0])


def payment_exponent(conn: Connection, *, end_to_end_id: str) -> int:
    """Decimal places of the currency of a payment or collection. Raises `NotKnownError`."""
    with translate_errors():
        row = conn.execute(_EXPONENT, (end_to_end_id,)).fetchone()
    if row is None:
        raise NotKnownError(f"there is no payment {end_to_end_id}; list those of a file with `nostro settle show`.")
    return int(str(row[0]))


def request_file_recall(conn: Connection, file_id: int, *, reason_code: str, reason: str) -> int:
    """Ask back every payment of a file that may be at the bank; how many were not asked back before.

    Raises `FileStateError` when there is none, `NotKnownError`.
    """
    return _request_file(conn, file_id, reason_code, reason, "pay")


def request_file_reversal(conn: Connection, file_id: int, *, reason_code: str, reason: str) -> int:
    """The same for every settled direct debit of a file, whole; not for those of which a part was asked."""
    return _request_file(conn, file_id, reason_code, reason, "collect")


def _request_file(conn: Connection, file_id: int, reason_code: str, reason: str, direction: str) -> int:
    with transaction(conn):
        row = conn.execute(
            "SELECT settlement.request_file_recall(%s, %s, %s, %s)", (file_id, reason_code, reason, direction)
        ).fetchone()
    return 0 if row is None else int(str(row[0]))


def approve_recall(
    conn: Connection, file_id: int, *, now: dt.datetime, end_to_end_ids: Collection[str] | None = None
) -> list[Recall]:
    """Approve what was asked back of a payment file (or these payments of it) and write the camt.055, gated and kept;
    of a file of direct debits, the pain.007.

    The session's login approves and must not have asked for any of it. `now` (aware) is printed in the file. Gives
    what the file asks back; empty when nothing waits. Raises `FourEyesError`, `AccessError`, `ProposalRefusedError`
    with every finding, `FileStateError` for a payment that does not wait or came back since, or for a collection after
    the scheme's last day for reversals, `NotKnownError`.
    """
    with transaction(conn):
        frame = read_frame(conn, payment_file(conn, file_id).run_id)
        waiting = [asked for asked in _asked(conn, file_id) if asked.part is None]
        if end_to_end_ids is not None:
            if missing := sorted(set(end_to_end_ids) - {asked.end_to_end_id for asked in waiting}):
                raise FileStateError(f"payment {missing[0]} of file {file_id} does not wait to be asked back.")
            waiting = [asked for asked in waiting if asked.end_to_end_id in end_to_end_ids]
        if not waiting:
            return []
        part = len(_parts(conn, file_id)) + 1
        created_at = now.astimezone(dt.UTC).replace(microsecond=0)
        deadline = _deadline(frame, waiting, created_at)
        file, requests, totals = _compose(conn, frame, file_id, part, created_at, waiting)
        findings = check_business_rules(file, requests, _limits(frame, file), totals)
        content = b"" if findings else render(file, requests, totals)
        findings = findings or gate_file(content, file, requests, totals)
        if findings:
            raise ProposalRefusedError(_refusal(findings), findings)
        conn.execute(
            "SELECT settlement.record_recall(%s, %s, %s, %s, %s, %s, %s, %s)",
            (
                *(file_id, part, file.msg_id, created_at, content, [asked.instruction_id for asked in waiting]),
                *([asked.request_no for asked in waiting], deadline),
            ),
        )
    return [recall for recall in recalls(conn, book_id=frame.book_id, file_id=file_id) if recall.part == part]


def send_recalls(
    conn: Connection, file_id: int, *, home: Path, resend: bool = False, transport: Transport | None = None
) -> list[StepResult]:
    """Send every approved recall of a payment file, as `release` sends files: again, nothing is sent twice.

    The bytes are first compared with what the books say was asked back. Raises `FileTamperedError`, `FileStateError`
    when nothing is approved, and what `release` raises.
    """
    frame = read_frame(conn, payment_file(conn, file_id).run_id)
    parts = _parts(conn, file_id)
    if not parts:
        raise FileStateError(f"file {file_id} has no approved recall; approve with `nostro settle recall-approve`.")
    asked = _asked(conn, file_id)
    for kept in parts:
        mine = [one for one in asked if one.part == kept.part]
        file, requests, totals = _compose(conn, frame, file_id, kept.part, kept.created_at, mine)
        if gate_file(kept.content, file, requests, totals):
            raise FileTamperedError(f"recall {kept.part} of file {file_id} is not what was asked back; do not send it.")
    return [release_recall(conn, file_id, kept.part, home=home, resend=resend, transport=transport) for kept in parts]


def recalls(conn: Connection, *, book_id: int, file_id: int | None = None) -> list[Recall]:
    """Every payment that was asked back, or those of one payment file, in the order of payments."""
    with translate_errors(), conn.cursor(row_factory=class_row(Recall)) as cursor:
        return cursor.execute(_RECALLS, (book_id, file_id, file_id)).fetchall()


def _parts(conn: Connection, file_id: int) -> list[_Part]:
    with translate_errors(), conn.cursor(row_factory=class_row(_Part)) as cursor:
        return cursor.execute(_PARTS, (file_id,)).fetchall()


def _asked(conn: Connection, file_id: int) -> list[_Asked]:
    with conn.cursor(row_factory=class_row(_Asked)) as cursor:
        return cursor.execute(_ASKED, (file_id,)).fetchall()


def _deadline(frame: RunFrame, asked: Sequence[_Asked], now: dt.datetime) -> dt.datetime | None:
    """Until when the collections among what is asked can be given back; None for payments. Raises `FileStateError`."""
    if asked[0].direction == "pay":
        return None
    terms, calendar = _debit_terms(frame), rail_calendar(frame.bank, frame.rail)
    first = min(asked, key=attrgetter("execution_date"))
    last_day = calendar.add_open_days(first.execution_date, terms.reversal_days)
    deadline = calendar.cutoff_at(last_day + dt.timedelta(days=1), dt.time())
    if now >= deadline:
        raise FileStateError(
            f"payment {first.end_to_end_id} was collected on {first.execution_date}; reversals of it were taken until "
            f"{last_day}. Pay the money back instead."
        )
    return deadline


def _debit_terms(frame: RunFrame) -> DebitTerms:
    assert frame.bank.direct_debit is not None, "a run that collected has a profile with direct_debit"
    return frame.bank.direct_debit


_Follower = tuple[CancellationFile | ReversalFile, list[Cancellation | Reversal], Totals]


def _compose(
    conn: Connection, frame: RunFrame, file_id: int, part: int, created_at: dt.datetime, asked: Sequence[_Asked]
) -> _Follower:
    """The values of one camt.055 or pain.007, a group for each batch of the payment file; the same inputs give the same
    file."""
    msg_id, collects = payment_file(conn, file_id).msg_id, asked[0].direction == "collect"
    batches = [(name, list(inside)) for name, inside in groupby(asked, attrgetter("payment_information_id"))]
    original = _debit_terms(frame).message if collects else frame.bank.message
    groups = tuple(
        OriginalGroup(message_id=msg_id, message_name=original, payment_information_id=name, currency=frame.currency)
        for name, _ in batches
    )
    write = _reversal_file if collects else _cancellation_file
    file = write(frame, f"{msg_id}-R{part}", created_at, groups)
    request = _reversal if collects else _cancellation
    requests = [[request(frame, one) for one in inside] for _, inside in batches]
    return file, list(chain.from_iterable(requests)), Totals.of_groups(requests)


def _cancellation_file(
    frame: RunFrame, msg_id: str, created_at: dt.datetime, groups: tuple[OriginalGroup, ...]
) -> CancellationFile:
    return CancellationFile(
        msg_id=msg_id,
        created_at=created_at,
        initiating_party_name=_written_name(frame),
        bank_bic=frame.bank.bic,
        groups=groups,
        message_version=frame.bank.recall_message,
        charset=frame.bank.charset,
    )


def _reversal_file(
    frame: RunFrame, msg_id: str, created_at: dt.datetime, groups: tuple[OriginalGroup, ...]
) -> ReversalFile:
    return ReversalFile(
        msg_id=msg_id,
        created_at=created_at,
        initiating_party_name=_written_name(frame),
        groups=groups,
        batch_booking=frame.bank.batch_booking,
        message_version=_debit_terms(frame).reversal_message,
        charset=frame.bank.charset,
    )


def _written_name(frame: RunFrame) -> str:
    return transliterate(frame.holder.name, frame.bank.charset, frame.bank.umlauts).written


def _cancellation(frame: RunFrame, one: _Asked) -> Cancellation:
    return Cancellation(
        cancellation_id=one.end_to_end_id,
        instruction_id=one.end_to_end_id,
        end_to_end_id=one.end_to_end_id,
        uetr=one.uetr,
        amount_minor=one.amount_minor,
        currency=frame.currency,
        execution_date=one.execution_date,
        reason=one.reason_code,
    )


def _reversal(frame: RunFrame, one: _Asked) -> Reversal:
    """The collection or this part of it; its UETR where both messages carry one."""
    return Reversal(
        reversal_id=one.end_to_end_id if one.request_no == 1 else f"{one.end_to_end_id}-{one.request_no}",
        instruction_id=one.end_to_end_id,
        end_to_end_id=one.end_to_end_id,
        uetr=one.uetr if _debit_terms(frame).reversal_message.carries_uetr else None,
        original_amount_minor=one.paid_minor,
        amount_minor=one.amount_minor,
        currency=frame.currency,
        reason=one.reason_code,
    )


def _limits(frame: RunFrame, file: CancellationFile | ReversalFile) -> FileLimits:
    first = file.groups[0].message_name
    return FileLimits(
        rail=frame.rail,
        calendar=rail_calendar(frame.bank, frame.rail),
        uetr=frame.bank.uetr and file.message_version.carries_uetr and MessageVersion(first).carries_uetr,
    )


def _refusal(findings: Sequence[Finding]) -> str:
    return (
        f"nothing was approved: {len(findings)} finding{'s' if len(findings) > 1 else ''} in the recall, "
        f"first: {findings[0]}"
    )
