"""What holds a payment, and what ends the hold: not a rename of the payee, and never nobody."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from ledger import NewEntry, NewPosting, post_batch
from nostro.database import Database
from settlement import (
    FileStateError,
    FourEyesError,
    cancel,
    change_payee,
    decide_dispute,
    exceptions,
    hold_instruction,
    hold_payee,
    poll,
    release_hold,
    resolve_unknown,
    seal,
)
from tests.settlement_world import DAY, PayeeRow, World, begin_sending, make_world, moment, pain002

NEXT = DAY + dt.timedelta(days=1)
TUESDAY, WEDNESDAY, THURSDAY = (DAY + dt.timedelta(days=n) for n in (1, 2, 3))


@pytest.fixture
def world(db: Database, tmp_path: Path) -> Iterator[World]:
    payees = [PayeeRow(code=f"P{n}") for n in range(1, 5)]
    late = [PayeeRow(code="LATE", delay_days="2"), PayeeRow(code="MOST", delay_days="2", maximum="10.00")]
    made = make_world(db, tmp_path, [*payees, *late], accounts=("eur",))
    yield made
    made.close()


def payments(world: World) -> dict[str, str]:
    """EndToEndId of each payee's last payment."""
    rows = world.rows("SELECT payee_code, max(end_to_end_id) FROM settlement.instruction GROUP BY 1")
    return {str(payee): str(e2e) for payee, e2e in rows}


def waiting(world: World) -> list[tuple[str, str, str | None, int | None]]:
    found = exceptions(world.app, book_id=world.book_id, as_of=NEXT)
    return [(e.kind, e.policy, e.payee, e.amount_minor) for e in found]


def hear(world: World, report: str, *statuses: tuple[str, str, str], created: str = "2026-11-02T18:00:00Z") -> None:
    msg_id = str(
        world.one(
            "SELECT msg_id FROM settlement.file_current WHERE state NOT IN ('proposed', 'cancelled')"
            " ORDER BY file_id DESC LIMIT 1"
        )
    )
    world.answer(f"{report}.xml", pain002(msg_id, report=report, statuses=statuses, created=created))
    poll(world.app, home=world.home)


def rename(world: World, payee: str) -> None:
    assert change_payee(world.alice, book_id=world.book_id, payee=payee, details={"name": f"Other {payee}"})


def totals(world: World, day: dt.date = NEXT) -> list[int]:
    return [proposed.file.total_minor for proposed in world.propose(day)]


def test_a_bank_that_contradicts_itself_is_not_overruled_by_new_details(world: World) -> None:
    for n in range(1, 5):
        world.owe(f"P{n}", 100 * n)
    world.pay()
    e2e = payments(world)
    hear(world, "R1", *((e2e[f"P{n}"], "RJCT", code) for n, code in enumerate(("AC04", "AM05", "AC04", "FR01"), 1)))
    for n in range(1, 5):
        rename(world, f"P{n}")
    assert totals(world) == [400], "the wrong accounts alone: a duplicate and a fraud have no other name"
    hear(world, "R2", (e2e["P1"], "ACSC", ""))
    assert totals(world) == [300], "the first payment to P1 was executed, the bank says now"
    assert waiting(world)[:3] == [
        ("disputed", "stop", "P1", 100),
        ("held", "stop", "P1", 100),
        ("held", "stop", "P2", 200),
    ]


def test_what_a_person_stopped_is_seen_and_let_go_by_a_person_alone(world: World) -> None:
    world.owe("P1", 500)
    world.owe("P1", 250)
    world.propose(DAY)
    stopped = payments(world)["P1"]
    assert hold_instruction(world.bob, end_to_end_id=stopped, reason="suspected fraud") == 2
    rename(world, "P1")
    assert totals(world) == []
    assert waiting(world) == [("stopped", "none", "P1", 750)]
    with pytest.raises(FourEyesError, match="an approver has stopped"):
        release_hold(world.alice, end_to_end_id=stopped, reason="looks fine to me")
    assert release_hold(world.bob, end_to_end_id=stopped, reason="the payee called")
    assert not release_hold(world.bob, end_to_end_id=stopped, reason="again")
    assert (waiting(world), totals(world)) == ([], [750])


def test_what_waited_once_does_not_wait_again(world: World) -> None:
    """T+2 is of what was sold; not of what a maximum left over, was cancelled or came back."""
    world.owe("LATE", 700)
    world.owe("MOST", 2_500)
    assert [totals(world, day) for day in (DAY, TUESDAY)] == [[], []]
    (file,) = world.approve_all(WEDNESDAY)
    assert seal(world.app, file, now=moment(WEDNESDAY)).is_new
    assert cancel(world.bob, file, reason="wrong account").is_new
    assert totals(world, WEDNESDAY) == [1_700]
    world.pay(WEDNESDAY)
    hear(world, "R1", (payments(world)["LATE"], "RJCT", "AC04"))
    assert release_hold(world.bob, end_to_end_id=payments(world)["LATE"], reason="the account is right")
    assert totals(world, THURSDAY) == [1_700]


