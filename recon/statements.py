"""Statement proofs against the chain of an account, and the booking of what is proven.

Lives here: does this statement follow the last one, and staging its lines for the function that books them.
Must not live here: reading files (`recon.formats`), deciding outcomes of files (`recon.ingest`).
"""

from __future__ import annotations

import datetime as dt
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from ledger import Connection, format_amount
from recon.accounts import BankAccount
from recon.formats import read_statement_file
from recon.model import StatementFile
from recon.staging import stage


@dataclass(frozen=True, slots=True)
class StoredStatement:
    """A statement that is recorded and not booked. `sequence`, `from_date` only when the bank gives them."""

    statement_id: int
    file_id: int
    ordinal: int
    stmt_id: str
    sequence: int | None
    page: int | None
    from_date: dt.date | None
    closing_date: dt.date
    opening_minor: int
    closing_minor: int


@dataclass(frozen=True, slots=True)
class ChainEnd:
    """The last booked statement of an account."""

    statement_id: int
    stmt_id: str
    sequence: int | None
    page: int | None
    closing_date: dt.date
    closing_minor: int


def chain_fault(statement: StoredStatement, last: ChainEnd | None, account: BankAccount) -> str | None:
    """Why this statement cannot be the next of its account, in one sentence; None when it can."""
    money = _money(account)
    if last is None:
        if statement.opening_minor != account.opening_minor:
            return (
                f"the first statement opens at {money(statement.opening_minor)}, set-up says"
                f" {money(account.opening_minor)}: get the statements before it, or correct the set-up"
            )
        if statement.closing_date < account.opening_date:
            return f"it closes on {statement.closing_date}, before the account opens ({account.opening_date})"
        first_open = account.calendar.open_on_or_after(account.opening_date)
        return None if statement.sequence is not None else _day_fault(statement, first_open)
    if statement.opening_minor != last.closing_minor:
        return (
            f"it opens at {money(statement.opening_minor)}, the statement before closed at"
            f" {money(last.closing_minor)} on {last.closing_date}: get the missing statement"
        )
    if statement.closing_date < last.closing_date:
        return f"it closes on {statement.closing_date}, before the last one ({last.closing_date})"
    return _sequence_fault(statement, last, account)


def _sequence_fault(statement: StoredStatement, last: ChainEnd, account: BankAccount) -> str | None:
    if statement.sequence is not None and last.sequence is not None:
        next_page = (last.stmt_id, last.sequence, (last.page or 0) + 1)
        if last.page is not None and (statement.stmt_id, statement.sequence, statement.page) == next_page:
            return None
        new_year = statement.sequence == 1 and statement.closing_date.year > last.closing_date.year
        if statement.sequence == last.sequence + 1:
            return None
        if not new_year:
            return f"its number is {statement.sequence} after {last.sequence}: a statement is missing or repeated"
    # Without numbers, or when they begin anew, only the calendar can tell that a day is missing.
    if statement.closing_date == last.closing_date:
        return None
    return _day_fault(statement, account.calendar.next_open(last.closing_date))


def _day_fault(statement: StoredStatement, due: dt.date) -> str | None:
    if (statement.from_date or statement.closing_date) > due:
        return f"no statement covers {due}, a business day: get the missing statement"
    return None


def _money(account: BankAccount) -> _Money:
    return _Money(account.currency, account.exponent)


@dataclass(frozen=True, slots=True)
class _Money:
    code: str
    exponent: int

    def __call__(self, amount_minor: int) -> str:
        return f"{format_amount(amount_minor, self.exponent)} {self.code}"


def chain_end(conn: Connection, account: BankAccount) -> ChainEnd | None:
    """The end of the account's chain of booked statements."""
    row = conn.execute(
        "SELECT b.statement_id, s.stmt_id, s.sequence, s.page, b.closing_date, b.closing_minor"
        " FROM recon.statement_booking b JOIN recon.statement s USING (statement_id)"
        " WHERE b.bank_account_id = %s AND NOT EXISTS (SELECT FROM recon.statement_booking n"
        "   WHERE n.previous_id = b.statement_id) ORDER BY b.closing_date DESC LIMIT 1",
        (account.bank_account_id,),
    ).fetchone()
    if row is None:
        return None
    statement_id, stmt_id, sequence, page, closing_date, closing_minor = row
    assert isinstance(closing_date, dt.date)
    return ChainEnd(
        statement_id=int(str(statement_id)),
        stmt_id=str(stmt_id),
        sequence=None if sequence is None else int(str(sequence)),
        page=None if page is None else int(str(page)),
        closing_date=closing_date,
        closing_minor=int(str(closing_minor)),
    )


