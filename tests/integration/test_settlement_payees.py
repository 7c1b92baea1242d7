"""Payees: versions, cooling off, first-payment holds, screening; approvals with limits; holds of payments and runs."""

from __future__ import annotations

import datetime as dt
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ledger import AccessError
from nostro.database import Database
from settlement import (
    ApprovalLimitError,
    FileState,
    FileStateError,
    FourEyesError,
    NotKnownError,
    PayeeHeldError,
    SetupError,
    apply_setup,
    approve,
    change_payee,
    hold_instruction,
    hold_payee,
    hold_run,
    payee_view,
    propose,
    release_payee,
    release_run,
    request_recall,
    screen_payee,
    seal,
)
from tests.settlement_world import DAY, PayeeRow, World, make_world, moment, write_setup

NEW_IBAN = "FR1420041010050500013M02606"
PAYEES = [PayeeRow(code="P1"), PayeeRow(code="P2")]
CHANGES = "payee_changes: {cooling_off_hours: 48, first_payment_hold: true}\n"
LIMITS = (
    "approvals: [{currency: EUR, limit: '10.00', dual_above: '20.00', approvers: {bob: '30.00', carol: '25.00'}}]\n"
)


@pytest.fixture
def make(db: Database, tmp_path: Path) -> Iterator[Callable[[str], World]]:
    made: list[World] = []

    def world(more: str = "") -> World:
        made.append(make_world(db, tmp_path, PAYEES, accounts=("eur",), more=more))
        return made[-1]

    yield world
    for each in made:
        each.close()


def held(world: World, now: dt.datetime, payee: str = "P1") -> tuple[str, ...]:
    return payee_view(world.app, book_id=world.book_id, payee=payee, now=now).held


def end_to_end_ids(world: World) -> dict[str, str]:
    """EndToEndId of each payee's last payment."""
    found = world.rows("SELECT payee_code, end_to_end_id FROM settlement.instruction ORDER BY instruction_id")
    return {str(payee): str(reference) for payee, reference in found}


def test_new_bank_details_cool_off_and_wait_for_another_person(make: Callable[[str], World]) -> None:
    world = make(CHANGES)
    world.owe("P1", 700)
    (old,) = world.approve_all()
    assert change_payee(world.alice, book_id=world.book_id, payee="P1", details={"iban": NEW_IBAN})
    assert not change_payee(world.alice, book_id=world.book_id, payee="P1", details={"iban": NEW_IBAN})
    result = seal(world.app, old, now=moment())
    assert result.state is FileState.VOID and "changed" in str(result.reason), "what was approved goes nowhere else"

    recorded = dt.datetime.now(dt.UTC)
    assert "cool off" in held(world, recorded + dt.timedelta(hours=47))[0]
    later = recorded + dt.timedelta(hours=49)
    assert held(world, later) == ("the first payment to new bank details waits for an approver",)
    with pytest.raises(AccessError):
        release_payee(world.alice, book_id=world.book_id, payee="P1", reason="called back")
    assert release_payee(world.bob, book_id=world.book_id, payee="P1", reason="called back") == 1
    assert release_payee(world.bob, book_id=world.book_id, payee="P1", reason="called back") == 0
    assert held(world, later) == () and held(world, recorded) != (), "nobody shortens the cooling-off"
    day = later.date()
    (file,) = propose(world.app, book_id=world.book_id, business_date=day, now=later, bank_account="eur-payouts")
    assert file.file.total_minor == 700
    view = payee_view(world.app, book_id=world.book_id, payee="P1", now=later)
    assert [(v.version, v.iban) for v in view.versions] == [(2, NEW_IBAN), (1, "NL91ABNA0417164300")]


def test_who_recorded_new_details_does_not_release_them(make: Callable[[str], World]) -> None:
    world = make(CHANGES)
    assert change_payee(world.bob, book_id=world.book_id, payee="P1", details={"name": "Somebody Else"})
    with pytest.raises(FourEyesError, match="recorded by bob"):
        release_payee(world.bob, book_id=world.book_id, payee="P1", reason="it is fine")
    with world.db.login("carol") as carol:
        assert release_payee(carol, book_id=world.book_id, payee="P1", reason="called back") == 1


