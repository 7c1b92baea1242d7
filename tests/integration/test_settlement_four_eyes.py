"""Who may do what, and what nobody may: four eyes, invariant 10 and the lattices, by raw SQL."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from psycopg import sql

from ledger import AccessError, AppendOnlyError, Connection, NostroError, UnavailableError, translate_errors
from nostro.database import Database
from settlement import (
    DuplicateClaimError,
    FileState,
    FileStateError,
    FileTamperedError,
    FourEyesError,
    approve,
    hold_item,
    propose,
    reject,
    release_hold,
    seal,
    verify_clearing,
)
from tests.settlement_world import DAY, PayeeRow, World, make_world, moment


@pytest.fixture
def world(db: Database, tmp_path: Path) -> Iterator[World]:
    made = make_world(db, tmp_path, [PayeeRow(code="P1"), PayeeRow(code="P2")])
    made.owe("P1", 700)
    made.owe("P2", 900)
    yield made
    made.close()


def refused(conn: Connection, query: str, *values: object) -> type[NostroError]:
    """The class of error that a statement meets."""
    try:
        with translate_errors():
            conn.execute(query, values)
    except NostroError as error:
        conn.rollback()
        return type(error)
    raise AssertionError(f"was not refused: {query}")


def test_an_approver_cannot_approve_what_they_prepared(world: World) -> None:
    (own,) = propose(world.bob, book_id=world.book_id, business_date=DAY, now=moment(), bank_account="eur-payouts")
    with pytest.raises(FourEyesError, match="was prepared by"):
        approve(world.bob, own.file_id)
    with world.db.login("carol") as carol:
        assert approve(carol, own.file_id).file.state is FileState.APPROVED


def test_a_preparer_and_the_app_cannot_approve_at_all(world: World) -> None:
    (proposed,) = world.propose()
    for conn in (world.alice, world.app):
        with pytest.raises(AccessError):
            approve(conn, proposed.file_id)
    assert world.one("SELECT count(*) FROM settlement.approval") == 0


def test_a_second_approver_finds_it_approved(world: World) -> None:
    (file_id,) = world.approve_all()
    with world.db.login("carol") as carol, pytest.raises(FileStateError, match="approved and cannot become approved"):
        approve(carol, file_id)


def test_even_the_owner_cannot_sign_for_others_or_what_it_prepared(world: World) -> None:
    insert = (
        "INSERT INTO settlement.approval SELECT file_id, sha256, instruction_count, total_minor,"
        " settlement.payee_digest(file_id), coalesce(%s, session_user) FROM settlement.payment_file WHERE file_id = %s"
    )
    with world.db.owner() as owner:
        (own,) = propose(owner, book_id=world.book_id, business_date=DAY, now=moment(), bank_account="eur-payouts")
        owner.commit()
        assert refused(owner, insert, world.db.role("bob"), own.file_id) is FourEyesError
        assert refused(owner, insert, None, own.file_id) is FourEyesError


def test_a_signature_under_something_else_is_refused(world: World) -> None:
    (proposed,) = world.propose()
    file = proposed.file
    call = "SELECT settlement.approve(%s, %s, %s, %s, settlement.payee_digest(%s))"
    for sha256, count, total in (
        ("0" * 64, file.instruction_count, file.total_minor),
        (file.sha256, file.instruction_count + 1, file.total_minor),
        (file.sha256, file.instruction_count, file.total_minor - 1),
    ):
        assert refused(world.bob, call, file.file_id, sha256, count, total, file.file_id) is FileTamperedError


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO settlement.approval (file_id, sha256, instruction_count, total_minor, payee_digest)"
        " VALUES (1, '', 1, 1, '')",
        "INSERT INTO settlement.file_event (file_id, ordinal, from_state, state) VALUES (1, 2, 'proposed', 'approved')",
        "INSERT INTO settlement.clearing_group (group_id, book_id, account_id, clearing_no, latest_cut_id,"
        " member_count, low_posting_id, high_posting_id) VALUES (1, 1, 1, 1, 1, 1, 1, 1)",
        "INSERT INTO settlement.hold_release (hold_id, reason) VALUES (1, 'mine')",
        "UPDATE settlement.payment_file SET total_minor = 1",
        "DELETE FROM settlement.file_event",
        "TRUNCATE settlement.approval",
        "SELECT settlement.add_file_event(1, 'approved')",
        "SELECT settlement.post_payouts(1)",
        "SELECT settlement.reopen('reject', '{1}', '{1}', '{x}', '2026-11-02', NULL)",
        "SELECT settlement.reopen_returned(1, 1, 'x', '2026-11-02', 1)",
        "SELECT settlement.begin_resending(1, now(), '', 0, '')",
        "SELECT settlement.count_send(1, 0, '', 0, '')",
        "SELECT settlement.add_send_journal('x')",
        "SELECT settlement.adopt_lost_send(1)",
        "INSERT INTO settlement.lost_send_end (lost_send_id, outcome) VALUES (1, 'not_sent')",
        "SELECT settlement.release_hold(1, 'mine')",
        "SELECT ledger.post_internal(1, 'settlement', NULL, '{k}', '{2026-11-02}', NULL, NULL, NULL, NULL,"
        " '{1}', '{1}', '{1}')",
    ],
)
def test_the_app_writes_through_the_granted_functions_only(world: World, statement: str) -> None:
    world.propose()
    assert refused(world.app, statement) is AccessError


@pytest.mark.parametrize(
    "table",
    [
        "run", "obligation", "payment_file", "instruction", "approval", "file_event",
        "instruction_event", "clearing_group", "reopening", "hold", "hold_release", "payee",
        "payee_version", "bank_profile_version", "bank_account_root", "bank_account_version", "message_received",
        "message_finding", "file_transition", "book_setup", "reserve_taken", "reserve_release", "payee_hold",
        "payee_hold_release", "details_release", "screening", "run_hold", "run_hold_release", "recall_request",
    ],
)  # fmt: skip
def test_what_is_written_stays_written_for_the_owner_too(world: World, table: str) -> None:
    name = sql.Identifier("settlement", table)
    with world.db.owner() as owner:
        for statement in (sql.SQL("DELETE FROM {}"), sql.SQL("TRUNCATE {} CASCADE")):
            with pytest.raises(AppendOnlyError), translate_errors():
                owner.execute(statement.format(name))
            owner.rollback()


def an_obligation(owner: Connection, account_id: object, postings: object) -> int:
    """An obligation of zero for these postings, as the owner can write any; its id."""
    row = owner.execute(
        "INSERT INTO settlement.obligation (run_id, payee_id, payee_version_id, account_id, owed_minor, pay_minor,"
        " rest_minor, posting_ids) SELECT run_id, (SELECT -count(*) FROM settlement.obligation), payee_version_id, %s,"
        " 0, 0, 0, %s FROM settlement.obligation LIMIT 1 RETURNING obligation_id",
        (account_id, postings),
    ).fetchone()
    assert row is not None
    owner.commit()
    return int(str(row[0]))


def as_superuser(owner: Connection) -> None:
    """The most anybody can be without changing the schema: a superuser in whose session ordinary triggers are off."""
    owner.execute("RESET ROLE")
    owner.execute("SET session_replication_role = replica")
    owner.commit()


GROUP = (
    "INSERT INTO settlement.clearing_group (group_id, book_id, account_id, latest_cut_id, member_count,"
    " clearing_no, low_posting_id, high_posting_id)"
    " SELECT obligation_id, 1, account_id, obligation_id, %s, coalesce(%s, (SELECT count(*) + 1"
    " FROM settlement.clearing_group g WHERE g.account_id = o.account_id)),"
    " (SELECT min(m) FROM unnest(posting_ids) m), (SELECT max(m) FROM unnest(posting_ids) m)"
    " FROM settlement.obligation o WHERE obligation_id = %s"
)


def postings_of(world: World, payee: str) -> list[int]:
    """The payee's open postings, oldest first."""
    rows = world.rows(f"SELECT posting_id FROM settlement.open_item WHERE payee = '{payee}' ORDER BY posting_id")
    return [int(str(row[0])) for row in rows]


