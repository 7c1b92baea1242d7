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
from itertools import chain, pairwise
from typing import BinaryIO

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
    findings, check = _rules(file, limits)
    ids = tuple(_Unique(rule) for rule in ("instruction-id-unique", "end-to-end-id-unique", "uetr-unique"))
    instruction_ids, end_to_end_ids, uetrs = ids
    count = total_minor = 0
    for payment in payments:
        count += 1
        total_minor += payment.amount_minor
        findings += check(count, payment)
        instruction_ids.add(payment.instruction_id)
        end_to_end_ids.add(payment.end_to_end_id)
        uetrs.add(payment.uetr)
    findings += chain.from_iterable(unique.findings() for unique in ids)
    findings += _totals_findings(file, Totals(count, total_minor), limits)
    return findings


def _rules(file: MessageFile, limits: FileLimits) -> tuple[list[Finding], Callable[[int, Payment], Iterable[Finding]]]:
    """What is wrong with header and group, and the check of one payment (from 1) of this kind of file."""
    if isinstance(file, PaymentFile):
        transfers = TransferRules(file, limits)

        def check(ordinal: int, payment: Payment) -> Iterable[Finding]:
            assert isinstance(payment, CreditTransfer)
            if transfers.plain(payment):
                return ()
            return transfers.findings(_place(ordinal, payment), payment)

        found = [*header_findings(file, limits), *_date_findings("execution", file.group.execution_date, limits)]
        return found, check
    if isinstance(file, CollectionFile):
        found = [
            *collection_header_findings(file, limits),
            *_date_findings("collection", file.group.collection_date, limits),
        ]
        return found, lambda ordinal, payment: debit_findings(_place(ordinal, payment), payment, file, limits)
    if isinstance(file, ReversalFile | CancellationFile):
        found = list(follow_up_header_findings(file, limits))
        return found, lambda ordinal, payment: follow_up_findings(_place(ordinal, payment), payment, file, limits)
    raise TypeError(f"no rules for {type(file).__name__}")


class _Unique:
    """Finds values that come twice. Keeps a hash of each, because a file may hold a million; equal hashes of
    different values (once in a hundred million files of a million) would be refused, never let through."""

    def __init__(self, rule: str) -> None:
        self._rule = rule
        self._hashes = array("q")

    def add(self, value: str | None) -> None:
        self._hashes.append(len(self._hashes) if value is None else hash(value))

    def findings(self) -> Iterator[Finding]:
        ordered = sorted(self._hashes)
        twice = {one for one, next_one in pairwise(ordered) if one == next_one}
        first: dict[int, int] = {}
        for ordinal, value in enumerate(self._hashes, 1) if twice else ():
            if value in twice and (earlier := first.setdefault(value, ordinal)) != ordinal:
                yield Finding(self._rule, f"payment {ordinal}", f"has the id of payment {earlier}.")


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


def _place(ordinal: int, payment: Payment) -> str:
    return f"payment {ordinal} ({payment.end_to_end_id})"


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
