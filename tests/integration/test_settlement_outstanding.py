"""What is not over yet is found without a walk over all there ever was: holds, reserves, held payees, lost sends."""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest

from ledger import AppendOnlyError, Connection, translate_errors
from nostro.database import Database
from settlement import FileState, release_hold, verify_clearing
from tests.settlement_world import DAY, PayeeRow, World, make_world, moment

PAYEES = [PayeeRow(code=f"P{n}", reserve_fixed="1.00", reserve_percent="10", reserve_days="5") for n in range(6)]
TOMORROW = DAY + dt.timedelta(days=1)

# Years of things that are over, each opened and then closed, without the payments they were about.
HISTORY = {
    "hold": (
        "INSERT INTO settlement.hold (book_id, posting_id, payee_version_id, reason)"
        " SELECT 1, n << 20, v.payee_version_id, 'asked' FROM settlement.payee_version v, generate_series(1, 1000) n",
        "INSERT INTO settlement.hold_release (hold_id, reason) SELECT h.hold_id, 'settled' FROM settlement.hold h",
    ),
    "reserve": (
        "ALTER TABLE settlement.reserve_taken DROP CONSTRAINT reserve_taken_group_id_fkey",
        "INSERT INTO settlement.reserve_taken (group_id, payee_id, kind, posting_id, amount_minor, release_on)"
        " SELECT -n, y.payee_id, k, n, 5, CASE k WHEN 'rolling' THEN '2020-01-01'::date END"
        "  FROM settlement.payee y, generate_series(y.payee_id * 1000, y.payee_id * 1000 + 499) n,"
        "       unnest('{rolling,fixed}'::text[]) k",
        "INSERT INTO settlement.reserve_release"
        " (reserve_id, amount_minor, left_minor, why, entry_id, payable_posting_id)"
        " SELECT t.reserve_id, 5, 0, 'due', 1, t.reserve_id FROM settlement.reserve_taken t WHERE t.group_id < 0",
    ),
    "payee_hold": (
        "INSERT INTO settlement.payee_hold (payee_id, kind, reason)"
        " SELECT y.payee_id, 'person', 'asked' FROM settlement.payee y, generate_series(1, 1000) n",
        "INSERT INTO settlement.payee_hold_release (payee_hold_id, reason)"
        " SELECT h.payee_hold_id, 'settled' FROM settlement.payee_hold h",
    ),
    "run_hold": (
        "INSERT INTO settlement.run (book_id, bank_account_id, profile_id, account_version, business_date, cycle,"
        " proposed_at, execution_date, cutoff_at)"
        " SELECT r.book_id, r.bank_account_id, r.profile_id, r.account_version, r.business_date - n, 1,"
        " r.proposed_at, r.execution_date, r.cutoff_at FROM settlement.run r, generate_series(1, 1000) n",
        "INSERT INTO settlement.run_hold (run_id, reason)"
        " SELECT r.run_id, 'asked' FROM settlement.run r, generate_series(1, 3)",
        "INSERT INTO settlement.run_hold_release (run_hold_id, reason)"
        " SELECT h.run_hold_id, 'settled' FROM settlement.run_hold h",
    ),
    "lost_send": (
        "INSERT INTO settlement.send_review (digest, findings) VALUES ('', '[]')",
        "INSERT INTO settlement.lost_send (review_id, book_id, bank, msg_id, part, source, manifest)"
        " SELECT v.review_id, 1, 'nordbank', 'LOST-' || n, 0, 'bank', '{}'"
        "  FROM settlement.send_review v, generate_series(1, 1000) n",
        "INSERT INTO settlement.lost_payment (lost_send_id, ordinal, end_to_end_id, payee_code, iban, amount_minor)"
        " SELECT l.lost_send_id, n, 'E' || n, 'P1', 'NL91ABNA0417164300', 5"
        "  FROM settlement.lost_send l, generate_series(1, 5) n",
        "ALTER TABLE settlement.lost_send_end DISABLE TRIGGER lost_send_end_check",
        "INSERT INTO settlement.lost_send_end (lost_send_id, outcome)"
        " SELECT l.lost_send_id, 'by_hand' FROM settlement.lost_send l",
    ),
}