def test_a_posting_is_claimed_once_for_ever(world: World) -> None:
    """Invariant 10, as the owner: a posting of two groups, a group that is not whole, one that is not the next."""
    world.pay()
    account, taken, debit = world.rows(
        "SELECT g.account_id, array_agg(m.posting_id ORDER BY m.posting_id), max(g.clearing_posting_id)"
        " FROM settlement.clearing_group g JOIN settlement.clearing_member m USING (group_id)"
        " GROUP BY group_id ORDER BY group_id LIMIT 1"
    )[0]
    assert isinstance(taken, list) and len(taken) == 2 and taken[1] == debit
    for minor in (5, -5, 700):
        world.owe("P1", minor)
    plus, minus, sold = postings_of(world, "P1")
    world.owe("P2", 5)
    (elsewhere,) = postings_of(world, "P2")
    members = {
        "what another group has taken": (taken, 2),
        "that, and something new": ([*taken, plus, minus], 4),
        "a clearing debit again": ([debit, sold], 2),
        "not what sums to zero": ([plus], 1),
        "fewer than it says": ([plus, minus], 3),
        "one of them twice": ([plus, minus, minus], 3),
        "a posting of another account": ([elsewhere, minus], 2),
        "a posting that is not there": ([plus, minus, 1], 3),
        "nothing known": ([1], 1),
        "not even a posting": ([plus, minus, None], 3),
    }
    with world.db.owner() as owner:
        as_superuser(owner)
        for what, (postings, count) in members.items():
            number = an_obligation(owner, account, postings)
            assert refused(owner, GROUP, count, None, number) is DuplicateClaimError, what
        number = an_obligation(owner, account, [minus, plus])  # in any order
        assert refused(owner, GROUP, 2, 1, number) is UnavailableError, "a number that is taken"
        stale = GROUP.replace("obligation_id, %s,", "obligation_id - 1, %s,")
        assert refused(owner, stale, 2, None, number) is UnavailableError, "not the account's latest cut"
        assert refused(owner, GROUP, 2, 3, number) is UnavailableError, "a number after a gap"
        reach = GROUP.replace("min(m)", "min(m) - 1")
        assert refused(owner, reach, 2, None, number) is DuplicateClaimError, "another reach than its postings'"
        again = an_obligation(owner, account, [plus, minus])
        owner.execute(GROUP, (2, None, number))
        assert refused(owner, GROUP, 2, None, again) is DuplicateClaimError, "taken in this transaction"
    assert postings_of(world, "P1") == [plus, minus, sold]


