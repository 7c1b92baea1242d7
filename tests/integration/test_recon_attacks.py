"""What a dishonest clerk would try in reconciliation, by SQL under their own name: each of it is refused."""

from __future__ import annotations

import datetime as dt

import psycopg
import pytest

from ledger import AccessError, Connection, NostroError
from ledger.errors import error_from_postgres
from recon import (
    FourEyesError,
    SignOffError,
    Wish,
    approve_policy,
    approve_proposal,
    break_show,
    breaks_list,
    draw_sample,
    end_proposal,
    ingest_files,
    propose,
    reconcile,
    request_unmatch,
    review_set,
    sign_off,
    sign_offs,
    unmatch_set,
    unverified_runs,
    verify_run,
)
from tests.recon_world import ACCOUNT, OPENING, BankBook, Line, fee_policy
from tests.settlement_world import DAY, World

PSP = "payout_id,acquirer,bank_account,currency,payout_date,gross,refunds,chargebacks,fees,net,line_count\n"
TUESDAY = DAY + dt.timedelta(days=1)
WEDNESDAY = DAY + dt.timedelta(days=2)
TRANSIT, FEES = f"assets:transit:{ACCOUNT}", "expenses:bank-fees:eur"
WHY = "the new fee of the bank"
PROPOSE = "SELECT recon.propose_adjustment(1, %s, %s, 'entry', 'bank-fee', '2026-11-03', 'by hand', %s, %s, %s, %s)"
BY_POLICY = "SELECT recon.post_by_policy(1, %s, %s)"


def refused(conn: Connection, query: str, *values: object) -> NostroError:
    with pytest.raises(psycopg.Error) as caught, conn.transaction():
        conn.execute(query.encode(), values)
    conn.rollback()
    return error_from_postgres(caught.value)


def fees(world: World, bank: BankBook, *amounts: int) -> None:
    """Charges that no tariff has, each a break of its own, on Monday."""
    lines = [Line(amount_minor=amount, ref=f"B{n}", code="PMNT/ICDT/CHRG") for n, amount in enumerate(amounts)]
    bank.ingest(bank.statement(lines))
    bank.reconcile()


def call(break_id: str, sha256: str, items: list[int], legs: dict[str, int]) -> tuple[object, ...]:
    return break_id, sha256, items, list(legs), ["EUR"] * len(legs), list(legs.values())


def cleared_and_taken_back(world: World, bank: BankBook, *, signed: bool = False) -> None:
    """A payment that cleared on Monday, and that two people took back."""
    world.owe("P1", 10_000)
    world.pay()
    e2e = str(world.one("SELECT end_to_end_id FROM settlement.instruction"))
    bank.ingest(bank.statement([Line(amount_minor=-10_000, ref="B1", end_to_end_id=e2e)]))
    bank.reconcile()
    for person in (world.alice, world.bob) if signed else ():
        sign_off(person, book_id=1, business_date=DAY)
    set_id = int(str(world.one("SELECT max(match_set_id) FROM recon.live_leg")))
    request_unmatch(world.alice, match_set_id=set_id, reason="another payment")
    unmatch_set(world.bob, match_set_id=set_id)


def test_a_policy_pays_to_the_account_of_its_template_alone(world: World, bank: BankBook) -> None:
    """One person could else post anything between any accounts by a policy for small fees."""
    fees(world, bank, -251)
    number = fee_policy(world, 300)
    (row,) = breaks_list(world.app, book_id=1)
    item = break_show(world.app, book_id=1, break_id=row.break_id).items[0].posting_id
    stolen = {TRANSIT: -251, "liabilities:payable:P2": 251}
    much = {TRANSIT: -251, "liabilities:payable:P2": -1_000_000, FEES: 1_000_251}
    for legs in (stolen, much):
        world.alice.execute(PROPOSE, call(row.break_id, row.sha256, [item], legs))
        world.alice.commit()
        made = int(str(world.one("SELECT max(adjustment_id) FROM recon.adjustment")))
        assert refused(world.alice, BY_POLICY, made, number).constraint == "adjustment_policy_covers"
        end_proposal(world.alice, book_id=1, adjustment_id=made, reason="was refused")


