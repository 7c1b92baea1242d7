"""The books for other programs: an hledger journal, a beancount ledger, a Parquet table of postings.

Lives here: what leaves the books as a journal, and the names that other programs can read. Must not live here:
analysts' tables (`recon.warehouse`), anything that posts. docs/interop.md states the mapping for people.

Everything is streamed from one server-side cursor, so from one snapshot, in the order of the books.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import Enum
from itertools import groupby
from pathlib import Path
from typing import Protocol, TextIO

from ledger.balances import Knowledge
from ledger.db import Connection
from ledger.errors import RefusedError, translate_errors
from ledger.money import format_amount
from ledger.transactions import transaction

_PAGE = 20_000  # rows fetched, and a Parquet row group
_POSTINGS = """
SELECT e.entry_id, e.idempotency_key, e.effective_date, t.description, t.reference, p.account_id, p.amount_minor
  FROM ledger.posting p JOIN ledger.entry e USING (entry_id) LEFT JOIN ledger.entry_text t USING (entry_id)
 WHERE p.book_id = %(book)s AND (%(as_of)s::date IS NULL OR p.effective_date <= %(as_of)s)
   AND (%(known)s::bigint IS NULL OR EXISTS (SELECT FROM ledger.batch_seq s
                                              WHERE s.batch_id = p.posting_id >> 20 AND s.last_seq <= %(known)s))
 ORDER BY p.posting_id
"""
_ACCOUNTS = """
SELECT a.account_id, a.code, a.type, c.code, c.exponent FROM ledger.account a JOIN ledger.currency c USING (currency_id)
 WHERE a.book_id = %s ORDER BY a.code
"""
_PRICES = """
SELECT DISTINCT ON (r.rate_date, b.code, q.code) r.rate_date, b.code, r.rate::text, q.code
  FROM ledger.rate r
  JOIN ledger.currency b ON b.currency_id = r.base_id JOIN ledger.currency q ON q.currency_id = r.quote_id
 WHERE r.book_id = %(book)s AND (%(as_of)s::date IS NULL OR r.rate_date <= %(as_of)s)
   AND (%(known_at)s::timestamptz IS NULL OR r.recorded_at <= %(known_at)s)
   AND r.base_id IN (SELECT currency_id FROM ledger.account WHERE book_id = %(book)s)
   AND r.quote_id IN (SELECT currency_id FROM ledger.account WHERE book_id = %(book)s)
 ORDER BY r.rate_date, b.code, q.code, r.as_of DESC, r.rate_id DESC
"""
_BOOK = """
SELECT b.name, c.code, (SELECT min(effective_date) FROM ledger.entry e WHERE e.book_id = b.book_id)
  FROM ledger.book b JOIN ledger.currency c ON c.currency_id = b.functional_currency_id WHERE b.book_id = %s
"""


class ExportFormat(Enum):
    """What the books can be written as."""

    HLEDGER = "hledger"
    BEANCOUNT = "beancount"
    PARQUET = "parquet"


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was written. `last_entry_id` is 0 when no entry was."""

    accounts: int
    entries: int
    postings: int
    last_entry_id: int


@dataclass(frozen=True, slots=True)
class _Account:
    code: str
    type: str
    currency: str
    exponent: int


@dataclass(frozen=True, slots=True)
class _Book:
    name: str
    currency: str
    first_date: date | None


@dataclass(frozen=True, slots=True)
class _Entry:
    entry_id: int
    key: str
    effective_date: date
    description: str | None
    reference: str | None
    legs: tuple[tuple[_Account, int], ...]


# --- names that other programs can read ----------------------------------------------------------------------------

_ROOTS = {
    "asset": ("assets", "Assets"),
    "liability": ("liabilities", "Liabilities"),
    "equity": ("equity", "Equity"),
    "income": ("income", "Income"),
    "expense": ("expenses", "Expenses"),
}
_WORDS = {root: word for word, root in _ROOTS.values()}
_OUT = {".": "--d", "_": "--u"}
_BACK = {"d": ".", "u": "_", "h": "-"}
_PLAIN = re.compile(r"[a-z][a-z]|[A-Z](?![a-z])|[0-9]")
_ESCAPE = re.compile(r"--([duh])")


def _encode_segment(segment: str) -> str:
    """A segment as a beancount component: capitalised words, ids as they are, everything else after ``X-``."""
    out = "".join(
        "--h" if char == "-" and segment[n + 1 : n + 2] in ("-", ".", "_") else _OUT.get(char, char)
        for n, char in enumerate(segment)
    )
    if _PLAIN.match(segment) and segment[:2] not in ("X-", "Z-") and out[:3] not in ("X--", "Z--"):
        return out[0].upper() + out[1:]
    return f"X-{out}"


def _decode_segment(component: str) -> str:
    def back(text: str) -> str:
        return _ESCAPE.sub(lambda found: _BACK[found.group(1)], text)

    if component.startswith("X-"):
        return back(component[2:])
    if re.match(r"[A-Z][a-z]", component):
        component = component[0].lower() + component[1:]
    return back(component)