def test_of_two_groups_at_once_one_is_refused(world: World) -> None:
    """Two sessions take the same postings, neither sees the other: the second waits, then fails, at every isolation."""
    world.pay()
    world.owe("P1", 5)
    world.owe("P1", -5)
    items = postings_of(world, "P1")
    account = world.one("SELECT account_id FROM settlement.payee WHERE code = 'P1'")
    with world.db.owner() as first, world.db.owner() as second, ThreadPoolExecutor(1) as pool:
        one, other = an_obligation(first, account, items), an_obligation(first, account, items)
        as_superuser(first)
        as_superuser(second)
        first.execute(GROUP, (2, None, one))
        second.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        second.execute("SELECT count(*) FROM settlement.clearing_group")  # its snapshot: without the first's
        waits = pool.submit(refused, second, GROUP, 2, None, other)
        while not world.rows("SELECT FROM pg_locks WHERE NOT granted"):
            assert not waits.done()
        first.commit()
        assert waits.result() is UnavailableError
        assert refused(second, GROUP, 2, None, other) is DuplicateClaimError, "now it sees it"
        second.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        second.execute("SELECT count(*) FROM settlement.clearing_group")
        world.owe("P1", 7)
        world.owe("P1", -7)
        first.execute(GROUP, (2, None, an_obligation(first, account, postings_of(world, "P1"))))
        first.commit()
        assert refused(second, GROUP, 2, 4, other) is UnavailableError, "the one before is not in its snapshot"
    assert postings_of(world, "P1") == []


