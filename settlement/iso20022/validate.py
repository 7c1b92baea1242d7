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
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from operator import attrgetter, lt
from typing import Any, BinaryIO, TypeVar

from ledger.money import currency, format_amount
from settlement.iso20022.debit_rules import (
    collection_group_findings,
    collection_header_findings,
    debit_findings,
    follow_up_findings,
    follow_up_group_findings,
    follow_up_header_findings,
)
from settlement.iso20022.direct_debit import CollectionFile
from settlement.iso20022.field_rules import FileLimits
from settlement.iso20022.findings import Finding, group_place
from settlement.iso20022.follow_ups import CancellationFile, ReversalFile
from settlement.iso20022.model import CreditTransfer, Group, MessageFile, Payment, PaymentFile, Totals, file_currency
from settlement.iso20022.readback import FileReader, ReadBackError
from settlement.iso20022.repeats import HashRuns, repeats
from settlement.iso20022.schemas import StreamValidator
from settlement.iso20022.transfer_rules import TransferRules, group_findings, header_findings

BYTES_PER_PIECE = 1 << 18
PAYMENTS_PER_BATCH = 1 << 12
_Group = TypeVar("_Group", bound=Group)


def check_business_rules(
    file: MessageFile, payments: Iterable[Payment], limits: FileLimits, totals: Totals | None = None
) -> list[Finding]:
    """Every broken rule of the values, file and groups first, then payment by payment (see docs/file-validation.md).

    `payments` may be read more than once; an iterator is kept. `totals` say how many payments each group has and are
    checked; a file of one group needs none. Raises `TypeError` for a file of no known message, `ValueError` for totals
    of another number of groups. Memory does not grow with the payments.
    """
    if len(file.groups) != (1 if totals is None else len(totals.by_group)):
        raise ValueError(f"file {file.msg_id} has {len(file.groups)} groups, and totals of another number")
    findings, plain, check = _rules(file, limits)
    again = list(payments) if iter(payments) is payments else payments
    count = 0
    counted = [Totals(0, 0)] * len(file.groups)
    rising, alike, last = True, True, ""
    with HashRuns() as uetrs:
        for at, batch in _batches_of_groups(again, totals):
            group = file.groups[at]
            for ordinal, payment in enumerate(batch, count + 1):
                if not plain(payment):
                    findings += check(group, f"payment {ordinal} ({payment.end_to_end_id})", payment)
            count += len(batch)
            sum_minor = counted[at].total_minor + sum([payment.amount_minor for payment in batch])
            counted[at] = Totals(counted[at].count + len(batch), sum_minor)
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
    findings += _repeated_groups(file)
    findings += _counted_findings(counted, totals)
    findings += _totals_findings(file, counted, limits)
    return findings


def _batches(payments: Iterable[Payment]) -> Iterator[list[Payment]]:
    remaining = iter(payments)
    while batch := list(islice(remaining, PAYMENTS_PER_BATCH)):
        yield batch


def _batches_of_groups(payments: Iterable[Payment], totals: Totals | None) -> Iterator[tuple[int, list[Payment]]]:
    """Batches with the place of their group from 0; the last group has whatever is left."""
    remaining = iter(payments)
    sizes = [] if totals is None else [of_group.count for of_group in totals.by_group[:-1]]
    for at, size in enumerate(sizes):
        for batch in _batches(islice(remaining, size)):
            yield at, batch
    for batch in _batches(remaining):
        yield len(sizes), batch


_Plain = Callable[[Any], bool]
_Check = Callable[[Any, str, Any], Iterable[Finding]]