def test_a_policy_takes_no_slice_of_a_larger_break(world: World, bank: BankBook) -> None:
    cleared_and_taken_back(world, bank)
    bank.reconcile()
    (row,) = breaks_list(world.app, book_id=1)
    items = [item.posting_id for item in break_show(world.app, book_id=1, break_id=row.break_id).items]
    declare = "SELECT recon.declare_policy(1, 'AMBIGUOUS', 'bank-fee', %s, 'EUR', 20000, 20000, 1, 'whatever it is')"
    row_of = world.bob.execute(declare.encode(), (FEES,)).fetchone()
    world.bob.commit()
    assert row_of is not None
    number = int(str(row_of[0]))
    with world.db.login("carol") as carol:
        approve_policy(carol, book_id=1, policy_id=number)
    amount = int(str(world.one("SELECT amount_minor FROM ledger.posting WHERE posting_id = %s", items[0])))
    legs = {TRANSIT: -amount, FEES: amount}
    world.alice.execute(PROPOSE, call(row.break_id, row.sha256, items[:1], legs))
    world.alice.commit()
    made = int(str(world.one("SELECT max(adjustment_id) FROM recon.adjustment")))
    assert refused(world.alice, BY_POLICY, made, number).constraint == "adjustment_policy_covers"


def test_a_proposal_closes_items_of_its_own_break(world: World, bank: BankBook) -> None:
    fees(world, bank, -251, -252)
    one, two = breaks_list(world.app, book_id=1)
    item = break_show(world.app, book_id=1, break_id=two.break_id).items[0].posting_id
    error = refused(world.alice, PROPOSE, *call(one.break_id, one.sha256, [item], {TRANSIT: -252, FEES: 252}))
    assert error.constraint == "adjustment_items_of_break"


def test_only_the_proposal_that_stands_is_ended(world: World, bank: BankBook) -> None:
    """Else a break would be open again while its proposal waits, and two could wait at once."""
    fees(world, bank, -251)
    (row,) = breaks_list(world.app, book_id=1)
    first = propose(world.alice, book_id=1, break_id=row.break_id, wish=Wish(), reason=WHY).adjustment_id
    assert first is not None
    approve_proposal(world.bob, book_id=1, adjustment_id=first)
    bank.ingest(bank.statement([], day=TUESDAY), name="2.xml")
    bank.reconcile(TUESDAY)
    set_id = int(str(world.one("SELECT max(match_set_id) FROM recon.live_leg WHERE rule = 'adjustment'")))
    request_unmatch(world.alice, match_set_id=set_id, reason="wrong fee")
    unmatch_set(world.bob, match_set_id=set_id)
    bank.reconcile(TUESDAY)
    propose(world.alice, book_id=1, break_id=row.break_id, wish=Wish(), reason=WHY)
    assert refused(world.alice, "SELECT recon.end_adjustment(1, %s, 'no')", first).constraint == "adjustment_stands"
    assert refused(world.alice, "SELECT recon.end_adjustment(1, 99, 'no')").constraint == "adjustment_known"


def test_a_set_of_people_is_what_they_approved(world: World, bank: BankBook) -> None:
    """The program's own login, too, publishes as people's only what two people decided."""
    bank.ingest(bank.statement([Line(amount_minor=-500, ref="B1"), Line(amount_minor=500, ref="B2")]))
    bank.reconcile()
    items = [item for (item,) in world.rows("SELECT posting_id FROM recon.open_item")]
    stage = (
        "INSERT INTO recon.stage_leg (set_ordinal, rule, rule_version, posting_id, is_fungible, row_sha256)"
        " SELECT 1, %s, 1, unnest(%s::bigint[]), false, repeat('0', 64)"
    )
    for rule in ("manual-match", "adjustment", "adjustment-undone"):
        with pytest.raises(psycopg.Error) as caught, world.app.transaction():
            world.app.execute(stage, (rule, items))
            world.app.execute("SELECT recon.publish_run(1, '2026-11-02', 'x', 'y', 0, 0, NULL)")
        assert error_from_postgres(caught.value).constraint == "match_set_decided"


