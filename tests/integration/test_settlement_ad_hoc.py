"""Ad-hoc runs beside the night's: neither makes the other's payees wait without somebody's word."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest

from nostro.database import Database
from settlement import FileState, FileStateError, ProposalRefusedError, propose, reject
from tests.settlement_world import DAY, PayeeRow, World, make_world, moment


@pytest.fixture
def world(db: Database, tmp_path: Path) -> Iterator[World]:
    payees = [PayeeRow(code="A"), PayeeRow(code="B"), PayeeRow(code="M", schedule="manual")]
    made = make_world(db, tmp_path, payees, accounts=("eur",))
    yield made
    made.close()


def ad_hoc(world: World, *payees: str) -> list[int]:
    found = propose(world.app, book_id=world.book_id, business_date=DAY, now=moment(), payees=payees)
    return [proposed.file_id for proposed in found]


def standing(world: World) -> list[tuple[object, ...]]:
    return world.rows("SELECT file_id, state, total_minor FROM settlement.file_current ORDER BY file_id")


def test_the_night_and_an_ad_hoc_run_leave_each_others_files(world: World) -> None:
    world.owe("A", 500)
    world.owe("M", 100)
    (urgent,) = ad_hoc(world, "M")
    (night,) = [proposed.file_id for proposed in world.propose()]
    assert (ad_hoc(world, "M"), [p.file_id for p in world.propose()]) == ([urgent], [night]), "the same again"
    world.owe("M", 20)
    (more,) = ad_hoc(world, "M")
    world.owe("A", 50)
    (later,) = [proposed.file_id for proposed in world.propose()]
    assert standing(world) == [
        (urgent, "void", 100),
        (night, "void", 500),
        (more, "proposed", 120),
        (later, "proposed", 550),
    ]


def test_the_night_leaves_to_an_ad_hoc_run_what_it_pays(world: World) -> None:
    world.owe("A", 500)
    world.owe("B", 300)
    (urgent,) = ad_hoc(world, "A")
    world.owe("A", 7)
    ids = world.approve_all()
    assert standing(world) == [(urgent, "proposed", 500), (*ids, "approved", 307)]
    assert world.release(ids[0]).state is FileState.SENT
    reject(world.bob, urgent, reason="not so urgent")
    assert [proposed.file.total_minor for proposed in world.propose()] == [500]


def test_a_payee_is_not_taken_out_of_a_file_that_waits(world: World) -> None:
    world.owe("A", 500)
    world.owe("B", 300)
    (night,) = [proposed.file_id for proposed in world.propose()]
    world.owe("A", 50)
    with pytest.raises(FileStateError, match=rf"A is paid by file {night}, which waits for its approval"):
        ad_hoc(world, "A")
    assert standing(world) == [(night, "proposed", 800)]
    reject(world.bob, night, reason="A first")
    assert len(ad_hoc(world, "A")) == 1
    assert [proposed.file.total_minor for proposed in world.propose()] == [300]


def test_an_ad_hoc_run_closes_nobody_elses_zero(world: World) -> None:
    world.owe("A", 500)
    world.owe("B", 300)
    world.owe("M", 100)
    world.owe("A", -500)
    assert len(ad_hoc(world, "M")) == 1
    assert world.one("SELECT count(*) FROM settlement.clearing_group") == 0
    world.propose()
    assert world.one("SELECT count(*) FROM settlement.clearing_group") == 1


def test_a_mistyped_year_is_refused(world: World) -> None:
    world.owe("A", 500)
    with pytest.raises(ProposalRefusedError, match="2062-11-02 is more than a year ahead"):
        propose(world.app, book_id=world.book_id, business_date=dt.date(2062, 11, 2), now=moment())
