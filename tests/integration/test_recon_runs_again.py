"""Runs kept, replayed and compared: the cause of each changed decision; what would close a break, proved."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager

import polars as pl
import pytest

import recon.matching.rules
from recon import (
    Cause,
    NoRunError,
    Relaxed,
    break_counterfactuals,
    break_explain,
    breaks_list,
    known_point,
    list_runs,
    replay,
    request_unmatch,
    run_diff,
    unmatch_set,
)
from recon.matching import SET_SCHEMA, Cascade
from tests.recon_world import ACCOUNT, BankBook, Line
from tests.settlement_world import DAY, World

TUESDAY = DAY + dt.timedelta(days=1)
FRIDAY = DAY + dt.timedelta(days=4)


def paid(world: World) -> dict[str, str]:
    world.owe("P1", 10_000)
    world.owe("P2", 25_000)
    world.pay()
    return {str(p): str(e) for p, e in world.rows("SELECT payee_code, end_to_end_id FROM settlement.instruction")}


def closes(world: World, **which: str) -> dict[Relaxed, str]:
    (row,) = breaks_list(world.app, book_id=world.book_id, **which)  # type: ignore[arg-type]
    ways = break_counterfactuals(world.app, book_id=world.book_id, break_id=row.break_id)
    return {way.kind: way.text for way in ways}


def test_a_run_is_decided_again_from_what_it_kept(world: World, bank: BankBook) -> None:
    e2e = paid(world)
    bank.ingest(
        bank.statement(
            [
                Line(amount_minor=-10_000, ref="B1", end_to_end_id=e2e["P1"]),
                Line(amount_minor=-10_000, ref="B2", end_to_end_id=e2e["P1"]),
            ]
        )
    )
    run = bank.reconcile()
    again = replay(world.app, book_id=world.book_id, run_id=run.run_id)
    assert (again.items, again.differences, again.is_same_rules, again.is_same_code) == (4, (), True, True)
    bank.ingest(bank.statement([Line(amount_minor=-10_000, ref="B3", end_to_end_id="X")], day=TUESDAY), name="2.xml")
    later = bank.reconcile(TUESDAY)
    assert replay(world.app, book_id=world.book_id, run_id=later.run_id).differences == ()
    assert replay(world.app, book_id=world.book_id, run_id=run.run_id).differences == ()  # whatever came since
    assert [row.run_id for row in list_runs(world.app, book_id=world.book_id)] == [later.run_id, run.run_id]
    with pytest.raises(NoRunError):
        replay(world.app, book_id=world.book_id, run_id=99)


def test_data_and_calendar_are_told_apart(world: World, bank: BankBook) -> None:
    e2e = paid(world)
    first = bank.reconcile()
    bank.ingest(bank.statement([Line(amount_minor=-10_000, ref="B1", end_to_end_id=e2e["P1"])]))
    second = bank.reconcile()
    diff = run_diff(world.app, book_id=world.book_id, run_a=first.run_id, run_b=second.run_id)
    causes = {change.reference: (change.cause, change.because) for change in diff.changes}
    assert set(causes) == {"B1", e2e["P1"]}
    assert causes["B1"] == (Cause.DATA, "the posting is new")
    assert causes[e2e["P1"]][0] is Cause.DATA
    assert "B1" in causes[e2e["P1"]][1]
    third = bank.reconcile(FRIDAY)
    diff = run_diff(world.app, book_id=world.book_id, run_a=second.run_id, run_b=third.run_id)
    (aged,) = diff.changes
    assert (aged.reference, aged.cause, aged.before) == (e2e["P2"], Cause.CALENDAR, "in flight")
    assert aged.after.startswith("open as MISSING_BANK")
    assert any("because of calendar" in line for line in diff.render())
    same = run_diff(world.app, book_id=world.book_id, run_a=third.run_id, run_b=third.run_id)
    assert same.changes == ()


def test_a_rule_that_only_suggests_is_the_cause(world: World, bank: BankBook) -> None:
    e2e = paid(world)
    bank.ingest(bank.statement([Line(amount_minor=-10_000, ref="B1", end_to_end_id=e2e["P1"])]))
    world.app.execute("SELECT recon.suggest_rule(1, 'exact-end-to-end', 'too many wrong', 10, 3, 1, 2, 3)")
    world.app.commit()
    first = bank.reconcile()
    world.bob.execute("SELECT recon.trust_rule(1, 'exact-end-to-end', 'mended since', 0, 0, 0, 0, 0)")
    world.bob.commit()
    second = bank.reconcile()
    diff = run_diff(world.app, book_id=world.book_id, run_a=first.run_id, run_b=second.run_id)
    assert {change.cause for change in diff.changes} == {Cause.RULE}
    assert {change.reference for change in diff.changes} == {"B1", e2e["P1"]}


def test_a_set_taken_back_is_data_or_rule_and_is_seen(world: World, bank: BankBook) -> None:
    e2e = paid(world)
    bank.ingest(bank.statement([Line(amount_minor=-10_000, ref="B1", end_to_end_id=e2e["P1"])]))
    first = bank.reconcile()
    set_id = int(str(world.one("SELECT max(match_set_id) FROM recon.live_leg")))
    request_unmatch(world.alice, match_set_id=set_id, reason="not this one")
    unmatch_set(world.bob, match_set_id=set_id)
    second = bank.reconcile()
    diff = run_diff(world.app, book_id=world.book_id, run_a=first.run_id, run_b=second.run_id)
    assert {change.cause for change in diff.changes} == {Cause.RULE}
    assert all(change.after.startswith("open as AMBIGUOUS") for change in diff.changes)


def test_a_set_of_an_earlier_run_taken_back_is_no_new_posting(world: World, bank: BankBook) -> None:
    """It cleared before run A, so A did not look at it; several things changed since, each with its own cause."""
    e2e = paid(world)
    bank.ingest(bank.statement([Line(amount_minor=-10_000, ref="B1", end_to_end_id=e2e["P1"])]))
    bank.reconcile()
    bank.ingest(bank.statement([], day=TUESDAY), name="2.xml")
    first = bank.reconcile(TUESDAY)
    set_id = int(str(world.one("SELECT max(match_set_id) FROM recon.live_leg")))
    request_unmatch(world.alice, match_set_id=set_id, reason="not this one")
    unmatch_set(world.bob, match_set_id=set_id)
    second = bank.reconcile(FRIDAY)
    diff = run_diff(world.app, book_id=world.book_id, run_a=first.run_id, run_b=second.run_id)
    told = {change.reference: (change.causes, change.because) for change in diff.changes}
    back = ((Cause.RULE,), "its set was taken back")
    assert told == {"B1": back, e2e["P1"]: back, e2e["P2"]: ((Cause.CALENDAR,), "")}
    assert all("cleared by exact-end-to-end" in c.before for c in diff.changes if c.reference != e2e["P2"])


@contextmanager
def an_older_program(monkeypatch: pytest.MonkeyPatch, *, with_code: bool) -> Iterator[None]:
    """A program without one of today's rules, under another digest of its rules (and, if asked, of its code)."""
    without = tuple(rule for rule in recon.matching.rules.RULES if rule.code != "routine-interest")
    with monkeypatch.context() as old:
        old.setattr("recon.matching.rules.RULES", without)
        old.setattr("recon.matching.cascade.RULES", without)
        old.setattr("recon.runs.rules_sha256", lambda _: "0" * 64)
        for module in ("recon.runs", "recon.material") if with_code else ():
            old.setattr(f"{module}.code_sha256", lambda: "0" * 64)
        yield