def waiting(conn: Connection, account: BankAccount) -> list[StoredStatement]:
    """Proven statements of the account that are not booked, oldest first; none that revises a booked one.

    Of several versions the one that was delivered last waits; the others were revised before they were booked.
    """
    rows = conn.execute(
        "SELECT s.statement_id, s.file_id, s.ordinal, s.stmt_id, s.sequence, s.page, s.from_date, s.closing_date,"
        " s.opening_minor, s.closing_minor"
        " FROM recon.statement s WHERE s.bank_account_id = %s AND s.kind IN ('camt.053', 'mt940', 'bai2')"
        " AND s.proof = 'proven'"
        " AND NOT EXISTS (SELECT FROM recon.statement_booking b JOIN recon.statement o USING (statement_id)"
        "   WHERE o.bank_account_id = s.bank_account_id AND o.kind = s.kind AND o.stmt_id = s.stmt_id"
        "     AND o.page IS NOT DISTINCT FROM s.page)"
        " AND NOT EXISTS (SELECT FROM recon.statement v WHERE v.bank_account_id = s.bank_account_id AND v.kind = s.kind"
        "   AND v.stmt_id = s.stmt_id AND v.page IS NOT DISTINCT FROM s.page AND v.proof = 'proven'"
        "   AND v.statement_id > s.statement_id)"
        " ORDER BY s.closing_date, s.sequence NULLS FIRST, s.statement_id",
        (account.bank_account_id,),
    ).fetchall()
    return [StoredStatement(*row) for row in rows]  # type: ignore[arg-type]


def book_ready(
    conn: Connection, account: BankAccount, read: Mapping[int, StatementFile]
) -> list[tuple[StoredStatement, int]]:
    """Book every waiting statement that follows the chain, as long as there is one.

    `read` has files of this delivery by file id; others are read again from their stored bytes. Gives each
    booked statement with the number of its lines that posted later than they were booked.
    """
    booked: list[tuple[StoredStatement, int]] = []
    while True:
        last = chain_end(conn, account)
        ready = [s for s in waiting(conn, account) if chain_fault(s, last, account) is None]
        if not ready:
            return booked
        booked.append((ready[0], _book(conn, ready[0], read)))


def _book(conn: Connection, statement: StoredStatement, read: Mapping[int, StatementFile]) -> int:
    stage(conn, "stage_line", _lines(conn, statement, read).drop("statement_ordinal"))
    row = conn.execute("SELECT recon.book_statement(%s)", (statement.statement_id,)).fetchone()
    assert row is not None
    return int(str(row[0]))


def _lines(conn: Connection, statement: StoredStatement, read: Mapping[int, StatementFile]) -> pl.DataFrame:
    """Its rows; of a statement in pages, those of all pages, numbered through."""
    if statement.ordinal > 0:
        file = read.get(statement.file_id) or stored_file(conn, statement.file_id)
        return file.lines_of(file.statements[statement.ordinal - 1])
    pages = conn.execute(
        "SELECT s.file_id, s.ordinal FROM recon.statement_page p"
        " JOIN recon.statement s ON s.statement_id = p.page_statement_id"
        " WHERE p.statement_id = %s ORDER BY p.page",
        (statement.statement_id,),
    ).fetchall()
    frames, before = [], 0
    for file_id, ordinal in pages:
        file = read.get(int(str(file_id))) or stored_file(conn, int(str(file_id)))
        page = file.statements[int(str(ordinal)) - 1]
        rows = file.lines_of(page).with_columns(pl.col("line_ordinal") + pl.lit(before, dtype=pl.Int32))
        if file_id != statement.file_id:  # a line number of another file than the one that is named
            rows = rows.with_columns(source_line=pl.lit(None, dtype=pl.Int32))
        frames.append(rows)
        before += page.entry_count
    return pl.concat(frames)


def stored_bytes(conn: Connection, file_id: int) -> tuple[str, bytes]:
    """Name and original bytes of a file that was kept."""
    row = conn.execute(
        "SELECT name, content_zlib FROM recon.source_file WHERE file_id = %s", (file_id,), binary=True
    ).fetchone()
    assert row is not None and isinstance(row[1], bytes)
    return str(row[0]), zlib.decompress(row[1])


def stored_file(conn: Connection, file_id: int) -> StatementFile:
    """A kept file, read again."""
    name, content = stored_bytes(conn, file_id)
    return read_statement_file(content, name=name)
