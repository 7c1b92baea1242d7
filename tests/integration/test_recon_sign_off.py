"""Sign-off by two people, late changes, the cash identity, audit samples and what they say about rules."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from ledger import Connection, NostroError
from ledger.errors import error_from_postgres
from nostro.database import Database
from recon import (
    FourEyesError,
    SignOffError,
    breaks_list,
    cash_identity,
    demote_rules,
    draw_sample,
    request_unmatch,
    review_set,
    rule_precision,
    run_report,
    set_rule_status,
    sign_off,
    sign_offs,
    unmatch_set,
)
from tests.recon_world import ACCOUNT, OPENING, BankBook, Line
from tests.settlement_world import DAY, PayeeRow, World, make_world

TUESDAY = DAY + dt.timedelta(days=1)
PSP = "payout_id,acquirer,bank_account,currency,payout_date,gross,refunds,chargebacks,fees,net,line_count\n"


@pytest.fixture
def world(db: Database, tmp_path: Path) -> Iterator[World]:
    payees = [PayeeRow(code=f"P{n}") for n in range(1, 9)]
    made = make_world(db, tmp_path, payees, accounts=("eur",))
    yield made
    made.close()


def paid_and_booked(world: World, bank: BankBook) -> None:
    """Pays eight payees 10.00 to 80.00, all booked on Monday but the last."""
    for n in range(1, 9):
        world.owe(f"P{n}", n * 1_000)
    world.pay()
    rows = world.rows("SELECT end_to_end_id, amount_minor FROM settlement.instruction ORDER BY amount_minor")
    lines = [
        Line(amount_minor=-int(str(amount)), ref=f"B{n}", end_to_end_id=str(e2e))
        for n, (e2e, amount) in enumerate(rows[:-1])
    ]
    bank.ingest(bank.statement([*lines, Line(amount_minor=-77, ref="X1", end_to_end_id="NOT-OURS")]))
    bank.reconcile()


def signed(world: World, day: dt.date = DAY) -> None:
    assert [s.role for s in sign_off(world.alice, book_id=world.book_id, business_date=day)] == ["prepared"]
    assert [s.role for s in sign_off(world.bob, book_id=world.book_id, business_date=day)] == ["reviewed"]


def refused(conn: Connection, query: str, *values: object) -> NostroError:
    with pytest.raises(psycopg.Error) as caught, conn.transaction():
        conn.execute(query.encode(), values)
    conn.rollback()
    return error_from_postgres(caught.value)


def test_two_people_sign_a_certificate_by_its_hash(world: World, bank: BankBook) -> None:
    paid_and_booked(world, bank)
    (before,) = sign_offs(world.app, book_id=world.book_id, business_date=DAY)
    assert before.state == "unsigned"
    signed(world)
    assert [s.role for s in sign_off(world.bob, book_id=world.book_id, business_date=DAY)] == [None]
    (after,) = sign_offs(world.app, book_id=world.book_id, business_date=DAY)
    assert (after.state, after.prepared_by, after.reviewed_by) == ("signed", "alice", "bob")
    assert after.sha256 == before.sha256
    assert any("signed by alice and bob" in line for line in run_report(world.app, book_id=world.book_id).render())


def test_one_person_does_not_sign_twice_and_a_preparer_does_not_review(world: World, bank: BankBook) -> None:
    paid_and_booked(world, bank)
    sign_off(world.bob, book_id=world.book_id, business_date=DAY)
    assert [s.role for s in sign_off(world.bob, book_id=world.book_id, business_date=DAY)] == [None]
    with pytest.raises(FourEyesError, match="another person, an approver, reviews"):
        sign_off(world.alice, book_id=world.book_id, business_date=DAY)
    sha = sign_offs(world.app, book_id=world.book_id, business_date=DAY)[0].sha256
    add = (
        "INSERT INTO recon.sign_off (book_id, bank_account_id, business_date, certificate_sha256, role, person)"
        " SELECT book_id, bank_account_id, %s, %s, 'reviewed', %s FROM settlement.bank_account_root"
    )
    with world.db.owner() as owner:
        assert refused(owner, add, DAY, sha, "nostro_template_carol").constraint in {
            "recon_own_name",
            "sign_off_four_eyes",
        }
        assert refused(owner, add, DAY, "0" * 64, "nostro_template_carol").constraint == "sign_off_certified"


def test_nothing_is_signed_without_a_proven_statement(world: World, bank: BankBook) -> None:
    with pytest.raises(SignOffError, match="no proven statement"):
        bank.reconcile()
        sign_off(world.alice, book_id=world.book_id, business_date=DAY)
    bank.ingest(bank.statement([], error_minor=1))
    bank.reconcile()
    with pytest.raises(SignOffError, match="STATEMENT_IMBALANCE"):
        sign_off(world.alice, book_id=world.book_id, business_date=DAY)


def test_nothing_is_signed_across_a_gap(world: World, bank: BankBook) -> None:
    bank.ingest(bank.statement([]))
    bank.reconcile()
    signed(world)
    wednesday = TUESDAY + dt.timedelta(days=1)
    bank.ingest(bank.statement([], day=wednesday, number=3), name="3.xml")
    bank.reconcile(wednesday)
    with pytest.raises(SignOffError, match="STATEMENT_GAP"):
        sign_off(world.alice, book_id=world.book_id, business_date=wednesday)
    sha = sign_offs(world.app, book_id=world.book_id, business_date=DAY)[0].sha256
    add = (
        "INSERT INTO recon.sign_off (book_id, bank_account_id, business_date, certificate_sha256, role)"
        " SELECT book_id, bank_account_id, %s, %s, 'prepared' FROM settlement.bank_account_root"
    )
    with world.db.owner() as owner:
        assert refused(owner, add, wednesday, sha).constraint == "sign_off_certified"


def test_what_changes_a_signed_day_is_a_late_change_and_is_signed_again(world: World, bank: BankBook) -> None:
    paid_and_booked(world, bank)
    signed(world)
    bank.ingest_text(PSP + f"PO-1,cardia,{ACCOUNT},EUR,{DAY},100.00,0,0,2.00,98.00,7\n", "psp.csv")
    assert bank.reconcile().is_new
    (stands,) = sign_offs(world.app, book_id=world.book_id, business_date=DAY)
    assert stands.state == "changed"
    bank.reconcile(TUESDAY)
    late = [row for row in breaks_list(world.app, book_id=world.book_id) if row.code == "LATE_CHANGE"]
    assert len(late) == 1
    assert "two people signed" in late[0].explanation
    assert late[0].severity == "high"
    bank.reconcile()
    signed(world)
    bank.reconcile(TUESDAY)
    assert [row.code for row in breaks_list(world.app, book_id=world.book_id)].count("LATE_CHANGE") == 1


def test_the_cash_identity_is_itemised_and_leaves_nothing(world: World, bank: BankBook) -> None:
    paid_and_booked(world, bank)
    found = cash_identity(world.app, book_id=world.book_id)
    assert found.holds
    msg_id = world.one("SELECT msg_id FROM settlement.payment_file")
    amounts = {(line.line, line.item): line.amount_minor for line in found.lines}
    closing = OPENING - 28_000 - 77
    assert amounts == {
        ("ledger cash", "N + T"): OPENING - 36_000,
        ("bank closing", f"S{DAY:%Y%m%d}"): closing,
        ("in flight", msg_id): -8_000,
        ("unmatched", "UNAUTHORISED_DEBIT"): 77,
        ("difference", "N - bank closing"): 0,
        ("difference", "T - in flight - unmatched"): 0,
    }
    assert any("in flight" in line for line in found.render())
    # A late statement moves N and T by amounts that cancel out: the day's run does not itemise it yet.
    bank.ingest(bank.statement([Line(amount_minor=-50, ref="X2")], stmt_id="S-2"), name="late.xml")
    late = cash_identity(world.app, book_id=world.book_id)
    assert (late.holds, [line.amount_minor for line in late.lines if line.line == "difference"]) == (False, [0, 50])


def test_breaks_are_carried_forward_with_their_age(world: World, bank: BankBook) -> None:
    paid_and_booked(world, bank)
    monday = run_report(world.app, book_id=world.book_id)
    assert (monday.carried_forward.previous_date, len(monday.carried_forward.new)) == (None, 1)
    bank.ingest(bank.statement([], day=TUESDAY), name="2.xml")
    late = bank.reconcile(TUESDAY + dt.timedelta(days=3))
    assert (late.carried_forward.previous_date, len(late.carried_forward.carried)) == (DAY, 1)
    assert {bucket.bucket for bucket in late.ageing} == {"2-5"}
    then = run_report(world.app, book_id=world.book_id, business_date=DAY, known_at=dt.datetime.now(dt.UTC))
    assert then.run_id == monday.run_id


def test_a_sample_is_drawn_by_the_certificate_and_bounds_what_is_false(world: World, bank: BankBook) -> None:
    paid_and_booked(world, bank)
    drawn = draw_sample(world.alice, book_id=world.book_id, business_date=DAY, bank_account=ACCOUNT, wanted=4)
    assert (drawn.population_count, drawn.population_minor, drawn.interval_size) == (7, 28_000, 4_096)
    assert sum(each.hits for each in drawn.sets) in (6, 7)  # 28,000 in intervals of the power of two below 28,000 / 4
    assert {each.match_set_id for each in drawn.sets if each.value_minor == 7_000} != set()  # an interval wide: always
    again = draw_sample(world.bob, book_id=world.book_id, business_date=DAY, bank_account=ACCOUNT, wanted=9)
    assert again == drawn
    for each in drawn.sets[:-1]:
        assert again.bound_minor is None
        again = review_set(
            world.alice,
            book_id=world.book_id,
            sample_id=drawn.sample_id,
            match_set_id=each.match_set_id,
            false_minor=0,
        )
    last = drawn.sets[-1]
    with pytest.raises(SignOffError):
        review_set(
            world.alice,
            book_id=world.book_id,
            sample_id=drawn.sample_id,
            match_set_id=last.match_set_id,
            false_minor=last.value_minor + 1,
            note="more than it is",
        )
    done = review_set(
        world.alice, book_id=world.book_id, sample_id=drawn.sample_id, match_set_id=last.match_set_id, false_minor=0
    )
    assert done.bound_minor is not None
    assert 0 <= done.bound_minor <= 28_000
    assert any("95 % confidence" in line for line in done.render())


def test_a_rule_that_is_surely_below_the_target_only_suggests(world: World, bank: BankBook) -> None:
    paid_and_booked(world, bank)
    (clean,) = rule_precision(world.app, book_id=world.book_id)
    assert (clean.sets, clean.reviewed, clean.lower_ppm, clean.upper_ppm) == (7, 0, 0, 1_000_000)
    assert demote_rules(world.app, book_id=world.book_id) == []
    for (set_id,) in world.rows("SELECT match_set_id FROM recon.match_set ORDER BY 1 LIMIT 3"):
        request_unmatch(world.alice, match_set_id=int(str(set_id)), reason="not this payment")
        unmatch_set(world.bob, match_set_id=int(str(set_id)))
    (fallen,) = demote_rules(world.app, book_id=world.book_id, only_new=True)
    assert (fallen.rule, fallen.reviewed, fallen.wrong) == ("exact-end-to-end", 3, 3)
    assert demote_rules(world.app, book_id=world.book_id, only_new=True) == []
    (now,) = rule_precision(world.app, book_id=world.book_id)
    assert (now.status, now.reason) == ("suggest", "3 of 3 reviewed sets were wrong; the precision is below the target")
    assert set_rule_status(world.bob, book_id=world.book_id, found=now, status="auto", reason="the feed was mended")