@pytest.fixture
def world(db: Database, tmp_path: Path) -> Iterator[World]:
    made = make_world(db, tmp_path, PAYEES, accounts=("eur",))
    for row in PAYEES:
        made.owe(row.code, 5_000)
    yield made
    made.close()


def blocks(owner: Connection, query: str, *values: object) -> int:
    """Blocks that a query touches once its session is warm; nothing of it stays."""
    owner.commit()
    for _ in range(2):
        row = owner.execute("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + query, values).fetchone()
        owner.rollback()
    assert row is not None
    plan = row[0] if isinstance(row[0], list) else json.loads(str(row[0]))
    return int(plan[0]["Plan"]["Shared Hit Blocks"]) + int(plan[0]["Plan"]["Shared Read Blocks"])


def night(owner: Connection, file_id: int) -> dict[str, int]:
    """Blocks that the next proposal and the seal of a file read."""
    terms = "ROW('{0}', ARRAY[%s::date], '{daily}', NULL)::settlement.calendar_terms"
    return {
        "propose": blocks(
            owner,
            f"SELECT settlement.open_run(1, %s, %s, %s, %s, {terms})",
            TOMORROW,
            moment(),
            TOMORROW,
            moment() + dt.timedelta(hours=7),
            TOMORROW,
        ),
        "seal": blocks(owner, "SELECT settlement.seal(%s, %s)", file_id, moment()),
    }


def test_a_night_does_not_walk_what_is_over(world: World) -> None:
    """Thousands of holds, reserves and lost sends later a proposal and a seal read as many blocks (it was 60 and 80
    times as many)."""
    (file_id,) = world.approve_all()
    for row in PAYEES:
        world.owe(row.code, 700)
    world.app.rollback()
    with world.db.owner() as owner:
        before = night(owner, file_id)
        for statements in HISTORY.values():
            for statement in statements:
                owner.execute(statement)
        assert owner.execute("SELECT count(*) FROM settlement.hold").fetchone() == (6000,)
        assert owner.execute("SELECT count(*) FROM settlement.outstanding").fetchone() == (0,)
        owner.commit()
        after = night(owner, file_id)
    assert all(after[step] <= before[step] + 100 for step in before), (before, after)
    assert world.release(file_id).state is FileState.SENT
    assert world.one("SELECT count(*) FROM settlement.outstanding") == 12, "the reserves of this file"


def test_a_seal_asks_whether_its_cash_is_certified_and_of_no_reserve(world: World) -> None:
    """One account of cash in transit; four thousand reserves, asked one by one, took 2.5 s of the 3.5 of a seal."""
    (file_id,) = world.approve_all()
    with world.db.owner() as owner:
        owner.execute("RESET ROLE")
        owner.execute("SET track_functions = 'all'")
        assert owner.execute("SELECT outcome FROM settlement.seal(%s, %s)", (file_id, moment())).fetchone() == (
            "sealed",
        )
        asked = "SELECT calls FROM pg_stat_xact_user_functions WHERE funcname = 'nostro_of'"
        assert owner.execute(asked).fetchone() == (2,), "for the date, and when it is posted"
        assert owner.execute("SELECT count(*) FROM settlement.reserve_taken").fetchone() == (12,)
        owner.rollback()


# Files of years ago: 20,000 payments that were executed, and what a bank noted of half of them.
PAYMENTS = (
    "ALTER TABLE settlement.instruction DISABLE TRIGGER instruction_check",
    "ALTER TABLE settlement.instruction_event DISABLE TRIGGER instruction_event_check",
    "ALTER TABLE settlement.file_event DISABLE TRIGGER file_event_check",
    "INSERT INTO settlement.payment_file (run_id, part, book_id, bank_account_id, rail, currency_id, msg_id,"
    " instruction_count, total_minor, content)"
    " SELECT f.run_id, 100 + n, f.book_id, f.bank_account_id, f.rail, f.currency_id, 'PAST-' || n,"
    " 1, 1, '' FROM settlement.payment_file f, generate_series(0, 39) n",
    "INSERT INTO settlement.instruction (instruction_id, file_id, batch, ordinal, payee_id, payee_code, payee_name,"
    " payee_iban, payable_account_id, amount_minor, end_to_end_id, execution_date)"
    " SELECT -n, f.file_id, 1, n, 1, 'P0', 'x', 'x', 1, 1, 'PAST-' || n, '2020-01-01'"
    "  FROM generate_series(1, 20000) n JOIN settlement.payment_file f ON f.msg_id = 'PAST-' || n % 40",
    "INSERT INTO settlement.instruction_event (instruction_id, ordinal, from_state, state)"
    " SELECT instruction_id, 1, 'new', 'executed' FROM settlement.instruction WHERE instruction_id < 0",
    "INSERT INTO settlement.message_received (book_id, bank, kind, name, sha256, content)"
    " VALUES (1, 'nordbank', 'pain.002', 'past', encode(sha256(''), 'hex'), '')",
    "INSERT INTO settlement.answer_note (message_id, file_id, instruction_id, kind, code)"
    " SELECT m.message_id, i.file_id, i.instruction_id, 'status', 'RCVC'"
    "  FROM settlement.message_received m, settlement.instruction i WHERE i.instruction_id < -10000",
    *(
        "INSERT INTO settlement.file_event (file_id, ordinal, from_state, state)"
        f" SELECT file_id, {n}, '{was}', '{now}' FROM settlement.payment_file WHERE msg_id LIKE 'PAST-%'"
        for n, (was, now) in enumerate(pairwise(("new", "proposed", "approved", "sealed", "sending", "executed")), 1)
    ),
)


def test_a_morning_does_not_walk_the_payments_of_years(world: World) -> None:
    """What waits for a person is found without a look at what was executed long ago (it was 400 times as many)."""
    world.pay()
    look = "SELECT * FROM settlement.exceptions(1, %s)"
    with world.db.owner() as owner:
        before = blocks(owner, look, TOMORROW)
        for statement in PAYMENTS:
            owner.execute(statement)
        owner.commit()
        after = blocks(owner, look, TOMORROW)
        owner.execute("ANALYZE")
        analysed = blocks(owner, look, TOMORROW)
    assert max(after, analysed) <= before + 100, (before, after, analysed)


# Three hundred more collections like the one there is.
COLLECTIONS = (
    "ALTER TABLE settlement.obligation DISABLE TRIGGER check_obligations",
    "ALTER TABLE settlement.instruction DISABLE TRIGGER instruction_check",
    "ALTER TABLE settlement.clearing_group DISABLE TRIGGER check_groups",
    "INSERT INTO settlement.obligation"
    " (run_id, payee_id, payee_version_id, account_id, owed_minor, pay_minor, rest_minor, posting_ids)"
    " SELECT 1000 + n, payee_id, payee_version_id, account_id, owed_minor, pay_minor, rest_minor, posting_ids"
    "  FROM settlement.obligation, generate_series(1, 300) n",
    "INSERT INTO settlement.instruction (instruction_id, file_id, batch, ordinal, payee_id, payee_code, payee_name,"
    " payee_iban, payable_account_id, amount_minor, direction, end_to_end_id, execution_date)"
    " SELECT o.obligation_id, i.file_id, i.batch, o.run_id, i.payee_id, i.payee_code, i.payee_name, i.payee_iban,"
    " i.payable_account_id, i.amount_minor, i.direction, 'PAST-' || o.run_id, i.execution_date"
    "  FROM settlement.instruction i, settlement.obligation o WHERE o.run_id > 1000",
    "INSERT INTO settlement.clearing_group"
    " (group_id, book_id, account_id, clearing_no, latest_cut_id, member_count, low_posting_id, high_posting_id)"
    " SELECT obligation_id, 1, account_id, run_id, 1, 1, 1, 1 FROM settlement.obligation WHERE run_id > 1000",
)


def test_a_mandate_is_read_from_its_last_collection(db: Database, tmp_path: Path) -> None:
    """As netting asks, which joins by hashing: neither all collections there ever were nor all of the payee."""
    payee = PayeeRow(code="D1", negative="debit", mandate="M-1/2025-01-01/CORE/FRST")
    world = make_world(db, tmp_path, [payee], accounts=("eur",), collects=True)
    step = "SELECT settlement.mandate_step(1, %s)"
    try:
        world.owe("D1", -700)
        assert world.one(step, TOMORROW) == "FRST"
        world.pay()
        with world.db.owner() as owner:
            owner.execute("SET enable_nestloop = off")
            before = blocks(owner, step, TOMORROW)
            for statement in COLLECTIONS:
                owner.execute(statement)
            owner.execute("ANALYZE")
            owner.commit()
            assert blocks(owner, step, TOMORROW) <= before + 20
        assert world.one(step, TOMORROW) == "RCUR"
    finally:
        world.close()


def found(world: World) -> list[str]:
    return [fault.place for fault in verify_clearing(world.app, book_id=world.book_id)]


def change_iban(world: World, conn: Connection, iban: str) -> None:
    row = ("Haendler", iban, None, "NL", "Amsterdam", "Damrak 1", "1012LG")
    conn.execute("SELECT settlement.change_payee(%s, 'P0', %s, %s, %s, %s, %s, %s, %s)", (world.book_id, *row))


def came_back(world: World, owner: Connection) -> int:
    """An open posting of P0 is held until somebody releases it or other bank details end that."""
    (posting,), *_ = world.rows("SELECT posting_id FROM settlement.open_item WHERE payee = 'P0'")
    owner.execute(
        "INSERT INTO settlement.hold (book_id, posting_id, payee_version_id, ends_by_details, reason)"
        " SELECT book_id, %s, payee_version_id, true, 'AC04' FROM settlement.payee_current WHERE code = 'P0'",
        (posting,),
    )
    return int(str(posting))


def test_a_hold_ends_with_the_details_and_is_back_with_them(world: World) -> None:
    change_iban(world, world.alice, "NL91ABNA0417164300")
    world.alice.commit()
    with world.db.owner() as owner:
        posting = came_back(world, owner)
    for iban, active in (("NL20INGB0001234567", 0), ("NL91ABNA0417164300", 1)):
        change_iban(world, world.alice, iban)
        world.alice.commit()
        assert world.one("SELECT count(*) FROM settlement.hold_active") == active, iban
        assert found(world) == []
    assert release_hold(world.bob, posting_id=posting, reason="settled") == 1
    assert world.one("SELECT count(*) FROM settlement.outstanding") == 0


def test_who_changes_details_takes_turns_with_who_holds(world: World) -> None:
    """Neither sees what the other has not committed; whichever is second says what is true of both."""
    with world.db.owner() as owner, ThreadPoolExecutor(1) as threads:
        came_back(world, owner)
        change = threads.submit(change_iban, world, world.bob, "NL20INGB0001234567")
        waits, until = "SELECT count(*) FROM pg_locks WHERE NOT granted", time.monotonic() + 20
        while world.one(waits) == 0 and time.monotonic() < until:
            time.sleep(0.01)
        assert world.one(waits) == 1
        owner.commit()
        change.result(timeout=20)
    world.bob.commit()
    assert world.one("SELECT count(*) FROM settlement.hold_active") == 0
    assert found(world) == []


def test_what_is_outstanding_is_what_the_records_say(world: World) -> None:
    """Nobody writes it; whoever changes the schema to do so is found by `nostro verify`, whichever way."""
    world.pay()
    kept = world.one("SELECT min(reserve_id) FROM settlement.reserve_taken")
    (held,) = world.alice.execute("SELECT settlement.hold_payee(%s, 'P1', 'asked')", (world.book_id,)).fetchone() or (
        0,
    )
    world.alice.commit()
    assert found(world) == []
    thefts = {
        f"payee hold {held}": "DELETE FROM settlement.outstanding WHERE what = 'payee_hold'",
        f"reserve {kept}": "UPDATE settlement.outstanding SET left_minor = left_minor + 1"
        f" WHERE what = 'reserve' AND id = {kept}",
        "lost send 7": "INSERT INTO settlement.outstanding (what, id, book_id) VALUES ('lost_send', 7, 1)",
    }
    with world.db.owner() as owner:
        for theft in thefts.values():
            with pytest.raises(AppendOnlyError), translate_errors(), owner.transaction():
                owner.execute(theft)
        owner.rollback()
        owner.execute("RESET ROLE")
        owner.execute("ALTER TABLE settlement.outstanding DISABLE TRIGGER standing_by_event")
        for theft in thefts.values():
            owner.execute(theft)
        owner.execute("ALTER TABLE settlement.outstanding ENABLE ALWAYS TRIGGER standing_by_event")
        owner.commit()
    assert found(world) == sorted(thefts)
