"""What a payee's rules make of what is owed: minimum, maximum, delay, hold, negative and zero nets."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest

from nostro.database import Database
from settlement import FileState, hold_item, netting, payout_report, propose, release_hold, seal
from tests.settlement_world import DAY, PayeeRow, World, make_world, moment

NEXT = DAY + dt.timedelta(days=1)
PAYEES = [
    PayeeRow(code="PLAIN"),
    PayeeRow(code="MIN", minimum="50.00"),
    PayeeRow(code="MAX", maximum="100.00"),
    PayeeRow(code="LATE", delay_days="2"),
    PayeeRow(code="HELD", hold="true"),
]


@pytest.fixture
def world(db: Database, tmp_path: Path) -> Iterator[World]:
    made = make_world(db, tmp_path, PAYEES)
    yield made
    made.close()


def outcomes(world: World, day: dt.date = DAY) -> dict[str, tuple[str, int, int]]:
    found = netting(world.app, book_id=world.book_id, business_date=day)
    return {n.payee: (n.outcome, n.owed_minor, n.pay_minor) for n in found}


def test_below_the_minimum_is_carried_until_it_is_reached(world: World) -> None:
    world.owe("MIN", 4999)
    assert outcomes(world) == {"MIN": ("below_minimum", 4999, 0)}
    assert world.propose() == []
    world.owe("MIN", 1, day=NEXT)
    (proposed,) = world.propose(NEXT)
    assert proposed.file.total_minor == 5000


def test_above_the_maximum_the_remainder_is_a_new_open_item_for_the_next_day(world: World) -> None:
    world.owe("MAX", 25_000)
    world.pay()
    (payout,) = payout_report(world.app, book_id=world.book_id)
    assert (payout.owed_minor, payout.amount_minor, payout.remainder_minor) == (25_000, 10_000, 15_000)
    # One entry: clearing debit, cash in transit, remainder; the remainder is the only open item.
    assert world.rows("SELECT owed_minor, effective_date, held FROM settlement.open_item") == [(15_000, DAY, False)]
    assert world.one("SELECT count(*) FROM ledger.entry WHERE starts_with(idempotency_key, 'settle:')") == 1
    assert world.balance("liabilities:payable:MAX") == -15_000
    assert world.propose() == [], "a maximum is per business date"
    world.pay(NEXT)
    world.pay(NEXT + dt.timedelta(days=1))
    assert world.balance("liabilities:payable:MAX") == 0
    assert world.balance("assets:transit:eur-payouts") == -25_000


def test_a_negative_balance_is_carried_and_netted_later(world: World) -> None:
    world.owe("PLAIN", 1000)
    world.owe("PLAIN", -1500)
    assert outcomes(world) == {"PLAIN": ("negative", -500, 0)}
    assert world.propose() == []
    world.owe("PLAIN", 800, day=NEXT)
    world.pay(NEXT)
    assert world.balance("assets:transit:eur-payouts") == -300
    assert world.rows("SELECT * FROM settlement.open_item") == []


def test_a_zero_net_closes_without_a_payment(world: World) -> None:
    world.owe("PLAIN", 1000)
    world.owe("PLAIN", -1000)
    assert world.propose() == []
    assert world.rows("SELECT * FROM settlement.open_item") == []
    assert world.rows("SELECT entry_id, member_count FROM settlement.clearing_group") == [(None, 2)]
    assert world.rows("SELECT state, file_count FROM settlement.run_current") == [("closed", 0)]
    assert world.balance("assets:transit:eur-payouts") == 0
    assert world.propose() == []
    assert world.one("SELECT count(*) FROM settlement.run") == 1


def test_delay_days_wait(world: World) -> None:
    world.owe("LATE", 700)
    assert world.propose() == []
    assert world.propose(NEXT) == []
    (proposed,) = world.propose(DAY + dt.timedelta(days=2))
    assert proposed.file.total_minor == 700


def test_a_held_payee_is_not_paid(world: World) -> None:
    world.owe("HELD", 700)
    assert outcomes(world) == {"HELD": ("payee_held", 700, 0)}
    assert world.propose() == []
    assert world.rows("SELECT payee, held, hold_reason FROM settlement.open_item") == [("HELD", True, "payee on hold")]


def test_a_held_item_waits_alone_until_a_person_releases_it(world: World) -> None:
    world.owe("PLAIN", 700)
    world.owe("PLAIN", 300)
    (posting,) = (
        int(str(r[0])) for r in world.rows("SELECT posting_id FROM settlement.open_item WHERE owed_minor = 700")
    )
    assert hold_item(world.alice, posting_id=posting, reason="invoice disputed")
    assert not hold_item(world.alice, posting_id=posting, reason="again")
    (proposed,) = world.propose()
    assert proposed.file.total_minor == 300
    assert release_hold(world.bob, posting_id=posting, reason="settled by phone")
    assert not release_hold(world.bob, posting_id=posting, reason="again")
    (both,) = world.propose()
    assert (both.file.total_minor, both.is_new) == (1000, True)
    assert world.one("SELECT state FROM settlement.file_current WHERE file_id = %s", proposed.file_id) == "void"


def test_a_new_proposal_supersedes_one_that_nobody_approved(world: World) -> None:
    world.owe("PLAIN", 700)
    (first,) = world.propose()
    world.owe("PLAIN", 300)
    (second,) = world.propose()
    assert (second.file.total_minor, second.file.cycle) == (1000, 2)
    assert second.file.msg_id != first.file.msg_id
    state, reason = world.rows("SELECT state, reason FROM settlement.file_current WHERE file_id = %s", first.file_id)[0]
    assert (state, reason) == ("void", "superseded by a later proposal")


def test_what_is_approved_is_not_proposed_again(world: World) -> None:
    world.owe("PLAIN", 700)
    (approved,) = world.approve_all()
    world.owe("PLAIN", 300)
    (second,) = world.propose()
    assert second.file.total_minor == 300
    assert seal(world.app, approved, now=moment()).state is FileState.SEALED
    (same,) = world.propose()
    assert (same.file_id, same.is_new) == (second.file_id, False)


def test_an_approved_file_whose_cutoff_passed_frees_its_items(world: World) -> None:
    world.owe("PLAIN", 700)
    (late,) = world.approve_all()
    (again,) = world.propose(NEXT)
    assert (again.file.total_minor, again.is_new) == (700, True)
    assert world.one("SELECT state FROM settlement.file_current WHERE file_id = %s", late) == "void"


@pytest.mark.parametrize(
    ("hour_utc", "executes"),
    [(12, DAY), (18, DAY), (19, NEXT), (22, NEXT)],
    ids=["noon", "before 20:00 in Berlin", "at 20:00 in Berlin", "night"],
)
def test_the_cutoff_of_the_banks_clock_decides_the_execution_date(
    world: World, hour_utc: int, executes: dt.date
) -> None:
    world.owe("PLAIN", 700)
    now = dt.datetime.combine(DAY, dt.time(hour_utc, tzinfo=dt.UTC))
    (proposed,) = propose(world.app, book_id=world.book_id, business_date=DAY, now=now, bank_account="eur-payouts")
    assert proposed.file.execution_date == executes


def test_lineage_leads_from_a_sale_to_cash_in_transit(world: World) -> None:
    world.owe("PLAIN", 700)
    world.owe("PLAIN", 300)
    (file_id,) = world.pay()
    rows = world.rows("SELECT role, amount_minor, paid_minor, file_id FROM settlement.lineage ORDER BY posting_id")
    assert rows == [
        ("member", -700, 1000, file_id),
        ("member", -300, 1000, file_id),
        ("clearing debit", 1000, 1000, file_id),
    ]
    transit = world.rows(
        "SELECT p.amount_minor, a.code FROM settlement.lineage l JOIN ledger.posting p"
        " ON p.posting_id = l.transit_posting_id JOIN ledger.account a ON a.account_id = p.account_id"
    )
    assert set(transit) == {(-1000, "assets:transit:eur-payouts")}
