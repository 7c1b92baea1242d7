"""Which of our banks are open when."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from dagster_project.resources import Session
from recon.accounts import bank_accounts


@dataclass(frozen=True, slots=True)
class BanksOn:
    """Which bank accounts' banks are open on a day, and which are closed."""

    open: tuple[str, ...]
    closed: tuple[str, ...]


def last_open_day(session: Session, before: dt.date) -> dt.date:
    """The last day before this one on which any of our banks was open."""
    days = [account.calendar.previous_open(before) for account in bank_accounts(session.conn, session.book_id)]
    return max(days, default=before - dt.timedelta(days=1))


def banks_on(session: Session, day: dt.date) -> BanksOn:
    """Who is open on a day, by each bank account's own calendar."""
    accounts = bank_accounts(session.conn, session.book_id)
    return BanksOn(
        open=tuple(account.code for account in accounts if account.calendar.is_open(day)),
        closed=tuple(f"{a.code} ({a.calendar.holidays})" for a in accounts if not a.calendar.is_open(day)),
    )
