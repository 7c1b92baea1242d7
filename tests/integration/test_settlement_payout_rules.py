"""Payout rules as postings: schedules, reserves taken and given back, debts covered by reserves, ad-hoc runs."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger import ControlAccountError, NewEntry, NewPosting, post_batch, verify
from nostro.database import Database
from settlement import FileState, NotKnownError, apply_setup, cancel, netting, propose, seal
from tests.settlement_world import DAY, PayeeRow, World, make_world, moment, write_setup

TUESDAY, WEDNESDAY, THURSDAY = (DAY + dt.timedelta(days=n) for n in (1, 2, 3))
PAYEES = [
    PayeeRow(code="PLAIN"),
    PayeeRow(code="WEEKLY", schedule="weekly", anchors="wed"),
    PayeeRow(code="MANUAL", schedule="manual"),
    PayeeRow(code="ROLLING", reserve_percent="10", reserve_days="2"),
    PayeeRow(code="FIXED", reserve_fixed="50.00"),
    PayeeRow(code="BOTH", reserve_percent="2.5", reserve_days="30", reserve_fixed="10.00", maximum="20.00"),
    PayeeRow(code="OFFSET", reserve_percent="10", reserve_days="180", negative="offset"),
]


@pytest.fixture
def world(db: Database, tmp_path: Path) -> Iterator[World]:
    made = make_world(db, tmp_path, PAYEES, accounts=("eur",))
    yield made
    assert verify(made.app, book_id=made.book_id) == ()
    made.close()


def reserve(world: World, code: str) -> int:
    """What stands on the reserve account of a payee, positive when reserved."""
    return -world.balance(f"liabilities:payout-reserve:payable:{code}")


def outcome(world: World, code: str, day: dt.date = DAY) -> tuple[str, int, int, int]:
    (found,) = (n for n in netting(world.app, book_id=world.book_id, business_date=day) if n.payee == code)
    return found.outcome, found.owed_minor, found.pay_minor, found.reserve_minor


def test_a_weekly_payee_waits_for_its_day(world: World) -> None:
    world.owe("WEEKLY", 700)
    assert outcome(world, "WEEKLY") == ("not_due", 700, 0, 0)
    assert world.propose() == [] and world.propose(TUESDAY) == []
    (file,) = world.propose(WEDNESDAY)
    assert file.file.total_minor == 700


def test_a_manual_payee_is_paid_by_an_ad_hoc_run_alone(world: World) -> None:
    world.owe("MANUAL", 700)
    world.owe("PLAIN", 300)
    (regular,) = world.propose()
    assert regular.file.total_minor == 300
    (ad_hoc,) = propose(world.app, book_id=world.book_id, business_date=DAY, now=moment(), payees=["MANUAL"])
    assert (ad_hoc.file.total_minor, ad_hoc.is_new) == (700, True)
    (again,) = propose(world.app, book_id=world.book_id, business_date=DAY, now=moment(), payees=["MANUAL"])
    assert (again.file_id, again.is_new) == (ad_hoc.file_id, False)
    with pytest.raises(NotKnownError, match="no payee NOBODY"):
        propose(world.app, book_id=world.book_id, business_date=DAY, now=moment(), payees=["NOBODY"])


def test_a_rolling_reserve_is_taken_and_given_back_when_due(world: World) -> None:
    world.owe("ROLLING", 10_005)
    assert outcome(world, "ROLLING") == ("pay", 10_005, 9_005, 1_000), "a tenth, rounded in the payee's favour"
    world.pay()
    assert (reserve(world, "ROLLING"), world.balance("liabilities:payable:ROLLING")) == (1_000, 0)
    assert world.propose(TUESDAY) == []
    world.pay(WEDNESDAY)  # given back, and not reserved again
    assert (reserve(world, "ROLLING"), world.balance("assets:transit:eur-payouts")) == (0, -10_005)
    assert world.rows("SELECT amount_minor, left_minor, why FROM settlement.reserve_release") == [(1_000, 0, "due")]
    assert world.propose(THURSDAY) == []


def test_a_fixed_reserve_fills_once_and_goes_back_when_lowered(world: World, tmp_path: Path) -> None:
    world.owe("FIXED", 4_000)
    assert outcome(world, "FIXED") == ("below_minimum", 4_000, 0, 0), "the reserve would take it all"
    world.owe("FIXED", 3_000)
    world.pay()
    assert (reserve(world, "FIXED"), world.balance("assets:transit:eur-payouts")) == (5_000, -2_000)
    world.owe("FIXED", 1_000, day=TUESDAY)
    world.pay(TUESDAY)
    assert (reserve(world, "FIXED"), world.balance("assets:transit:eur-payouts")) == (5_000, -3_000)
    payees = [PayeeRow(code="FIXED", reserve_fixed="12.34") if row.code == "FIXED" else row for row in PAYEES]
    apply_setup(world.app, write_setup(tmp_path, payees, accounts=("eur",)))
    world.pay(WEDNESDAY)
    assert (reserve(world, "FIXED"), world.balance("assets:transit:eur-payouts")) == (1_234, -6_766)


def test_reserves_remainder_and_payment_are_one_entry(world: World) -> None:
    world.owe("BOTH", 10_000)
    assert outcome(world, "BOTH") == ("pay", 10_000, 2_000, 1_250)
    world.pay()
    legs = world.rows(
        "SELECT a.code, p.amount_minor FROM ledger.posting p JOIN ledger.account a USING (account_id)"
        " JOIN ledger.entry e USING (entry_id) WHERE starts_with(e.idempotency_key, 'settle:') ORDER BY p.posting_id"
    )
    payable, kept = "liabilities:payable:BOTH", "liabilities:payout-reserve:payable:BOTH"
    assert legs == [
        (payable, 10_000),
        ("assets:transit:eur-payouts", -2_000),
        (payable, -6_750),
        (kept, -250),
        (kept, -1_000),
    ]
    assert world.rows("SELECT kind, left_minor FROM settlement.reserve_open ORDER BY kind") == [
        ("fixed", 1_000),
        ("rolling", 250),
    ]
    world.pay(TUESDAY)
    assert reserve(world, "BOTH") == 1_250, "a remainder has been through the reserve"


def test_a_reserve_covers_a_debt_where_the_rule_says_so(world: World) -> None:
    world.owe("OFFSET", 10_000)
    world.pay()
    world.owe("OFFSET", -400, day=TUESDAY)
    assert world.propose(TUESDAY) == []
    assert (reserve(world, "OFFSET"), world.balance("liabilities:payable:OFFSET")) == (600, 0)
    world.owe("OFFSET", -900, day=WEDNESDAY)
    assert world.propose(WEDNESDAY) == []
    assert (reserve(world, "OFFSET"), world.balance("liabilities:payable:OFFSET")) == (0, 300), "the rest is carried"
    assert world.rows("SELECT amount_minor, left_minor, why FROM settlement.reserve_release ORDER BY 2 DESC") == [
        (400, 600, "offset"),
        (600, 0, "offset"),
    ]


def test_nobody_else_posts_to_a_reserve(world: World) -> None:
    legs = (
        NewPosting("liabilities:payout-reserve:payable:ROLLING", -1),
        NewPosting("liabilities:payable:PLAIN", 1),
    )
    with pytest.raises(ControlAccountError):
        post_batch(world.app, book_id=world.book_id, entries=[NewEntry("x", DAY, legs)])


def test_a_sealed_file_is_cancelled_before_it_is_sent(world: World) -> None:
    world.owe("ROLLING", 1_000)
    world.owe("PLAIN", 700)
    (file_id,) = world.approve_all()
    assert seal(world.app, file_id, now=moment()).state is FileState.SEALED
    assert cancel(world.alice, file_id, reason="wrong cut-off").is_new
    assert not cancel(world.alice, file_id, reason="wrong cut-off").is_new
    assert world.balance("assets:transit:eur-payouts") == 0
    assert world.release(file_id).state is FileState.CANCELLED
    (again,) = world.propose()
    assert again.file.total_minor == 700 + 900, "owed again and not held; its reserve stays taken"