def test_nobody_publishes_a_run_of_rules_in_their_own_name(world: World, bank: BankBook) -> None:
    """A preparer could else clear two lines by a rule that never found them, until the night's verifier looks."""
    bank.ingest(bank.statement([Line(amount_minor=-500, ref="B1"), Line(amount_minor=500, ref="B2")]))
    run = bank.reconcile()
    forged = (
        "INSERT INTO recon.stage_leg (set_ordinal, rule, rule_version, posting_id, rivals, is_fungible, row_sha256)"
        " SELECT 1, 'exact-end-to-end', 1, posting_id, 0, false, encode(row_sha256, 'hex') FROM recon.open_item"
    )
    published = "SELECT recon.publish_run(1, '2026-11-02', 'x', 'y', 0, 0, NULL)"
    for person in ("alice", "bob", "ann"):
        with world.db.login(person) as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute(forged)
            conn.execute(published)
        with world.db.login(person) as conn:
            error = refused(conn, published)
            assert (type(error), "publish_run" in str(error)) == (AccessError, True)
    assert world.rows("SELECT max(run_id) FROM recon.run") == [(run.run_id,)]
    statement = world.home / "in" / "2.xml"
    statement.write_text("<Document/>")
    with pytest.raises(AccessError, match="runs are published by the program's own login, and alice is a person's"):
        reconcile(world.alice, book_id=world.book_id, business_date=TUESDAY, home=world.home)
    with pytest.raises(AccessError, match="statements are taken in by the program's own login, and bob is a person's"):
        ingest_files(world.bob, book_id=world.book_id, paths=[statement])


def test_no_certificate_while_a_statement_is_in_question(world: World, bank: BankBook) -> None:
    bank.ingest(bank.statement([]))
    twin = [Line(amount_minor=-1), Line(amount_minor=1)]
    bank.ingest(bank.statement(twin, opening_minor=OPENING, number=1), name="2.xml")
    run = bank.reconcile()
    assert run.certified == ()
    add = "SELECT recon.add_certificate(%s, 1, 1, 100000000, 0, 100000000, 'mine', '2026-11-02')"
    assert refused(world.app, add, run.run_id).constraint == "certificate_blocked"


def test_what_people_take_back_on_a_signed_day_is_a_late_change(world: World, bank: BankBook) -> None:
    """What cleared adds up to zero: taken back, it changes no sum of the certificate."""
    cleared_and_taken_back(world, bank, signed=True)
    bank.reconcile(TUESDAY)  # nobody reconciles Monday again
    (late,) = (row for row in breaks_list(world.app, book_id=1) if row.code == "LATE_CHANGE")
    assert "taken back after two people signed" in late.explanation
    bank.reconcile()
    (stands,) = sign_offs(world.app, book_id=1, business_date=DAY)
    assert stands.state == "changed"
    with pytest.raises(SignOffError, match="look at it first"):
        sign_off(world.alice, book_id=1, business_date=DAY, certificate="0" * 12)
    sign_off(world.alice, book_id=1, business_date=DAY, certificate=stands.sha256[:12])
    assert world.one("SELECT recon.note_late_changes(max(run_id)) FROM recon.run") == 0  # said once


def test_what_comes_late_for_a_signed_day_is_a_late_change_though_nobody_runs_the_day(
    world: World, bank: BankBook
) -> None:
    bank.ingest(bank.statement([]))
    bank.reconcile()
    for person in (world.alice, world.bob):
        sign_off(person, book_id=1, business_date=DAY)
    bank.ingest_text(PSP + f"PO-1,cardia,{ACCOUNT},EUR,{DAY},100.00,0,0,2.00,98.00,7\n", "psp.csv")
    bank.ingest(bank.statement([], day=TUESDAY), name="2.xml")
    run = bank.reconcile(TUESDAY)
    (late,) = (found for found in run.breaks if found.code == "LATE_CHANGE")
    assert f"of {DAY} came after two people signed" in late.explanation
    assert bank.reconcile(TUESDAY).is_new is False


