"""Breaks as people work on them: life, proposals with a dry run, four eyes, sets taken back, policies."""

from __future__ import annotations

import datetime as dt

import psycopg
import pytest

from ledger import Connection, NostroError, RefusedError
from ledger.errors import error_from_postgres
from recon import (
    AdjustmentError,
    BoardRow,
    BreakCode,
    BreakStateError,
    BreakUnknownError,
    EntryLeg,
    Filters,
    FourEyesError,
    Threshold,
    Wish,
    approve_policy,
    approve_proposal,
    assign_break,
    break_show,
    breaks_list,
    declare_policy,
    end_policy,
    end_proposal,
    note_break,
    open_proposal,
    policies,
    post_routine_breaks,
    propose,
    reopen_break,
    request_unmatch,
    resolve_break,
    set_severity,
    severity_thresholds,
    trace,
    unmatch_set,
)
from tests.recon_world import ACCOUNT, BankBook, Line
from tests.settlement_world import DAY, World

TUESDAY = DAY + dt.timedelta(days=1)
WEDNESDAY = DAY + dt.timedelta(days=2)
FEE = Line(amount_minor=-251, ref="B1", code="PMNT/ICDT/CHRG")  # not of the tariff
WHY = "the new fee of the bank"


def only(world: World, **filters: object) -> BoardRow:
    (row,) = breaks_list(world.app, book_id=world.book_id, filters=Filters(**filters))  # type: ignore[arg-type]
    return row


def fee_break(world: World, bank: BankBook) -> str:
    """A charge that no tariff has, on a certified Monday."""
    bank.ingest(bank.statement([FEE]))
    assert len(bank.reconcile().certified) == 1
    return only(world).break_id


def proposed(world: World, break_id: str, **wish: object) -> int:
    made = propose(
        world.alice,
        book_id=world.book_id,
        break_id=break_id,
        wish=Wish(**wish),  # type: ignore[arg-type]
        reason=WHY,
    )
    assert made.adjustment_id is not None
    return made.adjustment_id


def refused(conn: Connection, query: str, *values: object) -> NostroError:
    with pytest.raises(psycopg.Error) as caught, conn.transaction():
        conn.execute(query.encode(), values)
    conn.rollback()
    return error_from_postgres(caught.value)


def test_a_break_from_morning_to_resolution(world: World, bank: BankBook) -> None:
    """Open, assigned, noted, proposed, approved (posted on T by reconciliation), cleared by the next run, resolved."""
    name = fee_break(world, bank)
    found = only(world)
    assert (found.state, found.owner, found.severity, found.bucket) == ("open", None, "low", "0-1")
    assign_break(world.bob, book_id=world.book_id, break_id=name, owner="alice", due=WEDNESDAY)
    note_break(world.alice, book_id=world.book_id, break_id=name, note="asked the bank")
    assert only(world, owner="alice").due_date == WEDNESDAY
    made = propose(world.alice, book_id=world.book_id, break_id=name, wish=Wish(), reason=WHY)
    assert made.dry_run.sentence() == "It closes it."
    assert made.plan.effective_date == TUESDAY  # Monday is certified
    assert [(leg.account, leg.amount_minor) for leg in made.plan.legs] == [
        (f"assets:transit:{ACCOUNT}", -251),
        ("expenses:bank-fees:eur", 251),
    ]
    assert only(world).state == "proposed"
    assert world.balance(f"assets:transit:{ACCOUNT}") == 251  # nothing is posted yet
    number = made.adjustment_id
    assert number is not None
    entry = approve_proposal(world.bob, book_id=world.book_id, adjustment_id=number)
    assert entry == approve_proposal(world.bob, book_id=world.book_id, adjustment_id=number)
    assert (world.balance("expenses:bank-fees:eur"), world.balance(f"assets:transit:{ACCOUNT}")) == (251, 0)
    run = bank.reconcile(TUESDAY)
    assert ({rule.rule: rule.set_count for rule in run.rules}, run.breaks) == ({"adjustment": 1}, ())
    detail = break_show(world.app, book_id=world.book_id, break_id=name)
    assert not detail.is_open
    assert [event.action for event in detail.history] == [
        "opened",
        "assigned",
        "noted",
        "proposed",
        "approved",
        "resolved",
    ]
    assert (detail.head.state, detail.head.owner) == ("resolved", "alice")
    (kept,) = detail.proposals
    assert (kept.entry_key, kept.proposed_by, kept.approved_by) == (f"adjustment:{number}", "alice", "bob")
    assert kept.match_set_id is not None
    assert any("cleared in set" in line for line in detail.render())
    steps = trace(world.app, book_id=world.book_id, key=f"adjustment:{number}").steps
    assert {"statement line", "cleared set"} <= {step.kind for step in steps}
    bank.ingest(bank.statement([], day=TUESDAY), name="2.xml")
    assert len(bank.reconcile(TUESDAY).certified) == 1
    assert bank.reconcile().is_new is False  # Monday stays what it was


