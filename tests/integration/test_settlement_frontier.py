"""Where netting starts to read: nobody is forgotten, whatever commits late, and old settlements are not read again."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from ledger import NewEntry, NewPosting, post_batch
from nostro.database import Database
from settlement import FileState, hold_item
from settlement.business_days import Calendar
from tests.settlement_world import DAY, PayeeRow, World, make_world, moment

TARGET = Calendar("ECB", "Europe/Berlin")
PAYEES = [PayeeRow(code=f"P{n}") for n in range(6)]


@pytest.fixture
def world(db: Database, tmp_path: Path) -> Iterator[World]:
    made = make_world(db, tmp_path, PAYEES, accounts=("eur",))
    made.owe("P0", 1)  # opens the income account
    yield made
    made.close()


def sell(world: World, number: int, day: dt.date, payees: Sequence[PayeeRow] = PAYEES) -> None:
    """Fifty sales of every payee."""
    entries = [
        NewEntry(
            f"s-{number}-{row.code}-{n}",
            day,
            (NewPosting("income:fees:eur", 100 + n), NewPosting(row.account, -100 - n)),
        )
        for row in payees
        for n in range(50)
    ]
    post_batch(world.app, book_id=world.book_id, entries=entries)
    world.app.commit()


def blocks(world: World) -> int:
    """Blocks that reading the open items of the bank account touches."""
    with world.db.owner() as owner:
        row = owner.execute(
            "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT * FROM settlement.open_postings(1)"
        ).fetchone()
    assert row is not None
    plan = row[0] if isinstance(row[0], list) else json.loads(str(row[0]))
    return int(plan[0]["Plan"]["Shared Hit Blocks"]) + int(plan[0]["Plan"]["Shared Read Blocks"])


def open_by_frontier(world: World) -> list[tuple[object, ...]]:
    with world.db.owner() as owner:
        return owner.execute("SELECT posting_id FROM settlement.open_postings(1) ORDER BY 1").fetchall()


def frontier(world: World) -> tuple[int, int]:
    """Through which posting the furthest frontier is, and how long the longest list of what was left open."""
    with world.db.owner() as owner:
        row = owner.execute(
            "SELECT max(through_posting_id), max(cardinality(left_open)) FROM settlement.payee_frontier"
        ).fetchone()
    assert row is not None
    return int(str(row[0])), int(str(row[1]))


def open_by_history(world: World) -> list[tuple[object, ...]]:
    return world.rows("SELECT posting_id FROM settlement.open_item ORDER BY 1")


def test_what_is_read_does_not_grow_with_what_was_settled(world: World) -> None:
    """Twelve nights of fifty sales a payee, with one item held since the first: the same blocks every night."""
    read, through = [], []
    for number in range(12):
        day = DAY + dt.timedelta(days=7 * number)
        sell(world, number, day)
        if number == 0:
            (posting,) = world.rows("SELECT max(posting_id) FROM settlement.open_item WHERE payee = 'P1'")
            assert hold_item(world.alice, posting_id=int(str(posting[0])), reason="disputed")
        world.propose(day)  # what the netting of this proposal read is read again now
        read.append(blocks(world))
        assert open_by_frontier(world) == open_by_history(world)
        world.pay(day)
        assert open_by_frontier(world) == open_by_history(world)
        through.append(frontier(world))
    assert max(read[6:]) <= 1.3 * max(read[2:6]), read
    assert len({at for at, _ in through}) == 12 and through == sorted(through), "every night one step"
    assert through[-1][1] == 1, "the held item is in its list"


_PAST = """
WITH nights AS (
    INSERT INTO settlement.run (book_id, bank_account_id, profile_id, account_version, business_date, cycle,
                                proposed_at, execution_date, cutoff_at)
    SELECT r.book_id, r.bank_account_id, r.profile_id, r.account_version, r.business_date - n, 1,
           r.proposed_at - n * interval '1 day', r.execution_date - n, r.cutoff_at - n * interval '1 day'
      FROM settlement.run r, generate_series(1, 400) n
     WHERE r.run_id = (SELECT max(run_id) FROM settlement.run) RETURNING *
)
INSERT INTO settlement.payment_file (run_id, part, book_id, bank_account_id, rail, currency_id, msg_id,
                                     instruction_count, total_minor, content)
SELECT n.run_id, 1, n.book_id, n.bank_account_id, 'SEPA', (SELECT currency_id FROM ledger.currency WHERE code = 'EUR'),
       'PAST-' || n.run_id, 1, 1, ''
  FROM nights n
