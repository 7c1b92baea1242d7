"""Collected direct debits are given back: by two people, in one gated pain.007, sent once, booked by the statement."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from lxml import etree

from ledger import format_amount, verify
from nostro.database import Database
from recon import arrived_files, ingest_files, reconcile
from sandbox import Bank, BankBehaviour, read_setup
from settlement import (
    FileState,
    FileStateError,
    FourEyesError,
    approve_recall,
    exceptions,
    poll,
    recalls,
    release_hold,
    request_file_reversal,
    request_recall,
    request_reversal,
    send_recalls,
)
from settlement.business_days import Calendar
from tests.integration.test_accounting_returns import documented
from tests.settlement_world import DAY, PayeeRow, World, make_world, moment, pain002
from tests.unit.recon.camt_files import balance, details, document, entry, statement

TARGET = Calendar("ECB", "Europe/Berlin")
ACCOUNT = "eur-payouts"
START = 1_000_000_00
COLLECTED = TARGET.add_open_days(DAY, 2)  # the debtors' accounts are debited two open days after the run
PAYEES = [
    PayeeRow(code="P1"),
    PayeeRow(code="D1", negative="debit", mandate="M-1/2025-01-01/CORE/RCUR"),
    PayeeRow(code="D2", negative="debit", mandate="M-2/2025-01-01/CORE/RCUR"),
]


@contextmanager
def collecting(db: Database, folder: Path, **options: object) -> Iterator[World]:
    """A company that two debtors owe; its books prove when it is left."""
    made = make_world(db, folder, PAYEES, accounts=("eur",), collects=True, **options)
    try:
        made.owe("D1", -700)
        made.owe("D2", -300)
        yield made
        assert verify(made.app, book_id=made.book_id) == ()
    finally:
        made.close()


@pytest.fixture
def world(db: Database, tmp_path: Path) -> Iterator[World]:
    with collecting(db, tmp_path) as made:
        yield made


@pytest.fixture
def bank(world: World) -> Iterator[Bank]:
    with Bank(world.home, read_setup(world.home / "setup.yaml"), seed=5, behaviour=BankBehaviour()) as made:
        yield made


def day_ends(world: World, bank: Bank, day: dt.date) -> list[str]:
    """The bank closes; the company reads what it says and reconciles. The codes of what is not explained."""
    bank.receive()
    bank.close_day(day)
    poll(world.app, home=world.home, book_id=world.book_id)
    arrived = arrived_files(world.app, book_id=world.book_id, home=world.home)
    ingest_files(world.app, book_id=world.book_id, paths=arrived)
    run = reconcile(world.app, book_id=world.book_id, business_date=day, home=world.home)
    assert world.balance(f"assets:bank:{ACCOUNT}") == bank.balance(ACCOUNT)
    return [each.code for each in run.breaks]


def collected(world: World, bank: Bank) -> int:
    """D1 and D2 are collected from, and the statement shows it; the payment file."""
    (file_id,) = world.pay()
    for number in range(2):
        bank.receive()
        bank.close_day(TARGET.add_open_days(DAY, number))
    assert day_ends(world, bank, COLLECTED) == []
    assert bank.balance(ACCOUNT) == START + 1000
    return file_id


def said_to_be_collected(world: World) -> int:
    """The bank says that D1 and D2 were collected from; the payment file."""
    file_id = int(str(world.one("SELECT file_id FROM settlement.instruction WHERE payee_code = 'D1'")))
    msg_id = str(world.one("SELECT msg_id FROM settlement.payment_file WHERE file_id = %s", file_id))
    world.answer("collected.xml", pain002(msg_id, group="ACSC", report="R-1"))
    poll(world.app, home=world.home)
    return file_id


def reference(world: World, payee: str) -> str:
    return str(world.one("SELECT end_to_end_id FROM settlement.instruction WHERE payee_code = %s", payee))


def ask(world: World, payee: str = "D1", code: str = "AM05") -> str:
    e2e = reference(world, payee)
    assert request_reversal(world.alice, end_to_end_id=e2e, reason_code=code, reason="collected twice")
    return e2e


def states(world: World) -> dict[str, tuple[str, str, str | None]]:
    found = {r.payee: (r.kind, r.state, r.answer) for r in recalls(world.app, book_id=world.book_id)}
    world.app.rollback()
    return found


def booked(world: World, key: str) -> tuple[dt.date, list[tuple[str, int]]]:
    """Day and legs of an entry, in the order of their accounts."""
    rows = world.rows(
        "SELECT n.effective_date, a.code, p.amount_minor FROM ledger.entry n JOIN ledger.posting p USING (entry_id)"
        " JOIN ledger.account a USING (account_id) WHERE n.idempotency_key = %s",
        key,
    )
    (day,) = {day for day, _, _ in rows}
    assert isinstance(day, dt.date)
    return day, sorted((str(code), int(str(minor))) for _, code, minor in rows)


def test_two_people_give_a_collection_back_and_the_statement_books_it(world: World, bank: Bank, shared: Path) -> None:
    with pytest.raises(FileStateError, match="cannot be reversed"):
        request_reversal(world.alice, end_to_end_id="NOPE", reason_code="AM05", reason="x")
    file_id = collected(world, bank)
    e2e = ask(world)
    assert not request_reversal(world.alice, end_to_end_id=e2e, reason_code="MS02", reason="again")
    friday = TARGET.next_open(COLLECTED)
    (approved,) = approve_recall(world.bob, file_id, now=moment(friday))
    msg_id = str(world.one("SELECT msg_id FROM settlement.payment_file"))
    assert (approved.kind, approved.state, approved.msg_id) == ("reversal", "approved", f"{msg_id}-R1")
    assert world.one("SELECT deadline FROM settlement.recall_file") == dt.datetime(2026, 11, 11, 23, tzinfo=dt.UTC)
    for is_new in (True, False):
        (sent,) = send_recalls(world.app, file_id, home=world.home)
        assert (sent.state, sent.is_new) == (FileState.SENT, is_new)
    (path,) = (world.home / "bank/nordbank/outbox").glob("*-R*.xml")
    etree.XMLSchema(etree.parse(shared / "xsd/pain.007.001.11.xsd")).assertValid(etree.parse(path))
    assert world.balance("liabilities:payable:D1") == 0, "only a statement moves money"
    assert world.rows("SELECT payee, state FROM settlement.payout ORDER BY 1") == [
        ("D1", "reversing"),
        ("D2", "executed"),
    ]

    assert day_ends(world, bank, friday) == []
    assert bank.balance(ACCOUNT) == START + 300
    assert states(world) == {"D1": ("reversal", "reversed", "ACCP, ACTC")}
    day, key, legs = documented("reversed")["reversal"]
    assert booked(world, key.format(EndToEndId=e2e)) == (day, legs)
    line = world.one(
        "SELECT n.idempotency_key FROM recon.statement_line l JOIN ledger.posting p ON p.posting_id = l.t_posting_id"
        " JOIN ledger.entry n USING (entry_id) WHERE l.is_reversal"
    )
    day, key, legs = documented("reversed")["line"]
    assert str(line).startswith("line:eur-payouts:") and booked(world, str(line)) == (day, legs)
    assert world.one("SELECT count(*) FROM settlement.recall_return") == 1
    assert world.rows("SELECT payee_code, state FROM settlement.instruction_current ORDER BY 1") == [
        ("D1", "returned"),
        ("D2", "executed"),
    ], "the answer to the reversal moved no collection"
    (held,) = exceptions(world.app, book_id=world.book_id, as_of=friday)
    world.app.rollback()
    assert (held.kind, held.policy, held.meaning) == ("held", "stop", "We gave it back (AM05).")
    assert world.propose(friday) == [], "what went back is not collected again before a person says so"
    assert release_hold(world.bob, end_to_end_id=e2e, reason="it was owed after all")
    assert sum(p.file.total_minor for p in world.propose(TARGET.next_open(friday))) == 700


def test_what_is_not_settled_or_too_late_or_one_persons_is_not_given_back(world: World, bank: Bank) -> None:
    world.owe("P1", 500)
    world.pay()
    file_id = int(str(world.one("SELECT file_id FROM settlement.instruction WHERE payee_code = 'D1'")))
    cases = {"P1": "is no collection and cannot be reversed", "D1": "is sent and cannot be reversed"}
    for payee, why in cases.items():
        with pytest.raises(FileStateError, match=why):
            request_reversal(world.alice, end_to_end_id=reference(world, payee), reason_code="AM05", reason="x")
    with pytest.raises(FileStateError, match="holds nothing to ask for"):
        request_file_reversal(world.alice, file_id, reason_code="AM05", reason="x")
    said_to_be_collected(world)
    with pytest.raises(FileStateError, match="DUPL is no reason to give a collection back"):
        request_reversal(world.alice, end_to_end_id=reference(world, "D1"), reason_code="DUPL", reason="x")
    with pytest.raises(FileStateError, match="is a collection and cannot be recalled"):
        request_recall(world.alice, end_to_end_id=reference(world, "D1"), reason_code="DUPL", reason="x")
    assert request_file_reversal(world.bob, file_id, reason_code="MS02", reason="all of it") == 2
    with pytest.raises(FourEyesError, match="cannot approve it"):
        approve_recall(world.bob, file_id, now=moment(COLLECTED))
    with world.db.login("carol") as carol:
        late = TARGET.add_open_days(COLLECTED, 6)
        with pytest.raises(FileStateError, match="reversals of it were taken until 2026-11-11"):
            approve_recall(carol, file_id, now=moment(late))
        refused_by_the_database(world, file_id)
        assert len(approve_recall(carol, file_id, now=moment(TARGET.add_open_days(COLLECTED, 5)))) == 2
    msg_id = str(world.one("SELECT msg_id FROM settlement.recall_file"))
    world.answer("early.xml", pain002(msg_id, group="RJCT", report="R0"))
    (early,) = (m for m in poll(world.app, home=world.home).messages if m.is_new)
    assert [f.message for f in early.findings] == [f"it answers recall 1 of file {file_id}, which was never sent"]


def refused_by_the_database(world: World, file_id: int) -> None:
    """Whoever writes the rows: no reversal after its deadline, none without one."""
    file = (
        "INSERT INTO settlement.recall_file"
        " (file_id, part, msg_id, created_at, payment_count, sha256, content, deadline)"
        " VALUES (%s, 7, 'X', '2026-11-12T00:00Z', 2, encode(sha256(''), 'hex'), '', %s)"
    )
    member = (
        "INSERT INTO settlement.recall_member"
        " SELECT instruction_id, file_id, 7 FROM settlement.instruction WHERE file_id = %s"
    )
    for deadline, constraint in (("2026-11-11T23:00Z", "recall_in_time"), (None, "recall_kind")):
        with world.db.owner() as owner, pytest.raises(psycopg.Error) as refused:
            owner.execute(file, (file_id, deadline))
            owner.execute(member, (file_id,))
        assert refused.value.diag.constraint_name == constraint


def test_a_refused_reversal_leaves_the_collection(world: World) -> None:
    world.pay()
    file_id = said_to_be_collected(world)
    ask(world), ask(world, "D2", "MD05")
    approve_recall(world.bob, file_id, now=moment(COLLECTED))
    msg_id = str(world.one("SELECT msg_id FROM settlement.recall_file"))
    send_recalls(world.app, file_id, home=world.home)
    answers = [(reference(world, "D1"), "RJCT", "AM05"), ("STRANGER", "RJCT", "AM05")]
    world.answer("a.xml", pain002(msg_id, group="ACCP", statuses=answers, report="R8"))
    (told,) = (m for m in poll(world.app, home=world.home).messages if m.is_new)
    assert [(f.code, f.reference) for f in told.findings] == [("unknown_reference", "STRANGER")]
    assert states(world) == {"D1": ("reversal", "refused", "RJCT AM05"), "D2": ("reversal", "sent", "ACCP")}
    assert set(world.rows("SELECT state FROM settlement.instruction_current")) == {("executed",)}
    assert world.one("SELECT count(*) FROM settlement.reopening") == 0
    waiting = {e.payee: (e.kind, e.code) for e in exceptions(world.app, book_id=world.book_id, as_of=COLLECTED)}
    world.app.rollback()
    assert waiting == {
        "D1": ("reversal", "RJCT"),
        "D2": ("reversal", "ACCP"),
        None: ("unknown", "pain.002"),  # the stranger in the answer
    }


def test_a_refund_and_a_reversal_of_one_collection_are_booked_once(world: World, bank: Bank) -> None:
    """The payer's bank refunds what we gave back too: the second line is a break, whichever it is."""
    file_id = collected(world, bank)
    e2e = ask(world)
    approve_recall(world.bob, file_id, now=moment(COLLECTED))
    send_recalls(world.app, file_id, home=world.home)
    days = [TARGET.add_open_days(COLLECTED, number) for number in (1, 2)]
    for number, (day, kind) in enumerate(zip(days, ("refund", "reversal"), strict=True), 1):
        stated(world, day, kind, e2e, closing=START + 1000 - 700 * number)
    run = reconcile(world.app, book_id=world.book_id, business_date=days[1], home=world.home)
    assert [(each.code, each.amount_minor) for each in run.breaks] == [("DUP_BANK", 700)]
    assert world.balance("liabilities:payable:D1") == 700
    assert states(world)["D1"][1] == "returned", "by the payer's bank"


