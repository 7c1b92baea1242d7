"""Writing payment files of every message.

Lives here: the model's render, and the fast writer. The fast writer writes the very bytes of `render_model`, the
model of record, many times faster and in the memory of one chunk.
Must not live here: rules about the payments (`validate`), ids (`ids`), transports, any XML by hand.

The writer renders the file once with a single payment in each group and cuts these out: what is left is the envelope,
what stands before, between and after the groups' payments. One payment rendered with marks for its values is the
template of every payment of the same *shape* (the set of optional values it has). Only values are put in, after one
check that all their characters belong to the file's character set. Property tests hold both equal for every
message and version.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from operator import itemgetter
from typing import Any, BinaryIO, cast
from xml.sax.saxutils import escape

from ledger.money import currency, format_amount
from settlement.iso20022.charset import Charset, outside, plain_ascii
from settlement.iso20022.iso_objects import render_tree
from settlement.iso20022.leaves import amount_writer, as_text, leaves_of, with_texts
from settlement.iso20022.messages import MESSAGES
from settlement.iso20022.model import MessageFile, Payment, PaymentFileError, Totals, file_currency

PAYMENTS_PER_CHUNK = 256

_MARK = "\ue000"  # private use: in no bank's character set, so never in a value
_MARKED_DATE = dt.date.min  # of no payment


@dataclass(frozen=True, slots=True)
class Written:
    """What was written: SHA-256 (hex) and length of the bytes."""

    sha256: str
    size_bytes: int


def render_model(file: MessageFile, payments: Iterable[Payment], totals: Totals | None = None) -> bytes:
    """The whole file through pyiso20022 and xsdata (UTF-8, declared); slow and in memory.

    `totals` say how many payments each group has; a file of one group needs none.
    """
    given = list(payments)
    totals = totals or Totals.of(given)
    remaining = iter(given)
    by_group = [list(islice(remaining, of_group.count)) for of_group in totals.by_group]
    return _document(file, totals, by_group).encode()


def render(file: MessageFile, payments: Sequence[Payment], totals: Totals | None = None) -> bytes:
    """The whole file as bytes, by the fast writer; `totals` as for `render_model`. Raises `PaymentFileError`."""
    return b"".join(chunks(file, payments, totals or Totals.of(payments)))


def write(out: BinaryIO, file: MessageFile, payments: Iterable[Payment], totals: Totals) -> Written:
    """Stream the file into `out`. Raises `PaymentFileError`; `out` then holds an incomplete file."""
    digest, size_bytes = hashlib.sha256(), 0
    for chunk in chunks(file, payments, totals):
        digest.update(chunk)
        size_bytes += out.write(chunk)
    return Written(digest.hexdigest(), size_bytes)


def chunks(file: MessageFile, payments: Iterable[Payment], totals: Totals) -> Iterator[bytes]:
    """The file's bytes in pieces, in memory bounded by one piece.

    `totals` stand before the payments, so they are given; they are checked against what was written, group by group.
    Raises `PaymentFileError` for no payment, a character outside the file's set, a foreign currency, an element
    that the version does not have, wrong totals.
    """
    for part in (file, *file.groups):
        _check_texts(file, part)
    if len(totals.by_group) != len(file.groups):
        raise PaymentFileError(f"file {file.msg_id} has {len(file.groups)} groups, totals of {len(totals.by_group)}.")
    remaining = iter(payments)
    first = next(remaining, None)
    if first is None:
        raise PaymentFileError(f"file {file.msg_id} holds no payment; do not write it.")
    remaining = chain((first,), remaining)
    head, *after = _envelope(file, totals, first)
    yield head
    writer = _PaymentWriter(file)
    for number, (announced, envelope) in enumerate(zip(totals.by_group, after, strict=True), 1):
        # The last group takes whatever is left, so that a payment too many is seen.
        inside = islice(remaining, announced.count) if number < len(after) else remaining
        writer.written = Totals(0, 0)
        while batch := list(islice(inside, PAYMENTS_PER_CHUNK)):
            yield writer.write(batch)
        _check_written(file, writer.written, announced)
        yield envelope


def _check_written(file: MessageFile, written: Totals, announced: Totals) -> None:
    if (written.count, written.total_minor) != (announced.count, announced.total_minor):
        raise PaymentFileError(
            f"file {file.msg_id}: announced {announced.count} payments of {announced.total_minor} minor units, "
            f"given {written.count} of {written.total_minor}; count them again."
        )


def _document(file: MessageFile, totals: Totals, payments: Sequence[Sequence[Payment]]) -> str:
    return render_tree(file.message_version, MESSAGES[file.message_version].tree(file, totals, payments))


class _PaymentWriter:
    """Turns payments into bytes; compiles a template for each shape it meets."""

    def __init__(self, file: MessageFile) -> None:
        self._file = file
        self._currency = file_currency(file)
        self._amount_text = amount_writer(currency(self._currency).exponent)
        self._templates: dict[tuple[type, ...], _Template] = {}
        self._values = leaves_of(MESSAGES[file.message_version].payment).values
        self._letters = plain_ascii(file.charset)
        self.written = Totals(0, 0)

    def write(self, payments: Sequence[Payment]) -> bytes:
        templates, take, amount_text, code = self._templates, self._values, self._amount_text, self._currency
        rows: list[tuple[_Template, list[str]]] = []
        together: list[str] = []
        total_minor = 0
        for payment in payments:
            if payment.currency != code:
                raise PaymentFileError(
                    f"payment {payment.end_to_end_id} is in {payment.currency}, "
                    f"its group in {self._currency}; give it a file of its own."
                )
            there = take(payment)
            template = templates.get(shape := tuple(map(type, there)))
            if template is None:
                template = templates[shape] = _compile(self._file, payment)
            values = list(template.values(there))
            for at in template.amounts:
                values[at] = amount_text(values[at])
            for at in template.dates:
                values[at] = as_text(values[at])
            rows.append((template, values))
            together += values
            total_minor += payment.amount_minor
        self.written = Totals(self.written.count + len(payments), self.written.total_minor + total_minor)
        if not self._plain(together):
            rows = [
                (template, [self._careful(value, payment) for value in values])
                for payment, (template, values) in zip(payments, rows, strict=True)
            ]
        return "".join([template.text % tuple(values) for template, values in rows]).encode()

    def _plain(self, values: list[str]) -> bool:
        """Whether nothing needs a look: deleting the plain characters of all values at once is the fastest way."""
        text = "".join(values)
        return text.isascii() and not text.encode().translate(None, self._letters) and all(values)

    def _careful(self, value: str, payment: Payment) -> str:
        if not value:
            raise PaymentFileError(f"payment {payment.end_to_end_id} has an empty text; use None.")
        _check_characters(value, self._file.charset, f"payment {payment.end_to_end_id}")
        return escape(value)


@dataclass(frozen=True, slots=True)
class _Template:
    """A payment's XML with `%s` for each value, which values these are, and which of them need writing."""

    text: str
    values: Callable[[tuple[Any, ...]], tuple[Any, ...]]
    amounts: tuple[int, ...]
    dates: tuple[int, ...]


