"""What one person could do alone by SQL: say that a send failed, or do away with the limits that bind them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from nostro.database import Database
from settlement import FileState, FourEyesError, apply_setup, approve, payment_file
from tests.settlement_world import PayeeRow, World, begin_sending, make_world, write_setup

LIMITS = 'approvals: [{currency: EUR, limit: "5.00", dual_above: "4.00"}]\n'
GUARDS = "payee_changes: {cooling_off_hours: 48}\n"


@pytest.fixture
def world(db: Database, tmp_path: Path) -> Iterator[World]:
    made = make_world(db, tmp_path, [PayeeRow(code="P1")], accounts=("eur",), more=LIMITS + GUARDS)
    made.owe("P1", 700)
    yield made
    made.close()


def declare(world: World, conn: psycopg.Connection, more: str) -> None:
    assert apply_setup(conn, write_setup(world.home, world.payees, accounts=("eur",), more=more)).changed


@pytest.mark.parametrize("more", ["", LIMITS, GUARDS, LIMITS.replace("5.00", "9.00") + GUARDS])
def test_who_does_away_with_limits_or_guards_does_not_sign(world: World, more: str) -> None:
    declare(world, world.bob, more)
    (proposed,) = world.propose()
    with pytest.raises(FourEyesError, match="declared the approval limits"):
        approve(world.bob, proposed.file_id)


def test_a_change_of_nothing_that_guards_binds_nobody(db: Database, tmp_path: Path) -> None:
    world = make_world(db, tmp_path, [PayeeRow(code="P1")], accounts=("eur",))
    world.owe("P1", 700)
    declare(world, world.bob, "tolerances: {window_days: 3}\n")
    (proposed,) = world.propose()
    assert approve(world.bob, proposed.file_id).file.state is FileState.APPROVED
    world.close()


def test_only_who_sends_says_that_nothing_arrived(db: Database, tmp_path: Path) -> None:
    """Else a file that is at its bank would be sent again by whoever says so."""
    world = make_world(db, tmp_path, [PayeeRow(code="P1")], accounts=("eur",))
    world.owe("P1", 700)
    (file_id,) = world.approve_all()
    world.app.execute("SELECT settlement.seal(%s, '2026-11-02T12:00:00Z')", (file_id,))
    world.app.commit()
    begin_sending(world, world.app, file_id)
    ended = "SELECT settlement.end_sending(%s, %s, 'I say so')"
    with pytest.raises(psycopg.errors.InsufficientPrivilege) as refused:
        world.alice.execute(ended, (file_id, "failed"))
    assert refused.value.diag.constraint_name == "send_own_session"
    world.alice.rollback()
    world.app.execute(ended, (file_id, "failed"))
    world.app.commit()
    assert payment_file(world.app, file_id).state is FileState.FAILED
    world.close()
