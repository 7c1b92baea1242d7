"""Netting of postings that lie in blocks: what is due, and nothing else, whichever blocks are taken as wholes."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger import NewEntry, NewPosting, post_batch, translate_errors
from nostro.database import Database
from recon import trace
from settlement import DuplicateClaimError, FileState, hold_item
from settlement.business_days import Calendar
from settlement.proposing import calendar_terms, paying_accounts
from settlement.schedules import cut_date
from tests.settlement_world import DAY, PayeeRow, World, make_world, moment

TARGET = Calendar("ECB", "Europe/Berlin")
DELAYS = {"P1": 1, "P2": 0, "P3": 2}
PAYEES = [PayeeRow(code=code, delay_days=str(delay)) for code, delay in DELAYS.items()]
EACH = 170  # of each payee: with their other legs enough for blocks, and three blocks an account
_NETTING = """
SELECT y.code, ARRAY(SELECT unnest(n.posting_ids)
                     UNION ALL SELECT (b.batch_id << 20) + unnest(b.posting_nos) FROM ledger.posting_block b
                                WHERE b.account_id = n.account_id AND b.batch_id = ANY (n.whole_batch_ids)
                     ORDER BY 1), n.owed_minor, n.rest_minor, n.left_out_ids, n.waits_from_id
  FROM settlement.netting(%s, %s, %s, ROW(%s::int[], %s::date[], %s::text[], %s::text[])::settlement.calendar_terms) n
  JOIN settlement.payee y USING (payee_id)
"""
_OPEN = """
SELECT i.payee, i.posting_id, i.owed_minor, i.effective_date, i.held OR w.posting_id IS NOT NULL
  FROM settlement.open_item i
  LEFT JOIN (SELECT m.posting_id
               FROM settlement.file_current f JOIN settlement.instruction s USING (file_id)
               JOIN settlement.proposal_member m ON m.obligation_id = s.instruction_id
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


_WHOLE = """
SELECT o.account_id, array_agg((b.batch_id << 20) + n ORDER BY n), -sum(a)::bigint
  FROM settlement.obligation o JOIN settlement.payee y ON y.payee_id = o.payee_id AND y.code = 'P2'
  JOIN ledger.posting_block b ON b.account_id = o.account_id AND b.batch_id = o.whole_batch_ids[1]
 CROSS JOIN LATERAL unnest(b.posting_nos, b.amounts) u (n, a)
 GROUP BY o.account_id
"""
_OBLIGATION = """
INSERT INTO settlement.obligation (run_id, payee_id, payee_version_id, account_id, owed_minor, pay_minor, rest_minor,
                                   posting_ids, whole_batch_ids, whole_count)
SELECT run_id, (SELECT -count(*) FROM settlement.obligation), payee_version_id, %s, 0, 0, 0, %s, %s, %s
  FROM settlement.obligation LIMIT 1 RETURNING obligation_id
"""
_GROUP = """
INSERT INTO settlement.clearing_group (group_id, book_id, account_id, latest_cut_id, member_count, clearing_no,
                                       low_posting_id, high_posting_id)
VALUES (%s, %s, %s, %s, %s, (SELECT count(*) + 1 FROM settlement.clearing_group WHERE account_id = %s), %s, %s)
"""


def an_item(world: World, minor: int) -> int:
    """Owe P2 so much; the posting's id."""
    world.owe("P2", minor)
    return int(str(world.one("SELECT max(posting_id) FROM settlement.open_item")))


def test_what_a_group_took_whole_is_taken_once(world: World) -> None:
    """Invariant 10, as a superuser: a batch again, in part, twice, beside its own."""
    sell(world, "first", [DAY])
    world.pay()
    account, postings, total = world.rows(_WHOLE)[0]
    assert isinstance(postings, list) and len(postings) == EACH
    taken = postings[0] >> 20
    parts = world.rows("SELECT amount_minor FROM ledger.posting WHERE posting_id = %s", postings[3])
    offset, against, few = (an_item(world, minor) for minor in (-int(str(total)), int(str(parts[0][0])), -7))
    sell(world, "second", [DAY])
    other = int(str(world.one("SELECT max(batch_id) FROM ledger.posting_block")))
    inside = int(
        str(world.one("SELECT min(posting_id) FROM settlement.open_item i WHERE payee = 'P2' AND posting_id > %s", few))
    )
    assert inside >> 20 == other

    def group(ids: list[int], batches: list[int], more: int = 0) -> None:
        owner.execute("SELECT set_config('session_replication_role', 'replica', true)")
        row = owner.execute(_OBLIGATION, (account, ids, batches, EACH * len(batches))).fetchone()
        spans = [*ids, *(batch << 20 for batch in batches), *(((batch + 1) << 20) - 1 for batch in batches)]
        count = len(ids) + EACH * len(batches) + more
        with translate_errors():
            number = row and row[0]
            owner.execute(_GROUP, (number, world.book_id, account, number, count, account, min(spans), max(spans)))

    attacks = {
        "a batch again": ([offset], [taken], 0),
        "one of it": ([postings[3], against], [], 0),
        "a batch twice": ([offset], [other, other], 0),
        "a batch and one of it": ([offset, inside], [other], 0),
        "more than it says": ([offset], [other], -1),
        "not zero": ([offset, few], [other], 0),
        "a batch that is not in blocks": ([offset], [other, few >> 20], 0),
    }
    with world.db.owner() as owner:
        owner.execute("RESET ROLE")
        owner.commit()
        for what, (ids, batches, more) in attacks.items():
            with pytest.raises(DuplicateClaimError):
                group(ids, batches, more)
                pytest.fail(what)
            owner.rollback()
        group([offset], [other])  # and what is right is taken
        with pytest.raises(DuplicateClaimError):
            group([inside], [])
        owner.rollback()


def test_each_posting_of_a_batch_taken_whole_leads_to_its_payment_and_back(world: World) -> None:
    """By posting and by payment: lineage, clearing_of, members, the payout's parts, the trace."""
    sell(world, "sale", [DAY])
    world.pay()
    account, postings, _ = world.rows(_WHOLE)[0]
    assert isinstance(postings, list)
    with world.db.owner() as owner:
        for posting in (postings[0], postings[64], postings[-1]):
            (line,) = owner.execute(
                "SELECT l.role, l.account_id, l.group_id, c.group_id FROM settlement.lineage l"
                " CROSS JOIN LATERAL settlement.clearing_of(ARRAY[l.posting_id]) c WHERE l.posting_id = %s",
                (posting,),
            ).fetchall()
            assert line[:2] == ("member", account) and line[2] == line[3]
            found = trace(owner, book_id=world.book_id, key=str(posting))
            assert posting in {step.posting_id for step in found.steps}
        of_group = owner.execute(
            "SELECT count(*) FILTER (WHERE role = 'member'), count(*) FROM settlement.lineage WHERE group_id = %s",
            (line[2],),
        ).fetchone()
        assert of_group == (EACH + 1, EACH + 2), "with what was owed before, and the clearing debit"
        assert owner.execute(
            "SELECT count(*) FROM settlement.proposal_member WHERE obligation_id = %s", (line[2],)
        ).fetchone() == (EACH + 1,)
        assert owner.execute(
            "SELECT item_count, residual_minor FROM settlement.payout_parts WHERE instruction_id = %s", (line[2],)
        ).fetchone() == (EACH + 1, 0)
