"""Whatever happened to a payee, the parts of its payouts are what happened, and add up to what was paid."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger import NewEntry, NewPosting, post_batch
from nostro.database import Database
from settlement import payout_report
from tests.settlement_world import DAY, PayeeRow, World, make_world

PAYEE = PayeeRow(code="P1", maximum="300.00", reserve_percent="10", reserve_days="2", reserve_fixed="20.00")
PARTS = ("gross", "refunds", "chargebacks", "fees", "adjustments")
EVENTS = ("sale", "refund", "chargeback", "fee", "bonus")


@dataclass
class Shop:
    """A company, the day it is, and what happened to its payee since the last payout."""

    world: World
    day: dt.date = DAY
    pending: Counter[str] = field(default_factory=Counter)

    def next_day(self) -> dt.date:
        self.day += dt.timedelta(days=3 if self.day.weekday() == 4 else 1)
        return self.day


@pytest.fixture
def shop(db: Database, tmp_path: Path) -> Iterator[Shop]:
    world = make_world(db, tmp_path, [PAYEE], accounts=("eur",))
    world.app.execute(
        "SELECT ledger.open_accounts(%s, '{income:fees:eur,assets:receivable:cardia:eur}', '{income,asset}',"
        " '{EUR,EUR}', '{f,f}', '{NULL,NULL}', '{NULL,NULL}')",
        (world.book_id,),
    )
    world.app.commit()
    yield Shop(world)
    world.close()


def entry(world: World, number: int, kind: str, amount: int, fee: int, day: dt.date) -> Counter[str]:
    """Post one event; the parts it must become."""
    other = "income:fees:eur" if kind in ("fee", "bonus") else "assets:receivable:cardia:eur"
    side = 1 if kind in ("sale", "bonus") else -1
    fee = fee if kind in ("sale", "refund") else 0
    legs = [NewPosting(other, side * amount), NewPosting(PAYEE.account, fee - side * amount)]
    if fee:
        legs.append(NewPosting("income:fees:eur", -fee))
    key = f"{kind}-{day}-{number}"
    post_batch(world.app, book_id=world.book_id, entries=[NewEntry(key, day, tuple(legs))])
    world.app.commit()
    part = {"sale": "gross", "refund": "refunds", "chargeback": "chargebacks", "fee": "fees", "bonus": "adjustments"}
    return Counter({part[kind]: side * amount, "fees": -fee}) if kind != "fee" else Counter({"fees": -amount})


_events = st.tuples(st.sampled_from(EVENTS), st.integers(1_00, 400_00), st.integers(0, 99))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(nights=st.lists(st.lists(_events, min_size=1, max_size=5), min_size=1, max_size=3))
def test_the_parts_of_payouts_are_what_happened(shop: Shop, nights: list[list[tuple[str, int, int]]]) -> None:
    world = shop.world
    for events in nights:
        day = shop.next_day()
        for number, (kind, amount, fee) in enumerate(events):
            shop.pending.update(entry(world, number, kind, amount, fee, day))
        world.pay(day)
        told: Counter[str] = Counter()
        for payout in payout_report(world.app, book_id=world.book_id, business_date=day):
            assert sum(payout.parts.values()) == payout.net_minor == payout.amount_minor <= 300_00
            assert payout.reserve_taken_minor <= 0 and payout.carried_out_minor <= 0
            assert payout.reserve_released_minor >= 0 and payout.carried_in_minor >= 0
            told.update(payout.parts)
        if told:  # a payout takes everything that was open, whatever of it is carried on
            assert {part: told[part] for part in PARTS} == {part: shop.pending[part] for part in PARTS}
        if told or world.balance(PAYEE.account) == 0:  # paid, or it cleared itself
            shop.pending.clear()
