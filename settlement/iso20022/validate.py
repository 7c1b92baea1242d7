"""The gates a payment file passes before anybody may approve it.

Lives here: `check_business_rules`, on the values, and `gate_file`, on the bytes: one streaming pass that checks
the XSD and reads everything back through our own reader.
Must not live here: writing, the reader itself, anything about balances or approvals.

Both report every finding and raise nothing; a file with a finding is not released.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator
from dataclasses import fields, replace
from functools import lru_cache
from importlib.resources import as_file, files
from itertools import chain
from typing import BinaryIO

from lxml import etree

from ledger.money import currency, format_amount
from settlement.iso20022.field_rules import FileLimits, group_findings, payment_findings
from settlement.iso20022.findings import Finding
from settlement.iso20022.model import (
    CreditTransfer,
    MessageVersion,
    PaymentFile,
    PaymentGroup,
    Totals,
)
from settlement.iso20022.readback import (
    InvalidXMLError,
    ReadBackError,
    ReadFile,
    ReadPayment,
    StatedTotals,
    read_back,
)


def check_business_rules(file: PaymentFile, transfers: Iterable[CreditTransfer], limits: FileLimits) -> list[Finding]:
    """Every broken rule of the values, file first, then payment by payment (see docs/file-validation.md)."""
    findings = list(_file_findings(file, limits))
    instruction_ids: dict[str, int] = {}
    end_to_end_ids: dict[str, int] = {}
    uetrs: dict[str, int] = {}
    totals = Totals(0, 0)
    for ordinal, transfer in enumerate(transfers, 1):
        place = _place(ordinal, transfer)
        findings.extend(payment_findings(place, transfer, file, limits))
        for rule, seen, value in (
            ("instruction-id-unique", instruction_ids, transfer.instruction_id),
            ("end-to-end-id-unique", end_to_end_ids, transfer.end_to_end_id),
            ("uetr-unique", uetrs, transfer.uetr),
        ):
            if value is not None and (first := seen.setdefault(value, ordinal)) != ordinal:
                findings.append(Finding(rule, place, f"{value} is the id of payment {first} too."))
        totals = Totals(ordinal, totals.total_minor + transfer.amount_minor)
    findings.extend(_totals_findings(file, totals, limits))
    return findings


def gate_file(
    content: bytes | BinaryIO, file: PaymentFile, transfers: Iterable[CreditTransfer], totals: Totals
) -> list[Finding]:
    """Every way the bytes differ from what they were written from; an empty list opens the gate.

    One streaming pass, memory bounded by one payment: the XSD, each payment in order, the header and group,
    count and sum at both levels against `totals`.
    """
    source = io.BytesIO(content) if isinstance(content, bytes) else content
    findings: list[Finding] = []
    ordinal = total_minor = 0
    given = chain(transfers, _nothing_more())
    try:
        for item in read_back(source, file.message_version, schema(file.message_version)):
            if isinstance(item, ReadPayment):
                ordinal += 1
                total_minor += item.transfer.amount_minor
                findings.extend(_payment_differences(ordinal, item, next(given)))
            else:
                findings.extend(_file_differences(file, item, totals))
    except InvalidXMLError as error:
        return [*findings, *(Finding("xsd", f"line {line}", message) for line, message in error.faults)]
    except ReadBackError as error:
        return [*findings, Finding("read-back", "file", f"{error}.")]
    read = Totals(ordinal, total_minor)
    if read != totals:
        findings.append(Finding("totals", "file", f"holds {_in_words(read)}, not {_in_words(totals)}."))
    return findings


def transfers_digest(transfers: Iterable[CreditTransfer]) -> str:
    """SHA-256 (hex) over who gets what: id, amount, currency, IBAN and name of each payment in order."""
    digest = hashlib.sha256()
    for t in transfers:
        parts = (t.end_to_end_id, str(t.amount_minor), t.currency, t.creditor_iban, t.creditor_name)
        digest.update("\x1f".join(parts).encode() + b"\x1e")
    return digest.hexdigest()


@lru_cache
def schema(version: MessageVersion) -> etree.XMLSchema:
    """The message's XSD, from sepaxml's package data."""
    with as_file(files("sepaxml") / "schemas" / f"{version.value}.xsd") as path:
        return etree.XMLSchema(etree.parse(str(path)))


def _place(ordinal: int, transfer: CreditTransfer) -> str:
    return f"payment {ordinal} ({transfer.end_to_end_id})"


def _file_findings(file: PaymentFile, limits: FileLimits) -> Iterator[Finding]:
    yield from group_findings(file, limits)
    date = file.group.execution_date
    if not limits.calendar.is_open(date):
        yield Finding(
            "execution-date-open",
            "group",
            f"the execution date {date} is closed in calendar {limits.calendar.holidays}; "
            f"the next open day is {limits.calendar.next_open(date)}.",
        )


def _totals_findings(file: PaymentFile, totals: Totals, limits: FileLimits) -> Iterator[Finding]:
    if totals.count == 0:
        yield Finding("payment-count", "file", "holds no payments; do not send it.")
    if limits.max_transactions is not None and totals.count > limits.max_transactions:
        yield Finding(
            "payment-count",
            "file",
            f"holds {totals.count} payments, the bank takes {limits.max_transactions}; split it.",
        )
    if len(str(totals.total_minor)) > 18:
        yield Finding("total-digits", "file", f"the sum {totals.total_minor} has more than 18 digits; split it.")


def _nothing_more() -> Iterator[None]:
    while True:
        yield None


def _payment_differences(ordinal: int, read: ReadPayment, given: CreditTransfer | None) -> Iterator[Finding]:
    if given is None:
        place = _place(ordinal, read.transfer)
        yield Finding("read-back", place, "is in the file, but was not given.")
        return
    place = _place(ordinal, given)
    if read.transfer != given:
        for name in _different(read.transfer, given):
            there, wanted = getattr(read.transfer, name), getattr(given, name)
            yield Finding("read-back", place, f"{name} reads {there!r}, given was {wanted!r}.")
    exact = format_amount(given.amount_minor, currency(given.currency).exponent)
    if read.amount_text != exact:
        yield Finding("amount-decimals", place, f"the amount is written {read.amount_text}, not {exact}.")


def _file_differences(file: PaymentFile, read: ReadFile, totals: Totals) -> Iterator[Finding]:
    there = replace(read.file, charset=file.charset)  # the character set is not written in a file
    for name in _different(there, file):
        if name != "group":
            given, found = getattr(file, name), getattr(there, name)
            yield Finding("read-back", "header", f"{name} reads {found!r}, given was {given!r}.")
    for name in _different(there.group, file.group):
        given, found = getattr(file.group, name), getattr(there.group, name)
        yield Finding("read-back", "group", f"{name} reads {found!r}, given was {given!r}.")
    exponent = currency(file.group.currency).exponent
    wanted = StatedTotals(str(totals.count), format_amount(totals.total_minor, exponent))
    for place, stated in (("header", read.header_totals), ("group", read.group_totals)):
        if stated != wanted:
            yield Finding(
                "totals",
                place,
                f"says {stated.count} payments and {stated.total}, given were {wanted.count} and {wanted.total}.",
            )


def _different(
    left: CreditTransfer | PaymentFile | PaymentGroup, right: CreditTransfer | PaymentFile | PaymentGroup
) -> list[str]:
    return [f.name for f in fields(left) if getattr(left, f.name) != getattr(right, f.name)]


def _in_words(totals: Totals) -> str:
    return f"{totals.count} payments of {totals.total_minor} minor units"
