"""Sign-off: two people's names under a day's certificates, and the cash identity they sign.

Lives here: signing, reading who signed what, the identity's lines. Must not live here: who may sign what (the
database), making certificates (`recon.certificate`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass

from psycopg.rows import class_row

from ledger import Connection, currency, format_amount, transaction
from recon.errors import SignOffError
from recon.knowledge import KnownAt, known_seq
from recon.report import run_of, run_report


@dataclass(frozen=True, slots=True)
class Signature:
    """What this call did to one bank account's day: `prepared`, `reviewed`, or None (nothing was left to do)."""

    bank_account: str
    sha256: str | None
    role: str | None


@dataclass(frozen=True, slots=True)
class DaySignOff:
    """The certificate that holds for an account and day, and whose names are under it.

    `state`: unsigned, prepared, signed, or changed (other bytes of the day were signed before).
    """

    bank_account: str
    business_date: dt.date
    sha256: str
    state: str
    prepared_by: str | None
    reviewed_by: str | None


@dataclass(frozen=True, slots=True)
class IdentityLine:
    """One line of the cash identity: `line` is ledger cash, bank closing, in flight, unmatched or difference."""

    bank_account: str
    currency: str
    line: str
    item: str
    item_count: int | None
    amount_minor: int


@dataclass(frozen=True, slots=True)
class CashIdentity:
    """Ledger cash = bank closing + in flight + unmatched, itemised, for every bank account of a run's day."""

    business_date: dt.date
    run_id: int
    lines: tuple[IdentityLine, ...]

    @property
    def holds(self) -> bool:
        """Whether nothing is left over on any account."""
        return all(line.amount_minor == 0 for line in self.lines if line.line == "difference")

    def render(self) -> Iterator[str]:
        """The identity as text lines."""
        yield f"Cash identity of {self.business_date} (run {self.run_id})"
        account = None
        for line in self.lines:
            if line.bank_account != account:
                account = line.bank_account
                yield f"{account} ({line.currency})"
            amount = format_amount(line.amount_minor, currency(line.currency).exponent)
            count = f" ({line.item_count})" if line.item_count is not None else ""
            yield f"  {line.line:<14} {line.item + count:<56} {amount:>20}"


def sign_off(
    conn: Connection,
    *,
    book_id: int,
    business_date: dt.date,
    bank_account: str | None = None,
    certificate: str | None = None,
) -> list[Signature]:
    """Put the caller's name under the certificates of a day: as preparer, or (another person) as reviewer.

    Every bank account that should have a certificate is signed, or the given one. Again: nothing. `certificate`: only
    if the account's certificate is still this one (its hash, or how that begins). Raises `SignOffError` when one has
    none (a gap, an unproven statement) or another one, `FourEyesError` when a reviewer is the preparer or no approver.
    """
    with transaction(conn):
        report = run_report(conn, book_id=book_id, business_date=business_date)
        wanted = [s for s in report.sign_offs if s.is_expected and bank_account in (None, s.account)]
        if not wanted:
            raise SignOffError(f"there is nothing to sign for {bank_account or 'any account'} on {business_date}.")
        for done in wanted:
            if done.sha256 is None:
                raise SignOffError(f"{done.account} cannot be signed for {business_date}: {done.reason}.")
        rows = conn.execute(
            "SELECT bank_account, sha256, role FROM recon.sign_day(%s, %s, %s)",
            (book_id, business_date, [done.account for done in wanted]),
        ).fetchall()
        other = [(code, sha) for code, sha, _ in rows if not str(sha).startswith(certificate or "")]
        if other:
            raise SignOffError(f"the certificate of {other[0][0]} is {str(other[0][1])[:12]} now; look at it first.")
    return [Signature(*row) for row in rows]  # type: ignore[arg-type]


def sign_offs(conn: Connection, *, book_id: int, business_date: dt.date) -> list[DaySignOff]:
    """Who signed the certificates that hold for a day, by bank account."""
    with transaction(conn), conn.cursor(row_factory=class_row(DaySignOff)) as cursor:
        return cursor.execute(
            "SELECT bank_account, business_date, sha256, state, settlement.person(prepared_by) AS prepared_by,"
            " settlement.person(reviewed_by) AS reviewed_by FROM recon.sign_off_current"
            " WHERE book_id = %s AND business_date = %s ORDER BY bank_account",
            (book_id, business_date),
        ).fetchall()


def cash_identity(
    conn: Connection, *, book_id: int, business_date: dt.date | None = None, known_at: KnownAt | None = None
) -> CashIdentity:
    """The cash identity of a day's latest run. Raises `NoRunError`."""
    with transaction(conn):
        seq = known_seq(conn, book_id=book_id, at=known_at)
        run_id, day, _ = run_of(conn, book_id, business_date, seq)
        rows = conn.execute("SELECT * FROM recon.cash_identity(%s, %s, %s)", (book_id, run_id, seq)).fetchall()
    return CashIdentity(day, run_id, tuple(IdentityLine(*row) for row in rows))  # type: ignore[arg-type]
