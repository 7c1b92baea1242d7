"""What a payee's set-up says of its payments beside who gets how much: in the file, past every gate, and settled."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from lxml import etree

from nostro.database import Database
from sandbox.calendars import BankCalendar
from sandbox.setup_reader import read_setup
from settlement import SetupError, apply_setup
from tests.settlement_world import DAY, PayeeRow, World, make_world, write_setup

XSD = Path(__file__).parents[3] / "shared" / "xsd" / "pain.001.001.09.xsd"
NAMESPACE = "{urn:iso:std:iso:20022:tech:xsd:pain.001.001.09}"
PAYEES = [
    PayeeRow(code="RF", told=",SUPP,RF18539007547034,,,"),
    PayeeRow(code="TEXT"),
    PayeeRow(code="FAR", currency="USD", told="CHASUS33,SALA,,GB,1234,Salary 2026"),
    PayeeRow(code="CODE", currency="USD", told=",,RF18539007547034,DE,520,"),
]


@pytest.fixture
def world(db: Database, tmp_path: Path) -> Iterator[World]:
    made = make_world(db, tmp_path, PAYEES, accounts=("eur", "usd"))
    yield made
    made.close()


def payments(world: World, file_id: int) -> list[dict[str, str]]:
    """Per payment of a file, path of each element to its text."""
    content = world.one("SELECT content FROM settlement.payment_file WHERE file_id = %s", file_id)
    assert isinstance(content, bytes)
    path = world.home / f"{file_id}.xml"
    path.write_bytes(content)
    if XSD.exists():
        etree.XMLSchema(file=XSD).assertValid(etree.parse(path))
    found = []
    for payment in etree.fromstring(content).iter("{*}CdtTrfTxInf"):
        tree = etree.ElementTree(payment)
        leaves = [leaf for leaf in payment.iter() if len(leaf) == 0]
        found.append({tree.getelementpath(leaf).replace(NAMESPACE, ""): str(leaf.text) for leaf in leaves})
    return found


def test_a_reference_stands_instead_of_a_text(world: World) -> None:
    world.owe("RF", 1_000)
    world.owe("TEXT", 2_000)
    (file_id,) = world.pay()
    by_reference, by_text = payments(world, file_id)
    assert by_reference["RmtInf/Strd/CdtrRefInf/Ref"] == "RF18539007547034"
    assert by_reference["Purp/Cd"] == "SUPP"
    assert "RmtInf/Ustrd" not in by_reference
    assert by_text["RmtInf/Ustrd"] and "Purp/Cd" not in by_text


def test_a_payment_abroad_names_the_bank_between_and_reports(world: World) -> None:
    world.owe("FAR", 50_000)
    world.owe("CODE", 7_000)
    (file_id,) = world.pay(account="usd-payouts")
    far, code = payments(world, file_id)
    assert far["IntrmyAgt1/FinInstnId/BICFI"] == "CHASUS33" and far["Purp/Cd"] == "SALA"
    assert far["RgltryRptg/Authrty/Ctry"] == "GB"
    assert (far["RgltryRptg/Dtls/Cd"], far["RgltryRptg/Dtls/Inf"]) == ("1234", "Salary 2026")
    assert code["RmtInf/Strd/CdtrRefInf/Ref"] == "RF18539007547034"
    assert code["RgltryRptg/Dtls/Cd"] == "520" and "IntrmyAgt1/FinInstnId/BICFI" not in code
    paid = world.rows("SELECT sum(paid_minor)::int FROM settlement.lineage WHERE role = 'clearing debit'")
    assert paid == [(57_000,)]
    assert world.rows("SELECT count(*) FROM settlement.open_item") == [(0,)]


def test_what_is_told_is_kept_by_version_and_a_change_of_it_voids_the_proposal(world: World) -> None:
    world.owe("TEXT", 2_000)
    (file_id,) = world.approve_all()
    changed = [*PAYEES[:1], PayeeRow(code="TEXT", told=",,RF18539007547034,,,"), *PAYEES[2:]]
    report = apply_setup(world.app, write_setup(world.home, changed, accounts=("eur", "usd")))
    assert report.changed_payees == 1
    assert apply_setup(world.app, world.home / "setup.yaml").changed_payees == 0
    step = world.release(file_id)
    assert step.state == "void" and "details or rules" in str(step.reason)
    assert [p["RmtInf/Strd/CdtrRefInf/Ref"] for p in payments(world, world.pay(DAY)[0])] == ["RF18539007547034"]


@pytest.mark.parametrize(
    ("currency", "told", "fault"),
    [
        ("EUR", ",,RF19539007547034,,,", "check digits"),
        ("EUR", "CHASUS33,,,,,", "takes no intermediary bank"),
        ("EUR", ",salary,,,,", "purpose"),
        ("USD", ",,,GB,,", "reports nothing"),
        ("USD", ",,,GB,12345678901,", "regulatory_code"),
        ("USD", ",,,GB,,Löhne", "characters that its bank does not take"),
        ("USD", "CHASUS,,,,,", "BIC"),
    ],
)
def test_faults_are_named_before_anything_is_declared(
    db: Database, tmp_path: Path, currency: str, told: str, fault: str
) -> None:
    path = write_setup(tmp_path, [PayeeRow(code="X", currency=currency, told=told)], accounts=("eur", "usd"))
    with db.app() as conn, pytest.raises(SetupError) as refusal:
        apply_setup(conn, path)
    assert any(fault in found for found in refusal.value.faults), refusal.value.faults


def test_the_simulated_bank_reads_a_profile_as_the_program_does(tmp_path: Path) -> None:
    banks = read_setup(write_setup(tmp_path, PAYEES, accounts=("eur", "usd"))).banks
    abroad = next(bank for bank in banks if bank.code == "abroad")
    assert abroad.calendar == BankCalendar("ECB") and abroad.batch_booking is True
