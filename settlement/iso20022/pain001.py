"""Writing pain.001 credit transfer files.

Lives here: the fast writer. It writes the very bytes of `pain001_model.render_model`, the model of record,
about seventy times faster and in the memory of one chunk.
Must not live here: rules about the payments (`validate`), ids (`ids`), transports, any XML by hand.

The writer renders the file once with a single marked payment and cuts the result at the marks: what stands
around the payment is the envelope, what stands around the marks is the template of every payment of the same
*shape* (the set of optional fields it has). Only values are put in, after one check that all their characters
belong to the file's character set. A property test holds both equal.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import attrgetter
from typing import BinaryIO
from xml.sax.saxutils import escape

from ledger.money import currency, format_amount
from settlement.iso20022.charset import Charset, outside, plain_ascii
from settlement.iso20022.model import (
    CreditTransfer,
    PaymentFile,
    PaymentFileError,
    PostalAddress,
    Totals,
)
from settlement.iso20022.pain001_model import render_document

PAYMENTS_PER_CHUNK = 256

_MARK = "\ue000"  # private use: in no bank's character set, so never in a value
_MARKED_AMOUNT_MINOR = -7  # negative: in no payment
_NO_ADDRESS = PostalAddress(country="", town="")


@dataclass(frozen=True, slots=True)
class Written:
    """What was written: SHA-256 (hex) and length of the bytes."""

    sha256: str
    size_bytes: int


def render(file: PaymentFile, transfers: Sequence[CreditTransfer]) -> bytes:
    """The whole file as bytes, by the fast writer. Raises `PaymentFileError`."""
    return b"".join(chunks(file, transfers, Totals.of(transfers)))


def write(out: BinaryIO, file: PaymentFile, transfers: Iterable[CreditTransfer], totals: Totals) -> Written:
    """Stream the file into `out`. Raises `PaymentFileError`; `out` then holds an incomplete file."""
    digest, size_bytes = hashlib.sha256(), 0
    for chunk in chunks(file, transfers, totals):
        digest.update(chunk)
        size_bytes += out.write(chunk)
    return Written(digest.hexdigest(), size_bytes)


def chunks(file: PaymentFile, transfers: Iterable[CreditTransfer], totals: Totals) -> Iterator[bytes]:
    """The file's bytes in pieces, in memory bounded by one piece.

    `totals` stand before the payments, so they are given; they are checked against what was written.
    Raises `PaymentFileError` for a character outside the file's set, a foreign currency, wrong totals.
    """
    _check_header(file)
    head, tail = _envelope(file, totals)
    yield head
    payments = _PaymentWriter(file)
    remaining = iter(transfers)
    while batch := list(islice(remaining, PAYMENTS_PER_CHUNK)):
        yield payments.write(batch)
    if payments.written != totals:
        raise PaymentFileError(
            f"file {file.msg_id}: announced {totals.count} payments of {totals.total_minor} minor units, "
            f"given {payments.written.count} of {payments.written.total_minor}; count them again."
        )
    yield tail


class _PaymentWriter:
    """Turns payments into bytes; compiles a template for each shape it meets."""

    def __init__(self, file: PaymentFile) -> None:
        self._file = file
        self._currency = file.group.currency
        self._exponent = currency(file.group.currency).exponent
        self._templates: dict[int, _Template] = {}
        self._plain = plain_ascii(file.charset)
        self.written = Totals(0, 0)

    def write(self, transfers: Sequence[CreditTransfer]) -> bytes:
        exponent, plain, texts, total_minor = self._exponent, self._plain, [], 0
        for transfer in transfers:
            if transfer.currency != self._currency:
                raise PaymentFileError(
                    f"payment {transfer.end_to_end_id} is in {transfer.currency}, "
                    f"its group in {self._currency}; give it a file of its own."
                )
            template = self._template(transfer)
            values = list(template.values(transfer))
            values[template.amount_at] = format_amount(transfer.amount_minor, exponent)
            together = " ".join(values)
            # Deleting the plain characters of the whole payment at once is ten times faster than a pattern.
            if not together.isascii() or together.encode().translate(None, plain) or not all(values):
                values = [self._careful(value, transfer) for value in values]
            texts.append(template.text % tuple(values))
            total_minor += transfer.amount_minor
        self.written = Totals(self.written.count + len(transfers), self.written.total_minor + total_minor)
        return "".join(texts).encode()

    def _template(self, transfer: CreditTransfer) -> _Template:
        shape = _shape(transfer)
        template = self._templates.get(shape)
        if template is None:
            template = self._templates[shape] = _compile(self._file, transfer)
        return template

    def _careful(self, value: str, transfer: CreditTransfer) -> str:
        if not value:
            raise PaymentFileError(f"payment {transfer.end_to_end_id} has an empty text; use None.")
        _check_characters(value, self._file.charset, f"payment {transfer.end_to_end_id}")
        return escape(value)


@dataclass(frozen=True, slots=True)
class _Template:
    """A payment's XML with `%s` for each value, where to get the values, and which one is the amount."""

    text: str
    values: Callable[[CreditTransfer], tuple[str, ...]]
    amount_at: int


