"""A seeded synthetic marketplace that writes what a customer of Nostro brings: set-up and journal files.

Lives here: the calendar of trade and payouts, and the files. Must not live here: what happens on a day
(`sandbox.trading`), who is paid (`sandbox.people`), anything the bank decides. Same arguments, same bytes.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from sandbox.acquirers import Payout, payouts_path, report_text
from sandbox.bank_behaviour import BankBehaviour, BookingStyle
from sandbox.calendars import BankCalendar
from sandbox.errors import SandboxError
from sandbox.marketplace import (
    ACQUIRERS,
    COLLECT_ACCOUNT,
    bank_calendars,
    payees_csv,
    setup_yaml,
)
from sandbox.people import CURRENCY_WEIGHTS, make_payees
from sandbox.trading import JOURNAL_HEADER, Channel, Takings, Trading, TradingDay

DEFAULT_START = dt.date(2026, 11, 2)
_PAYOUT_OPEN_DAYS = 2
_MONDAY = 0
_FRIDAY = 4


@dataclass(frozen=True, slots=True)
class JournalFile:
    """One journal file. `date` is its business day; `prior` marks sales from before the books started."""

    date: dt.date
    path: Path
    prior: bool


@dataclass(frozen=True, slots=True)
class BusinessFiles:
    """What `Business.write` wrote."""

    setup: Path
    journals: tuple[JournalFile, ...]
    payouts: tuple[Payout, ...]


class Business:
    """A marketplace with `payees` sellers and `payments_per_day` card sales on each of `days` weekdays.

    `start` must be a Monday. `currencies` may leave out any of EUR, GBP and CZK. Raises `SandboxError` on
    arguments that cannot be simulated.
    """

    def __init__(
        self,
        *,
        seed: int = 1,
        start: dt.date = DEFAULT_START,
        days: int = 5,
        payments_per_day: int = 20_000,
        payees: int = 4_000,
        currencies: tuple[str, ...] = ("EUR", "GBP", "CZK"),
    ) -> None:
        if start.weekday() != _MONDAY:
            raise SandboxError(f"the simulated business starts on a Monday, not on {start:%A} {start}.")
        unknown = set(currencies) - set(CURRENCY_WEIGHTS)
        if unknown or not currencies:
            raise SandboxError(f"the simulated business trades in EUR, GBP and CZK, not in {sorted(unknown)}.")
        smallest = 10 * len(currencies)
        if days < 1 or payees < smallest or payments_per_day < smallest:
            raise SandboxError(
                f"the simulated business needs at least 1 day, {smallest} payees and {smallest} payments a day;"
                f" got {days}, {payees} and {payments_per_day}."
            )
        self.seed = seed
        self.start = start
        self.payments_per_day = payments_per_day
        self.currencies = currencies
        self.payees = make_payees(seed, payees, currencies)
        self.days = tuple(_weekdays(start, days))

    @property
    def behaviour(self) -> BankBehaviour:
        """How this business's banks behave: a few per mille rejected and returned, charges, noise."""
        return BankBehaviour(
            rejects_per_mille=3,
            returns_per_mille=4,
            noise_per_mille=30,
            charges=True,
            interest=True,
            booking=(("czk-main", BookingStyle.BATCH),),
        )

    def write(self, folder: Path, *, home: Path) -> BusinessFiles:
        """Write `setup.yaml`, `payees.csv` and `journal-YYYY-MM-DD.csv` into `folder`, and the payouts that
        acquirers will make into `<home>/sandbox/`, where only the simulated bank looks."""
        folder.mkdir(parents=True, exist_ok=True)
        setup = folder / "setup.yaml"
        setup.write_text(self._setup_yaml(), encoding="utf-8")
        (folder / "payees.csv").write_text(payees_csv(self.payees), encoding="utf-8")
        trading = Trading(seed=self.seed, payees=self.payees, acquirers=tuple(acquirer.code for acquirer in ACQUIRERS))
        ledger = _PayoutBook(bank_calendars(self.currencies))
        journals = []
        for date in self._prior_days():
            journals.append(_write_journal(folder, trading.prior(date, self.payments_per_day), ledger, prior=True))
        for date in self.days:
            journals.append(_write_journal(folder, trading.day(date, self.payments_per_day), ledger, prior=False))
        payouts = ledger.payouts()
        path = payouts_path(home)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(report_text(payouts), encoding="utf-8")
        return BusinessFiles(setup=setup, journals=tuple(journals), payouts=payouts)

    def _setup_yaml(self) -> str:
        volume = self.payments_per_day * (len(self.days) + 3)
        return setup_yaml(currencies=self.currencies, start=self.start, sales=volume)

    def _prior_days(self) -> tuple[dt.date, ...]:
        """The weekdays before the start whose payouts fall into the first days."""
        return tuple(self.start - dt.timedelta(days=back) for back in (4, 3))


class _PayoutBook:
    """Gathers takings by channel and payout date: sales of two days may be paid out together."""

    def __init__(self, calendars: dict[str, BankCalendar]) -> None:
        self._calendars = calendars
        self._due: dict[tuple[dt.date, Channel], Takings] = {}

    def take(self, day: TradingDay) -> None:
        for channel, takings in day.takings.items():
            calendar = self._calendars[channel.currency]
            due = calendar.after(day.date, open_days=_PAYOUT_OPEN_DAYS)
            self._due.setdefault((due, channel), Takings()).add(takings)

    def payouts(self) -> tuple[Payout, ...]:
        found = (_payout(date, channel, takings) for (date, channel), takings in self._due.items())
        return tuple(sorted(found, key=lambda payout: (payout.payout_date, payout.payout_id)))


def _payout(date: dt.date, channel: Channel, takings: Takings) -> Payout:
    fees = takings.gross_minor * 12 // 1000 + 5 * takings.line_count
    return Payout(
        payout_id=f"{channel.acquirer.upper()}-{channel.currency}-{channel.brand}-{date:%Y%m%d}",
        acquirer=channel.acquirer,
        bank_account=COLLECT_ACCOUNT[channel.currency],
        currency=channel.currency,
        payout_date=date,
        gross_minor=takings.gross_minor,
        refunds_minor=takings.refunds_minor,
        chargebacks_minor=takings.chargebacks_minor,
        fees_minor=fees,
        line_count=takings.line_count,
    )


def _write_journal(folder: Path, day: TradingDay, ledger: _PayoutBook, *, prior: bool) -> JournalFile:
    ledger.take(day)
    path = folder / f"journal-{day.date}.csv"
    path.write_text(JOURNAL_HEADER + day.rows, encoding="utf-8")
    return JournalFile(date=day.date, path=path, prior=prior)


def _weekdays(start: dt.date, count: int) -> list[dt.date]:
    days: list[dt.date] = []
    while len(days) < count:
        if start.weekday() <= _FRIDAY:
            days.append(start)
        start += dt.timedelta(days=1)
    return days