def test_a_decision_counts_from_its_own_day(world: World, bank: BankBook) -> None:
    """What people matched on Tuesday was open on Monday, also when Monday is reconciled again."""
    cleared_and_taken_back(world, bank)
    monday = bank.reconcile()
    (row,) = breaks_list(world.app, book_id=1)
    made = propose(world.alice, book_id=1, break_id=row.break_id, wish=Wish(match=True), reason=WHY)
    assert made.plan.effective_date == TUESDAY
    assert made.adjustment_id is not None
    approve_proposal(world.bob, book_id=1, adjustment_id=made.adjustment_id)
    bank.ingest(bank.statement([], day=TUESDAY), name="2.xml")
    tuesday = bank.reconcile(TUESDAY)
    assert tuesday.breaks == ()
    bank.ingest_text(PSP + f"PO-1,cardia,{ACCOUNT},EUR,{DAY},100.00,0,0,2.00,98.00,7\n", "psp.csv")
    again = bank.reconcile()
    assert again.is_new
    assert [found.break_id for found in again.breaks] == [found.break_id for found in monday.breaks]
    assert verify_run(world.app, book_id=1, run_id=tuesday.run_id).faults == ()
    # What another login says it verified does not count: who publishes a run by hand would say so, too.
    before = unverified_runs(world.app, book_id=1, run_id=again.run_id)
    assert len(before) == 4
    world.alice.execute("SELECT recon.note_verified(run_id, true) FROM recon.run")
    world.alice.commit()
    assert unverified_runs(world.app, book_id=1, run_id=again.run_id) == before
    for run_id in before:
        assert verify_run(world.app, book_id=1, run_id=run_id, chained=True, keep=True).faults == ()
    assert unverified_runs(world.app, book_id=1, run_id=again.run_id) == []
    drawn = draw_sample(world.alice, book_id=1, business_date=TUESDAY, bank_account=ACCOUNT)
    (only,) = drawn.sets
    with pytest.raises(FourEyesError, match="proposed or approved by alice"):
        review_set(world.alice, book_id=1, sample_id=drawn.sample_id, match_set_id=only.match_set_id, false_minor=0)


def test_the_later_version_of_a_waiting_statement_counts_and_is_looked_at(world: World, bank: BankBook) -> None:
    bank.ingest(bank.statement([]), name="1.xml")
    missing = bank.statement([], day=TUESDAY, number=2)
    for n, amount in enumerate((-100, -200), start=3):
        lines = [Line(amount_minor=amount, ref=f"B{n}")]
        bank.ingest(bank.statement(lines, day=WEDNESDAY, number=3, opening_minor=OPENING), name=f"{n}.xml")
    bank.ingest(missing, name="2.xml")
    assert world.rows("SELECT amount_minor FROM recon.statement_line") == [(-200,)]
    bank.reconcile(WEDNESDAY)
    (revised,) = (row for row in breaks_list(world.app, book_id=1) if row.code == "STATEMENT_REVISED")
    assert "the later one counts" in revised.explanation
    with pytest.raises(SignOffError, match="STATEMENT_REVISED"):
        sign_off(world.alice, book_id=1, business_date=WEDNESDAY)


def test_what_is_not_there_is_said(world: World) -> None:
    """And not carried out in silence."""
    for query, said in (
        ("SELECT recon.unmatch_set(99)", "There is no cleared set 99."),
        ("SELECT recon.review_set(1, 99, 1, 0, NULL)", "There is no sample 99."),
        ("SELECT recon.approve_policy(1, 99)", "There is no policy 99."),
        ("SELECT recon.end_policy(1, 99, 'not needed')", "There is no policy 99."),
        ("SELECT recon.approve_adjustment(1, 99)", "There is no proposal 99."),
        ("SELECT recon.end_adjustment(1, 99, 'not this')", "There is no proposal 99."),
    ):
        assert said in str(refused(world.bob, query))
