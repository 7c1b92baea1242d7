"""The simulated banks: orders refused for ISO reasons, books that agree with statements, nothing repeated."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pyiso20022.pain.pain_002_001_10 as pain002
import pytest
from lxml import etree
from sandbox_week import Customer, Instruction, Week, pain001, simulate
from xsdata.formats.dataclass.context import XmlContext
from xsdata.formats.dataclass.parsers import XmlParser

from sandbox import Bank, BankBehaviour, Business, SandboxError, read_setup, simulate_day

DAY = dt.date(2026, 11, 2)
_CONTEXT = XmlContext()  # what xsdata learns of a class, once
PAYEE_IBAN = "DE02120300000000202051"


@pytest.fixture
def customer(tmp_path: Path) -> Customer:
    home = tmp_path / "home"
    business = Business(days=2, payments_per_day=60, payees=40)
    return Customer(home, business.write(tmp_path / "business", home=home))


def instructions(count: int, *, prefix: str = "E") -> list[Instruction]:
    return [Instruction(f"{prefix}{n:05d}", 100 + n, "Müller & Söhne", PAYEE_IBAN, None) for n in range(count)]


def answers(home: Path, pattern: str = "pain.002_*") -> list[etree._Element]:
    return [etree.parse(path).getroot() for path in sorted((home / "bank").glob(f"*/inbox/{pattern}"))]


def values(root: etree._Element, name: str) -> list[str]:
    return [str(node.text) for node in root.iter("{*}" + name)]


def executions(home: Path) -> list[str]:
    path = home / "sandbox" / "executions.jsonl"
    return [json.loads(line)["end_to_end_id"] for line in path.read_text(encoding="utf-8").splitlines()]


def test_an_order_is_accepted_executed_once_and_stated(customer: Customer) -> None:
    customer.send("eur-payouts", DAY, instructions(3))
    with Bank(customer.home, customer.setup) as bank:
        (received,) = bank.receive()
        assert (received.payments, received.rejected, received.reason) == (3, 0, None)
        assert bank.receive() == ()
        report = bank.close_day(DAY)
        assert report.executed == 3
        opening = customer.setup.account("eur-payouts").opening_minor
        assert bank.balance("eur-payouts") == opening - 303
    assert [values(root, "GrpSts") for root in answers(customer.home)] == [["ACTC"], ["ACCP"], ["ACSC"]]
    assert executions(customer.home) == ["E00000", "E00001", "E00002"]


def test_an_order_of_version_11_is_read(customer: Customer) -> None:
    path = customer.send("eur-payouts", DAY, instructions(2))
    path.write_text(path.read_text(encoding="utf-8").replace("pain.001.001.09", "pain.001.001.11"), encoding="utf-8")
    with Bank(customer.home, customer.setup) as bank:
        (received,) = bank.receive()
    assert (received.payments, received.reason) == (2, None)
    assert values(answers(customer.home)[0], "OrgnlMsgNmId") == ["pain.001.001.11"]


def test_the_same_message_again_is_refused_and_not_executed(customer: Customer) -> None:
    path = customer.send("eur-payouts", DAY, instructions(2))
    with Bank(customer.home, customer.setup) as bank:
        bank.receive()
        customer.drop(customer.setup.bank("nordbank"), "again.xml", path.read_text(encoding="utf-8"))
        (again,) = bank.receive()
        assert again.reason == "DU01"
        bank.close_day(DAY)
    assert executions(customer.home) == ["E00000", "E00001"]
    refused = answers(customer.home)[-1]
    assert values(refused, "GrpSts") == ["RJCT"]
    assert values(refused, "Cd") == ["DU01"]


def test_a_bank_that_does_not_refuse_duplicates_executes_them(tmp_path: Path, customer: Customer) -> None:
    text = (tmp_path / "business" / "setup.yaml").read_text(encoding="utf-8")
    setup_file = tmp_path / "lax.yaml"
    setup_file.write_text(text.replace("refuses_duplicates: true", "refuses_duplicates: false"), encoding="utf-8")
    path = customer.send("eur-payouts", DAY, instructions(1))
    customer.drop(customer.setup.bank("nordbank"), "again.xml", path.read_text(encoding="utf-8"))
    received, report = simulate_day(customer.home, setup_file, DAY)
    assert [item.reason for item in received] == [None, None]
    assert report.executed == 2
    assert executions(customer.home) == ["E00000", "E00000"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"count": 5}, "AM18"),
        ({"total": Decimal("1.00")}, "AM10"),
        ({"iban": PAYEE_IBAN}, "AC02"),
    ],
)
def test_a_wrong_order_is_refused_whole(customer: Customer, change: dict[str, object], reason: str) -> None:
    account = customer.setup.account("eur-payouts")
    bank_profile = customer.setup.bank("nordbank")
    text = pain001("WRONG", account, bank_profile.bic, DAY, instructions(2), **change)  # type: ignore[arg-type]
    customer.drop(bank_profile, "wrong.xml", text)
    with Bank(customer.home, customer.setup) as bank:
        (received,) = bank.receive()
        assert received.reason == reason
        assert bank.close_day(DAY).executed == 0


@pytest.mark.parametrize(
    "text",
    [
        "<Document",
        '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]><a/>',
        '<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pain.008.001.02"/>',
        '<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pain.001.001.09"><CstmrCdtTrfInitn/></Document>',
    ],
)
def test_an_unreadable_order_is_answered(customer: Customer, text: str) -> None:
    customer.drop(customer.setup.bank("albion"), "broken.xml", text)
    with Bank(customer.home, customer.setup) as bank:
        assert [item.reason for item in bank.receive()] == ["FF01"]


def test_files_still_being_written_are_left_alone(customer: Customer) -> None:
    customer.drop(customer.setup.bank("albion"), ".broken.xml.part", "<Document")
    with Bank(customer.home, customer.setup) as bank:
        assert bank.receive() == ()


def test_without_funds_an_order_is_rejected_with_am04(customer: Customer) -> None:
    too_much = customer.setup.account("eur-payouts").opening_minor + 1
    customer.send("eur-payouts", DAY, [Instruction("BIG", too_much, "Jäger", PAYEE_IBAN, None)])
    with Bank(customer.home, customer.setup) as bank:
        bank.receive()
        assert bank.close_day(DAY).executed == 0
    assert "AM04" in values(answers(customer.home)[-1], "Cd")


def test_an_order_waits_for_its_date_and_for_an_open_day(customer: Customer) -> None:
    saturday = DAY + dt.timedelta(days=5)
    customer.send("eur-payouts", saturday, instructions(1))
    with Bank(customer.home, customer.setup) as bank:
        bank.receive()
        assert bank.close_day(DAY).executed == 0
        weekend = bank.close_day(saturday)
        assert (weekend.executed, weekend.statements) == (0, ())
        assert bank.close_day(saturday + dt.timedelta(days=2)).executed == 1


def test_closing_a_day_again_changes_nothing_and_time_does_not_go_back(customer: Customer) -> None:
    customer.send("eur-payouts", DAY, instructions(2))
    with Bank(customer.home, customer.setup) as bank:
        bank.receive()
        first = bank.close_day(DAY)
        before = {path: path.read_bytes() for path in (customer.home / "bank").rglob("*.xml")}
        assert bank.close_day(DAY) == first
        assert {path: path.read_bytes() for path in (customer.home / "bank").rglob("*.xml")} == before
        bank.close_day(DAY + dt.timedelta(days=2))
        with pytest.raises(SandboxError, match="cannot go back"):
            bank.close_day(DAY + dt.timedelta(days=1))


def test_rejects_and_returns_only_when_asked(customer: Customer) -> None:
    customer.send("eur-payouts", DAY, instructions(200))
    behaviour = BankBehaviour(rejects_per_mille=100, returns_per_mille=100)
    with Bank(customer.home, customer.setup, behaviour=behaviour) as bank:
        (received,) = bank.receive()
        assert 5 <= received.rejected <= 40
        executed = bank.close_day(DAY).executed
        assert executed == 200 - received.rejected
    with Bank(customer.home, customer.setup) as bank:  # opened again without saying how it behaves
        returned = [bank.close_day(DAY + dt.timedelta(days=n)).returned for n in (1, 2, 3)]
        assert returned[0] > 0
        assert returned[1] > 0
        assert returned[2] == 0


def test_the_banks_book_is_what_the_statements_say(week: Week) -> None:
    with Bank(week.home, week.setup, seed=7) as bank:
        for account in week.setup.accounts:
            balance = account.opening_minor
            for report in week.reports:
                for statement in report.statements:
                    if statement.account == account.code:
                        assert statement.opening_minor == balance
                        balance = statement.closing_minor
            assert bank.balance(account.code) == balance


def test_every_open_day_has_a_statement_of_every_account(week: Week) -> None:
    for report in week.reports:
        assert [statement.account for statement in report.statements] == [a.code for a in week.setup.accounts]


def test_each_payment_is_executed_at_most_once(week: Week) -> None:
    done = executions(week.home)
    assert len(done) == len(set(done))
    assert set(done) <= week.sent.keys()


def test_status_reports_are_valid_and_read_by_pyiso20022(week: Week, schema: Callable[[str], etree.XMLSchema]) -> None:
    xsd = schema("pain.002.001.10")
    paths = sorted(week.home.glob("bank/*/inbox/pain.002_*"))
    assert len(paths) == 3 * 3 * 5  # three reports, three payout accounts, five days
    rejected = 0
    for path in paths:
        xsd.assertValid(etree.parse(path))
        document = XmlParser(context=_CONTEXT).from_bytes(path.read_bytes(), pain002.Document)
        for batch in document.cstmr_pmt_sts_rpt.orgnl_pmt_inf_and_sts:
            for payment in batch.tx_inf_and_sts:
                assert payment.orgnl_end_to_end_id in week.sent
                rejected += 1
    assert rejected > 0


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    weeks = [simulate(tmp_path / name, seed=3, payments=200, payees=60, anomalies=16, days=3) for name in ("a", "b")]

    def content(home: Path) -> dict[str, bytes]:
        found = (p for p in home.rglob("*") if p.is_file() and p.suffix != ".sqlite")
        return {str(p.relative_to(home)): p.read_bytes() for p in found}

    assert content(weeks[0].home) == content(weeks[1].home)


def test_a_plain_account_without_a_business(tmp_path: Path) -> None:
    """Any set-up can be simulated: every day open, no opening balance, overdraft without limit."""
    setup_file = tmp_path / "setup.yaml"
    setup_file.write_text(
        """
