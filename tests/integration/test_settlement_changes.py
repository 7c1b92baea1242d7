"""Something changed between proposal and seal: the file becomes void, says why, and nothing moves."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ledger import RefusedError
from nostro.database import Database
from settlement import (
    FileState,
    FileTamperedError,
    apply_setup,
    approve,
    hold_item,
    payment_file,
    release,
    seal,
)
from tests.settlement_world import DAY, PayeeRow, World, make_world, moment, write_setup

PAYEES = [PayeeRow(code="P1"), PayeeRow(code="P2")]


@pytest.fixture
def world(db: Database, tmp_path: Path) -> Iterator[World]:
    made = make_world(db, tmp_path, PAYEES)
    made.owe("P1", 700)
    made.owe("P2", 900)
    yield made
    made.close()


def new_iban(world: World) -> None:
    write_setup(world.home, [PayeeRow(code="P1", iban="BG80BNBG96611020345678"), PAYEES[1]])
    assert apply_setup(world.app, world.home / "setup.yaml").changed_payees == 1


def chargeback(world: World) -> None:
    world.owe("P1", -1)


def hold(world: World) -> None:
    posting = int(str(world.one("SELECT min(posting_id) FROM settlement.open_item")))
    hold_item(world.alice, posting_id=posting, reason="sanctions hit")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (new_iban, "the details or rules of payee P1 changed"),
        (chargeback, "payee P1 owes 1 minor units since"),
        (hold, "is held: sanctions hit"),
    ],
)
def test_a_change_voids_the_file_and_the_next_proposal_is_right(
    world: World, change: Callable[[World], None], reason: str
) -> None:
    (file_id,) = world.approve_all()
    change(world)
    result = release(world.app, file_id, home=world.home, now=moment())
    assert result.state is FileState.VOID
    assert reason in str(result.reason)
    assert payment_file(world.app, file_id).state is FileState.VOID
    assert world.balance("assets:transit:eur-payouts") == 0
    assert not (world.home / "bank").exists()
    assert release(world.app, file_id, home=world.home, now=moment()) == seal(world.app, file_id, now=moment())
    (again,) = world.propose()
    assert again.is_new


def test_the_cutoff_voids(world: World) -> None:
    (file_id,) = world.approve_all()
    late = moment() + dt.timedelta(hours=7)  # 19:00 UTC is 20:00 in Berlin
    result = seal(world.app, file_id, now=late)
    assert result.state is FileState.VOID
    assert "cut-off" in str(result.reason)


def test_a_member_that_another_file_paid_voids(world: World) -> None:
    """Two files over the same postings can only arise from outside; the seal still refuses the second."""
    (first,) = world.approve_all()
    with world.db.owner() as owner:
        # A twin of the run, as if a second proposer had not seen the first one's approval.
        owner.execute(
            "INSERT INTO settlement.run (book_id, bank_account_id, profile_id, account_version, business_date, cycle,"
            " proposed_at, execution_date, cutoff_at, prepared_by)"
            " SELECT book_id, bank_account_id, profile_id, account_version, business_date, 99, proposed_at,"
            " execution_date, cutoff_at, prepared_by FROM settlement.run"
        )
        owner.execute(
            "INSERT INTO settlement.obligation (run_id, payee_id, payee_version_id, account_id, owed_minor, pay_minor,"
            " rest_minor, posting_ids) SELECT (SELECT max(run_id) FROM settlement.run), payee_id, payee_version_id,"
            " account_id, owed_minor, pay_minor, rest_minor, posting_ids FROM settlement.obligation WHERE payee_id = 1"
        )
        owner.execute(
            "INSERT INTO settlement.payment_file (run_id, part, book_id, bank_account_id, rail, currency_id,"
            " msg_id, instruction_count, total_minor, content)"
            " SELECT (SELECT max(run_id) FROM settlement.run), 1, book_id, bank_account_id, rail, currency_id,"
            " 'TWIN', 1, 700, 'x' FROM settlement.payment_file"
        )
        owner.execute(
            "INSERT INTO settlement.payment_batch (file_id, batch, payment_information_id, execution_date,"
            " charge_bearer, instruction_count, total_minor) SELECT (SELECT max(file_id) FROM settlement.payment_file),"
            " 1, 'TWIN-G', execution_date, 'SLEV', 1, 700 FROM settlement.payment_batch"
        )
        owner.execute(
            "INSERT INTO settlement.instruction (instruction_id, file_id, batch, ordinal, payee_id, payee_code,"
            " payee_name, payee_iban, payable_account_id, amount_minor, end_to_end_id, uetr, execution_date)"
            " SELECT (SELECT max(obligation_id) FROM settlement.obligation),"
            " (SELECT max(file_id) FROM settlement.payment_file), 1, 1, payee_id, payee_code, payee_name, payee_iban,"
            " payable_account_id, 700, 'TWIN-1', NULL, execution_date FROM settlement.instruction WHERE payee_id = 1"
        )
        twin = owner.execute("SELECT max(file_id) FROM settlement.payment_file").fetchone()
        assert twin is not None
        twin_id = int(str(twin[0]))
        owner.execute("SELECT settlement.add_file_event(%s, 'proposed')", (twin_id,))
        owner.commit()
    with pytest.raises(FileTamperedError, match="does not say what is owed"):
        approve(world.bob, twin_id)
    sign = "SELECT settlement.approve(%s, encode(sha256('x'), 'hex'), 1, 700, settlement.payee_digest(%s))"
    world.bob.execute(sign, (twin_id, twin_id))
    world.bob.commit()
    assert seal(world.app, first, now=moment()).state is FileState.SEALED
    world.owe("P1", 700)  # so that the payee's balance would bear the twin, and only the key of members refuses
    result = seal(world.app, twin_id, now=moment())
    assert result.state is FileState.VOID
    assert "was cleared by another payment" in str(result.reason)
    assert world.balance("assets:transit:eur-payouts") == -1600


def test_steps_that_commit_refuse_a_callers_open_transaction(world: World) -> None:
    (file_id,) = world.approve_all()
    with pytest.raises(RefusedError, match="your own transaction"), world.app.transaction():
        seal(world.app, file_id, now=moment())
    assert payment_file(world.app, file_id).state is FileState.APPROVED


def test_a_new_day_after_a_void_file_pays_it(world: World) -> None:
    (file_id,) = world.approve_all()
    chargeback(world)
    assert seal(world.app, file_id, now=moment()).state is FileState.VOID
    world.pay(DAY + dt.timedelta(days=1))
    assert world.balance("assets:transit:eur-payouts") == -1599
