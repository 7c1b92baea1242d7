"""Who may do what, and what nobody may: four eyes, invariant 10 and the lattices, by raw SQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg import sql

from ledger import AccessError, AppendOnlyError, Connection, NostroError, translate_errors
from nostro.database import Database
from settlement import (
    DuplicateClaimError,
    FileState,
    FileStateError,
    FileTamperedError,
    FourEyesError,
    approve,
    propose,
    reject,
    release_hold,
    seal,
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
        "INSERT INTO settlement.clearing_member VALUES (1, 1, 1)",
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
        "instruction_event", "clearing_group", "clearing_member", "reopening", "hold", "hold_release", "payee",
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


def test_a_posting_is_claimed_once_for_ever(world: World) -> None:
    """Invariant 10, as the owner: a member without its group, a posting of two groups, a group that is not whole."""
    world.pay()
    member = world.rows("SELECT book_id, posting_id, group_id FROM settlement.clearing_member ORDER BY posting_id")[0]
    insert = "INSERT INTO settlement.clearing_member (book_id, posting_id, group_id) VALUES (%s, %s, %s)"
    obligation = (
        "INSERT INTO settlement.obligation (run_id, payee_id, payee_version_id, account_id, owed_minor, pay_minor,"
        " rest_minor, posting_ids)"
        " SELECT o.run_id, -o.payee_id - %s, o.payee_version_id, o.account_id, 0, 0, 0, %s::bigint[]"
        " FROM settlement.obligation o JOIN settlement.clearing_member m ON m.group_id = o.obligation_id"
        " WHERE m.posting_id = %s RETURNING obligation_id, account_id"
    )
    group = (
        "INSERT INTO settlement.clearing_group (group_id, book_id, account_id, member_count) VALUES (%s, %s, %s, %s)"
    )
    taken = world.rows(
        "SELECT array_agg(c.posting_id ORDER BY c.posting_id) FROM settlement.clearing_member c WHERE c.group_id = %s",
        member[2],
    )[0][0]
    assert isinstance(taken, list)
    with world.db.owner() as owner:
        assert refused(owner, insert, *member) is AppendOnlyError
        world.owe("P1", 5)
        open_item = world.one("SELECT posting_id FROM settlement.open_item")
        assert refused(owner, insert, member[0], open_item, member[2]) is AppendOnlyError
        members = {
            "what another group has taken": (taken, len(taken)),
            "not what sums to zero": (taken[:-1], len(taken) - 1),
            "fewer than it says": (taken, len(taken) + 1),
            "one of them twice": ([*taken, taken[0]], len(taken) + 1),
            "a posting of another account": ([open_item], 1),
        }
        for number, (what, (postings, count)) in enumerate(members.items()):
            row = owner.execute(obligation, (number, postings, member[1])).fetchone()
            assert row is not None
            owner.commit()
            assert refused(owner, group, row[0], member[0], row[1], count) is DuplicateClaimError, what


def test_a_group_and_a_reserve_are_what_they_say(world: World) -> None:
    """As the owner: a group of no obligation or on another account; more given back than was taken."""
    world.pay()
    group = "INSERT INTO settlement.clearing_group (group_id, book_id, account_id, member_count) VALUES (%s, %s, %s, 1)"
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