def test_groups_of_one_statement_share_nothing(world: World) -> None:
    world.pay()
    world.owe("P1", 5)
    world.owe("P1", -5)
    items = postings_of(world, "P1")
    account = world.one("SELECT account_id FROM settlement.payee WHERE code = 'P1'")
    with world.db.owner() as owner:
        numbers = [an_obligation(owner, account, items) for _ in range(2)]
        both = (
            "INSERT INTO settlement.clearing_group (group_id, book_id, account_id, latest_cut_id, member_count,"
            " clearing_no, low_posting_id, high_posting_id) SELECT n.id, 1, %s, n.id, 2, 1 + n.k, %s, %s"
            " FROM unnest(%s::bigint[]) WITH ORDINALITY n (id, k)"
        )
        assert refused(owner, both, account, items[0], items[1], numbers) is DuplicateClaimError
        assert verify_clearing(world.app, book_id=world.book_id) == ()
        owner.execute("RESET ROLE")
        owner.execute("ALTER TABLE settlement.clearing_group DISABLE TRIGGER check_groups")
        owner.execute(both, (account, items[0], items[1], numbers))
        owner.execute("ALTER TABLE settlement.clearing_group ENABLE ALWAYS TRIGGER check_groups")
        owner.commit()
    found = verify_clearing(world.app, book_id=world.book_id)
    assert [f.place for f in found] == [f"posting {item}" for item in items], "what only a change of the schema lets in"


def test_a_file_stands_where_its_last_event_says(world: World) -> None:
    (file_id,) = world.pay()
    with world.db.owner() as owner:
        move = "UPDATE settlement.file_standing SET ordinal = 1, state = 'proposed' WHERE file_id = %s"
        assert refused(owner, move, file_id) is AppendOnlyError
        assert refused(owner, "DELETE FROM settlement.file_standing") is AppendOnlyError
        owner.execute("RESET ROLE")
        owner.execute("ALTER TABLE settlement.file_standing DISABLE TRIGGER standing_by_event")
        owner.execute(move, (file_id,))
        owner.execute("ALTER TABLE settlement.file_standing ENABLE ALWAYS TRIGGER standing_by_event")
        owner.commit()
    found = verify_clearing(world.app, book_id=world.book_id)
    assert [f.place for f in found] == [f"file {file_id}"], "what only a change of the schema lets in"


def test_the_latest_cut_is_recomputed(world: World) -> None:
    """A frontier beyond what was cut would forget what lies below it; only a change of the schema lets it be moved."""
    world.pay()
    world.owe("P1", 5)
    world.pay(DAY + dt.timedelta(days=1))
    with world.db.owner() as owner:
        last = owner.execute("SELECT max(group_id) FROM settlement.clearing_group").fetchone()
        move = "UPDATE settlement.clearing_group SET latest_cut_id = latest_cut_id + 1 WHERE group_id = %s"
        assert last is not None and refused(owner, move, last[0]) is AppendOnlyError
        owner.execute("RESET ROLE")
        owner.execute("ALTER TABLE settlement.clearing_group DISABLE TRIGGER USER")
        owner.execute(move, last)
        owner.execute("ALTER TABLE settlement.clearing_group ENABLE TRIGGER USER")
        owner.commit()
    found = verify_clearing(world.app, book_id=world.book_id)
    assert [f.place for f in found] == [f"clearing group {last[0]}"]


def test_what_a_group_leaves_behind_can_be_taken_later(world: World) -> None:
    """A held posting lies among cleared ones for nights; released, it is paid, and found by its posting."""
    early = postings_of(world, "P1")
    assert hold_item(world.alice, posting_id=early[0], reason="disputed")
    for night in range(3):
        day = DAY + dt.timedelta(days=night)
        world.owe("P1", 100 + night, day=day)
        world.pay(day)
    release_hold(world.alice, posting_id=early[0], reason="settled")
    day = DAY + dt.timedelta(days=3)
    world.owe("P1", 103, day=day)
    assert [f.file.total_minor for f in world.propose(day)] == [700 + 103]
    world.pay(day)
    assert postings_of(world, "P1") == []
    by_posting = (
        "SELECT count(*) FROM settlement.clearing_member m"
        " CROSS JOIN LATERAL settlement.clearing_of(ARRAY[m.posting_id]) c"
        " JOIN settlement.lineage l ON l.posting_id = m.posting_id"
        " WHERE c.group_id = m.group_id AND l.group_id = m.group_id"
    )
    with world.db.owner() as owner:
        assert owner.execute(by_posting).fetchone() == (2 + 3 * 2 + 3,)
    assert world.one("SELECT count(*) FROM settlement.clearing_member") == 2 + 3 * 2 + 3


