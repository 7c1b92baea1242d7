"""The simulated bank and the program together: direct debits with every way back, recalls, names, pages, intraday.

The bank's own book is the oracle: after each day N is what the bank holds, and nothing is open that is not explained.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from lxml import etree

from ledger import NostroError, verify
from nostro.database import Database
from recon import RunReport, arrived_files, ingest_files, reconcile
from sandbox import Bank, BankBehaviour, BookingStyle, Fault, read_setup
from settlement import (
    apply_setup,
    approve_recall,
    decide_names,
    exceptions,
    poll,
    recalls,
    release_hold,
    request_recall,
    send_recalls,
)
from settlement.business_days import Calendar
from tests.settlement_world import DAY, PayeeRow, World, make_world, moment, pain002

TARGET = Calendar("ECB", "Europe/Berlin")
ACCOUNT = "eur-payouts"
PAYEES = [
    PayeeRow(code="P1"),
    PayeeRow(code="P2"),
    PayeeRow(code="D1", negative="debit", mandate="M-1/2025-01-01/CORE/RCUR"),
    PayeeRow(code="D2", negative="debit", mandate="M-2/2025-01-01/CORE/RCUR"),
]


@pytest.fixture
def world(db: Database, tmp_path: Path) -> Iterator[World]:
    made = make_world(db, tmp_path, PAYEES, accounts=("eur",), collects=True)
    yield made
    assert verify(made.app, book_id=made.book_id) == ()
    made.close()


def bank_of(world: World, *, seed: int = 5, faults: Mapping[Fault, int] | None = None, **behaviour: object) -> Bank:
    how = BankBehaviour(**behaviour)  # type: ignore[arg-type]
    return Bank(world.home, read_setup(world.home / "setup.yaml"), seed=seed, behaviour=how, faults=faults or {})


def bank_closes(bank: Bank, day: dt.date) -> None:
    """The bank takes orders and closes."""
    bank.receive()
    bank.close_day(day)


def day_ends(world: World, bank: Bank, day: dt.date) -> RunReport:
    """The bank closes; the company reads what it says and reconciles."""
    bank_closes(bank, day)
    poll(world.app, home=world.home, book_id=world.book_id)
    arrived = arrived_files(world.app, book_id=world.book_id, home=world.home)
    ingest_files(world.app, book_id=world.book_id, paths=arrived)
    run = reconcile(world.app, book_id=world.book_id, business_date=day, home=world.home)
    assert world.balance(f"assets:bank:{ACCOUNT}") == bank.balance(ACCOUNT)
    return run


def valid(shared: Path, inbox: Path, *kinds: str) -> None:
    """Every message of these kinds is there and valid by the published schema."""
    versions = {"pacs.004": "001.09", "camt.029": "001.09", "pain.002": "001.10"}
    for kind in kinds:
        name = f"{kind}.{versions.get(kind, '001.08')}.xsd"
        schema = etree.XMLSchema(etree.parse(shared / "xsd" / name))
        found = list(inbox.glob(f"{kind}_*.xml"))
        assert found, kind
        for path in found:
            schema.assertValid(etree.parse(path))


def through(world: World, bank: Bank, *, days: int, start: dt.date = DAY, every: int = 1) -> dt.date:
    """Some days without a new payment; the last of them. Nothing is a break, at the end of each `every`-th day."""
    day = start
    for number in range(1, days + 1):
        if number % every == 0:
            assert day_ends(world, bank, day).breaks == ()
        else:
            bank_closes(bank, day)
        day = TARGET.next_open(day)
    return day


def states(world: World) -> dict[str, str]:
    return {str(p): str(s) for p, s in world.rows("SELECT payee_code, state FROM settlement.instruction_current")}


@pytest.mark.parametrize("version", ["pain.008.001.08", "pain.008.001.02"])
def test_debts_are_collected_and_come_to_the_cent(world: World, version: str) -> None:
    if version.endswith("02"):
        path = world.home / "setup.yaml"
        path.write_text(path.read_text().replace("lead_days: 2", f"lead_days: 2, message: {version}"))
        apply_setup(world.app, path)
    world.owe("D1", -700)
    world.owe("D2", -300)
    world.pay()
    assert {path.name.split(".")[0] for path in (world.home / "bank/nordbank/outbox").iterdir()}
    with bank_of(world) as bank:
        day_ends(world, bank, DAY)
        assert bank.balance(ACCOUNT) == 1_000_000_00, "collected two open days later"
        through(world, bank, days=3, start=TARGET.next_open(DAY))
        assert bank.balance(ACCOUNT) == 1_000_000_00 + 1000
    assert set(states(world).values()) == {"executed"}
    assert world.balance("assets:transit:eur-payouts") == 0
    assert world.balance("liabilities:payable:D1") == 0


def test_a_collection_that_is_rejected_or_refunded_is_a_debt_again_and_held(world: World) -> None:
    world.owe("D1", -700)
    world.owe("D2", -300)
    world.pay()
    with bank_of(world, returns_per_mille=1000, late_returns_per_mille=1000, taken_back_per_mille=500) as bank:
        day = through(world, bank, days=45, every=3)
        assert bank.balance(ACCOUNT) in (1_000_000_00, 1_000_000_00 + 300, 1_000_000_00 + 700, 1_000_000_00 + 1000)
        left = bank.balance(ACCOUNT) - 1_000_000_00
    owed = world.rows("SELECT payee, sum(owed_minor)::int FROM settlement.open_item WHERE held GROUP BY 1")
    assert sum(int(str(minor)) for _, minor in owed) == left - 1000
    assert world.propose(day) == [], "no collection is repeated before a person says so"
    texts = world.rows("SELECT reason FROM settlement.reopening WHERE kind = 'return'")
    assert {str(reason)[:4] for (reason,) in texts} <= {"AM04", "MD06", "MS02", "MD01"} and texts


# Seeds whose faults let no file pass first: what they can strike here is three messages.
TWICE = (3, {Fault.RETURN_NOTICE_TWICE: 1, Fault.RECALL_ANSWER_TWICE: 2})
LATE = (5, {Fault.RETURN_NOTICE_LATE: 1, Fault.RECALL_ANSWER_LATE: 2})


@pytest.mark.parametrize(("seed", "faults"), [(5, {}), TWICE, LATE], ids=["as told", "told twice", "told late"])
def test_a_recall_before_execution_cancels_and_after_it_brings_the_money_back(
    world: World, shared: Path, seed: int, faults: Mapping[Fault, int]
) -> None:
    world.owe("P1", 700)
    world.owe("P2", 900)
    (file_id,) = world.pay()
    e2e = {str(p): str(e) for p, e in world.rows("SELECT payee_code, end_to_end_id FROM settlement.instruction")}

    def ask(payee: str) -> None:
        assert request_recall(world.alice, end_to_end_id=e2e[payee], reason_code="DUPL", reason="paid by hand")
        assert approve_recall(world.bob, file_id, now=moment())
        send_recalls(world.alice, file_id, home=world.home)

    with bank_of(world, seed=seed, faults=faults, announces_returns=True, return_charge_minor=25) as bank:
        bank.receive()
        ask("P1")
        day_ends(world, bank, DAY)
        assert states(world) == {"P1": "rejected", "P2": "executed"}
        ask("P2")
        day = through(world, bank, days=5, start=TARGET.next_open(DAY))
        assert bank.balance(ACCOUNT) == 1_000_000_00 - 25, "the charge of the return is ours"
        assert len(bank.faults()) == sum(faults.values())
    found = {recall.payee: (recall.state, recall.answer) for recall in recalls(world.app, book_id=world.book_id)}
    world.app.rollback()
    valid(shared, world.home / "bank/nordbank/inbox", "camt.029", "pacs.004", "pain.002")
    assert found["P1"] == ("accepted", "ACCR") and found["P2"] == ("returned", "ACCR")
    assert world.rows("SELECT count(*)::int FROM settlement.recall_return") == [(1,)]
    assert world.balance("expenses:bank-fees:eur") == 25
    assert world.propose(day) == []
    for payee in e2e.values():
        assert release_hold(world.bob, end_to_end_id=payee, reason="the other payment was taken back")
    assert sum(p.file.total_minor for p in world.propose(day)) == 1600


def test_a_return_inside_a_batch_credit_is_the_payments_own(world: World, shared: Path) -> None:
    """The other transaction of the entry is a return too; each is booked as its own."""
    for payee, minor in (("P1", 700), ("P2", 900)):
        world.owe(payee, minor)
    world.pay()
    booking = ((ACCOUNT, BookingStyle.ITEMISED),)
    with bank_of(world, faults={Fault.RETURN_IN_BATCH: 1}, returns_per_mille=1000, booking=booking) as bank:
        through(world, bank, days=4, every=2)
        assert [done.fault for done in bank.faults()] == [Fault.RETURN_IN_BATCH]
        assert bank.balance(ACCOUNT) == 1_000_000_00
    (entry,) = (
        path
        for path in (world.home / "bank/nordbank/inbox").glob("camt.053_*.xml")
        if b"<NbOfTxs>2<" in path.read_bytes()
    )
    assert entry.read_bytes().count(b"<Ntry>") == 1
    valid(shared, world.home / "bank/nordbank/inbox", "camt.053")
    assert states(world) == {"P1": "returned", "P2": "returned"}


def test_a_payment_that_says_it_is_a_reversal_is_a_break_and_its_side_counts(world: World) -> None:
    world.owe("P1", 700)
    world.pay()
    booking = ((ACCOUNT, BookingStyle.ITEMISED),)
    with bank_of(world, faults={Fault.REVERSAL_MARK: 1}, booking=booking) as bank:
        run = day_ends(world, bank, DAY)
        assert [done.fault for done in bank.faults()] == [Fault.REVERSAL_MARK]
    assert [(each.code, abs(each.amount_minor)) for each in run.breaks] == [("REVERSAL", 700)]


def test_a_refused_recall_leaves_the_payment_paid(world: World) -> None:
    world.owe("P1", 700)
    (file_id,) = world.pay()
    e2e = str(world.one("SELECT end_to_end_id FROM settlement.instruction"))
    with bank_of(world, recalls_refused_per_mille=1000) as bank:
        day_ends(world, bank, DAY)
        assert request_recall(world.alice, end_to_end_id=e2e, reason_code="DUPL", reason="paid by hand")
        approve_recall(world.bob, file_id, now=moment())
        send_recalls(world.alice, file_id, home=world.home)
        through(world, bank, days=4, start=TARGET.next_open(DAY))
    assert [(r.state, r.payee) for r in recalls(world.app, book_id=world.book_id)] == [("refused", "P1")]
    world.app.rollback()
    assert states(world) == {"P1": "executed"}


def doubts(world: World) -> list[tuple[str | None, str | None]]:
    found = exceptions(world.app, book_id=world.book_id, as_of=DAY)
    world.app.rollback()
    return [(each.payee, each.code) for each in found if each.kind == "names"]


def test_doubtful_names_go_on_or_are_cancelled_at_the_bank(world: World, shared: Path) -> None:
    for payee in ("P1", "P2"):
        world.owe(payee, 700)
    (file_id,) = world.pay()
    with bank_of(world, checks_names=True, names_doubted_per_mille=1000) as bank:
        bank.receive()
        poll(world.app, home=world.home, book_id=world.book_id)
        found = doubts(world)
        assert [payee for payee, _ in found] == ["P1", "P2"] and {code for _, code in found} <= {"RVMC", "RVNM", "RVNA"}
        assert decide_names(world.bob, file_id=file_id, release=False, reason="the names are of other firms") == 2
        with pytest.raises(NostroError):
            decide_names(world.bob, file_id=file_id, release=True, reason="once is enough")
        with world.db.login("carol") as carol:
            approve_recall(carol, file_id, now=moment())
        send_recalls(world.alice, file_id, home=world.home)
        day_ends(world, bank, DAY)
        assert bank.balance(ACCOUNT) == 1_000_000_00, "cancelled before it was executed"
    valid(shared, world.home / "bank/nordbank/inbox", "pain.002")
    assert set(states(world).values()) == {"rejected"}
    assert doubts(world) == []


@pytest.mark.parametrize("released", [(), ("close_match", "not_possible"), ("close_match", "no_match", "not_possible")])
def test_policy_says_which_verdicts_need_no_person(world: World, released: tuple[str, ...]) -> None:
    path = world.home / "setup.yaml"
    names = ", ".join(f"{name}: release" for name in released)
    path.write_text(path.read_text() + f"policies: {{names: {{{names}}}}}\n")
    apply_setup(world.app, path)
    for number, payee in enumerate(("P1", "P2")):
        world.owe(payee, 700 + number)
    (file_id,) = world.pay()
    e2e = dict(world.rows("SELECT payee_code, end_to_end_id FROM settlement.instruction"))
    msg_id = str(world.one("SELECT msg_id FROM settlement.payment_file"))
    verdicts = [(str(e2e["P1"]), "RVMC", ""), (str(e2e["P2"]), "RVNM", "")]
    world.answer("names.xml", pain002(msg_id, group="RVCM", statuses=verdicts))
    poll(world.app, home=world.home, book_id=world.book_id)
    expected = {0: ["P1", "P2"], 2: ["P2"], 3: []}[len(released)]
    assert [payee for payee, _ in doubts(world)] == expected
    kept = world.rows("SELECT code FROM settlement.answer_note WHERE instruction_id IS NOT NULL ORDER BY 1")
    assert kept == [("RVMC",), ("RVNM",)], "the verdict is kept, whatever is done about it"
    if not expected:
        with pytest.raises(NostroError, match="doubts"):
            decide_names(world.bob, file_id=file_id, release=True, reason="policy decided")


def test_pages_and_intraday_reports_come_to_the_same_books(world: World, shared: Path) -> None:
    for payee in ("P1", "P2"):
        world.owe(payee, 700)
    world.pay()
    booking = ((ACCOUNT, BookingStyle.ITEMISED),)
    with bank_of(world, page_lines=1, intraday=True, returns_per_mille=1000, booking=booking) as bank:
        through(world, bank, days=4)
        assert bank.balance(ACCOUNT) == 1_000_000_00
    inbox = world.home / "bank/nordbank/inbox"
    pages = [path for path in inbox.glob("camt.053_*.xml") if b"<PgNb>2</PgNb>" in path.read_bytes()]
    assert pages, "a day with two lines has two pages"
    valid(shared, inbox, "camt.053", "camt.052", "camt.054")
    assert set(states(world).values()) == {"returned"}
    assert world.rows("SELECT count(*)::int FROM recon.statement WHERE kind = 'camt.052'") != [(0,)]