def test_who_proposes_does_not_approve(world: World, bank: BankBook) -> None:
    name = fee_break(world, bank)
    number = proposed(world, name)
    assert "may not do that" in str(refused(world.alice, "SELECT recon.approve_adjustment(1, %s)", number))
    end_proposal(world.bob, book_id=world.book_id, adjustment_id=number, reason="other account")
    assert only(world).state == "open"
    with pytest.raises(BreakStateError):
        open_proposal(world.app, book_id=world.book_id, break_id=name)
    own = propose(world.bob, book_id=world.book_id, break_id=name, wish=Wish(template="claim"), reason=WHY)
    with pytest.raises(FourEyesError, match="made by bob"):
        approve_proposal(world.bob, book_id=world.book_id, adjustment_id=own.adjustment_id or 0)
    with pytest.raises(BreakStateError, match="cannot be proposed"):
        proposed(world, name)
    assert end_proposal(world.bob, book_id=world.book_id, adjustment_id=own.adjustment_id or 0, reason="mine") == (
        "withdrawn"
    )
    with world.db.owner() as owner:
        false = "INSERT INTO recon.adjustment_approval (adjustment_id, effective_date, approved_by) VALUES (%s, %s, %s)"
        assert refused(owner, false, number, TUESDAY, "nostro_template_bob").constraint == "adjustment_own_name"
        assert refused(owner, false.replace(", approved_by", "").replace(", %s)", ")"), number, TUESDAY).constraint == (
            "adjustment_stands"
        )
        forged = (
            "INSERT INTO recon.adjustment (book_id, break_id, break_sha256, code, kind, template, effective_date,"
            " reason, proposed_by) VALUES (1, %s, '', 'X', 'entry', 'x', %s, 'forged', 'nostro_template_alice')"
        )
        assert refused(owner, forged, name, TUESDAY).constraint == "recon_own_name"


def test_what_would_not_close_it_is_refused_and_tried_without_a_trace(world: World, bank: BankBook) -> None:
    name = fee_break(world, bank)
    for legs in ((EntryLeg("expenses:bank-fees:eur", "EUR", 250),), (EntryLeg("expenses:bank-fees:eur", "EUR", -251),)):
        with pytest.raises(AdjustmentError, match="does not balance"):
            proposed(world, name, legs=legs)
    with pytest.raises(AdjustmentError, match="would not close it"):
        proposed(world, name, match=True)
    with pytest.raises(AdjustmentError, match="control account"):
        proposed(world, name, legs=(EntryLeg(f"assets:bank:{ACCOUNT}", "EUR", 251),))
    with pytest.raises(AdjustmentError, match="no template"):
        proposed(world, name, template="magic")
    with pytest.raises(AdjustmentError, match="is certified"):
        propose(world.alice, book_id=world.book_id, break_id=name, wish=Wish(), reason=WHY, day=DAY)
    tried = propose(world.alice, book_id=world.book_id, break_id=name, wish=Wish(), reason=WHY, only_try=True)
    assert (tried.adjustment_id, tried.dry_run.closes) == (None, True)
    assert world.one("SELECT count(*) FROM recon.adjustment") == 0
    assert only(world).state == "open"