def _rules(file: MessageFile, limits: FileLimits) -> tuple[list[Finding], _Plain, _Check]:
    """What is wrong with header and groups; which payments need no look; the check of one payment of a group."""
    if isinstance(file, PaymentFile):
        transfers = TransferRules(file, limits)
        found = list(header_findings(file, limits))
        for place, group in _placed(file.groups):
            found += group_findings(file, group, limits, place)
            found += _date_findings("execution", place, group.execution_date, limits)
        return found, transfers.plain, lambda _group, place, payment: transfers.findings(place, payment)
    if isinstance(file, CollectionFile):
        found = list(collection_header_findings(file, limits))
        for place, debits in _placed(file.groups):
            found += collection_group_findings(file, debits, limits, place)
            found += _date_findings("collection", place, debits.collection_date, limits)
        return found, _never, partial(debit_findings, file, limits)
    if isinstance(file, ReversalFile | CancellationFile):
        found = list(follow_up_header_findings(file, limits))
        for place, original in _placed(file.groups):
            found += follow_up_group_findings(file, original, limits, place)
        return found, _never, partial(follow_up_findings, file, limits)
    raise TypeError(f"no rules for {type(file).__name__}")


def _placed(groups: tuple[_Group, ...]) -> list[tuple[str, _Group]]:
    return [(group_place(ordinal, len(groups)), group) for ordinal, group in enumerate(groups, 1)]


def _repeated_groups(file: MessageFile) -> Iterator[Finding]:
    first: dict[str, str] = {}
    for place, group in _placed(file.groups):
        earlier = first.setdefault(group.payment_information_id, place)
        if earlier != place:
            yield Finding("payment-information-id-unique", place, f"has the id of {earlier}.")


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


def _date_findings(what: str, place: str, date: dt.date, limits: FileLimits) -> Iterator[Finding]:
    if not limits.calendar.is_open(date):
        yield Finding(
            f"{what}-date-open",
            place,
            f"the {what} date {date} is closed in calendar {limits.calendar.holidays}; "
            f"the next open day is {limits.calendar.next_open(date)}.",
        )


def _counted_findings(counted: Sequence[Totals], totals: Totals | None) -> Iterator[Finding]:
    """Stated totals that the payments do not come to."""
    for (place, there), stated in zip(_numbered(counted), () if totals is None else totals.by_group, strict=False):
        if (there.count, there.total_minor) != (stated.count, stated.total_minor):
            yield Finding(
                "totals", place, f"is said to hold {stated.count} payments of {stated.total_minor} minor units."
            )


def _numbered(counted: Sequence[Totals]) -> list[tuple[str, Totals]]:
    return [(group_place(ordinal, len(counted)), there) for ordinal, there in enumerate(counted, 1)]


def _totals_findings(file: MessageFile, counted: Sequence[Totals], limits: FileLimits) -> Iterator[Finding]:
    count, total_minor = sum(t.count for t in counted), sum(t.total_minor for t in counted)
    code = file_currency(file)
    for place, there in _numbered(counted):
        if there.count == 0:
            yield Finding("payment-count", "file" if count == 0 else place, "holds no payments; do not send it.")
        yield from _most_findings(place, there, limits.max_group_transactions, limits.max_group_total_minor, code)
    if limits.max_groups is not None and len(counted) > limits.max_groups:
        yield Finding(
            "group-count", "file", f"has {len(counted)} groups, the bank takes {limits.max_groups}; split it."
        )
    yield from _most_findings("file", Totals(count, total_minor), limits.max_transactions, limits.max_total_minor, code)
    if len(str(total_minor)) > 18:
        yield Finding("total-digits", "file", f"the sum {total_minor} has more than 18 digits; split it.")


def _most_findings(
    place: str, totals: Totals, most: int | None, most_minor: int | None, code: str
) -> Iterator[Finding]:
    if most is not None and totals.count > most:
        yield Finding("payment-count", place, f"holds {totals.count} payments, the bank takes {most}; split it.")
    if most_minor is not None and totals.total_minor > most_minor:
        exponent = currency(code).exponent
        total, limit = (format_amount(minor, exponent) for minor in (totals.total_minor, most_minor))
        yield Finding("total", place, f"the sum is {total} {code}, the bank takes {limit}; split it.")