@pytest.mark.parametrize(
    ("details", "fault"),
    [
        ({"iban": "NL91ABNA0417164301"}, "IBAN"),
        ({"iban": "BR1800360305000010009795493C1"}, "outside the SEPA zone"),
        ({"bic": "NOPE"}, "BIC"),
        ({"name": "x" * 71}, "characters"),
        ({"country": None}, "country"),
    ],
)
def test_details_that_a_bank_would_refuse_are_refused_here(
    make: Callable[[str], World], details: dict[str, str | None], fault: str
) -> None:
    world = make("")
    with pytest.raises(SetupError, match=fault):
        change_payee(world.alice, book_id=world.book_id, payee="P1", details=details)
    assert world.one("SELECT count(*) FROM settlement.payee_version") == len(PAYEES)


def test_a_payee_is_held_by_a_person_and_released_by_an_approver(make: Callable[[str], World]) -> None:
    world = make("")
    world.owe("P1", 700)
    (approved,) = world.approve_all()
    hold_payee(world.alice, book_id=world.book_id, payee="P1", reason="goods complained about")
    assert "goods complained about" in str(seal(world.app, approved, now=moment()).reason)
    assert world.propose() == []
    assert release_payee(world.bob, book_id=world.book_id, payee="P1", reason="settled") == 1
    assert [f.file.total_minor for f in world.propose()] == [700]
    with pytest.raises(NotKnownError):
        hold_payee(world.alice, book_id=world.book_id, payee="P9", reason="unknown")


def test_an_approver_signs_up_to_their_limit_and_large_files_need_two(make: Callable[[str], World]) -> None:
    world = make(LIMITS)
    with world.db.login("carol") as carol:
        world.owe("P1", 2_000)
        (small,) = world.approve_all()
        assert seal(world.app, small, now=moment()).state is FileState.SEALED
        world.owe("P1", 2_100)
        (large,) = world.propose()
        first = approve(world.bob, large.file_id)
        assert (first.missing_count, first.file.state, first.is_new) == (1, FileState.PROPOSED, True)
        again = approve(world.bob, large.file_id)
        assert (again.missing_count, again.is_new) == (1, False), "one person's two signatures are one"
        with pytest.raises(FileStateError, match="not approved"):
            seal(world.app, large.file_id, now=moment())
        second = approve(carol, large.file_id)
        assert (second.missing_count, second.file.state) == (0, FileState.APPROVED)
        assert seal(world.app, large.file_id, now=moment()).state is FileState.SEALED
        world.owe("P1", 2_600)
        (larger,) = world.propose()
        with pytest.raises(ApprovalLimitError, match="carol may approve up to 2500"):
            approve(carol, larger.file_id)
    world.owe("P1", 500)
    (largest,) = world.propose()
    with pytest.raises(ApprovalLimitError):
        approve(world.bob, largest.file_id)


def test_nobody_signs_under_limits_of_their_own(make: Callable[[str], World], tmp_path: Path) -> None:
    world = make("")
    world.owe("P1", 700)
    apply_setup(world.bob, write_setup(tmp_path, PAYEES, accounts=("eur",), more=LIMITS))
    (proposed,) = world.propose()
    with pytest.raises(FourEyesError, match="declared the approval limits"):
        approve(world.bob, proposed.file_id)


HOOK = """
import json, sys, time
asked = json.load(sys.stdin)
told = json.load(open({answers!r}))
if told.get("sleep"): time.sleep(60)
if told.get("crash"): sys.exit("the list is not there")
verdicts = {{p["payee"]: {{"verdict": told.get(p["payee"], "clear"), "detail": p["name"]}} for p in asked["payees"]}}
print(json.dumps({{"list_version": told["list"], "verdicts": verdicts}}))
"""


@pytest.fixture
def screened(make: Callable[[str], World], tmp_path: Path) -> tuple[World, Callable[..., None]]:
    """A company that asks a sanctions list; the second value says what the list answers from now on."""
    answers, program = tmp_path / "answers.json", tmp_path / "hook.py"
    program.write_text(HOOK.format(answers=str(answers)))

    def say(**told: object) -> None:
        answers.write_text(json.dumps({"list": "2026-11-01"} | told))

    say()
    command = json.dumps([sys.executable, str(program)])
    world = make(f"screening: {{sanctions: {{command: {command}, timeout_s: 1}}}}\n")
    world.owe("P1", 700)
    world.owe("P2", 300)
    return world, say


def verdicts(world: World) -> list[tuple[object, ...]]:
    return world.rows(
        "SELECT s.moment, v.payee_id, s.verdict, s.list_version FROM settlement.screening s"
        " JOIN settlement.payee_version v USING (payee_version_id) ORDER BY s.screening_id"
    )