def test_the_database_posts_just_what_was_proposed(world: World, bank: BankBook) -> None:
    """Whatever a program claims: an entry that leaves something open or touches a bank account is refused."""
    name = fee_break(world, bank)
    sha = only(world).sha256
    item = world.one("SELECT posting_id FROM recon.open_item LIMIT 1")
    call = "SELECT recon.propose_adjustment(1, %s, %s, 'entry', 'x', '2026-11-03', 'by hand', %s, %s, '{EUR,EUR}', %s)"

    def approved(accounts: list[str], amounts: list[int]) -> str:
        world.alice.execute(call.encode(), (name, sha, [item], accounts, amounts))
        world.alice.commit()
        number = open_proposal(world.app, book_id=world.book_id, break_id=name)
        error = refused(world.bob, "SELECT recon.approve_adjustment(1, %s)", number)
        end_proposal(world.alice, book_id=world.book_id, adjustment_id=number, reason="wrong")
        return str(error.constraint)

    transit = f"assets:transit:{ACCOUNT}"
    assert approved([transit, "expenses:bank-fees:eur"], [-250, 250]) == "adjustment_closes"
    assert approved([f"assets:bank:{ACCOUNT}", transit], [251, -251]) == "adjustment_entry"
    assert approved(["assets:nowhere:usd", transit], [251, -251]) == "adjustment_account"
    with pytest.raises(psycopg.errors.CheckViolation, match="off balance"):
        world.alice.execute(call.encode(), (name, sha, [item], [transit, "expenses:x:eur"], [-251, 250]))
    world.alice.rollback()
    with pytest.raises(psycopg.errors.CheckViolation, match="not what it was"):
        world.alice.execute(call.encode(), (name, "0" * 64, [item], [transit, "expenses:x:eur"], [-251, 251]))
    world.alice.rollback()


def test_states_are_enforced_and_history_is_a_chain(world: World, bank: BankBook) -> None:
    name = fee_break(world, bank)
    with pytest.raises(BreakStateError, match="words do not close it"):
        resolve_break(world.alice, book_id=world.book_id, break_id=name, note="never mind")
    with pytest.raises(BreakStateError, match="cannot be reopened"):
        reopen_break(world.alice, book_id=world.book_id, break_id=name, reason="again")
    with pytest.raises(RefusedError, match="no preparer or approver"):
        assign_break(world.alice, book_id=world.book_id, break_id=name, owner="ann")
    with pytest.raises(BreakUnknownError):
        note_break(world.alice, book_id=world.book_id, break_id="B0", note="nothing")
    add = (
        "INSERT INTO recon.break_event (book_id, break_id, ordinal, action, from_state, state, owner)"
        " VALUES (1, %s, %s, %s, %s, %s, 'x')"
    )
    with world.db.owner() as owner:
        assert refused(owner, add, name, 2, "approved", "open", "approved").constraint == "break_event_transition"
        assert refused(owner, add, name, 2, "approved", "proposed", "approved").constraint == "break_event_chain"
        assert refused(owner, add, name, 1, "opened", "new", "open").constraint == "break_event_once"
        assert refused(owner, "UPDATE recon.break_event SET state = 'resolved'").constraint == "append_only"
    with world.db.login("ann") as ann:
        assert "may not do that" in str(refused(ann, "SELECT recon.note_break(1, %s, 'mine', NULL)", name))


def test_a_break_that_closes_by_itself_is_resolved_and_its_proposal_lapses(world: World, bank: BankBook) -> None:
    bank.ingest(bank.statement([Line(amount_minor=-500, ref="B1", end_to_end_id="X1")]))
    bank.reconcile()
    world.owe("P1", 500)
    name = only(world).break_id
    proposed(world, name, template="claim")
    e2e = world.pay(TUESDAY)
    assert e2e
    bank.ingest(bank.statement([Line(amount_minor=500, ref="B2", end_to_end_id="X1")], day=TUESDAY), name="2.xml")
    bank.reconcile(TUESDAY)
    events = break_show(world.app, book_id=world.book_id, break_id=name)
    if not events.is_open:  # the reversal cleared it
        assert events.head.state == "resolved"
        assert [p.state for p in events.proposals] == ["lapsed"]
    else:
        with pytest.raises(BreakStateError):
            resolve_break(world.alice, book_id=world.book_id, break_id=name, note="not yet")