banks:
  banka:
    bic: BANKCZPPXXX
    holidays: all
    batch_booking: false
    rails: {DOMESTIC: {sla_days: 1}}
    transport: {kind: folder, outbox: bank/banka/outbox, inbox: bank/banka/inbox}
bank_accounts:
  - code: clearing
    bank: banka
    iban: CZ6508000000192000145399
    currency: CZK
    holder: {name: Banka}
    opening: {date: 1993-01-01, balance: "0.00"}
    overdraft: none
""",
        encoding="utf-8",
    )
    home = tmp_path / "home"
    setup = read_setup(setup_file)
    account, bank = setup.account("clearing"), setup.bank("banka")
    sunday = dt.date(1993, 1, 3)
    outbox = home / bank.outbox
    outbox.mkdir(parents=True)
    (outbox / "a.xml").write_text(pain001("A", account, bank.bic, sunday, instructions(4)), encoding="utf-8")
    received, report = simulate_day(home, setup_file, sunday)
    assert [item.rejected for item in received] == [0]
    assert report.executed == 4
    assert report.statements[0].closing_minor == -406
    assert report.statements[0].lines == 4
    assert [values(root, "CdtDbtInd")[1] for root in answers(home, "camt.053_*")] == ["DBIT"]


def test_a_setup_without_banks_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "setup.yaml"
    path.write_text("book: {name: X}", encoding="utf-8")
    with pytest.raises(SandboxError, match="banks"):
        read_setup(path)
