"""Whatever happens in whatever order, what was owed is open, in transit, or back: to the cent."""

from __future__ import annotations

import datetime as dt
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger import verify
from nostro.database import Database
from settlement import FileState, approve, payment_file, poll, reject, release_hold
from tests.ledger_books import fresh_database
from tests.settlement_world import DAY, PayeeRow, World, make_world, pain002

PAYEES = [PayeeRow(code="A"), PayeeRow(code="B", minimum="5.00"), PayeeRow(code="C", maximum="3.00")]

owe = st.tuples(st.just("owe"), st.sampled_from("ABC"), st.integers(-900, 1200).filter(bool))
night = st.tuples(st.just("night"), st.sampled_from(["pay", "reject", "leave"]), st.integers(0, 3))
answer = st.tuples(st.just("answer"), st.sampled_from(["ACSC", "RJCT", "PART"]), st.integers(0, 3))
free = st.tuples(st.just("free"), st.just(""), st.just(0))


def play(world: World, steps: list[tuple[str, str, int]]) -> None:
    owed, day, sent = 0, DAY, []
    for number, (kind, what, amount) in enumerate(steps):
        if kind == "owe":
            world.owe(what, amount, day=day)
            owed += amount
        elif kind == "night":
            for proposed in world.propose(day):
                if what == "reject":
                    reject(world.alice, proposed.file_id, reason="not tonight")
                elif what == "pay":
                    approve(world.bob, proposed.file_id)
                    assert world.release(proposed.file_id, day).state is FileState.SENT
                    sent.append(proposed.file_id)
            day += dt.timedelta(days=1)
        elif kind == "answer" and sent:
            file_id = sent[amount % len(sent)]
            msg_id = payment_file(world.app, file_id).msg_id
            row = world.rows("SELECT end_to_end_id FROM settlement.instruction WHERE file_id = %s", file_id)[0]
            statuses = [(str(row[0]), "RJCT", "AC04")] if what == "PART" else []
            world.answer(f"{number}.xml", pain002(msg_id, group=what, statuses=statuses, report=f"R{number}"))
            poll(world.app, home=world.home)
        elif kind == "free":
            for (posting,) in world.rows("SELECT posting_id FROM settlement.hold_active"):
                release_hold(world.bob, posting_id=int(str(posting)), reason="checked")
        check(world, owed)


def check(world: World, owed: int) -> None:
    still_open = int(str(world.one("SELECT coalesce(sum(owed_minor), 0) FROM settlement.open_item")))
    in_transit = -world.balance("assets:transit:eur-payouts")
    assert still_open + in_transit == owed
    booked = int(str(world.one("SELECT coalesce(sum(posted_minor), 0) FROM ledger.account_balance WHERE settleable")))
    assert still_open == -booked, "what is cleared sums to zero"
    live = int(
        str(
            world.one(
                "SELECT coalesce(sum(amount_minor), 0) FROM settlement.instruction_current"
                " WHERE transit_posting_id IS NOT NULL AND reject_posting_id IS NULL"
            )
        )
    )
    assert in_transit == live, "cash in transit is exactly what was sealed and did not come back"


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.one_of(owe, owe, night, night, answer, free), min_size=4, max_size=12))
def test_nothing_is_lost_or_made(template: Database, steps: list[tuple[str, str, int]]) -> None:
    with fresh_database(template, "nostro_test_conservation") as db, tempfile.TemporaryDirectory() as folder:
        world = make_world(db, Path(folder), PAYEES, accounts=("eur",))
        try:
            play(world, steps)
            assert verify(world.app, book_id=world.book_id) == ()
        finally:
            world.close()