def cleared_set(world: World, bank: BankBook) -> int:
    world.owe("P1", 10_000)
    world.pay()
    e2e = str(world.one("SELECT end_to_end_id FROM settlement.instruction"))
    bank.ingest(bank.statement([Line(amount_minor=-10_000, ref="B1", end_to_end_id=e2e)]))
    bank.reconcile()
    return int(str(world.one("SELECT max(match_set_id) FROM recon.live_leg")))


def test_a_set_taken_back_is_suggested_and_a_person_confirms_it(world: World, bank: BankBook) -> None:
    """The same rule does not clear it again; two people may, one generation up."""
    number = cleared_set(world, bank)
    with pytest.raises(FourEyesError, match="Nobody asked"):
        unmatch_set(world.bob, match_set_id=number)
    request_unmatch(world.alice, match_set_id=number, reason="the bank says it was another payment")
    assert "may not do that" in str(refused(world.alice, "SELECT recon.unmatch_set(%s)", number))
    assert unmatch_set(world.bob, match_set_id=number) == 2
    assert unmatch_set(world.bob, match_set_id=number) == 0
    run = bank.reconcile()
    assert (run.is_new, run.rules) == (True, ())
    found = only(world)
    assert (found.code, found.item_count, found.amount_minor) == ("AMBIGUOUS", 2, 0)
    assert "alice had just this set taken back: the bank says" in found.explanation
    approve_proposal(world.bob, book_id=world.book_id, adjustment_id=proposed(world, found.break_id, match=True))
    run = bank.reconcile(TUESDAY)
    assert ({rule.rule: rule.set_count for rule in run.rules}, run.breaks) == ({"manual-match": 1}, ())
    assert world.rows("SELECT DISTINCT generation FROM recon.live_leg") == [(1,)]


def test_who_asks_does_not_take_back(world: World, bank: BankBook) -> None:
    number = cleared_set(world, bank)
    request_unmatch(world.bob, match_set_id=number, reason="wrong payment")
    with pytest.raises(FourEyesError, match="as another person asked"):
        unmatch_set(world.bob, match_set_id=number)


def test_an_adjustment_taken_back_reverses_its_entry_and_the_break_is_open_again(world: World, bank: BankBook) -> None:
    name = fee_break(world, bank)
    approve_proposal(world.bob, book_id=world.book_id, adjustment_id=proposed(world, name))
    bank.reconcile(TUESDAY)
    set_id = break_show(world.app, book_id=world.book_id, break_id=name).proposals[0].match_set_id
    assert set_id is not None
    request_unmatch(world.alice, match_set_id=set_id, reason="the bank pays it back after all")
    unmatch_set(world.bob, match_set_id=set_id)
    assert (world.balance("expenses:bank-fees:eur"), world.balance(f"assets:transit:{ACCOUNT}")) == (0, 251)
    run = bank.reconcile(WEDNESDAY)
    assert [rule.rule for rule in run.rules] == ["adjustment-undone"]
    detail = break_show(world.app, book_id=world.book_id, break_id=name)
    assert (detail.is_open, detail.head.state, detail.proposals[0].state) == (True, "reopened", "undone")
    proposed(world, name, template="claim")


def test_a_finding_is_accepted_by_two_people_and_can_be_taken_up_again(world: World, bank: BankBook) -> None:
    first = bank.statement([])
    bank.ingest(first)
    bank.ingest(first, name="again.xml", message_id="M2")
    bank.reconcile()
    found = only(world, code="STATEMENT_DUP")
    with pytest.raises(AdjustmentError, match="only be accepted"):
        proposed(world, found.break_id, match=True)
    number = proposed(world, found.break_id)
    approve_proposal(world.bob, book_id=world.book_id, adjustment_id=number)
    assert only(world, code="STATEMENT_DUP").state == "resolved"
    assert bank.reconcile(TUESDAY).breaks == ()
    reopen_break(world.alice, book_id=world.book_id, break_id=found.break_id, reason="it matters")
    assert [b.code for b in bank.reconcile(TUESDAY).breaks] == ["STATEMENT_DUP"]


