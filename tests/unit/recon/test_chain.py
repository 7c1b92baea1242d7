"""Whether a statement is the next of its account: balances, numbers, business days."""

from __future__ import annotations

import datetime as dt

import pytest

from recon.accounts import BankAccount
from recon.statements import ChainEnd, StoredStatement, chain_fault
from settlement.business_days import Calendar

OPENS = dt.date(2026, 11, 1)  # a Sunday
ACCOUNT = BankAccount(1, "eur", "DE89370400440532013000", "EUR", 2, 1, 2, OPENS, 100, Calendar("ECB", "Europe/Berlin"))


def fault(
    closes: dt.date, *, number: int | None, after: tuple[dt.date, int | None] | None, opening: int = 100,
    covers_from: dt.date | None = None,
) -> str | None:  # fmt: skip
    last = None if after is None else ChainEnd(1, "S1", after[1], None, after[0], 100)
    return chain_fault(StoredStatement(2, 1, 1, "S2", number, None, covers_from, closes, opening, 100), last, ACCOUNT)


NEW_YEARS_EVE, JANUARY_4 = dt.date(2026, 12, 31), dt.date(2027, 1, 4)


@pytest.mark.parametrize(
    ("closes", "number", "after", "said"),
    [
        (dt.date(2026, 11, 2), None, None, None),  # the first business day
        (dt.date(2026, 11, 3), None, None, "no statement covers 2026-11-02"),
        (dt.date(2026, 11, 9), 212, None, None),  # a bank that numbers may send none on quiet days
        (dt.date(2026, 10, 30), 7, None, "before the account opens"),
        (dt.date(2026, 11, 9), None, (dt.date(2026, 11, 6), None), None),  # over a weekend
        (dt.date(2026, 11, 10), None, (dt.date(2026, 11, 6), None), "no statement covers 2026-11-09"),
        (dt.date(2026, 12, 28), None, (dt.date(2026, 12, 24), None), None),  # over Christmas
        (dt.date(2026, 11, 6), None, (dt.date(2026, 11, 6), None), None),  # a second one of the day
        (dt.date(2026, 11, 5), None, (dt.date(2026, 11, 6), None), "before the last one"),
        (dt.date(2026, 11, 9), 8, (dt.date(2026, 11, 6), 7), None),
        (dt.date(2026, 11, 9), 7, (dt.date(2026, 11, 6), 7), "its number is 7 after 7"),
        (dt.date(2026, 11, 9), 9, (dt.date(2026, 11, 6), 7), "its number is 9 after 7"),
        (dt.date(2026, 11, 9), 0, (dt.date(2026, 11, 6), -1), None),
        (dt.date(2026, 11, 9), 1, (dt.date(2026, 11, 6), 7), "its number is 1 after 7"),
        (JANUARY_4, 1, (NEW_YEARS_EVE, 250), None),
        (dt.date(2027, 1, 5), 1, (NEW_YEARS_EVE, 250), "no statement covers 2027-01-04"),
        (JANUARY_4, 1, (dt.date(2026, 12, 30), 249), "no statement covers 2026-12-31"),
    ],
)
def test_the_next_statement(
    closes: dt.date, number: int | None, after: tuple[dt.date, int | None] | None, said: str | None
) -> None:
    found = fault(closes, number=number, after=after)
    assert (found is None) if said is None else (found is not None and said in found)


def test_balances_come_first_and_a_period_covers_its_days() -> None:
    last = (dt.date(2026, 11, 2), None)
    assert "opens at 0.99 EUR" in (fault(dt.date(2026, 11, 3), number=None, after=last, opening=99) or "")
    assert "set-up says 1.00 EUR" in (fault(dt.date(2026, 11, 3), number=None, after=None, opening=99) or "")
    assert fault(dt.date(2026, 11, 30), number=None, after=last, covers_from=dt.date(2026, 11, 3)) is None
