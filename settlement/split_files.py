"""Sales of several payees from a file or a command: each a journal entry to the cent, with the platform's commission.

Columns: ``entry_key,effective_date,received,amount,currency,payee,weight`` and, where they are needed,
``commission,commission_account,fees,receivable,description,reference``. A row is a payee's share; the rows of a sale
share its key, and what is said of the sale stands on its first row (on the others it is the same, or empty).
Lives here: reading and composing. Must not live here: how an amount is split (`splitting`), the rules of the books.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from decimal import Decimal, InvalidOperation
from typing import Literal

from ledger import (
    Connection,
    ImportReport,
    JournalFileError,
    JournalRow,
    NewEntry,
    RefusedError,
    currencies,
    format_amount,
    import_rows,
    parse_amount_minor,
    transaction,
)
from settlement.splitting import Commission, Share, split_entry

_OF_SALE = (
    *("effective_date", "received", "amount", "currency", "commission", "commission_account"),
    *("fees", "receivable", "description", "reference"),
)
_ACCOUNTS = """
SELECT y.code, a.code FROM settlement.payee_current y JOIN ledger.account a USING (account_id) WHERE y.book_id = %s
"""
Faults = list[tuple[int, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitRow:
    """A payee's share of a sale, as a file says it. `payee`: a payee's code, or an account; `commission` in percent."""

    line: int
    entry_key: str = ""
    effective_date: str = ""
    received: str = ""
    amount: str = ""
    currency: str = ""
    payee: str = ""
    weight: str = ""
    commission: str = ""
    commission_account: str = ""
    fees: str = ""
    receivable: str = ""
    description: str = ""
    reference: str = ""


SPLIT_COLUMNS = tuple(field.name for field in fields(SplitRow) if field.name != "line")
_REQUIRED = SPLIT_COLUMNS[:7]


@dataclass(frozen=True, slots=True)
class SplitLeg:
    """A posting of a composed sale; minor units, debit positive."""

    entry_key: str
    account: str
    currency: str
    exponent: int
    amount_minor: int


def read_splits(name: str, content: bytes) -> list[SplitRow]:
    """The rows of a split file (CSV). Raises `JournalFileError` when it is none."""
    try:
        reader = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        header = list(reader.fieldnames or [])
        missing = [column for column in _REQUIRED if column not in header]
        unknown = [column for column in header if column not in SPLIT_COLUMNS]
        if missing or unknown:
            raise JournalFileError(
                f"{name} has the wrong columns (missing: {', '.join(missing) or 'none'}; "
                f"unknown: {', '.join(unknown) or 'none'}); they must be among {','.join(SPLIT_COLUMNS)}.",
                (),
            )
        return list(_rows(name, reader))
    except UnicodeDecodeError:
        raise JournalFileError(f"{name} cannot be read: it is not UTF-8 text.", ()) from None
    except csv.Error as error:
        raise JournalFileError(f"{name} cannot be read: {error}.", ()) from None


def _rows(name: str, reader: csv.DictReader[str]) -> Iterator[SplitRow]:
    for row in reader:
        if None in row or None in row.values():
            raise JournalFileError(
                f"{name} cannot be read: line {reader.line_num} has another number of fields than the header.", ()
            )
        yield SplitRow(line=reader.line_num, **{column: text.strip() for column, text in row.items()})


def import_splits(
    conn: Connection, *, book_id: int, name: str, content: bytes, rows: Sequence[SplitRow]
) -> ImportReport:
    """Post every sale of these rows, or none, in one transaction. The same sales again change nothing.

    Raises `JournalFileError` with every fault of the file, each with its line.
    """
    with transaction(conn):
        entries, faults = _composed(conn, book_id, rows)
        exponents = currencies(conn)
        journal = [
            JournalRow(
                line=head.line,
                entry_key=entry.key,
                effective_date=head.effective_date,
                account=posting.account,
                amount=format_amount(posting.amount_minor, exponents[head.currency].exponent),
                currency=head.currency,
                description=head.description,
                reference=head.reference,
            )
            for head, entry in entries
            for posting in entry.postings
        ]
        return import_rows(conn, book_id=book_id, name=name, content=content, rows=journal, faults=faults)


def composed_splits(conn: Connection, *, book_id: int, rows: Sequence[SplitRow]) -> list[SplitLeg]:
    """The postings these rows would make; nothing is posted. Raises `JournalFileError` with every fault."""
    with transaction(conn):
        entries, faults = _composed(conn, book_id, rows)
        exponents = {code: known.exponent for code, known in currencies(conn).items()}
    if faults:
        raise JournalFileError(
            f"nothing can be split: {faults[0][1]}", tuple(f"line {line}: {text}" for line, text in sorted(faults))
        )
    return [
        SplitLeg(entry.key, posting.account, head.currency, exponents[head.currency], posting.amount_minor)
        for head, entry in entries
        for posting in entry.postings
    ]


def _composed(
    conn: Connection, book_id: int, rows: Iterable[SplitRow]
) -> tuple[list[tuple[SplitRow, NewEntry]], Faults]:
    """Each sale with its entry (its first row says what is said of the sale), and what is wrong, by line."""
    accounts = {str(code): str(account) for code, account in conn.execute(_ACCOUNTS, (book_id,)).fetchall()}
    exponents = {code: known.exponent for code, known in currencies(conn).items()}
    sales: dict[str, list[SplitRow]] = {}
    for row in rows:
        sales.setdefault(row.entry_key, []).append(row)
    entries: list[tuple[SplitRow, NewEntry]] = []
    faults: Faults = []
    for shares in sales.values():
        found = _sale_faults(shares) + [fault for row in shares for fault in _share_faults(row, accounts)]
        try:
            entry = None if found else _entry(shares, accounts, exponents)
        except (ValueError, RefusedError) as error:
            found.append((shares[0].line, f"{str(error).rstrip('.')}."))
        else:
            entries += [] if entry is None else [(shares[0], entry)]
        faults += found
    return entries, faults


def _sale_faults(shares: Sequence[SplitRow]) -> Faults:
    head = shares[0]
    faults = [
        (row.line, f"{column} '{getattr(row, column)}' is not that of line {head.line}, which is of the same sale.")
        for row in shares[1:]
        for column in _OF_SALE
        if getattr(row, column) not in ("", getattr(head, column))
    ]
    if not head.entry_key:
        faults.append((head.line, "entry_key is empty; every sale needs a key of its own."))
    if not head.received:
        faults.append((head.line, "received is empty; name the account that the money came to."))
    if head.commission and not head.commission_account:
        faults.append((head.line, "commission_account is empty; name the income account of the commission."))
    if head.fees not in ("", "net", "gross"):
        faults.append((head.line, f"fees '{head.fees}' is neither net nor gross."))
    return faults


def _share_faults(row: SplitRow, accounts: Mapping[str, str]) -> Faults:
    faults = []
    if ":" not in row.payee and row.payee not in accounts:
        faults.append((row.line, f"payee '{row.payee}' is not known; declare it by `nostro setup`."))
    if not (row.weight.isascii() and row.weight.isdigit()):
        faults.append((row.line, f"weight '{row.weight}' is not a whole number like 70."))
    return faults


def _entry(shares: Sequence[SplitRow], accounts: Mapping[str, str], exponents: Mapping[str, int]) -> NewEntry:
    """Raises `ValueError` or `RefusedError` with one sentence."""
    head = shares[0]
    if head.currency not in exponents:
        raise ValueError(f"currency '{head.currency}' is neither of ISO 4217 nor defined here")
    try:
        date = dt.date.fromisoformat(head.effective_date)
    except ValueError:
        raise ValueError(f"effective_date '{head.effective_date}' is not a date like 2026-11-02") from None
    fees: Literal["net", "gross"] = "gross" if head.fees == "gross" else "net"
    commission = None
    if head.commission:
        bps = commission_bps(head.commission)
        commission = Commission(bps=bps, income=head.commission_account, fees=fees, receivable=head.receivable or None)
    return split_entry(
        key=head.entry_key,
        effective_date=date,
        received=head.received,
        amount_minor=parse_amount_minor(head.amount, exponents[head.currency]),
        shares=[Share(account=accounts.get(row.payee, row.payee), weight=int(row.weight)) for row in shares],
        commission=commission,
    )


def commission_bps(text: str) -> int:
    """Hundredths of a percent of a text like ``12.5`` or ``12.5%``. Raises `ValueError`."""
    try:
        percent = Decimal(text.removesuffix("%"))
    except InvalidOperation:
        percent = Decimal("NaN")
    bps = percent * 100
    if not percent.is_finite() or not 0 <= percent <= 100 or bps != int(bps):
        raise ValueError(f"commission '{text}' is not a percentage from 0 to 100 with two decimals at most")
    return int(bps)


def split_row(row: SplitRow, *, share: str) -> SplitRow:
    """The row of a share told as ``PAYEE=WEIGHT`` (a weight of 1 when only the payee is named)."""
    payee, _, weight = share.rpartition("=") if "=" in share else (share, "", "1")
    return replace(row, payee=payee, weight=weight)