def test_a_policy_of_two_people_posts_what_it_covers(world: World, bank: BankBook) -> None:
    fee_break(world, bank)
    with pytest.raises(AdjustmentError, match="does not fit"):
        declare_policy(
            world.alice,
            book_id=world.book_id,
            code=BreakCode.BANK_ORIGINATED,
            template="write-off",
            currency="EUR",
            maximum_minor=300,
            reason="small fees",
        )
    number = declare_policy(
        world.bob,
        book_id=world.book_id,
        code=BreakCode.BANK_ORIGINATED,
        template="bank-fee",
        currency="EUR",
        maximum_minor=300,
        reason="small fees",
    )
    assert post_routine_breaks(world.alice, book_id=world.book_id) == []
    with pytest.raises(FourEyesError, match="another person approves"):
        approve_policy(world.bob, book_id=world.book_id, policy_id=number)
    with world.db.login("carol") as carol:
        assert approve_policy(carol, book_id=world.book_id, policy_id=number)
    assert [policy.state for policy in policies(world.app, book_id=world.book_id)] == ["in force"]
    (done,) = post_routine_breaks(world.alice, book_id=world.book_id)
    assert (done.state, done.plan.template) == ("approved", "bank-fee")
    assert post_routine_breaks(world.alice, book_id=world.book_id) == []
    assert bank.reconcile(TUESDAY).breaks == ()
    assert end_policy(world.alice, book_id=world.book_id, policy_id=number, reason="fees changed")
    bank.ingest(bank.statement([Line(amount_minor=-252, ref="B9", code="PMNT/ICDT/CHRG")], day=WEDNESDAY), name="3.xml")
    bank.reconcile(WEDNESDAY)
    assert post_routine_breaks(world.alice, book_id=world.book_id) == []
    other = proposed(world, only(world).break_id)
    error = refused(world.app, "SELECT recon.post_by_policy(1, %s, %s)", other, number)
    assert error.constraint == "adjustment_policy_covers"


def test_a_rule_that_only_suggests_leaves_a_question(world: World, bank: BankBook) -> None:
    world.owe("P1", 10_000)
    world.pay()
    e2e = str(world.one("SELECT end_to_end_id FROM settlement.instruction"))
    world.app.execute("SELECT recon.suggest_rule(1, 'exact-end-to-end', 'too many wrong', 10, 3, 1, 2, 3)")
    world.app.commit()
    bank.ingest(bank.statement([Line(amount_minor=-10_000, ref="B1", end_to_end_id=e2e)]))
    run = bank.reconcile()
    assert (run.rules, [b.code for b in run.breaks], len(run.certified)) == ((), ["AMBIGUOUS"], 1)
    assert "It only suggests: too many wrong." in run.breaks[0].explanation
    assert "may not do that" in str(refused(world.alice, "SELECT recon.trust_rule(1, 'x', 'fine now', 0, 0, 0, 0, 0)"))
    world.bob.execute("SELECT recon.trust_rule(1, 'exact-end-to-end', 'mended since', 0, 0, 0, 0, 0)")
    world.bob.commit()
    again = bank.reconcile()
    assert ([rule.rule for rule in again.rules], again.breaks) == (["exact-end-to-end"], ())


def test_severity_follows_the_books_thresholds(world: World, bank: BankBook) -> None:
    fee_break(world, bank)
    assert severity_thresholds(world.app, book_id=world.book_id) == []
    lines = [
        Threshold(severity="high", currency="EUR", amount_minor=200),
        Threshold(severity="critical", code="UNAUTHORISED_DEBIT"),
    ]
    assert set_severity(world.alice, book_id=world.book_id, thresholds=lines) == 1
    assert severity_thresholds(world.app, book_id=world.book_id) == lines
    assert only(world).severity == "high"
    set_severity(world.alice, book_id=world.book_id, thresholds=[Threshold(severity="medium", age_days=1)])
    assert only(world).severity == "low"
    bank.reconcile(TUESDAY)
    assert only(world).severity == "medium"
    assert breaks_list(world.app, book_id=world.book_id, filters=Filters(min_age_days=2)) == []


def test_breaks_as_they_were_known(world: World, bank: BankBook) -> None:
    name = fee_break(world, bank)
    before = world.one("SELECT clock_timestamp()")
    assign_break(world.bob, book_id=world.book_id, break_id=name, owner="alice")
    assert isinstance(before, dt.datetime)
    (then,) = breaks_list(world.app, book_id=world.book_id, known_at=before)
    assert (then.state, only(world).state) == ("open", "assigned")
