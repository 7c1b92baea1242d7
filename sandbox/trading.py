"""The marketplace's trade: sales, refunds, chargebacks and reserves of one day as journal rows.

Lives here: what happens on a day and its journal entries (debit +), with the takings per acquirer, currency
and card brand that become payouts. Must not live here: files, calendars, banks. Amounts are minor units of
currencies with two decimals; random draws are integers.
"""

from __future__ import annotations

import datetime as dt
import random
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from sandbox.acquirers import BRANDS
from sandbox.people import Payee

JOURNAL_HEADER = "entry_key,effective_date,account,amount,currency,description,reference\n"
PRICE_SCALE = {"EUR": 1, "GBP": 1, "CZK": 25}
RESERVE_DAYS = 3
_REFUND_ONE_IN = 70
_CHARGEBACK_ONE_IN = 500
_RESERVE_ONE_IN = 25  # payees with a rolling reserve
_TWIN_SHARE = 50  # one pair in so many payees of a currency sells one thing at one price
_PRIOR_SALES_MAX = 400  # a channel, a day
_MASK_20 = (1 << 20) - 1


@dataclass(frozen=True, slots=True)
class Channel:
    """Where card money comes from: an acquirer and a card brand, in one currency."""

    acquirer: str
    currency: str
    brand: str

    @property
    def receivable(self) -> str:
        """The books' claim on the acquirer."""
        return f"assets:receivable:{self.acquirer}:{self.currency.lower()}"


@dataclass(slots=True)
class Takings:
    """What one channel took on a day, minor units."""

    gross_minor: int = 0
    refunds_minor: int = 0
    chargebacks_minor: int = 0
    line_count: int = 0

    def add(self, other: Takings) -> None:
        """Merge another day's takings into these (two days paid out together)."""
        self.gross_minor += other.gross_minor
        self.refunds_minor += other.refunds_minor
        self.chargebacks_minor += other.chargebacks_minor
        self.line_count += other.line_count

    def bears(self, amount_minor: int) -> bool:
        """Whether the payout stays well positive after taking this much back."""
        return 2 * (self.refunds_minor + self.chargebacks_minor + amount_minor) <= self.gross_minor


@dataclass(frozen=True, slots=True)
class TradingDay:
    """One day: the rows of its journal file (no header) and the takings of every channel."""

    date: dt.date
    rows: str
    takings: dict[Channel, Takings]


@dataclass(frozen=True, slots=True)
class _Sale:
    payee: int
    channel: Channel
    amount_minor: int
    key: str


@dataclass(slots=True)
class _Day:
    """A day being written."""

    stamp: str
    date: str
    rng: random.Random
    out: list[str] = field(default_factory=list)
    takings: dict[Channel, Takings] = field(default_factory=dict)
    net: Counter[int] = field(default_factory=Counter)
    keys: Counter[str] = field(default_factory=Counter)

    def entry(self, kind: str, legs: Sequence[tuple[str, int]], currency: str, text: str, ref: str) -> None:
        """Append one journal entry; its key is the kind, the day and a running number."""
        self.keys[kind] += 1
        key = f"{kind}:{self.stamp}-{self.keys[kind]:06d}"
        self.out.extend(
            f"{key},{self.date},{account},{cents(amount)},{currency},{text},{ref}\n" for account, amount in legs
        )


def cents(amount_minor: int) -> str:
    """Minor units of a two-decimal currency as text; the hot path's `format_amount`."""
    whole, rest = divmod(abs(amount_minor), 100)
    return f"{'-' if amount_minor < 0 else ''}{whole}.{rest:02d}"


