"""How a mandate is used up: presented as the first once, once in all, or for the last time."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest

from nostro.database import Database
from settlement import change_payee, file_content, netting, poll
from tests.settlement_world import DAY, PayeeRow, World, make_world, pain002

DAYS = [DAY + dt.timedelta(days=n) for n in range(4)]
SEQUENCES = ("FRST", "RCUR", "OOFF", "FNAL")
DEBTORS = [PayeeRow(code=s, negative="debit", mandate=f"M-{s}/2026-01-05/CORE/{s}") for s in SEQUENCES]
LATER = PayeeRow(code="LATER", negative="debit", mandate="M-L/2026-11-04/CORE/RCUR")


@pytest.fixture
def world(db: Database, tmp_path: Path) -> Iterator[World]:
    debtors = [*DEBTORS, LATER]
    made = make_world(db, tmp_path, debtors, accounts=("eur",), collects=True, batches="several_batches: true")
    yield made
    made.close()


def collected(world: World, day: dt.date) -> dict[str, str]:
    """By payee, as what its debit of that day was presented."""
    rows = world.rows(
        "SELECT i.payee_code, b.sequence_type FROM settlement.instruction i"
        " JOIN settlement.payment_batch b USING (file_id, batch) JOIN settlement.payment_file f USING (file_id)"
        " JOIN settlement.run r USING (run_id) WHERE r.business_date = %s ORDER BY 1",
        day,
    )
    return {str(payee): str(sequence) for payee, sequence in rows}


def test_each_mandate_is_used_as_far_as_it_goes(world: World) -> None:
    told = []
    for day in DAYS[:3]:
        for row in world.payees:
            world.owe(row.code, -100, day=day)
        (file_id,) = world.pay(day)
        told.append(collected(world, day))
    assert told == [
        {"FRST": "FRST", "RCUR": "RCUR", "OOFF": "OOFF", "FNAL": "FNAL"},
        {"FRST": "RCUR", "RCUR": "RCUR"},
        {"FRST": "RCUR", "RCUR": "RCUR", "LATER": "RCUR"},
    ]
    assert file_content(world.app, file_id).count(b"<SeqTp>RCUR</SeqTp>") == 1
    world.app.rollback()
    left = {
        n.payee: (n.outcome, n.owed_minor) for n in netting(world.app, book_id=world.book_id, business_date=DAYS[3])
    }
    assert left == {"OOFF": ("negative", -200), "FNAL": ("negative", -200)}


def test_what_the_bank_rejected_was_no_collection(world: World) -> None:
    for payee in ("FRST", "OOFF"):
        world.owe(payee, -100)
    world.pay()
    msg_id = str(world.one("SELECT msg_id FROM settlement.payment_file"))
    world.answer("r.xml", pain002(msg_id, group="RJCT", group_reason="AM04"))
    poll(world.app, home=world.home)
    for payee in ("FRST", "OOFF"):
        world.owe(payee, -100, day=DAYS[1])
    world.propose(DAYS[1])
    assert collected(world, DAYS[1]) == {"FRST": "FRST", "OOFF": "OOFF"}


def test_another_account_under_the_same_mandate_is_said_once(world: World) -> None:
    told = []
    for day, iban in zip(
        DAYS, ("NL91ABNA0417164300", "BG80BNBG96611020345678", "BG80BNBG96611020345678"), strict=False
    ):
        change_payee(world.alice, book_id=world.book_id, payee="RCUR", details={"iban": iban})
        world.owe("RCUR", -100, day=day)
        (file_id,) = world.pay(day)
        content = file_content(world.app, file_id)
        world.app.rollback()
        told.append((b"<AmdmntInd>true</AmdmntInd>" in content, b"<Id>SMNDA</Id>" in content))
    assert told == [(False, False), (True, True), (False, False)]
