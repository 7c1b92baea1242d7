"""Our bank accounts as reconciliation sees them.

Lives here: reading them, their calendars, what the book's set-up allows. Must not live here: statements.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from ledger import Connection, translate_errors
from recon.matching.items import Tolerances
from settlement.business_days import Calendar


@dataclass(frozen=True, slots=True)
class BankAccount:
    """One bank account. Amounts in minor units of `currency`."""

    bank_account_id: int
    code: str
    iban: str
    currency: str
    exponent: int
    nostro_account_id: int
    transit_account_id: int
    opening_date: dt.date
    opening_minor: int
    calendar: Calendar


def bank_accounts(conn: Connection, book_id: int) -> list[BankAccount]:
    """Every bank account of the book, by code."""
    with translate_errors():
        rows = conn.execute(
            "SELECT bank_account_id, code, iban, currency, exponent, nostro_account_id, transit_account_id,"
            " opening_date, opening_minor, holidays, timezone"
            " FROM settlement.bank_account WHERE book_id = %s ORDER BY code",
            (book_id,),
        ).fetchall()
    return [
        BankAccount(
            bank_account_id=_int(row[0]),
            code=str(row[1]),
            iban=str(row[2]),
            currency=str(row[3]),
            exponent=_int(row[4]),
            nostro_account_id=_int(row[5]),
            transit_account_id=_int(row[6]),
            opening_date=_date(row[7]),
            opening_minor=_int(row[8]),
            calendar=Calendar(str(row[9]), str(row[10])),
        )
        for row in rows
    ]


def tolerances(conn: Connection, book_id: int) -> Tolerances:
    """What the book's set-up declares as equal enough."""
    row = conn.execute(
        "SELECT body -> 'tolerances' ->> 'window_days', body -> 'tolerances' ->> 'rounding_minor'"
        " FROM settlement.setup_current WHERE book_id = %s",
        (book_id,),
    ).fetchone()
    default = Tolerances()
    if row is None:
        return default
    return Tolerances(
        window_days=default.window_days if row[0] is None else int(str(row[0])),
        rounding_minor=default.rounding_minor if row[1] is None else int(str(row[1])),
    )


def _int(value: object) -> int:
    assert isinstance(value, int)
    return value


def _date(value: object) -> dt.date:
    assert isinstance(value, dt.date)
    return value
