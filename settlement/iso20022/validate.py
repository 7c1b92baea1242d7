"""The gates a payment file passes before anybody may approve it.

Lives here: `check_business_rules`, on the values, and `gate_file`, on the bytes: one streaming pass that checks
the XSD and reads everything back through our own reader.
Must not live here: writing, the reader itself, anything about balances or approvals.

Both report every finding and raise nothing; a file with a finding is not released.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import io
from array import array
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import pairwise
from typing import Any, BinaryIO

from ledger.money import currency, format_amount
from settlement.iso20022.debit_rules import (
    collection_header_findings,
    debit_findings,
    follow_up_findings,
    follow_up_header_findings,
)
from settlement.iso20022.direct_debit import CollectionFile
from settlement.iso20022.field_rules import FileLimits
from settlement.iso20022.findings import Finding
from settlement.iso20022.follow_ups import CancellationFile, ReversalFile
from settlement.iso20022.model import CreditTransfer, MessageFile, Payment, PaymentFile, Totals
from settlement.iso20022.readback import FileReader, ReadBackError
from settlement.iso20022.schemas import StreamValidator
from settlement.iso20022.transfer_rules import TransferRules, header_findings

BYTES_PER_PIECE = 1 << 18


def check_business_rules(file: MessageFile, payments: Iterable[Payment], limits: FileLimits) -> list[Finding]:
    """Every broken rule of the values, file first, then payment by payment (see docs/file-validation.md).

    Raises `TypeError` for a file of no known message. Memory: three numbers a payment.
    """
    findings, plain, check = _rules(file, limits)
    instruction_ids, end_to_end_ids, uetrs = array("q"), array("q"), array("q")
    count = total_minor = 0
    for count, payment in enumerate(payments, 1):
        total_minor += payment.amount_minor
        if not plain(payment):
            findings += check(f"payment {count} ({payment.end_to_end_id})", payment)
        instruction_ids.append(hash(payment.instruction_id))
        end_to_end_ids.append(hash(payment.end_to_end_id))
        uetrs.append(count if payment.uetr is None else hash(payment.uetr))
    findings += _repeat_findings("instruction-id-unique", instruction_ids)
    if end_to_end_ids != instruction_ids:
        findings += _repeat_findings("end-to-end-id-unique", end_to_end_ids)
    findings += _repeat_findings("uetr-unique", uetrs)
    findings += _totals_findings(file, Totals(count, total_minor), limits)
    return findings


_Plain = Callable[[Any], bool]
_Check = Callable[[str, Any], Iterable[Finding]]


def _rules(file: MessageFile, limits: FileLimits) -> tuple[list[Finding], _Plain, _Check]:
    """What is wrong with header and group; which payments need no look; the check of one payment at a place."""
    if isinstance(file, PaymentFile):
        transfers = TransferRules(file, limits)
        found = [*header_findings(file, limits), *_date_findings("execution", file.group.execution_date, limits)]
        return found, transfers.plain, transfers.findings
    if isinstance(file, CollectionFile):
        found = [
            *collection_header_findings(file, limits),
            *_date_findings("collection", file.group.collection_date, limits),
        ]
        return found, _never, partial(debit_findings, file, limits)
    if isinstance(file, ReversalFile | CancellationFile):
        return list(follow_up_header_findings(file, limits)), _never, partial(follow_up_findings, file, limits)
    raise TypeError(f"no rules for {type(file).__name__}")


def _never(_payment: Payment) -> bool:
    return False


def _repeat_findings(rule: str, hashes: array[int]) -> Iterator[Finding]:
    """Values that come twice, by their hashes, because a file may hold a million; equal hashes of different values
    (once in a hundred million files of a million) would be refused, never let through."""
    twice = {one for one, following in pairwise(sorted(hashes)) if one == following}
    first: dict[int, int] = {}
    for ordinal, value in enumerate(hashes, 1) if twice else ():
        if value in twice and (earlier := first.setdefault(value, ordinal)) != ordinal:
            yield Finding(rule, f"payment {ordinal}", f"has the id of payment {earlier}.")


def gate_file(
    content: bytes | BinaryIO, file: MessageFile, payments: Iterable[Payment], totals: Totals
) -> list[Finding]:
    """Every way the bytes differ from what they were written from; an empty list opens the gate.

    One streaming pass in memory bounded by one piece: the XSD, each payment in order, the header and group, count
    and sum wherever they are stated against `totals`.
    """
    source = io.BytesIO(content) if isinstance(content, bytes) else content
    validator, reader = StreamValidator(file.message_version), FileReader(file, payments)
    findings: list[Finding] = []
    reading = True
    while data := source.read(BYTES_PER_PIECE):
        validator.feed(data)
        if reading:
            reading = _compared(findings, partial(reader.feed, data))
    faults = validator.faults()
    if reading and not faults:
        _compared(findings, partial(reader.end, totals))
    return findings + [Finding("xsd", f"line {line}", message) for line, message in faults]


def _compared(findings: list[Finding], step: Callable[[], list[Finding]]) -> bool:
    """Adds what a step of reading finds; False when the file cannot be read further."""
    try:
        findings += step()
    except ReadBackError as error:
        findings.append(Finding("read-back", "file", f"{error}."))
        return False
    return True


def transfers_digest(transfers: Iterable[CreditTransfer]) -> str:
    """SHA-256 (hex) over who gets what: id, amount, currency, IBAN and name of each payment in order."""
    digest = hashlib.sha256()
    for t in transfers:
        parts = (
            t.end_to_end_id,
            str(t.amount_minor),
            t.currency,
            t.creditor_iban or t.creditor_account or "",
            t.creditor_name,
        )
        digest.update("\x1f".join(parts).encode() + b"\x1e")
    return digest.hexdigest()


def _date_findings(what: str, date: dt.date, limits: FileLimits) -> Iterator[Finding]:
    if not limits.calendar.is_open(date):
        yield Finding(
            f"{what}-date-open",
            "group",
            f"the {what} date {date} is closed in calendar {limits.calendar.holidays}; "
            f"the next open day is {limits.calendar.next_open(date)}.",
        )


def _totals_findings(file: MessageFile, totals: Totals, limits: FileLimits) -> Iterator[Finding]:
    if totals.count == 0:
        yield Finding("payment-count", "file", "holds no payments; do not send it.")
    if limits.max_transactions is not None and totals.count > limits.max_transactions:
        yield Finding(
            "payment-count",
            "file",
            f"holds {totals.count} payments, the bank takes {limits.max_transactions}; split it.",
        )
    if limits.max_total_minor is not None and totals.total_minor > limits.max_total_minor:
        exponent = currency(file.group.currency).exponent
        total, most = (format_amount(minor, exponent) for minor in (totals.total_minor, limits.max_total_minor))
        yield Finding("total", "file", f"the sum is {total} {file.group.currency}, the bank takes {most}; split it.")
    if len(str(totals.total_minor)) > 18:
        yield Finding("total-digits", "file", f"the sum {totals.total_minor} has more than 18 digits; split it.")
