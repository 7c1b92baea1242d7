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
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from operator import attrgetter, lt
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
from settlement.iso20022.repeats import HashRuns, repeats
from settlement.iso20022.schemas import StreamValidator
from settlement.iso20022.transfer_rules import TransferRules, header_findings

BYTES_PER_PIECE = 1 << 18
PAYMENTS_PER_BATCH = 1 << 12


def check_business_rules(file: MessageFile, payments: Iterable[Payment], limits: FileLimits) -> list[Finding]:
    """Every broken rule of the values, file first, then payment by payment (see docs/file-validation.md).

    `payments` may be read more than once; an iterator is kept. Raises `TypeError` for a file of no known message.
    Memory does not grow with the payments.
    """
    findings, plain, check = _rules(file, limits)
    again = list(payments) if iter(payments) is payments else payments
    count = total_minor = 0
    rising, alike, last = True, True, ""
    with HashRuns() as uetrs:
        for batch in _batches(again):
            for ordinal, payment in enumerate(batch, count + 1):
                if not plain(payment):
                    findings += check(f"payment {ordinal} ({payment.end_to_end_id})", payment)
            count += len(batch)
            total_minor += sum([payment.amount_minor for payment in batch])
            ids = [payment.end_to_end_id for payment in batch]
            rising = rising and last < ids[0] and all(map(lt, ids, islice(ids, 1, None)))
            alike = alike and ids == [payment.instruction_id for payment in batch]
            last = ids[-1]
            uetrs.add_all(payment.uetr for payment in batch if payment.uetr is not None)
        if not (rising and alike):
            findings += _repeat_findings("instruction-id-unique", again, attrgetter("instruction_id"))
        if not (rising or alike):
            findings += _repeat_findings("end-to-end-id-unique", again, attrgetter("end_to_end_id"))
        findings += _named("uetr-unique", again, attrgetter("uetr"), uetrs.repeated())
    findings += _totals_findings(file, Totals(count, total_minor), limits)
    return findings


def _batches(payments: Iterable[Payment]) -> Iterator[list[Payment]]:
    remaining = iter(payments)
    while batch := list(islice(remaining, PAYMENTS_PER_BATCH)):
        yield batch


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


def _repeat_findings(
    rule: str, payments: Iterable[Payment], value_of: Callable[[Payment], str | None]
) -> Iterator[Finding]:
    """Values that come twice, whatever their order; those that are not there do not count."""
    with HashRuns() as seen:
        for batch in _batches(payments):
            seen.add_all(value for value in map(value_of, batch) if value is not None)
        yield from _named(rule, payments, value_of, seen.repeated())


def _named(
    rule: str, payments: Iterable[Payment], value_of: Callable[[Payment], str | None], twice: set[int]
) -> Iterator[Finding]:
    for ordinal, earlier in repeats(map(value_of, payments), twice):
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