def stated(world: World, day: dt.date, kind: str, e2e: str, *, closing: int, minor: int = 700) -> None:
    """Ingest a statement whose one line takes the collection of 7.00 back, or some of it: the payer's bank, or we."""
    reason = "<RtrInf><Rsn><Cd>MD06</Cd></Rsn></RtrInf>" if kind == "refund" else ""
    line = entry(
        format_amount(minor, 2),
        "DBIT",
        status=f"{'' if kind == 'refund' else '<RvslInd>true</RvslInd>'}<Sts><Cd>BOOK</Cd></Sts>",
        booked=f"<BookgDt><Dt>{day}</Dt></BookgDt>",
        ref=f"{kind}-1",
        inside=details(f"<Refs><EndToEndId>{e2e}</EndToEndId></Refs>{reason}"),
    )
    balances = [
        balance(code, format_amount(minor, 2), day=str(day))
        for code, minor in (("OPBD", closing + minor), ("CLBD", closing))
    ]
    text = document(statement(*balances, line, id_=f"S-{day}", created=f"{day}T22:00:00Z"), message_id=f"M-{day}")
    path = world.home / f"{day}.xml"
    path.write_text(text)
    (taken,) = ingest_files(world.app, book_id=world.book_id, paths=[path]).files
    assert taken.statements, taken
