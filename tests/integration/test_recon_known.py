"""What was known at a number of the knowledge order is what the commands said then, whatever came since."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from ledger import RefusedError
from nostro.database import Database
from recon import (
    KnownAt,
    Threshold,
    approve_proposal,
    assign_break,
    break_show,
    breaks_list,
    cash_identity,
    cleared_sets,
    end_proposal,
    known_point,
    note_break,
    open_proposal,
    recorded_events,
    request_unmatch,
    run_report,
    set_severity,
    sign_off,
    unmatch_set,
)
from tests.recon_world import BankBook, Line
from tests.settlement_world import DAY, PayeeRow, World, make_world

TUESDAY, WEDNESDAY = DAY + dt.timedelta(days=1), DAY + dt.timedelta(days=2)


@pytest.fixture
def world(db: Database, tmp_path: Path) -> Iterator[World]:
    made = make_world(db, tmp_path, [PayeeRow(code="P1")], accounts=("eur",))
    yield made
    made.close()


@dataclass
class Story:
    """Steps that each become known by themselves, and what every command said after each."""

    world: World
    said: dict[int, str] = field(default_factory=dict)
    at: dict[int, dt.datetime] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    asked: dict[int, tuple[list[str], list[dt.date]]] = field(default_factory=dict)

    def step(self, do: Callable[[], object]) -> None:
        do()
        point = known_point(self.world.app, book_id=self.world.book_id)
        assert point.seq == len(self.said) + 1  # one number a step, none left out
        self.seen |= {row.break_id for row in breaks_list(self.world.app, book_id=self.world.book_id)}
        days = self.world.rows("SELECT DISTINCT business_date FROM recon.run ORDER BY 1")
        self.asked[point.seq] = (sorted(self.seen), [day for (day,) in days])  # type: ignore[misc]
        self.said[point.seq] = self.everything(None, *self.asked[point.seq])
        now = self.world.one("SELECT clock_timestamp()")
        assert isinstance(now, dt.datetime) and point.numbered_at <= now
        self.at[point.seq] = now

    def everything(self, known: KnownAt | None, names: list[str], days: list[dt.date]) -> str:
        """All that the commands say: breaks with their stories, the report, sets, the identity."""
        app, book = self.world.app, self.world.book_id
        told: list[object] = [breaks_list(app, book_id=book, business_date=day, known_at=known) for day in days]
        told += [break_show(app, book_id=book, break_id=name, known_at=known) for name in names]
        report = run_report(app, book_id=book, known_at=known)
        told += [list(report.render()), cleared_sets(app, book_id=book, known_at=known)]
        told += [cleared_sets(app, book_id=book, business_date=day, known_at=known) for day in days]
        told.append(cash_identity(app, book_id=book, known_at=known))
        return "\n".join(map(repr, told))


def propose_by_hand(world: World, name: str, kind: str) -> None:
    """What `propose` records, without running the reconciliation first."""
    shown = break_show(world.app, book_id=world.book_id, break_id=name)
    transit = world.one(
        "SELECT a.code FROM ledger.account a JOIN settlement.bank_account b ON b.transit_account_id = a.account_id"
    )
    legs = {"expenses:bank-fees:eur": 251, str(transit): -251} if kind == "entry" else {}
    world.alice.execute(
        "SELECT recon.propose_adjustment(%s, %s, %s, %s, 'bank-fee', %s, 'as it is', %s, %s, %s, %s)",
        (
            *(world.book_id, name, shown.head.sha256, kind, DAY, [item.posting_id for item in shown.items]),
            *(list(legs), ["EUR"] * len(legs), list(legs.values())),
        ),
    )
    world.alice.commit()


def test_answers_of_then_are_given_again(world: World) -> None:
    story, bank, book = Story(world), BankBook(world), world.book_id
    world.owe("P1", 5_000)
    world.owe("P1", 7_000)
    world.pay()
    ((e2e, paid),) = world.rows("SELECT end_to_end_id, amount_minor FROM settlement.instruction")
    bank.ingest(
        bank.statement(
            [
                Line(amount_minor=-int(str(paid)), ref="B1", end_to_end_id=str(e2e)),
                Line(amount_minor=-251, ref="B2", code="PMNT/ICDT/CHRG"),
                Line(amount_minor=4_711, ref="B3"),
            ]
        )
    )
    with pytest.raises(RefusedError, match="knew nothing"):
        known_point(world.app, book_id=book)
    story.step(lambda: bank.reconcile())
    fee, stray = (row.break_id for row in breaks_list(world.app, book_id=book))
    story.step(lambda: assign_break(world.bob, book_id=book, break_id=fee, owner="alice", due=WEDNESDAY))
    story.step(lambda: set_severity(world.alice, book_id=book, thresholds=[Threshold(severity="high", age_days=0)]))
    story.step(lambda: note_break(world.alice, book_id=book, break_id=stray, note="asked the bank"))
    story.step(lambda: sign_off(world.alice, book_id=book, business_date=DAY))
    story.step(lambda: sign_off(world.bob, book_id=book, business_date=DAY))

    def wish(name: str, kind: str) -> Callable[[], object]:
        return lambda: propose_by_hand(world, name, kind)

    def approved(name: str) -> Callable[[], object]:
        number = open_proposal(world.app, book_id=book, break_id=name)
        return lambda: approve_proposal(world.bob, book_id=book, adjustment_id=number)

    story.step(wish(fee, "entry"))
    number = open_proposal(world.app, book_id=book, break_id=fee)
    story.step(lambda: end_proposal(world.bob, book_id=book, adjustment_id=number, reason="wait for the bank"))
    story.step(wish(fee, "entry"))
    story.step(approved(fee))
    bank.ingest(bank.statement([Line(amount_minor=99, ref="B4")], day=TUESDAY), name="tuesday.xml")
    story.step(lambda: bank.reconcile(TUESDAY))
    (exact,) = (s.match_set_id for s in cleared_sets(world.app, book_id=book, business_date=DAY))
    (entry,) = (s.match_set_id for s in cleared_sets(world.app, book_id=book, business_date=TUESDAY))
    story.step(lambda: request_unmatch(world.alice, match_set_id=exact, reason="not this one"))
    story.step(lambda: unmatch_set(world.bob, match_set_id=exact))
    story.step(lambda: bank.reconcile(TUESDAY))
    (again,) = (row.break_id for row in breaks_list(world.app, book_id=book) if row.code == "AMBIGUOUS")
    story.step(wish(again, "match"))
    story.step(approved(again))
    story.step(lambda: request_unmatch(world.alice, match_set_id=entry, reason="the fee was right"))
    story.step(lambda: unmatch_set(world.bob, match_set_id=entry))
    story.step(lambda: bank.reconcile(WEDNESDAY))

    assert len(set(story.said.values())) > len(story.said) - 4  # nearly every step changed what the commands say
    for seq, said in story.said.items():
        assert story.everything(seq, *story.asked[seq]) == said, seq
        if seq % 6 == 0:
            assert story.everything(story.at[seq], *story.asked[seq]) == said, seq
    log = recorded_events(world.app, book_id=book, limit=10_000)
    assert [e.seq for e in log] == sorted((e.seq for e in log), reverse=True)
    assert {e.seq for e in log} == set(story.said)
    assert [(e.by, e.what) for e in log if e.subject == stray] == [("alice", "break noted")]
    with pytest.raises(RefusedError, match="nothing has the number 999"):
        story.everything(999, [], [])


def test_numbers_follow_commits_whoever_wrote_first(world: World) -> None:
    """Two transactions at once: the one that commits first has the lower number, and it is never added to."""
    bank, book = BankBook(world), world.book_id
    bank.ingest(bank.statement([Line(amount_minor=4_711, ref="B3"), Line(amount_minor=812, ref="B4")]))
    bank.reconcile()
    one, two = (row.break_id for row in breaks_list(world.app, book_id=book))
    first = known_point(world.app, book_id=book).seq
    with world.alice.transaction():
        world.alice.execute("SELECT recon.note_break(%s, %s, 'began first', NULL)", (book, one))
        note_break(world.bob, book_id=book, break_id=two, note="ended first")
        assert known_point(world.app, book_id=book).seq == first + 1
        seen = breaks_list(world.app, book_id=book, known_at=first + 1)
    assert [row.note for row in seen] == [None, "ended first"]
    assert breaks_list(world.app, book_id=book, known_at=first + 1) == seen
    assert [row.note for row in breaks_list(world.app, book_id=book)] == ["began first", "ended first"]
    log = recorded_events(world.app, book_id=book)
    assert [(e.seq, e.by, e.subject) for e in log[:2]] == [(first + 2, "alice", one), (first + 1, "bob", two)]


def test_nobody_writes_into_the_past(world: World) -> None:
    """A row's event is its own transaction's, whatever it says; numbers are dense; a rolled back step has none."""
    bank, book = BankBook(world), world.book_id
    bank.ingest(bank.statement([Line(amount_minor=4_711, ref="B3")]))
    bank.reconcile()
    (name,) = (row.break_id for row in breaks_list(world.app, book_id=book))
    with world.db.owner() as owner:
        owner.execute(
            "INSERT INTO recon.break_event (book_id, break_id, ordinal, action, from_state, state, note, event_id)"
            " VALUES (%s, %s, 2, 'noted', 'open', 'open', 'forged', (SELECT min(event_id) FROM recon.event))",
            (book, name),
        )
        owner.rollback()
        owner.execute(
            "INSERT INTO recon.break_event (book_id, break_id, ordinal, action, from_state, state, note, event_id)"
            " VALUES (%s, %s, 2, 'noted', 'open', 'open', 'late', (SELECT min(event_id) FROM recon.event))",
            (book, name),
        )
        owner.commit()
        assert known_point(world.app, book_id=book).seq == 2
        (then,) = breaks_list(world.app, book_id=book, known_at=1)
        assert then.note is None
        for statement in (
            "INSERT INTO recon.event_number SELECT book_id, seq + 2, event_id + 1, numbered_at FROM recon.event_number",
            "UPDATE recon.event_number SET seq = seq + 1",
            "DELETE FROM recon.event",
        ):
            with pytest.raises(psycopg.Error):
                owner.execute(statement)
            owner.rollback()