def _compile(file: MessageFile, like: Payment) -> _Template:
    """The template of the shape of `like`, cut from one render of it with marks for values."""
    leaves = leaves_of(type(like))
    amounts = {name: -7 - n for n, name in enumerate(leaves.names) if leaves.types[n] is int}  # negative: of none
    dates = [name for name, kind in zip(leaves.names, leaves.types, strict=True) if kind is dt.date]
    assert len(dates) <= 1  # two would be the same mark

    def mark(name: str, kind: type) -> object:
        if name == "currency":
            return like.currency
        if kind is int:
            return amounts[name]
        return _MARKED_DATE if kind is dt.date else f"{_MARK}{name}{_MARK}"

    marked = with_texts(like, mark)
    xml = _one_payment(file, marked)
    exponent = currency(like.currency).exponent
    for name, amount_minor in amounts.items():
        xml = xml.replace(f">{format_amount(amount_minor, exponent)}<", f">{_MARK}{name}{_MARK}<")
    for name in dates:
        xml = xml.replace(f">{_MARKED_DATE.isoformat()}<", f">{_MARK}{name}{_MARK}<")
    literals_and_names = xml.replace("%", "%%").split(_MARK)
    names = literals_and_names[1::2]
    return _Template(
        "%s".join(literals_and_names[::2]),
        itemgetter(*(leaves.names.index(name) for name in names)),
        tuple(at for at, name in enumerate(names) if name in amounts),
        tuple(at for at, name in enumerate(names) if name in dates),
    )


def _one_payment(file: MessageFile, payment: Payment) -> str:
    """A payment as the model renders it in a group."""
    first_group_only: MessageFile = replace(cast(Any, file), groups=file.groups[:1])
    xml = _document(first_group_only, Totals(1, 1), [[payment]])
    element = MESSAGES[file.message_version].element
    return xml[xml.index(f"<{element}>") : xml.rindex(f"</{element}>") + len(f"</{element}>")]


def _envelope(file: MessageFile, totals: Totals, any_payment: Payment) -> list[bytes]:
    """What stands before the first payment, between the groups' payments, and after the last."""
    xml = _document(file, totals, [[any_payment]] * len(file.groups))
    element = MESSAGES[file.message_version].element
    start, end, at = f"<{element}>", f"</{element}>", 0
    pieces = []
    for _ in file.groups:
        cut = xml.index(start, at)
        pieces.append(xml[at:cut].encode())
        at = xml.index(end, cut) + len(end)
    return [*pieces, xml[at:].encode()]


def _check_texts(file: MessageFile, part: Any) -> None:
    """Every text of the header and group is in the character set."""
    for value in leaves_of(part.__class__).values(part):
        if isinstance(value, str):
            _check_characters(value, file.charset, f"file {file.msg_id}")


def _check_characters(value: str, charset: Charset, place: str) -> None:
    foreign = outside(value, charset)
    if foreign:
        raise PaymentFileError(
            f"{place}: {value!r} has characters outside the {charset.value} set, {foreign!r}; transliterate it."
        )