def test_clear_payees_are_asked_about_at_approval_and_at_seal(screened: tuple[World, Callable[..., None]]) -> None:
    world, say = screened
    (file_id,) = world.approve_all()
    say(list="2026-11-02")
    assert seal(world.app, file_id, now=moment()).state is FileState.SEALED
    lists = (("approval", "2026-11-01"), ("seal", "2026-11-02"))
    told = [(at, payee, "clear", version) for at, version in lists for payee in (1, 2)]
    assert verdicts(world) == told


@pytest.mark.parametrize("told", [{"P1": "match"}, {"P1": "nonsense"}, {"sleep": True}, {"crash": True}])
def test_whoever_is_not_clear_is_held(screened: tuple[World, Callable[..., None]], told: dict[str, object]) -> None:
    """A match, an answer that means nothing, silence and a crash are all holds."""
    world, say = screened
    (proposed,) = world.propose()
    say(**told)
    with pytest.raises(PayeeHeldError, match="sanctions says"):
        approve(world.bob, proposed.file_id)
    assert held(world, moment())[0].startswith("sanctions says")
    say()
    rest = [300] if "P1" in told else []
    assert [f.file.total_minor for f in world.propose()] == rest, "the next proposal goes without"


def test_a_match_between_approval_and_seal_voids(screened: tuple[World, Callable[..., None]]) -> None:
    world, say = screened
    (file_id,) = world.approve_all()
    say(P2="match")
    result = seal(world.app, file_id, now=moment())
    assert result.state is FileState.VOID and "payee P2 is held: sanctions says match" in str(result.reason)


def test_an_approver_lets_the_very_finding_pass_until_the_list_changes(
    screened: tuple[World, Callable[..., None]],
) -> None:
    world, say = screened
    say(P1="close_match")
    assert [v.verdict for v in screen_payee(world.alice, book_id=world.book_id, payee="P1")] == ["close_match"]
    assert release_payee(world.bob, book_id=world.book_id, payee="P1", reason="another person") == 1
    (file_id,) = world.approve_all()
    say(P1="close_match", list="2026-11-02")
    assert seal(world.app, file_id, now=moment()).state is FileState.VOID


def test_the_database_refuses_what_was_not_screened(screened: tuple[World, Callable[..., None]]) -> None:
    world, _ = screened
    (proposed,) = world.propose()
    file = proposed.file
    with pytest.raises(Exception, match="no clear verdict"):
        world.bob.execute(
            "SELECT settlement.approve(%s, %s, %s, %s, settlement.payee_digest(%s))",
            (file.file_id, file.sha256, file.instruction_count, file.total_minor, file.file_id),
        )
    world.bob.rollback()


def test_a_payment_and_a_run_are_held(make: Callable[[str], World]) -> None:
    world = make("")
    world.owe("P1", 700)
    world.owe("P2", 300)
    (first,) = world.approve_all()
    assert hold_instruction(world.alice, end_to_end_id=end_to_end_ids(world)["P1"], reason="disputed") == 1
    assert seal(world.app, first, now=moment()).state is FileState.VOID
    (second,) = world.approve_all()
    run = int(str(world.one("SELECT run_id FROM settlement.payment_file WHERE file_id = %s", second)))
    assert hold_run(world.alice, run_id=run, reason="disturbance")
    assert not hold_run(world.alice, run_id=run, reason="again")
    with pytest.raises(FileStateError, match="disturbance"):
        world.release(second)
    assert release_run(world.bob, run_id=run, reason="over")
    with pytest.raises(FileStateError, match=r"cannot be recalled"):
        request_recall(world.alice, end_to_end_id=end_to_end_ids(world)["P2"], reason_code="DUPL", reason="twice")
    assert world.release(second).state is FileState.SENT
    assert request_recall(world.alice, end_to_end_id=end_to_end_ids(world)["P2"], reason_code="DUPL", reason="twice")
    assert not request_recall(world.bob, end_to_end_id=end_to_end_ids(world)["P2"], reason_code="DUPL", reason="twice")
    assert world.balance("assets:transit:eur-payouts") == -300
    with pytest.raises(FileStateError, match="cannot be held"):
        hold_instruction(world.alice, end_to_end_id=end_to_end_ids(world)["P2"], reason="late")


def test_ad_hoc_runs_hold_to_the_holds(make: Callable[[str], World]) -> None:
    world = make("")
    world.owe("P1", 700)
    hold_payee(world.alice, book_id=world.book_id, payee="P1", reason="stop")
    assert propose(world.app, book_id=world.book_id, business_date=DAY, now=moment(), payees=["P1"]) == []
