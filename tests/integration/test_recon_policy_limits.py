"""Limits of a day on what an approved policy closes without a person: exact, whoever posts at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from ledger import Connection, NostroError, RefusedError, translate_errors
from recon import (
    Policy,
    Wish,
    approve_proposal,
    breaks_list,
    open_proposal,
    policies,
    post_routine_breaks,
    propose,
)
from tests.recon_world import BankBook, Line, fee_policy
from tests.settlement_world import DAY, World

TUESDAY = DAY.replace(day=3)
WORKERS = 4


def fees(bank: BankBook, *amounts: int) -> None:
    lines = [Line(amount_minor=-amount, ref=f"B{n}", code="PMNT/ICDT/CHRG") for n, amount in enumerate(amounts, 1)]
    bank.ingest(bank.statement(lines))
    bank.reconcile()


def stands(world: World) -> Policy:
    return policies(world.app, book_id=world.book_id)[0]


def used(world: World) -> tuple[int, int]:
    policy = stands(world)
    return policy.used_count, policy.used_minor


def test_a_policy_closes_no_more_in_a_day_than_its_limits(world: World, bank: BankBook) -> None:
    """What is over them waits for a second person, and the next business date has limits of its own."""
    number = fee_policy(world, 300, daily_minor=600)
    fees(bank, 251, 252, 253)
    done = post_routine_breaks(world.alice, book_id=world.book_id)
    assert [each.state for each in done] == ["approved", "approved", "proposed"]
    left = done[2].plan.break_id
    assert used(world) == (2, sum(abs(leg.amount_minor) for each in done[:2] for leg in each.plan.legs) // 2)
    assert stands(world).used_date == DAY
    assert post_routine_breaks(world.alice, book_id=world.book_id) == []  # it is a person's now
    reason = str(world.one("SELECT reason FROM recon.adjustment ORDER BY adjustment_id DESC LIMIT 1"))
    assert reason == f"small fees (policy {number} has reached its limit of the day)"
    waiting = open_proposal(world.app, book_id=world.book_id, break_id=left)
    with (
        pytest.raises(NostroError, match=r"2 of 20 breaks, 50\d of 600 minor units of EUR") as caught,
        translate_errors(),
    ):
        post(world.alice, waiting, number)
    assert caught.value.constraint == "adjustment_policy_daily"
    approve_proposal(world.bob, book_id=world.book_id, adjustment_id=waiting)
    assert used(world)[0] == 2  # a person's approval is none of the policy's

    bank.ingest(bank.statement([Line(amount_minor=-254, ref="B9", code="PMNT/ICDT/CHRG")], day=TUESDAY), name="2.xml")
    assert len(bank.reconcile(TUESDAY).breaks) == 1
    assert used(world) == (0, 0)
    (again,) = post_routine_breaks(world.alice, book_id=world.book_id)
    assert (again.state, used(world), stands(world).used_date) == ("approved", (1, 254), TUESDAY)


def test_a_second_policy_may_close_what_the_first_has_no_room_for(world: World, bank: BankBook) -> None:
    fee_policy(world, 300, daily_count=1)
    fee_policy(world, 300, daily_count=1)
    fees(bank, 251, 252, 253)
    done = post_routine_breaks(world.alice, book_id=world.book_id)
    assert [each.state for each in done] == ["approved", "approved", "proposed"]
    assert [policy.used_count for policy in policies(world.app, book_id=world.book_id)] == [1, 1]


def post(conn: Connection, adjustment_id: int, policy_id: int) -> None:
    with conn.transaction():
        conn.execute("SELECT recon.post_by_policy(1, %s, %s)", (adjustment_id, policy_id))


def test_the_limits_are_exact_when_several_post_at_once(world: World, bank: BankBook) -> None:
    number = fee_policy(world, 300, daily_count=2)
    fees(bank, *(251 + n for n in range(WORKERS)))
    made = [
        propose(world.alice, book_id=world.book_id, break_id=row.break_id, wish=Wish(), reason="a fee of ours")
        for row in breaks_list(world.app, book_id=world.book_id)
    ]
    barrier = Barrier(WORKERS)

    def at_once(adjustment_id: int | None) -> str:
        assert adjustment_id is not None
        with world.db.login("alice") as conn:
            barrier.wait()
            try:
                with translate_errors():
                    post(conn, adjustment_id, number)
            except NostroError as error:
                return str(error.constraint)
        return "posted"

    with ThreadPoolExecutor(WORKERS) as pool:
        said = sorted(pool.map(at_once, [each.adjustment_id for each in made]))
    assert said == ["adjustment_policy_daily"] * 2 + ["posted"] * 2
    assert used(world)[0] == 2
    # An older snapshot would not see what the others posted.
    unposted = world.one("SELECT max(adjustment_id) FROM recon.adjustment_current WHERE state = 'proposed'")
    with world.db.login("alice") as conn, pytest.raises(RefusedError) as caught, translate_errors():
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        conn.execute("SELECT recon.post_by_policy(1, %s, %s)", (unposted, number))
    assert caught.value.constraint == "read_committed"


def test_limits_of_a_day_below_one_breaks_are_refused(world: World) -> None:
    for limits in ({"daily_minor": 299}, {"daily_count": 0}):
        with pytest.raises(RefusedError) as caught:
            fee_policy(world, 300, **limits)  # type: ignore[arg-type]
        assert caught.value.constraint == "adjustment_policy_day"