def test_a_group_and_a_reserve_are_what_they_say(world: World) -> None:
    """As the owner: a group of no obligation or on another account; more given back than was taken."""
    world.pay()
    group = (
        "INSERT INTO settlement.clearing_group (group_id, book_id, account_id, clearing_no, latest_cut_id,"
        " member_count, low_posting_id, high_posting_id) VALUES (%s, %s, %s, 1, 1, 1, 1, 1)"
    )
    with world.db.owner() as owner:
        assert refused(owner, group, 999_999, world.book_id, 1) is DuplicateClaimError
        owner.execute(
            "INSERT INTO settlement.obligation (run_id, payee_id, payee_version_id, account_id, owed_minor, pay_minor,"
            " rest_minor, posting_ids) SELECT run_id, -1, payee_version_id, account_id, 1, 1, 0, '{1}'"
            " FROM settlement.obligation LIMIT 1"
        )
        owner.commit()
        last = world.one("SELECT max(obligation_id) FROM settlement.obligation")
        assert refused(owner, group, last, world.book_id, 1) is DuplicateClaimError, "another account"
        taken = (
            "INSERT INTO settlement.reserve_taken (group_id, payee_id, kind, posting_id, amount_minor)"
            " SELECT min(group_id), 1, 'fixed', 1, 100 FROM settlement.clearing_group"
        )
        owner.execute(taken)
        owner.commit()
        assert refused(owner, taken) is DuplicateClaimError, "once a payment"
        back = (
            "INSERT INTO settlement.reserve_release (reserve_id, amount_minor, left_minor, why, entry_id,"
            " payable_posting_id) VALUES (1, %s, %s, 'due', 1, %s)"
        )
        assert refused(owner, back, 101, 0, 1) is DuplicateClaimError
        owner.execute(back, (60, 40, 2))
        assert refused(owner, back, 60, 40, 3) is DuplicateClaimError
        owner.execute(back, (60, 40, 2))
        assert refused(owner, back, 60, 0, 3) is DuplicateClaimError


def test_files_move_only_along_the_lattice(world: World) -> None:
    (proposed,) = world.propose()
    insert = "INSERT INTO settlement.file_event (file_id, ordinal, from_state, state) VALUES (%s, %s, %s, %s)"
    with world.db.owner() as owner:
        assert refused(owner, insert, proposed.file_id, 2, "proposed", "sealed") is FileStateError
        assert refused(owner, insert, proposed.file_id, 2, "approved", "sealed") is FileStateError
        assert refused(owner, insert, proposed.file_id, 3, "proposed", "rejected") is FileStateError
        assert refused(owner, insert, proposed.file_id, 2, "proposed", "approved") is FourEyesError
        assert refused(owner, insert, proposed.file_id, 2, "new", "proposed") is FileStateError


def test_an_unapproved_file_is_not_sealed_and_a_rejected_one_not_approved(world: World) -> None:
    (proposed,) = world.propose()
    with pytest.raises(FileStateError, match="is not approved"):
        seal(world.app, proposed.file_id, now=moment())
    assert reject(world.alice, proposed.file_id, reason="wrong day").is_new
    assert not reject(world.alice, proposed.file_id, reason="wrong day").is_new
    with pytest.raises(FileStateError, match="wrong day"):
        approve(world.bob, proposed.file_id)
    (again,) = world.propose()
    assert again.is_new
    assert again.file.total_minor == 1600


def test_releasing_a_hold_needs_a_person(world: World) -> None:
    with pytest.raises(AccessError):
        release_hold(world.app, posting_id=1, reason="the machine")