def test_other_rules_are_the_cause(world: World, bank: BankBook, monkeypatch: pytest.MonkeyPatch) -> None:
    """An older program published run A: the rules' digest differs, and its decisions do."""
    bank.ingest(bank.statement([Line(amount_minor=77, ref="B1", code="ACMT/MCOP/INTR")]))
    with an_older_program(monkeypatch, with_code=False):
        first = bank.reconcile()
    second = bank.reconcile()
    diff = run_diff(world.app, book_id=world.book_id, run_a=first.run_id, run_b=second.run_id)
    assert not diff.is_same_rules
    assert {change.cause for change in diff.changes} == {Cause.RULE}
    assert replay(world.app, book_id=world.book_id, run_id=first.run_id).differences != ()


def test_other_rules_and_other_code_at_once_are_both_named(
    world: World, bank: BankBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program of then is not kept: which of the two did it, nobody can tell."""
    bank.ingest(bank.statement([Line(amount_minor=77, ref="B1", code="ACMT/MCOP/INTR")]))
    with an_older_program(monkeypatch, with_code=True):
        first = bank.reconcile()
    second = bank.reconcile()
    diff = run_diff(world.app, book_id=world.book_id, run_a=first.run_id, run_b=second.run_id)
    assert (diff.is_same_rules, diff.is_same_code) == (False, False)
    assert {change.causes for change in diff.changes} == {(Cause.RULE, Cause.CODE)}
    assert any("because of rule and code" in line for line in diff.render())


def test_other_code_is_the_cause(world: World, bank: BankBook, monkeypatch: pytest.MonkeyPatch) -> None:
    """An older program with the same rules published run A: it could not clear."""
    e2e = paid(world)
    bank.ingest(bank.statement([Line(amount_minor=-10_000, ref="B1", end_to_end_id=e2e["P1"])]))

    def clears_nothing(items: pl.DataFrame, **_: object) -> Cascade:
        return Cascade(pl.DataFrame(schema=SET_SCHEMA), items, (0, 0))

    with monkeypatch.context() as old:
        old.setattr("recon.deciding.clear", clears_nothing)
        for module in ("recon.runs", "recon.material"):
            old.setattr(f"{module}.code_sha256", lambda: "0" * 64)
        first = bank.reconcile()
    second = bank.reconcile()
    diff = run_diff(world.app, book_id=world.book_id, run_a=first.run_id, run_b=second.run_id)
    assert (diff.is_same_rules, diff.is_same_code) == (True, False)
    assert {(change.reference, change.cause) for change in diff.changes} == {
        ("B1", Cause.CODE),
        (e2e["P1"], Cause.CODE),
    }
    assert all("cleared by exact-end-to-end" in change.after for change in diff.changes)


def test_what_would_close_a_break_is_proved_by_the_rules(world: World, bank: BankBook) -> None:
    e2e = paid(world)
    late = Line(amount_minor=-10_000, ref="B1", end_to_end_id=e2e["P1"], booked=FRIDAY)
    fee = Line(amount_minor=-2_500, ref="B2", code="PMNT/ICDT/CHRG")
    wrong = Line(amount_minor=-25_200, ref="B3", end_to_end_id=e2e["P2"], booked=TUESDAY)
    for number, day in enumerate((DAY, TUESDAY, DAY + dt.timedelta(days=2), DAY + dt.timedelta(days=3))):
        bank.ingest(bank.statement([wrong] if day == TUESDAY else [], day=day), name=f"{number}.xml")
    bank.ingest(bank.statement([late, fee], day=FRIDAY), name="9.xml")
    bank.reconcile(FRIDAY)
    assert closes(world, code="DATE_OUT_OF_WINDOW") == {Relaxed.WINDOW: "with window +3 business days"}
    assert closes(world, code="BANK_ORIGINATED")[Relaxed.ENTRY] in {"with bank-fee 25.00 EUR", "with claim 25.00 EUR"}
    found = closes(world, code="AMOUNT_MISMATCH")
    assert found[Relaxed.AMOUNT] == "with amount 250.00 EUR instead of 252.00 EUR"
    assert Relaxed.ENTRY in found
    assert Relaxed.WINDOW not in found


def test_a_missing_counterpart_and_a_reference(world: World, bank: BankBook) -> None:
    e2e = paid(world)
    bank.ingest(bank.statement([Line(amount_minor=-10_000, ref="B1", end_to_end_id="NOT-OURS")]))
    bank.reconcile()
    (row,) = breaks_list(world.app, book_id=world.book_id)
    ways = break_counterfactuals(world.app, book_id=world.book_id, break_id=row.break_id)
    assert any(way.kind is Relaxed.COUNTERPART and "100.00 EUR for NOT-OURS" in way.text for way in ways) or (
        row.code == "AMBIGUOUS" and any(e2e["P1"] in way.text for way in ways)
    )
    assert row.bank_account == ACCOUNT


def test_what_would_close_a_break_is_explained_as_it_was_known(world: World, bank: BankBook) -> None:
    """At two points in time: each answer stays what it was, also once the day was run again without the break."""
    e2e, book = paid(world), world.book_id

    def said(name: str, known_at: int | None = None) -> tuple[str, tuple[str, ...]]:
        ways = break_counterfactuals(world.app, book_id=book, break_id=name, known_at=known_at)
        why = break_explain(world.app, book_id=book, break_id=name, known_at=known_at)
        return why, tuple(way.text for way in ways)

    def now() -> int:
        return known_point(world.app, book_id=book).seq

    wrong = Line(amount_minor=-25_200, ref="B3", end_to_end_id=e2e["P2"])
    bank.ingest(
        bank.statement(
            [
                wrong,
                Line(amount_minor=9_800, ref="B4", end_to_end_id="PO-1"),
                Line(amount_minor=9_900, ref="B5", end_to_end_id="PO-2"),
            ]
        )
    )
    bank.reconcile()
    named = {row.item_ref: row.break_id for row in breaks_list(world.app, book_id=book)}
    stray, other = named["B4"], named["B5"]
    (mismatch,) = (name for ref, name in named.items() if ref not in ("B4", "B5"))
    first = now(), {name: said(name) for name in (stray, other, mismatch)}
    assert first[1][stray][1] and first[1][mismatch][1]
    psp = "payout_id,acquirer,bank_account,currency,payout_date,gross,refunds,chargebacks,fees,net,line_count\n"
    bank.ingest_text(psp + f"PO-1,cardia,{ACCOUNT},EUR,{DAY},100.00,0,0,2.00,98.00,7\n", "psp.csv")
    bank.reconcile()
    assert stray not in {row.break_id for row in breaks_list(world.app, book_id=book)}
    second = now(), {name: said(name) for name in (stray, other, mismatch)}
    assert second[1][stray] == first[1][stray]  # as its last run had it
    bank.ingest_text(psp + f"PO-2,cardia,{ACCOUNT},EUR,{DAY},100.00,0,0,2.00,98.00,7\n", "psp2.csv")
    bank.ingest(bank.statement([], day=TUESDAY), name="2.xml")
    bank.reconcile(TUESDAY)
    for seq, then in (first, second):
        assert {name: said(name, seq) for name in then} == then
    assert said(other) != first[1][other]  # since the report came, the amounts disagree
