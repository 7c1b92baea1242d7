"""A collection is given back part by part: each by two people, in a file of its own, never more than was collected."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from lxml import etree

from nostro.database import Database
from recon import reconcile
from sandbox import Bank, BankBehaviour, read_setup
from settlement import (
    FileStateError,
    approve_recall,
    exceptions,
    poll,
    recalls,
    release_hold,
    request_file_reversal,
    request_reversal,
    send_recalls,
)
from tests.integration.test_settlement_reversals import (
    ACCOUNT,
    COLLECTED,
    START,
    TARGET,
    booked,
    collected,
    collecting,
    day_ends,
    reference,
    said_to_be_collected,
    stated,
)
from tests.settlement_world import World, moment, pain002

FRIDAY = TARGET.next_open(COLLECTED)
MONDAY = TARGET.next_open(FRIDAY)
PARTS = "lead_days: 2, partial_reversals: true"


@pytest.fixture
def world(db: Database, tmp_path: Path) -> Iterator[World]:
    with collecting(db, tmp_path, debit_terms=PARTS) as made:
        yield made


@pytest.fixture
def bank(world: World) -> Iterator[Bank]:
    with Bank(world.home, read_setup(world.home / "setup.yaml"), seed=5, behaviour=BankBehaviour()) as made:
        yield made


def ask(world: World, number: int, minor: int | None, payee: str = "D1") -> bool:
    return request_reversal(
        world.alice,
        end_to_end_id=reference(world, payee),
        reason_code="AM09",
        reason="less was agreed",
        amount_minor=minor,
        number=number,
    )


def parts(world: World, payee: str = "D1") -> list[tuple[int, int, str]]:
    found = [r for r in recalls(world.app, book_id=world.book_id) if r.payee == payee]
    world.app.rollback()
    assert {r.paid_minor for r in found} == {700}
    return [(r.request_no, r.amount_minor, r.state) for r in found]


def text_of(tree: etree._ElementTree, name: str) -> list[str | None]:
    return [node.text for node in tree.iter(f"{{*}}{name}")]


def test_two_parts_go_back_and_are_the_whole(world: World, bank: Bank, shared: Path) -> None:
    file_id = collected(world, bank)
    e2e = reference(world, "D1")
    assert ask(world, 1, 250)
    assert not ask(world, 1, 250), "the same again"
    assert not ask(world, 1, None)
    with pytest.raises(FileStateError, match=r"Part 1 of .* is 250 minor units, and not 251"):
        ask(world, 1, 251)
    with pytest.raises(FileStateError, match="given back once part 1 is approved"):
        ask(world, 2, 100)
    assert len(approve_recall(world.bob, file_id, now=moment(FRIDAY))) == 1
    with pytest.raises(FileStateError, match="250 were to be given back already and this would make 701"):
        ask(world, 2, 451)
    with pytest.raises(FileStateError, match="given back once part 2 is approved"):
        ask(world, 3, 100)
    assert ask(world, 2, None), "all that is left"
    assert [r.amount_minor for r in approve_recall(world.bob, file_id, now=moment(FRIDAY))] == [450]
    with pytest.raises(FileStateError, match="700 were to be given back already"):
        ask(world, 3, None)
    assert len(send_recalls(world.app, file_id, home=world.home)) == 2
    schema = etree.XMLSchema(etree.parse(shared / "xsd/pain.007.001.11.xsd"))
    written = []
    for path in sorted((world.home / "bank/nordbank/outbox").glob("*-R*.xml")):
        schema.assertValid(tree := etree.parse(path))
        written.append([text_of(tree, name) for name in ("RvslId", "OrgnlEndToEndId", "OrgnlInstdAmt", "RvsdInstdAmt")])
    assert written == [
        [[e2e], [e2e], ["7.00"], ["2.50"]],
        [[f"{e2e}-2"], [e2e], ["7.00"], ["4.50"]],
    ]
    assert day_ends(world, bank, FRIDAY) == []
    assert bank.balance(ACCOUNT) == START + 300
    assert parts(world) == [(1, 250, "reversed"), (2, 450, "reversed")]
    assert sorted(booked(world, f"return:{e2e}{part}")[1][1] for part in ("", ":2")) == [
        ("liabilities:payable:D1", 250),
        ("liabilities:payable:D1", 450),
    ]
    found = exceptions(world.app, book_id=world.book_id, as_of=FRIDAY)
    world.app.rollback()
    assert sorted((e.kind, e.amount_minor, e.meaning) for e in found) == [
        ("held", 250, "We gave it back (AM09)."),
        ("held", 450, "We gave it back (AM09)."),
    ]
    assert release_hold(world.bob, end_to_end_id=e2e, reason="it was owed after all")
    assert sum(p.file.total_minor for p in world.propose(MONDAY)) == 700


def test_the_second_part_follows_another_day_and_each_has_its_own_answer(world: World, bank: Bank) -> None:
    file_id = collected(world, bank)
    assert ask(world, 1, 200)
    approve_recall(world.bob, file_id, now=moment(FRIDAY))
    send_recalls(world.app, file_id, home=world.home)
    assert day_ends(world, bank, FRIDAY) == []
    assert parts(world) == [(1, 200, "reversed")]
    assert world.one("SELECT state FROM settlement.payout WHERE payee = 'D1'") == "partly_returned"
    assert request_file_reversal(world.alice, file_id, reason_code="MS02", reason="all") == 1, (
        "D2; of D1 a part was asked"
    )
    assert ask(world, 2, 300)
    approve_recall(world.bob, file_id, now=moment(MONDAY), end_to_end_ids=[reference(world, "D1")])
    (again, sent) = send_recalls(world.app, file_id, home=world.home)
    assert (again.is_new, sent.is_new) == (False, True)
    second = str(world.one("SELECT msg_id FROM settlement.recall_file WHERE part = 2"))
    world.answer("no.xml", pain002(second, statuses=[(reference(world, "D1"), "RJCT", "AM05")], report="R-9"))
    poll(world.app, home=world.home)
    assert parts(world) == [(1, 200, "reversed"), (2, 300, "refused")]
    found = exceptions(world.app, book_id=world.book_id, as_of=MONDAY)
    world.app.rollback()
    assert [(e.kind, e.payee, e.amount_minor, e.code) for e in found if e.kind == "reversal"] == [
        ("reversal", "D1", 300, "RJCT"),
        ("reversal", "D2", 300, None),
    ]


def test_a_line_of_more_than_was_given_back_is_for_a_person(world: World, bank: Bank) -> None:
    """The bank takes 3.00 where 2.00 were agreed: nothing is booked by policy; the right line is."""
    file_id = collected(world, bank)
    assert ask(world, 1, 200)
    approve_recall(world.bob, file_id, now=moment(COLLECTED))
    send_recalls(world.app, file_id, home=world.home)
    e2e = reference(world, "D1")
    stated(world, FRIDAY, "reversal", e2e, closing=START + 700, minor=300)
    stated(world, MONDAY, "reversal", e2e, closing=START + 500, minor=200)
    run = reconcile(world.app, book_id=world.book_id, business_date=MONDAY, home=world.home)
    assert [each.amount_minor for each in run.breaks] == [300]
    assert world.balance("liabilities:payable:D1") == 200
    assert parts(world) == [(1, 200, "reversed")]


def test_where_the_bank_takes_no_parts_only_the_whole_goes_back(db: Database, tmp_path: Path) -> None:
    with collecting(db, tmp_path, debit_terms="lead_days: 2") as world:
        world.pay()
        said_to_be_collected(world)
        with pytest.raises(FileStateError, match="takes no reversal of a part"):
            ask(world, 1, 699)
        assert ask(world, 1, 700)


def test_the_database_counts_what_is_given_back(world: World) -> None:
    """Whoever writes the rows: no gap, none before the last is approved, no more than collected, payments whole."""
    world.owe("P1", 500)
    world.pay()
    said_to_be_collected(world)
    request = (
        "INSERT INTO settlement.recall_request"
        " (instruction_id, request_no, amount_minor, asked_minor, reason_code, reason)"
        " SELECT instruction_id, %s, %s, %s, %s, 'x' FROM settlement.instruction WHERE payee_code = %s"
    )
    for row in (
        (1, 701, 701, "AM09", "D1"),
        (1, 300, 200, "AM09", "D1"),
        (2, 300, 300, "AM09", "D1"),
        (1, 499, 499, "CUST", "P1"),
    ):
        with world.db.owner() as owner, pytest.raises(psycopg.Error) as refused:
            owner.execute(request, row)
        assert refused.value.diag.constraint_name == "recall_total", row
