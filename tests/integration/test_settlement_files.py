"""What files say, through the database: texts written differently are kept with the file, files are split by the
bank's largest sum, and rails of the US and UK pay accounts that have no IBAN."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from nostro.database import Database
from settlement import (
    ProposalRefusedError,
    SetupError,
    apply_setup,
    change_payee,
    file_content,
    hold_payee,
    propose,
    read_setup,
    written_texts,
)
from tests.settlement_world import DAY, PayeeRow, World, make_world, moment, write_setup

PAYEES = [PayeeRow(code="P1", name="Zoë Müller & Söhne"), PayeeRow(code="P2", name="Plain Name")]
_RECORD = "SELECT settlement.record_written_texts(%s, '{9}', '{name}', '{é}', '{e}', ARRAY['[{}]'::jsonb])"


@pytest.fixture
def world(db: Database, tmp_path: Path) -> Iterator[World]:
    made = make_world(db, tmp_path, PAYEES)
    yield made
    made.close()


def test_every_text_written_differently_is_kept_with_the_file(world: World) -> None:
    world.owe("P1", 100)
    world.owe("P2", 100)
    (proposed,) = world.propose()
    kept = written_texts(world.app, proposed.file_id)
    assert [(k.ordinal, k.payee, k.field, k.original, k.written) for k in kept] == [
        (1, "P1", "name", "Zoë Müller & Söhne", "Zoe Mueller + Soehne")
    ]
    assert kept[0].changes == ["ë → e (accent)", "ü → ue (letter)", "& → + (sign)", "ö → oe (letter)"]
    assert kept[0].end_to_end_id is not None
    assert b"<Nm>Zoe Mueller + Soehne</Nm>" in file_content(world.app, proposed.file_id)


def test_only_the_preparer_keeps_texts_and_only_while_the_file_is_proposed(world: World) -> None:
    world.owe("P1", 100)
    (file_id,) = world.approve_all()
    for conn in (world.bob, world.alice):
        with pytest.raises(psycopg.errors.InsufficientPrivilege) as refused:
            conn.execute(_RECORD, (file_id,))
        assert refused.value.diag.constraint_name == "run_preparer"
        conn.rollback()
    with world.db.owner() as owner, pytest.raises(psycopg.Error, match="stays written"):
        owner.execute("UPDATE settlement.written_text SET written = 'x'")


def _with(folder: Path, old: str, new: str) -> Path:
    path = folder / "setup.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return path


def test_files_are_split_by_the_banks_largest_sum_and_no_payment_is_larger(world: World, tmp_path: Path) -> None:
    apply_setup(world.app, _with(tmp_path, "max_transactions: 10000", 'max_transactions: 10000\n    max_total: "1.50"'))
    world.owe("P1", 100)
    world.owe("P2", 100)
    proposed = world.propose()
    assert [p.file.total_minor for p in proposed] == [100, 100]
    assert [p.file.part for p in proposed] == [1, 2]
    world.owe("P2", 100)
    assert [p.file.total_minor for p in world.propose(day=DAY + dt.timedelta(days=1))] == [100, 150]


def test_a_refused_proposal_names_the_payee_to_hold(world: World, tmp_path: Path) -> None:
    """A bank that takes fewer characters than when a payee was declared; the others need not wait for it."""
    apply_setup(world.app, _with(tmp_path, "charset: sepa", "charset: latin"))
    assert change_payee(world.alice, book_id=world.book_id, payee="P2", details={"name": "łłł" + "ß" * 60})
    (tmp_path / "payees.csv").write_text("\n".join((tmp_path / "payees.csv").read_text().splitlines()[:2]) + "\n")
    apply_setup(world.app, _with(tmp_path, "charset: latin", "charset: sepa"))
    world.owe("P1", 100)
    world.owe("P2", 200)
    with pytest.raises(
        ProposalRefusedError, match=r"first: payment 2 to P2: creditor .* has 123 characters.*payee hold"
    ):
        world.propose()
    hold_payee(world.alice, book_id=world.book_id, payee="P2", reason="its name does not fit")
    assert [p.file.total_minor for p in world.propose()] == [100]


_US = """
book: {name: Marketplace, functional_currency: USD}
accounts:
  - {code: "liabilities:payable:*", type: liability, settleable: true}
  - {code: "assets:receivable:*", type: asset}
banks:
  first:
    bic: FRSTUS33XXX
    timezone: America/New_York
    holidays: US
    uetr: true
    rails: {RAIL: {cutoff: "17:00"}}
    transport: {kind: folder, outbox: bank/first/outbox, inbox: bank/first/inbox}
bank_accounts:
  - code: main
    bank: first
    iban: "ACCOUNT"
    currency: CURRENCY
    rail: RAIL
    holder: {name: Marketplace Inc, country: US, town: New York}
    opening: {date: 2026-11-01, balance: "1000"}
payees:
  - {payee_id: P1, name: Seller One, account: "liabilities:payable:P1", currency: CURRENCY, iban: "PAYEE",
     country: US, town: Boston, pay_from: main}
