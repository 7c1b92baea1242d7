"""The life of a break against a small model: whoever does whatever in whatever order, the database agrees with it.

One bank day with many stray receipts; each example takes two of its breaks. Proposals are recorded without the dry run,
so that a step is a statement.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from ledger import Connection, NostroError, translate_errors
from nostro.database import Database
from recon import (
    BoardRow,
    approve_proposal,
    assign_break,
    break_show,
    breaks_list,
    end_proposal,
    known_point,
    note_break,
    reopen_break,
    resolve_break,
)
from tests.ledger_books import fresh_database
from tests.recon_world import BankBook, Line
from tests.settlement_world import DAY, PayeeRow, World, make_world

STRAYS = 40
PEOPLE = ("alice", "bob", "carol")
PROPOSE = "SELECT recon.propose_adjustment(1, %s, %s, 'entry', 'claim', %s, 'as it is', %s, %s, %s, %s)"


@pytest.fixture(scope="module")
def world(template: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with fresh_database(template, "nostro_test_break_life") as db:
        made = make_world(db, tmp_path_factory.mktemp("life"), [PayeeRow(code="P1")], accounts=("eur",))
        bank = BankBook(made)
        bank.ingest(bank.statement([Line(amount_minor=100 + n, ref=f"STRAY{n}") for n in range(STRAYS)]))
        bank.reconcile()
        yield made
        made.close()


@dataclass
class Break:
    """What the model knows of a break."""

    row: BoardRow
    state: str = "open"
    owner: str | None = None
    proposal: int | None = None
    proposed_by: str | None = None
    is_closed: bool = False  # an approved entry waits for its run
    told: list[str] = field(default_factory=lambda: ["opened"])


def machine(world: World, rows: list[BoardRow]) -> type[RuleBasedStateMachine]:
    """The machine over this world; `rows`: breaks that no example has taken."""
    people: dict[str, Connection] = {"alice": world.alice, "bob": world.bob, "carol": world.db.login("carol")}
    transit = str(world.one("SELECT a.code FROM ledger.account a WHERE a.control = 'cash_in_transit'"))

    class Life(RuleBasedStateMachine):
        @initialize()
        def take(self) -> None:
            self.breaks = [Break(rows.pop()), Break(rows.pop())]
            self.last = known_point(world.app, book_id=world.book_id).seq

        def attempt(self, allowed: bool, do: Callable[[], object]) -> object:
            """The database does it when the model allows it, and nothing at all when not; it is one number more."""
            if allowed:
                result = do()
                self.last += 1
            else:
                with pytest.raises(NostroError):
                    do()
                result = None
            assert known_point(world.app, book_id=world.book_id).seq == self.last
            return result

        @rule(n=st.integers(0, 1), who=st.sampled_from(PEOPLE), owner=st.sampled_from(("alice", "bob", "nobody")))
        def assign(self, n: int, who: str, owner: str) -> None:
            one = self.breaks[n]
            allowed = owner != "nobody" and one.state != "resolved"
            self.attempt(allowed, lambda: assign_break(people[who], book_id=1, break_id=one.row.break_id, owner=owner))
            if allowed:
                one.owner = owner
                one.state = one.state if one.state in ("proposed", "approved") else "assigned"
                one.told.append("assigned")

        @rule(n=st.integers(0, 1), who=st.sampled_from(PEOPLE))
        def note(self, n: int, who: str) -> None:
            one = self.breaks[n]
            self.attempt(True, lambda: note_break(people[who], book_id=1, break_id=one.row.break_id, note="asked"))
            one.told.append("noted")

        @rule(n=st.integers(0, 1), who=st.sampled_from(PEOPLE), stale=st.booleans())
        def propose(self, n: int, who: str, stale: bool) -> None:
            one = self.breaks[n]
            allowed = one.state in ("open", "assigned", "reopened") and not stale
            seen = "0" * 64 if stale else one.row.sha256
            shown = break_show(world.app, book_id=1, break_id=one.row.break_id)

            def do() -> int:
                amount = one.row.amount_minor
                with people[who].transaction():
                    found = (
                        people[who]
                        .execute(
                            PROPOSE,
                            (
                                *(one.row.break_id, seen, DAY, [item.posting_id for item in shown.items]),
                                *([transit, "assets:claims:eur"], ["EUR"] * 2, [-amount, amount]),
                            ),
                        )
                        .fetchone()
                    )
                assert found is not None
                return int(str(found[0]))

            made = self.attempt_sql(allowed, do)
            if made is not None:
                one.proposal, one.proposed_by, one.state = made, who, "proposed"
                one.told.append("proposed")

        def attempt_sql(self, allowed: bool, do: Callable[[], int]) -> int | None:
            def translated() -> int:
                with translate_errors():
                    return do()

            made = self.attempt(allowed, translated)
            return None if made is None else int(str(made))

        @rule(n=st.integers(0, 1), who=st.sampled_from(PEOPLE))
        def end(self, n: int, who: str) -> None:
            one = self.breaks[n]
            if one.proposal is None:
                return
            number = one.proposal
            said = self.attempt(
                one.state == "proposed",
                lambda: end_proposal(people[who], book_id=1, adjustment_id=number, reason="no, not so"),
            )
            if said is not None:
                assert said == ("withdrawn" if who == one.proposed_by else "rejected")
                one.told.append(str(said))
                one.state, one.proposal = "open" if one.owner is None else "assigned", None

        @rule(n=st.integers(0, 1), who=st.sampled_from(PEOPLE))
        def approve(self, n: int, who: str) -> None:
            one = self.breaks[n]
            if one.proposal is None or one.state != "proposed":
                return
            number = one.proposal
            allowed = who != "alice" and who != one.proposed_by and not one.is_closed
            entry = self.attempt(allowed, lambda: approve_proposal(people[who], book_id=1, adjustment_id=number))
            if allowed:
                assert entry is not None
                one.state, one.is_closed = "approved", True
                one.told.append("approved")

        @rule(n=st.integers(0, 1))
        def carry_through(self, n: int) -> None:
            self.propose(n, "alice", stale=False)
            self.approve(n, "bob")

        @rule(n=st.integers(0, 1), who=st.sampled_from(PEOPLE))
        def resolve(self, n: int, who: str) -> None:
            """The last run still has it, so words do not close it."""
            name = self.breaks[n].row.break_id
            self.attempt(False, lambda: resolve_break(people[who], book_id=1, break_id=name, note="is over"))

        @rule(n=st.integers(0, 1), who=st.sampled_from(PEOPLE))
        def reopen(self, n: int, who: str) -> None:
            one = self.breaks[n]
            allowed = one.state == "approved"
            self.attempt(
                allowed, lambda: reopen_break(people[who], book_id=1, break_id=one.row.break_id, reason="wrong")
            )
            if allowed:
                one.state, one.proposal = "reopened", None
                one.told.append("reopened")

        def teardown(self) -> None:
            board = {row.break_id: row for row in breaks_list(world.app, book_id=1)}
            for one in self.breaks:
                row = board[one.row.break_id]
                assert (row.state, row.owner) == (one.state, one.owner)
                history = break_show(world.app, book_id=1, break_id=one.row.break_id).history
                assert [event.action for event in history] == one.told
                booked = world.one("SELECT count(*) FROM ledger.entry_text WHERE reference = %s", one.row.break_id)
                assert booked == int(one.is_closed)  # never a second entry for the same items

    return Life


def test_breaks_follow_the_model(world: World) -> None:
    rows = breaks_list(world.app, book_id=world.book_id)
    assert len(rows) == STRAYS
    checks = settings(
        max_examples=12,
        stateful_step_count=14,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine(world, rows), settings=checks)
    what_was_approved_clears(world)


def what_was_approved_clears(world: World) -> None:
    """The next run clears what the machine got approved, resolves those breaks, and leaves the others."""
    bank = BankBook(world)
    bank.balance_minor = int(str(world.one("SELECT closing_minor FROM recon.statement_booking")))
    bank.number = 1
    tuesday = DAY + dt.timedelta(days=1)
    approved = {
        str(name)
        for (name,) in world.rows(
            "SELECT break_id FROM recon.adjustment JOIN recon.adjustment_approval USING (adjustment_id)"
        )
    }
    bank.ingest(bank.statement([], day=tuesday), name="tuesday.xml", message_id="M2")
    left = {row.break_id for row in bank.reconcile(tuesday).breaks}
    assert approved and not approved & left and len(approved | left) == STRAYS
    states = world.rows(
        "SELECT DISTINCT ON (break_id) break_id, state FROM recon.break_event ORDER BY break_id, ordinal DESC"
    )
    assert {str(name) for name, state in states if state == "resolved"} == approved