"""
_EVENT = """
INSERT INTO settlement.file_event (file_id, ordinal, from_state, state)
SELECT file_id, %s, %s, %s FROM settlement.payment_file WHERE msg_id LIKE 'PAST-%%'
"""


def read_by_proposal(world: World, day: dt.date) -> int:
    """Blocks that a proposal's `open_run` touches once its session is warm; nothing of it stays."""
    world.app.rollback()
    with world.db.owner() as owner:
        for _ in range(2):
            row = owner.execute(
                "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT settlement.open_run(1, %s, %s, %s, %s,"
                " ROW('{0}', ARRAY[%s::date], '{daily}', NULL)::settlement.calendar_terms)",
                (day, moment(day), day, moment(day) + dt.timedelta(hours=7), day),
            ).fetchone()
            owner.rollback()
    assert row is not None
    plan = row[0] if isinstance(row[0], list) else json.loads(str(row[0]))
    return int(plan[0]["Plan"]["Shared Hit Blocks"]) + int(plan[0]["Plan"]["Shared Read Blocks"])


def test_a_proposal_does_not_walk_the_files_of_years(world: World) -> None:
    """Four hundred nights whose files are void: what waits is found by its state."""
    world.propose()
    before = read_by_proposal(world, DAY + dt.timedelta(days=1))
    with world.db.owner() as owner:
        owner.execute(_PAST)
        for event in ((1, "new", "proposed"), (2, "proposed", "void")):
            owner.execute(_EVENT, event)
        owner.commit()
    assert read_by_proposal(world, DAY + dt.timedelta(days=1)) <= before + 100
    assert len(world.propose()) == 1, "and what waits is found"


def test_what_commits_late_is_not_forgotten(world: World) -> None:
    """A sale draws its id before a night and commits after it: the frontier has not passed it."""
    with world.db.app() as slow, slow.transaction():
        entry = NewEntry(
            "late", DAY, (NewPosting("liabilities:payable:P2", -700), NewPosting("assets:receivable:x", 700))
        )
        slow.execute(
            "SELECT ledger.open_accounts(%s, '{assets:receivable:x}', '{asset}', '{EUR}', '{f}', '{NULL}', '{NULL}')",
            (world.book_id,),
        )
        post_batch(slow, book_id=world.book_id, entries=[entry])
        for number in range(3):
            day = DAY + dt.timedelta(days=number)
            world.owe("P3", 500, day=day)
            world.pay(day)
    assert open_by_frontier(world) == open_by_history(world)
    day = DAY + dt.timedelta(days=3)
    world.owe("P3", 500, day=day)
    assert [f.file.total_minor for f in world.propose(day)] == [700 + 500]


def test_a_mark_passes_when_everything_before_it_has_ended(world: World) -> None:
    with world.db.owner() as owner, world.db.owner() as other:
        owner.execute("SELECT pg_current_xact_id(), nextval('ledger.batch_id_seq')")  # a batch on its way
        world.owe("P1", 5)
        other.execute("SELECT settlement.mark_batches()")
        other.commit()
        (before,) = other.execute("SELECT settlement.ended_through()").fetchone() or (None,)
        other.rollback()
        owner.rollback()
        (after,) = other.execute("SELECT settlement.ended_through()").fetchone() or (None,)
        (last,) = other.execute("SELECT max(posting_id) FROM ledger.posting").fetchone() or (None,)
        other.rollback()
    assert int(str(before)) < int(str(last)) <= int(str(after))


def test_what_waits_is_read_in_one_sweep_and_nothing_is_forgotten(db: Database, tmp_path: Path) -> None:
    """T+2 beside T+1, an old dispute, and a file sealed after a later one: the same open items as by history."""
    payees = [PayeeRow(code="P1", delay_days="2"), PayeeRow(code="P2", delay_days="1"), PayeeRow(code="P3")]
    world = make_world(db, tmp_path, payees, accounts=("eur",))
    try:
        world.owe("P3", 1)
        read, through = [], []
        for number in range(9):
            day = TARGET.add_open_days(DAY, number)
            for part in range(4):  # several batches a day
                sell(world, 10 * number + part, day, payees)
            world.owe("P1", 77, day=day)
            if number == 1:
                (posting,) = world.rows("SELECT min(posting_id) FROM settlement.open_item WHERE payee = 'P1'")
                assert hold_item(world.alice, posting_id=int(str(posting[0])), reason="disputed")
            world.propose(day)
            read.append(blocks(world))
            assert open_by_frontier(world) == open_by_history(world), number
            waiting = world.approve_all(day) if number in (4, 6) else []
            if waiting:  # a second cycle pays around it and is sealed first
                sell(world, 10 * number + 5, day, payees[2:])
            world.pay(day)
            for file_id in waiting:
                assert world.release(file_id, day).state is FileState.SENT
            assert open_by_frontier(world) == open_by_history(world), number
            through.append(frontier(world))
        assert max(read[6:]) <= 2 * max(read[2:6]), read
        assert through == sorted(through) and len(set(through)) == 9, "where an older file is sealed last, too"
        assert through[-1][1] == 1, "what waits is in no list"
    finally:
        world.close()