def _shape(transfer: CreditTransfer) -> int:
    """Which optional fields the payment has, as bits."""
    shape = (
        (transfer.uetr is not None)
        | (transfer.creditor_bic is not None) << 1
        | (transfer.remittance_unstructured is not None) << 2
    )
    address = transfer.creditor_address
    if address is None:
        return shape
    return (
        shape
        | 1 << 3
        | (address.street is not None) << 4
        | (address.postcode is not None) << 5
        | (address.line_1 is not None) << 6
        | (address.line_2 is not None) << 7
    )


def _compile(file: PaymentFile, like: CreditTransfer) -> _Template:
    """The template of the shape of `like`, cut from one render of it with marks for values."""
    xml = render_document(file, Totals(1, _MARKED_AMOUNT_MINOR), [_marked(like)])
    start, end = xml.index("<CdtTrfTxInf>"), xml.rindex("</CdtTrfTxInf>") + len("</CdtTrfTxInf>")
    amount = format_amount(_MARKED_AMOUNT_MINOR, currency(like.currency).exponent)
    payment = xml[start:end].replace(f">{amount}<", f">{_MARK}amount_minor{_MARK}<")
    literals_and_names = payment.replace("%", "%%").split(_MARK)
    names = literals_and_names[1::2]
    values: Callable[[CreditTransfer], tuple[str, ...]] = attrgetter(*names)
    return _Template("%s".join(literals_and_names[::2]), values, names.index("amount_minor"))


def _marked(like: CreditTransfer) -> CreditTransfer:
    """The same shape with every text replaced by the marked name of its attribute."""

    def mark(name: str, value: str | None) -> str | None:
        return None if value is None else f"{_MARK}{name}{_MARK}"

    address = like.creditor_address
    if address is not None:
        prefix = "creditor_address."
        address = PostalAddress(
            country=f"{_MARK}{prefix}country{_MARK}",
            town=f"{_MARK}{prefix}town{_MARK}",
            street=mark(prefix + "street", address.street),
            postcode=mark(prefix + "postcode", address.postcode),
            line_1=mark(prefix + "line_1", address.line_1),
            line_2=mark(prefix + "line_2", address.line_2),
        )
    return CreditTransfer(
        instruction_id=f"{_MARK}instruction_id{_MARK}",
        end_to_end_id=f"{_MARK}end_to_end_id{_MARK}",
        uetr=mark("uetr", like.uetr),
        amount_minor=_MARKED_AMOUNT_MINOR,
        currency=like.currency,
        creditor_name=f"{_MARK}creditor_name{_MARK}",
        creditor_iban=f"{_MARK}creditor_iban{_MARK}",
        creditor_bic=mark("creditor_bic", like.creditor_bic),
        creditor_address=address,
        remittance_unstructured=mark("remittance_unstructured", like.remittance_unstructured),
    )


def _envelope(file: PaymentFile, totals: Totals) -> tuple[bytes, bytes]:
    """What stands before the first payment and after the last."""
    probe = CreditTransfer(
        instruction_id="1",
        end_to_end_id="1",
        amount_minor=1,
        currency=file.group.currency,
        creditor_name="1",
        creditor_iban="1",
    )
    xml = render_document(file, totals, [probe])
    start, end = xml.index("<CdtTrfTxInf>"), xml.rindex("</CdtTrfTxInf>") + len("</CdtTrfTxInf>")
    return xml[:start].encode(), xml[end:].encode()


def _check_characters(value: str, charset: Charset, place: str) -> None:
    foreign = outside(value, charset)
    if foreign:
        raise PaymentFileError(
            f"{place}: {value!r} has characters outside the {charset.value} set, {foreign!r}; transliterate it."
        )


def _check_header(file: PaymentFile) -> None:
    group = file.group
    address = group.debtor_address or _NO_ADDRESS
    texts = (
        file.msg_id,
        file.initiating_party_name,
        file.initiating_party_id,
        group.payment_information_id,
        group.debtor_name,
        group.debtor_iban,
        group.debtor_bic,
        group.service_level,
        group.category_purpose,
        *(address.country, address.town, address.street, address.postcode, address.line_1, address.line_2),
    )
    for text in texts:
        if text is not None:
            _check_characters(text, file.charset, f"file {file.msg_id}")
