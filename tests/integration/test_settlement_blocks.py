"""Netting of postings that lie in blocks: what is due, and nothing else, whichever blocks are taken as wholes."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger import NewEntry, NewPosting, post_batch
from nostro.database import Database
from settlement import FileState, hold_item
from settlement.business_days import Calendar
from settlement.proposing import calendar_terms, paying_accounts
from settlement.schedules import cut_date
from tests.settlement_world import DAY, PayeeRow, World, make_world, moment

TARGET = Calendar("ECB", "Europe/Berlin")
DELAYS = {"P1": 1, "P2": 0, "P3": 2}
PAYEES = [PayeeRow(code=code, delay_days=str(delay)) for code, delay in DELAYS.items()]
EACH = 170  # of each payee: with their other legs enough for blocks, and three blocks an account
_NETTING = """
SELECT y.code, n.posting_ids, n.owed_minor, n.rest_minor, n.left_out_ids, n.waits_from_id
  FROM settlement.netting(%s, %s, %s, ROW(%s::int[], %s::date[], %s::text[], %s::text[])::settlement.calendar_terms) n
  JOIN settlement.payee y USING (payee_id)
"""
_OPEN = """
SELECT i.payee, i.posting_id, i.owed_minor, i.effective_date, i.held OR w.posting_id IS NOT NULL
  FROM settlement.open_item i
  LEFT JOIN (SELECT unnest(o.posting_ids) AS posting_id
               FROM settlement.file_current f JOIN settlement.instruction s USING (file_id)
               JOIN settlement.obligation o ON o.obligation_id = s.instruction_id
              WHERE f.state = 'approved') w USING (posting_id)
 ORDER BY i.posting_id
"""


@pytest.fixture
def world(db: Database, tmp_path: Path) -> Iterator[World]:
    made = make_world(db, tmp_path, PAYEES, accounts=("eur",))
    made.owe("P2", 1)  # opens the income account
    yield made
    made.close()


def sell(world: World, key: str, days: list[dt.date]) -> None:
    """One batch in blocks, its sales on these days in turn."""
    entries = [
        NewEntry(
            f"{key}-{row.code}-{n}",
            days[n % len(days)],
            (NewPosting("income:fees:eur", 100 + n), NewPosting(row.account, -100 - n)),
        )
        for row in PAYEES
        for n in range(EACH)
    ]
    post_batch(world.app, book_id=world.book_id, entries=entries)
    world.app.commit()


def check_netting(world: World, day: dt.date) -> None:
    """What netting says against the open items by history, one by one."""
    (account,) = paying_accounts(world.app, world.book_id, "eur-payouts")
    terms = calendar_terms(world.app, account, day, None)
    said = {str(row[0]): row[1:] for row in world.rows(_NETTING, account.bank_account_id, day, moment(day), *terms)}
    due: dict[str, list[int]] = {}
    left: dict[str, list[int]] = {}
    minor: dict[int, int] = {}
    for payee, posting_id, owed, effective, kept in world.rows(_OPEN):
        minor[int(str(posting_id))] = int(str(owed))
        is_due = effective <= cut_date(DELAYS[str(payee)], day, TARGET) and not kept  # type: ignore[operator]
        (due if is_due else left).setdefault(str(payee), []).append(int(str(posting_id)))
    assert said.keys() == due.keys()
    for payee, (ids, owed, rest, left_out, waits_from) in said.items():
        others = left.get(payee, [])
        assert ids == due[payee]
        assert (owed, rest) == (sum(minor[n] for n in ids), sum(minor[n] for n in others))  # type: ignore[attr-defined]
        assert left_out == [n for n in others if waits_from is None or n < waits_from]  # type: ignore[operator]
        assert waits_from is None or waits_from > ids[-1]  # type: ignore[index, operator]


def test_what_is_netted_from_blocks_is_what_is_due(world: World) -> None:
    """Batches of one day, of several, of tomorrow, and behind these of yesterday; a dispute; a file that waits."""
    chance = random.Random(7)
    for number in range(5):
        day, before, after = (TARGET.add_open_days(DAY, number + n) for n in (0, -1, 1))
        batches = [[day], [after], [before, after], [day, before], [after, after, day], [before]]
        for n, days in enumerate(chance.sample(batches, 3)):
            sell(world, f"{number}-{n}", days)
        if number == 1:
            (posting,) = world.rows("SELECT max(posting_id) - 64 FROM settlement.open_item WHERE payee = 'P1'")
            assert hold_item(world.alice, posting_id=int(str(posting[0])), reason="disputed")
        check_netting(world, day)
        waiting = world.approve_all(day) if number == 2 else []
        if waiting:  # a second cycle pays around it and is sealed first
            sell(world, f"{number}-late", [before])
            check_netting(world, day)
        world.pay(day)
        check_netting(world, day)
        for file_id in waiting:
            assert world.release(file_id, day).state is FileState.SENT
        check_netting(world, day)
    whole, blocks = world.rows(
        "SELECT count(*) FILTER (WHERE first_date = last_date), count(*) FROM ledger.posting_block"
    )[0]
    assert 50 < whole < blocks, "of both kinds"  # type: ignore[operator]
    last = TARGET.add_open_days(DAY, 30)
    world.pay(last)
    assert world.rows("SELECT payee, held FROM settlement.open_item") == [("P1", True)], "nothing is forgotten"
    assert world.rows("SELECT * FROM settlement.verify_clearing(%s)", world.book_id) == []