def test_a_bank_whose_clock_is_ahead_does_not_put_a_payee_off(world: World) -> None:
    world.owe("P1", 500)
    world.pay()
    hear(world, "R1", (payments(world)["P1"], "RJCT", "AC04"), created="2099-01-02T18:00:00Z")
    assert release_hold(world.bob, end_to_end_id=payments(world)["P1"], reason="the account is right")
    assert totals(world) == [500]
    (told,) = exceptions(world.app, book_id=world.book_id, as_of=NEXT)
    assert (told.kind, "2099-01-02" in str(told.meaning)) == ("unclear", True)


def test_a_payment_that_was_executed_after_its_reject_is_settled_and_said(world: World) -> None:
    world.owe("P1", 500)
    world.pay()
    e2e = payments(world)["P1"]
    hear(world, "R1", (e2e, "RJCT", "AC04"))
    hear(world, "R2", (e2e, "ACSC", ""))

    def decide() -> None:
        decide_dispute(world.bob, end_to_end_id=e2e, was_executed=True, reason="it was", effective_date=NEXT)

    world.owe("P1", -500)  # as the entry does that an approver made of the bank's debit
    with pytest.raises(FileStateError, match="open again"):
        decide()
    assert release_hold(world.bob, end_to_end_id=e2e, reason="the bank's debit stands against it")
    assert totals(world) == []
    decide()
    assert waiting(world) == []


def test_what_is_owed_to_no_payee_is_seen(world: World) -> None:
    account, income = "liabilities:payable:FORGOTTEN", "income:fees:eur"
    world.app.execute(
        "SELECT ledger.open_accounts(%s, %s, '{liability,income}', '{EUR,EUR}', '{t,f}', '{NULL,NULL}', '{NULL,NULL}')",
        (world.book_id, [account, income]),
    )
    legs = (NewPosting(income, 700), NewPosting(account, -700))
    post_batch(world.app, book_id=world.book_id, entries=[NewEntry("sale-x", DAY, legs)])
    world.app.commit()
    assert totals(world) == []
    (told,) = exceptions(world.app, book_id=world.book_id, as_of=NEXT)
    assert (told.kind, told.end_to_end_id, told.amount_minor, told.since) == ("nobody", account, 700, DAY)


def test_a_payment_is_not_stopped_while_it_is_sealed(world: World) -> None:
    world.owe("P1", 500)
    (file,) = world.approve_all()
    e2e = payments(world)["P1"]
    world.app.execute("SELECT settlement.seal(%s, %s)", (file, moment()))
    world.alice.execute("SET lock_timeout = '50ms'")
    with pytest.raises(psycopg.errors.LockNotAvailable):  # it waits for what becomes of the file
        world.alice.execute("SELECT settlement.hold_instruction(%s, 'stop it')", (e2e,))
    world.alice.rollback()
    world.app.commit()
    with pytest.raises(FileStateError, match="is sealed and cannot be held"):
        hold_instruction(world.alice, end_to_end_id=e2e, reason="stop it")
    (late,) = hold_payee(world.alice, book_id=world.book_id, payee="P1", reason="stop it")
    assert (late.end_to_end_id, late.file_id, late.state) == (e2e, file, "sealed"), "and who asks is told"


def test_what_never_left_does_not_come_back(world: World) -> None:
    """A line that names a payment still to be sent is not its return: it would be paid, and owed again."""
    world.owe("P1", 500)
    (file,) = world.approve_all()
    assert seal(world.app, file, now=moment()).is_new
    came = "SELECT settlement.reopen_returned(%s, 500, 'AC04', %s, %s)"
    payment = world.one("SELECT instruction_id FROM settlement.instruction")
    with world.db.owner() as owner:
        assert owner.execute(came, (payment, NEXT, 1)).fetchone() == (None,)
        owner.commit()
        world.release(file)
        assert owner.execute(came, (payment, NEXT, 1)).fetchone() != (None,)


def test_a_bank_that_has_what_two_people_said_it_never_got(world: World) -> None:
    world.owe("P1", 500)
    (file,) = world.approve_all()
    assert seal(world.app, file, now=moment()).is_new
    with world.db.login("alice") as sender:
        begin_sending(world, sender, file)
        assert sender.execute("SELECT settlement.end_sending(%s, 'unknown', 'the line died')", (file,)).fetchone()
    for person in (world.alice, world.bob):
        resolve_unknown(person, file, sent=False, reason="the bank has no such file")
    e2e = payments(world)["P1"]
    assert waiting(world) == [("held", "human", "P1", 500)], "nobody is forgotten"
    with pytest.raises(FourEyesError, match="released by an approver: Two people said"):
        release_hold(world.alice, end_to_end_id=e2e, reason="pay it")
    assert release_hold(world.bob, end_to_end_id=e2e, reason="the bank has confirmed")
    msg_id = str(world.one("SELECT msg_id FROM settlement.payment_file"))
    world.answer("late.xml", pain002(msg_id, group="ACSP"))
    poll(world.app, home=world.home)
    assert waiting(world) == [("disputed", "stop", "P1", 500), ("held", "stop", "P1", 500)]
    assert (totals(world), world.one("SELECT state FROM settlement.file_current")) == ([], "disputed")
    with pytest.raises(FourEyesError):
        release_hold(world.alice, end_to_end_id=e2e, reason="pay it")