def beancount_account(code: str, type_: str) -> str:
    """The beancount name of an account code: ``liabilities:payable:P1`` is ``Liabilities:Payable:P1``.

    `account_code` gives the code back, whatever the code (proven by a property test). The first component is the
    account's type; a code whose first word is not that type's usual one keeps it as ``Z-word``.
    """
    word, root = _ROOTS[type_]
    first, *rest = code.split(":")
    kept = [] if first == word else [f"Z-{first}"]
    return ":".join([root, *kept, *map(_encode_segment, rest)])


def account_code(name: str) -> str:
    """The account code that a beancount name of ours stands for."""
    root, *rest = name.split(":")
    if rest[0].startswith("Z-"):
        return ":".join([rest[0][2:], *map(_decode_segment, rest[1:])])
    return ":".join([_WORDS[root], *map(_decode_segment, rest)])


_HLEDGER_ILLEGAL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029;|]|%(?=[0-9A-Fa-f]{2})|^[*!(=\s]|\s$")
_HLEDGER_TAG_ILLEGAL = re.compile(_HLEDGER_ILLEGAL.pattern + r"|,|\s")


def _percent(text: str, illegal: re.Pattern[str]) -> str:
    """Characters that would mean something else, as %XX of their UTF-8 bytes (so `urllib.parse.unquote` reads it)."""
    return illegal.sub(lambda found: "".join(f"%{byte:02X}" for byte in found.group().encode()), text)


def _quoted(text: str) -> str:
    """A beancount string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    for char, name in (("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")):
        escaped = escaped.replace(char, name)
    return f'"{escaped}"'


# --- the formats ---------------------------------------------------------------------------------------------------


class _Renderer(Protocol):
    def head(self, book: _Book, accounts: Iterable[_Account]) -> Iterator[str]: ...

    def price(self, day: date, base: str, rate: str, quote: str) -> str: ...

    def entry(self, entry: _Entry) -> str: ...


_HLEDGER_TYPES = {"asset": "A", "liability": "L", "equity": "E", "income": "R", "expense": "X"}


class _Hledger:
    """Account codes are legal hledger names as they are; types are declared, not guessed from names."""

    def head(self, book: _Book, accounts: Iterable[_Account]) -> Iterator[str]:
        yield f"; {_percent(book.name, _HLEDGER_ILLEGAL)}\ndecimal-mark .\n"
        exponents: dict[str, int] = {}
        for account in accounts:
            exponents[account.currency] = account.exponent
            yield f"account {account.code}  ; type:{_HLEDGER_TYPES[account.type]}\n"
        for currency, exponent in exponents.items():
            yield f"commodity 1000.{'0' * exponent} {currency}\n"

    def price(self, day: date, base: str, rate: str, quote: str) -> str:
        return f"P {day} {base} {rate} {quote}\n"

    def entry(self, entry: _Entry) -> str:
        lines = [f"\n{entry.effective_date} {_percent(entry.description or '', _HLEDGER_ILLEGAL)}".rstrip()]
        lines.append(f"    ; key:{_percent(entry.key, _HLEDGER_TAG_ILLEGAL)}")
        if entry.reference is not None:
            lines.append(f"    ; reference:{_percent(entry.reference, _HLEDGER_TAG_ILLEGAL)}")
        lines += [
            f"    {account.code}  {format_amount(amount, account.exponent)} {account.currency}"
            for account, amount in entry.legs
        ]
        return "\n".join(lines) + "\n"


class _Beancount:
    """Every account is opened on the book's first date, with its code; keys and references are metadata."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def head(self, book: _Book, accounts: Iterable[_Account]) -> Iterator[str]:
        yield f'option "title" {_quoted(book.name)}\noption "operating_currency" "{book.currency}"\n\n'
        opened = book.first_date or date(1970, 1, 1)
        for account in accounts:
            name = self._names[account.code] = beancount_account(account.code, account.type)
            yield f'{opened} open {name} {account.currency}\n  code: "{account.code}"\n'

    def price(self, day: date, base: str, rate: str, quote: str) -> str:
        return f"{day} price {base} {rate} {quote}\n"

    def entry(self, entry: _Entry) -> str:
        lines = [f"\n{entry.effective_date} * {_quoted(entry.description or '')}", f"  key: {_quoted(entry.key)}"]
        if entry.reference is not None:
            lines.append(f"  reference: {_quoted(entry.reference)}")
        lines += [
            f"  {self._names[account.code]}  {format_amount(amount, account.exponent)} {account.currency}"
            for account, amount in entry.legs
        ]
        return "\n".join(lines) + "\n"


_RENDERERS: dict[ExportFormat, Callable[[], _Renderer]] = {
    ExportFormat.HLEDGER: _Hledger,
    ExportFormat.BEANCOUNT: _Beancount,
}


# --- reading and writing -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Cut:
    book: _Book
    accounts: dict[int, _Account]
    prices: list[tuple[date, str, str, str]]
    entries: Iterator[_Entry]


@contextmanager
def _open_cut(conn: Connection, book_id: int, as_of: date | None, known: Knowledge | None) -> Iterator[_Cut]:
    """The snapshot is taken here; accounts are read after it, so none of its postings lacks one."""
    with transaction(conn), translate_errors(), conn.cursor(name="export_journal") as postings:
        postings.itersize = _PAGE
        postings.execute(_POSTINGS, {"book": book_id, "as_of": as_of, "known": None if known is None else known.seq})
        found = conn.execute(_BOOK, (book_id,)).fetchone()
        if found is None:
            raise RefusedError(f"there is no book {book_id}; run `nostro setup FILE.yaml` first.")
        accounts: dict[int, _Account] = {
            int(str(account_id)): _Account(*rest)  # type: ignore[arg-type]
            for account_id, *rest in conn.execute(_ACCOUNTS, (book_id,)).fetchall()
        }
        known_at = None if known is None else known.published_at
        rates = conn.execute(_PRICES, {"book": book_id, "as_of": as_of, "known_at": known_at}).fetchall()
        prices: list[tuple[date, str, str, str]] = rates  # type: ignore[assignment]
        yield _Cut(_Book(*found), accounts, prices, _entries(postings, accounts))  # type: ignore[arg-type]


def _entries(postings: Iterable[tuple[object, ...]], accounts: dict[int, _Account]) -> Iterator[_Entry]:
    for _, rows in groupby(postings, key=lambda row: row[0]):
        legs = list(rows)
        entry_id, key, day, description, reference = legs[0][:5]
        amounts = tuple((accounts[row[5]], row[6]) for row in legs)  # type: ignore[index]
        yield _Entry(entry_id, key, day, description, reference, amounts)  # type: ignore[arg-type]


def _counted(entries: Iterator[_Entry], counts: list[int]) -> Iterator[_Entry]:
    """Pass entries on; keep [entries, postings, last entry id]."""
    for entry in entries:
        counts[0] += 1
        counts[1] += len(entry.legs)
        counts[2] = max(counts[2], entry.entry_id)
        yield entry


def export_text(
    conn: Connection,
    *,
    book_id: int,
    format_: ExportFormat,
    out: TextIO,
    as_of: date | None = None,
    known: Knowledge | None = None,
) -> ExportReport:
    """Write every entry with its postings, and each day's rates, as an hledger journal or a beancount ledger.

    ``as_of`` cuts by effective date, ``known`` by knowledge. Memory does not grow with the books.
    """
    renderer = _RENDERERS[format_]()
    counts = [0, 0, 0]
    with _open_cut(conn, book_id, as_of, known) as cut:
        out.writelines(renderer.head(cut.book, cut.accounts.values()))
        out.writelines(renderer.price(*price) for price in cut.prices)
        out.writelines(map(renderer.entry, _counted(cut.entries, counts)))
    return ExportReport(len(cut.accounts), *counts)


def _parquet_rows(entries: Iterable[_Entry]) -> Iterator[tuple[object, ...]]:
    for entry in entries:
        for account, minor in entry.legs:
            amount = Decimal(minor).scaleb(-account.exponent)
            yield (
                entry.key,
                entry.effective_date,
                account.code,
                amount,
                account.currency,
                entry.description,
                entry.reference,
            )


def export_parquet(
    conn: Connection, *, book_id: int, path: Path, as_of: date | None = None, known: Knowledge | None = None
) -> ExportReport:
    """Write one row a posting, in the columns that `import_journal` reads; amounts are decimals, debit positive."""
    from ledger.parquet import PostingWriter  # loads pyarrow, which no other export needs

    counts = [0, 0, 0]
    with _open_cut(conn, book_id, as_of, known) as cut, PostingWriter(path) as writer:
        page: list[tuple[object, ...]] = []
        for row in _parquet_rows(_counted(cut.entries, counts)):
            page.append(row)
            if len(page) == _PAGE:
                writer.write(page)
                page.clear()
        writer.write(page)
    return ExportReport(len(cut.accounts), *counts)


def export_journal(
    conn: Connection,
    *,
    book_id: int,
    format_: ExportFormat,
    path: Path,
    as_of: date | None = None,
    known: Knowledge | None = None,
) -> ExportReport:
    """Write the books to a file, whole or not at all: a new file beside it, then swapped in."""
    part = path.with_name(f".{path.name}.part")
    try:
        if format_ is ExportFormat.PARQUET:
            report = export_parquet(conn, book_id=book_id, path=part, as_of=as_of, known=known)
        else:
            with part.open("w", encoding="utf-8", newline="\n") as out:
                report = export_text(conn, book_id=book_id, format_=format_, out=out, as_of=as_of, known=known)
        with part.open("rb") as written:
            os.fsync(written.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return report