class Trading:
    """The marketplace day after day. Call `day` for consecutive business days; it remembers the last sales
    (for chargebacks) and the reserves that are still held."""

    def __init__(self, *, seed: int, payees: tuple[Payee, ...], acquirers: tuple[str, ...]) -> None:
        self._seed = seed
        self._payees = payees
        self._payable = [payee.account for payee in payees]
        currencies = sorted({payee.currency for payee in payees})
        self._channels = {
            code: [Channel(acquirer, code, brand) for brand in BRANDS for acquirer in acquirers] for code in currencies
        }
        self._twins = _twins(payees)
        self._twin_indexes = frozenset(index for pair in self._twins for index in pair)
        self._ordinary = [index for index in range(len(payees)) if index not in self._twin_indexes]
        self._reserved = {index for index in self._ordinary if index % _RESERVE_ONE_IN == 7}
        self._yesterday: list[_Sale] = []
        self._held: deque[list[tuple[int, int]]] = deque()

    def prior(self, date: dt.date, sales: int) -> TradingDay:
        """A day before the books start: each channel's takings in one entry against opening equity."""
        day = self._open(date)
        for code, channels in self._channels.items():
            share = sales * _share(self._payees, code) // len(self._payees) // len(channels)
            each = min(max(2, share), _PRIOR_SALES_MAX)
            for channel in channels:
                gross = sum(_price(day.rng, code) for _ in range(each))
                day.takings[channel] = Takings(gross_minor=gross, line_count=each)
                legs = ((channel.receivable, gross), (f"equity:opening:{code.lower()}", -gross))
                day.entry("opening", legs, code, f"Card sales {channel.brand} before the books", "")
        return TradingDay(date, "".join(day.out), day.takings)

    def day(self, date: dt.date, sales: int) -> TradingDay:
        """One business day with exactly `sales` card sales."""
        day = self._open(date)
        sold = self._sell(day, sales)
        self._refund(day, sold)
        self._charge_back(day)
        self._reserve(day)
        self._yesterday = sold
        return TradingDay(date, "".join(day.out), day.takings)

    def _open(self, date: dt.date) -> _Day:
        return _Day(f"{date:%Y%m%d}", date.isoformat(), random.Random(f"trade/{self._seed}/{date}"))

    def _sell(self, day: _Day, sales: int) -> list[_Sale]:
        rng, ordinary = day.rng, self._ordinary
        plan: list[tuple[int, int]] = []
        for pair in self._twins[: max(0, sales // 6)]:
            price = _price(rng, self._payees[pair[0]].currency)
            plan.extend((index, price) for index in pair)
        bits = rng.getrandbits
        payees = self._payees
        for _ in range(sales - len(plan)):
            index = ordinary[bits(30) % len(ordinary)]
            plan.append((index, _price(rng, payees[index].currency)))
        return [self._sale(day, number, index, price) for number, (index, price) in enumerate(plan, 1)]

    def _sale(self, day: _Day, number: int, index: int, amount: int) -> _Sale:
        code = self._payees[index].currency
        channels = self._channels[code]
        day.keys[code] += 1
        channel = channels[day.keys[code] % len(channels)]
        fee = amount * 29 // 1000 + 25 * PRICE_SCALE[code]
        key = f"sale:{day.stamp}-{number:06d}"
        tail = f",{code},Card sale {channel.brand},order {day.stamp}{number:06d}\n"
        head = f"{key},{day.date},"
        day.out.append(
            f"{head}{channel.receivable},{cents(amount)}{tail}"
            f"{head}{self._payable[index]},{cents(fee - amount)}{tail}"
            f"{head}income:fees:{code.lower()},{cents(-fee)}{tail}"
        )
        takings = day.takings.setdefault(channel, Takings())
        takings.gross_minor += amount
        takings.line_count += 1
        day.net[index] += amount - fee
        return _Sale(index, channel, amount, key)

    def _refund(self, day: _Day, sold: list[_Sale]) -> None:
        for sale in sold:
            if sale.payee in self._twin_indexes or day.rng.getrandbits(30) % _REFUND_ONE_IN:
                continue
            amount = sale.amount_minor // (1 + day.rng.getrandbits(1))
            takings = day.takings[sale.channel]
            if takings.bears(amount):
                takings.refunds_minor += amount
                self._take_back(day, "refund", sale, amount)

    def _charge_back(self, day: _Day) -> None:
        for sale in self._yesterday:
            if sale.payee in self._twin_indexes or day.rng.getrandbits(30) % _CHARGEBACK_ONE_IN:
                continue
            takings = day.takings.setdefault(sale.channel, Takings())
            if takings.bears(sale.amount_minor):
                takings.chargebacks_minor += sale.amount_minor
                self._take_back(day, "chargeback", sale, sale.amount_minor)

    def _take_back(self, day: _Day, kind: str, sale: _Sale, amount: int) -> None:
        legs = ((self._payable[sale.payee], amount), (sale.channel.receivable, -amount))
        code = sale.channel.currency
        day.takings[sale.channel].line_count += 1
        day.net[sale.payee] -= amount
        day.entry(kind, legs, code, f"{kind.capitalize()} {sale.channel.brand}", sale.key)

    def _reserve(self, day: _Day) -> None:
        """Hold back a tenth of the day's net of payees with a rolling reserve; release what is old enough."""
        taken = [(index, day.net[index] // 10) for index in sorted(self._reserved) if day.net[index] >= 10_00]
        for index, amount in taken:
            payee = self._payees[index]
            legs = ((payee.account, amount), (payee.reserve_account, -amount))
            day.entry("reserve", legs, payee.currency, "Rolling reserve taken", payee.payee_id)
        self._held.append(taken)
        if len(self._held) > RESERVE_DAYS:
            for index, amount in self._held.popleft():
                payee = self._payees[index]
                legs = ((payee.reserve_account, amount), (payee.account, -amount))
                day.entry("release", legs, payee.currency, "Rolling reserve released", payee.payee_id)


def _price(rng: random.Random, code: str) -> int:
    """A card amount: mostly small, some large, never below 5.00."""
    bits = rng.getrandbits(40)
    draw, band = bits & _MASK_20, (bits >> 20) % 20
    spread = 55_00 if band < 14 else 200_00 if band < 19 else 1_500_00
    return (5_00 + draw % spread) * PRICE_SCALE[code]


def _share(payees: tuple[Payee, ...], code: str) -> int:
    return sum(payee.currency == code for payee in payees)


def _twins(payees: tuple[Payee, ...]) -> list[tuple[int, int]]:
    """Pairs of payees who sell one thing at one price a day (EUR and GBP, without payout rules): equal
    payouts in one file, as ticket sellers have them."""
    pairs: list[tuple[int, int]] = []
    for code in ("EUR", "GBP"):
        plain = [
            index
            for index, payee in enumerate(payees)
            if payee.currency == code and not payee.minimum and not payee.delay_days
        ]
        wanted = max(2, len(plain) // _TWIN_SHARE) if len(plain) >= 6 else 0
        chosen = plain[-2 * wanted :] if wanted else []
        pairs.extend(zip(chosen[::2], chosen[1::2], strict=True))
    return pairs