"""
_RAILS = [
    ("US_ACH", "USD", "USABA:021000021:123456789", "USABA:011000015:987654", b"<LclInstrm><Cd>CCD</Cd></LclInstrm>"),
    ("US_WIRE", "USD", "USABA:021000021:123456789", "USABA:011000015:987654", b"<SvcLvl><Cd>URGP</Cd></SvcLvl>"),
    ("UK_FPS", "GBP", "GBDSC:200000:55779911", "GBDSC:601613:31926819", b"<SvcLvl><Cd>URNS</Cd></SvcLvl>"),
    ("UK_CHAPS", "GBP", "GBDSC:200000:55779911", "GBDSC:601613:31926819", b"<ClrSysId><Cd>GBDSC</Cd></ClrSysId>"),
    ("SEPA_INST", "EUR", "DE89370400440532013000", "NL91ABNA0417164300", b"<LclInstrm><Cd>INST</Cd></LclInstrm>"),
]


def _setup(folder: Path, rail: str, code: str, account: str, payee: str) -> Path:
    path = folder / "setup.yaml"
    text = _US
    for name, value in (("RAIL", rail), ("CURRENCY", code), ("ACCOUNT", account), ("PAYEE", payee)):
        text = text.replace(name, value)
    path.write_text(text)
    return path


@pytest.mark.parametrize(("rail", "code", "account", "payee", "said"), _RAILS)
def test_a_rail_pays_accounts_of_its_own_form(
    db: Database, tmp_path: Path, rail: str, code: str, account: str, payee: str, said: bytes
) -> None:
    app = db.app()
    book_id = apply_setup(app, _setup(tmp_path, rail, code, account, payee)).book_id
    world = World(
        db=db, home=tmp_path, book_id=book_id, app=app, alice=db.login("alice"), bob=db.login("bob"), payees=[]
    )
    world.payees.append(PayeeRow(code="P1", currency=code))
    world.owe("P1", 5000)
    (proposed,) = propose(world.alice, book_id=book_id, business_date=DAY, now=moment())
    content = file_content(app, proposed.file_id)
    assert said in content
    if ":" in payee:
        _, member, number = payee.split(":")
        assert f"<MmbId>{member}</MmbId>".encode() in content
        assert f"<Othr><Id>{number}</Id></Othr>".encode() in content
    assert world.rows("SELECT payee_iban FROM settlement.instruction") == [(payee,)]
    world.close()


@pytest.mark.parametrize(
    ("rail", "account", "payee", "fault"),
    [
        ("US_ACH", "USABA:021000021:123456789", "USABA:021000022:987654", "wrong check digit"),
        ("US_ACH", "USABA:021000021:123456789", "GBDSC:200000:55779911", "does not take it"),
        ("DOMESTIC", "USABA:021000021:123456789", "DE89370400440532013000", "does not take it"),
        ("UK_FPS", "GBDSC:200000:55779911", "GBDSC:200000:557799", "account number"),
    ],
)
def test_an_account_of_another_form_is_a_fault(tmp_path: Path, rail: str, account: str, payee: str, fault: str) -> None:
    code = "GBP" if rail.startswith("UK") else "USD"
    with pytest.raises(SetupError) as refused:
        read_setup(_setup(tmp_path, rail, code, account, payee))
    assert any(fault in text for text in refused.value.faults), refused.value.faults


def test_a_banks_own_charge_bearer_must_be_one_of_the_rail(tmp_path: Path) -> None:
    path = _setup(tmp_path, "US_ACH", "USD", "USABA:021000021:123456789", "USABA:011000015:987654")
    path.write_text(path.read_text().replace('cutoff: "17:00"', 'cutoff: "17:00", charge_bearer: DEBT'))
    with pytest.raises(SetupError, match="charge_bearer must be SHAR"):
        read_setup(path)


def test_a_message_without_uetr_wants_a_profile_without(tmp_path: Path) -> None:
    path = _setup(tmp_path, "US_ACH", "USD", "USABA:021000021:123456789", "USABA:011000015:987654")
    path.write_text(path.read_text().replace("uetr: true", "uetr: true\n    message: pain.001.001.03"))
    with pytest.raises(SetupError, match="no place for a UETR"):
        read_setup(path)


_MANDATE = "M-7/2026-01-15/CORE/RCUR"
_CREDITOR = "direct_debit: {creditor_id: DE98ZZZ09999999999, lead_days: 2}"


def test_what_payees_owe_is_collected_by_a_direct_debit_file(db: Database, tmp_path: Path) -> None:
    payees = [
        PayeeRow(code="P1"),
        PayeeRow(code="D1", negative="debit", mandate=_MANDATE),
        PayeeRow(code="D2", negative="debit", mandate="M-8/2026-01-15/CORE/FRST"),
    ]
    world = make_world(db, tmp_path, payees[:1])
    write_setup(tmp_path, payees)
    apply_setup(world.app, _with(tmp_path, "refuses_duplicates: true", f"refuses_duplicates: true\n    {_CREDITOR}"))
    world.payees = payees
    world.owe("P1", 500)
    world.owe("D1", -700)
    world.owe("D2", -300)
    proposed = world.propose()
    assert [(p.file.part, p.file.total_minor) for p in proposed] == [(1, 500), (2, 300), (3, 700)]
    first, again = (file_content(world.app, p.file_id) for p in proposed[1:])
    assert b"pain.008.001.08" in first and b"<SeqTp>FRST</SeqTp>" in first and b"<SeqTp>RCUR</SeqTp>" in again
    assert b"<MndtId>M-7</MndtId><DtOfSgntr>2026-01-15</DtOfSgntr>" in again
    assert b"<ReqdColltnDt>2026-11-04</ReqdColltnDt>" in again and b'<InstdAmt Ccy="EUR">7.00</InstdAmt>' in again
    assert world.rows("SELECT direction, amount_minor FROM settlement.instruction ORDER BY file_id") == [
        ("pay", 500),
        ("collect", 300),
        ("collect", 700),
    ]
    for file_id in world.approve_all():
        world.release(file_id)
    assert world.balance("liabilities:payable:D1") == 0
    assert world.rows("SELECT DISTINCT state FROM settlement.file_current") == [("sent",)]
    world.close()
