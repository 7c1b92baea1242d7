"""From what is owed to a file at the bank, in four currencies; and every step twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from nostro.database import Database
from settlement import (
    FileState,
    apply_setup,
    approve,
    file_content,
    payment_file,
    payout_report,
    poll,
    propose,
    release,
    run_status,
    seal,
)
from tests.ledger_books import fresh_database
from tests.settlement_world import DAY, PayeeRow, World, make_world, moment, pain002, write_setup
from tests.support import table_hashes

PAYEES = [
    PayeeRow(code="P1"),
    PayeeRow(code="P2", name="Zoë Müller & Söhne"),
    PayeeRow(code="G1", currency="GBP"),
    PayeeRow(code="J1", currency="JPY"),
    PayeeRow(code="K1", currency="KWD"),
]


@pytest.fixture
def world(db: Database, tmp_path: Path) -> Iterator[World]:
    made = make_world(db, tmp_path, PAYEES)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("account", "payee", "amount_minor", "written"),
    [
        ("eur-payouts", "P1", 12345, b'<InstdAmt Ccy="EUR">123.45</InstdAmt>'),
        ("gbp-payouts", "G1", 12345, b'<InstdAmt Ccy="GBP">123.45</InstdAmt>'),
        ("jpy-payouts", "J1", 12345, b'<InstdAmt Ccy="JPY">12345</InstdAmt>'),
        ("kwd-payouts", "K1", 12345, b'<InstdAmt Ccy="KWD">12.345</InstdAmt>'),
    ],
)
def test_a_payable_becomes_cash_in_transit_and_a_file_at_the_bank(
    world: World, account: str, payee: str, amount_minor: int, written: bytes
) -> None:
    world.owe(payee, amount_minor + 100)
    world.owe(payee, -100)
    (proposed,) = world.propose(account=account)
    assert (proposed.file.state, proposed.file.total_minor, proposed.is_new) == (
        FileState.PROPOSED,
        amount_minor,
        True,
    )
    approval = approve(world.bob, proposed.file_id)
    assert (approval.warning, approval.file.approved_by) == (None, world.db.role("bob"))
    assert world.release(proposed.file_id).state is FileState.SENT

    bank = "nordbank" if account == "eur-payouts" else "island"
    sent = world.home / "bank" / bank / "outbox" / f"{proposed.file.msg_id}.xml"
    assert sent.read_bytes() == file_content(world.app, proposed.file_id)
    assert written in sent.read_bytes()
    assert world.balance(f"liabilities:payable:{payee}") == 0
    assert world.balance(f"assets:transit:{account}") == -amount_minor
    (payout,) = payout_report(world.app, book_id=world.book_id)
    assert (payout.payee, payout.amount_minor, payout.state) == (payee, amount_minor, "sent")


def test_all_bank_accounts_are_proposed_together(world: World) -> None:
    for payee in PAYEES:
        world.owe(payee.code, 5000)
    proposed = propose(world.app, book_id=world.book_id, business_date=DAY, now=moment())
    assert [(p.file.bank_account, p.file.instruction_count) for p in proposed] == [
        ("eur-payouts", 2),
        ("gbp-payouts", 1),
        ("jpy-payouts", 1),
        ("kwd-payouts", 1),
    ]
    assert [run.state for run in run_status(world.app, book_id=world.book_id)] == ["proposed"] * 4


def test_every_step_a_second_time_changes_nothing(world: World, tmp_path: Path) -> None:
    world.owe("P1", 700)
    world.owe("P2", 900)

    def unchanged() -> dict[str, str]:
        with world.db.owner() as owner:
            return table_hashes(owner)

    (first,) = world.propose()
    before = unchanged()
    (again,) = world.propose()
    assert (again.file, again.is_new) == (first.file, False)
    assert unchanged() == before

    assert approve(world.bob, first.file_id).is_new
    before = unchanged()
    assert not approve(world.bob, first.file_id).is_new
    assert unchanged() == before

    assert seal(world.app, first.file_id, now=moment()).is_new
    before = unchanged()
    assert not seal(world.app, first.file_id, now=moment()).is_new
    assert unchanged() == before

    assert world.release(first.file_id).is_new
    before = unchanged()
    sent = next((world.home / "bank/nordbank/outbox").iterdir())
    stamp = sent.stat().st_mtime_ns
    assert not world.release(first.file_id).is_new
    assert sent.stat().st_mtime_ns == stamp
    assert world.propose() == []
    assert unchanged() == before

    world.answer("r1.xml", pain002(first.file.msg_id, group="ACSC"))
    (message,) = poll(world.app, home=world.home).messages
    assert (message.is_new, message.changed, message.findings) == (True, 2, ())
    before = unchanged()
    (repeated,) = poll(world.app, home=world.home).messages
    assert not repeated.is_new
    apply_setup(world.app, write_setup(tmp_path, PAYEES))
    assert unchanged() == before
    assert payment_file(world.app, first.file_id).state is FileState.EXECUTED


def test_the_same_books_give_the_same_bytes(world: World, template: Database, tmp_path: Path) -> None:
    world.owe("P1", 700)
    (proposed,) = world.propose()
    content = file_content(world.app, proposed.file_id)
    with fresh_database(template, "nostro_test_twin") as twin:
        folder = tmp_path / "twin"
        folder.mkdir()
        other = make_world(twin, folder, PAYEES)
        other.owe("P1", 700)
        (same,) = other.propose()
        assert file_content(other.app, same.file_id) == content
        other.close()


def test_a_big_proposal_is_split_by_the_banks_maximum(db: Database, tmp_path: Path) -> None:
    payees = [PayeeRow(code=f"P{n}") for n in range(7)]
    world = make_world(db, tmp_path, payees, max_transactions=3)
    for payee in payees:
        world.owe(payee.code, 100)
    proposed = world.propose()
    assert [(p.file.part, p.file.instruction_count) for p in proposed] == [(1, 3), (2, 3), (3, 1)]
    assert len({p.file.msg_id for p in proposed}) == 3
    for p in proposed:
        approve(world.bob, p.file_id)
        assert release(world.app, p.file_id, home=world.home, now=moment()).state is FileState.SENT
    assert world.balance("assets:transit:eur-payouts") == -700
    world.close()


def test_an_approval_warns_when_the_account_would_be_short(db: Database, tmp_path: Path) -> None:
    world = make_world(db, tmp_path, PAYEES, accounts=("eur", "gbp", "jpy", "kwd"), openings={"eur": "10.00"})
    world.owe("P1", 700)
    (first,) = world.propose()
    assert approve(world.bob, first.file_id).warning is None
    world.owe("P2", 550)
    (second,) = world.propose()
    approval = approve(world.bob, second.file_id)
    assert approval.cash_after_minor == -250
    assert approval.warning == "eur-payouts would be short of 2.50 EUR; fund it before the cut-off."
    world.close()
