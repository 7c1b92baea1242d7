"""Every fault of a setup file, with its place, before anything is applied."""

from __future__ import annotations

from pathlib import Path

import pytest

from settlement import SetupError, read_setup
from settlement.setup_check import rail_limits
from tests.settlement_world import PayeeRow, write_setup

_JPY_OPENING = (
    "currency: JPY, rail: DOMESTIC, holder: {name: Marktplatz GmbH, country: GB, town: London},"
    ' opening: {date: 2026-11-01, balance: "1000000"'
)


def faults(path: Path) -> tuple[str, ...]:
    with pytest.raises(SetupError) as refused:
        read_setup(path)
    return refused.value.faults


def edited(folder: Path, old: str, new: str) -> Path:
    path = write_setup(folder, [PayeeRow(code="P1")])
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return path


def test_a_good_file_is_read_whole(tmp_path: Path) -> None:
    checked = read_setup(write_setup(tmp_path, [PayeeRow(code="P1"), PayeeRow(code="K1", currency="KWD")]))
    assert [payee.payee_id for payee in checked.payees] == ["P1", "K1"]
    assert [rule.code for rule in checked.payee_rules] == ["liabilities:payable:*"] * 2
    assert checked.setup.banks["nordbank"].refuses_duplicates


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("functional_currency: EUR", "functional_currency: EURO", "book.functional_currency: currency 'EURO' is not"),
        ("timezone: Europe/Berlin", "timezone: Europe/Berlyn", "banks.nordbank: time zone 'Europe/Berlyn' is unknown"),
        ("holidays: ECB", "holidays: XX", "banks.nordbank: calendar 'XX' is unknown"),
        ("batch_booking: true", "batch_booking: perhaps", "banks.nordbank.batch_booking: must be true or false"),
        ("charset: sepa", "charsets: sepa", "banks.nordbank.charsets: is not a field; remove it or correct its name"),
        ("iban: DE89370400440532013000", "iban: DE89370400440532013001", "has wrong check digits"),
        ("outbox: bank/nordbank/outbox", "outbox: ../outbox", "must lie inside the program's home folder"),
        ("bank: nordbank, iban", "bank: nobank, iban", "(eur-payouts): bank 'nobank' is not under banks"),
        ("currency: EUR, rail: SEPA", "currency: CZK, rail: SEPA", "rail SEPA carries EUR only, not CZK"),
        ("code: gbp-payouts", "code: eur-payouts", "bank_accounts[1]: has the code of bank_accounts[0]"),
        ('balance: "1000000"', 'balance: "1.000.000"', "is not a plain decimal number"),
        (_JPY_OPENING, _JPY_OPENING[:-1] + '.50"', "has more than 0 decimals"),
        ("type: liability, settleable: true", "type: asset, settleable: true", "only a liability is settleable"),
        ('code: "income:*"', 'code: "inc*me:*"', "'*' can only stand at the end"),
        ("type: income}", 'type: income, ceiling: "0.01"}', "(income:*).ceiling: amount 0.01 needs a currency"),
        ("type: income}", 'type: income, currency: EUR, floor: "5"}', "(income:*): an account begins at zero, so zero"),
        ("type: income}", 'type: income, floor: "0", ceiling: "-1"}', "(income:*): the ceiling is below the floor"),
        ("payees_file: payees.csv", "payees_file: nowhere.csv", "payees_file: nowhere.csv does not exist"),
        ("    bic: NORDDEFFXXX\n", "    bic: NORDDEFFXXX\n    bic: NORDDEFFXXX\n", "line 10: 'bic' stands there twice"),
        ("banks:\n", "banks: [\n", "setup.yaml line"),
    ],
)  # fmt: skip
def test_each_fault_names_its_place(tmp_path: Path, old: str, new: str, fault: str) -> None:
    found = faults(edited(tmp_path, old, new))
    assert any(fault in line for line in found), found
    assert all(line.endswith(".") for line in found)


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        (PayeeRow(code="P1", iban="NL91ABNA0417164301"), "line 3, iban: IBAN 'NL91ABNA0417164301' has wrong check"),
        (PayeeRow(code="P1", minimum="0.005"), "payees.csv line 3, minimum: amount '0.005' has more than 2 decimals."),
        (PayeeRow(code="P1", minimum="9", maximum="8"), "payees.csv line 3, minimum 9 is above maximum 8."),
        (PayeeRow(code="P1", delay_days="-1"), "payees.csv line 3, delay_days: must be at least 0 (it says '-1')."),
        (PayeeRow(code="P1", hold="maybe"), "payees.csv line 3, hold: must be true or false (it says 'maybe')."),
        (PayeeRow(code="P0"), "payees.csv line 3: payee_id P0 is that of payees.csv line 2; each payee has its own."),
        (PayeeRow(code="P1", iban="KW81CBKU0000000000001234560101"), "is outside the SEPA zone"),
        (PayeeRow(code="P1", currency="CHF", iban="NL91ABNA0417164300"), "pay_from 'chf-payouts' is not under bank"),
        (PayeeRow(code="P1", name="x" * 71), "has 71 characters, 70 fit"),
        (PayeeRow(code="P1", name="東京"), "name '..' has no letter or digit; give it one (as it is written"),
    ],
)  # fmt: skip
def test_each_fault_of_a_payee_names_its_line(tmp_path: Path, row: PayeeRow, fault: str) -> None:
    found = faults(write_setup(tmp_path, [PayeeRow(code="P0"), row]))
    assert any(fault in line for line in found), found


def test_all_faults_come_at_once(tmp_path: Path) -> None:
    path = write_setup(
        tmp_path,
        [PayeeRow(code="A", iban="NL00"), PayeeRow(code="B"), PayeeRow(code="C", hold="x", minimum="y")],
    )
    path.write_text(path.read_text().replace("holidays: ECB", "holidays: XX"))
    found = faults(path)
    assert len(found) == 4, found


def test_a_row_of_another_length_and_a_missing_column(tmp_path: Path) -> None:
    path = write_setup(tmp_path, [PayeeRow(code="P1")])
    payees = tmp_path / "payees.csv"
    payees.write_text(payees.read_text() + "P2,short\n")
    assert faults(path) == ("payees.csv line 3: has not as many fields as the header.",)
    payees.write_text("payee_id,nam\n")
    assert "payees.csv line 1: column iban is missing." in faults(path)
    assert "payees.csv line 1: column 'nam' is not known." in faults(path)


def test_a_domestic_payee_needs_a_bic(tmp_path: Path) -> None:
    path = write_setup(tmp_path, [PayeeRow(code="G1", currency="GBP")])
    payees = tmp_path / "payees.csv"
    payees.write_text(payees.read_text().replace("BUKBGB22", ""))
    assert faults(path) == ("payees.csv line 2, has no bic; rail DOMESTIC needs the bank's BIC.",)


@pytest.mark.parametrize(
    ("account", "limits"), [("eur", (1, 99_999_999_999)), ("jpy", (1, 999_999_999)), ("kwd", (10, 999_999_999_990))]
)
def test_rail_limits_are_exact_in_every_currency(tmp_path: Path, account: str, limits: tuple[int, int]) -> None:
    setup = read_setup(write_setup(tmp_path, [], accounts=(account,))).setup
    own = setup.bank_accounts[0]
    assert rail_limits(setup.banks[own.bank], own) == limits


def test_no_payment_is_larger_than_a_file_or_batch_of_its_bank(tmp_path: Path) -> None:
    path = write_setup(tmp_path, [], accounts=("eur",), batches='max_total: "150.00"\nmax_batch_total: "100.00"')
    setup = read_setup(path).setup
    assert rail_limits(setup.banks["nordbank"], setup.bank_accounts[0]) == (1, 10_000)
    path.write_text(path.read_text().replace("100.00", "100.001"))
    assert any("max_batch_total: amount '100.001' has more than 2 decimals" in fault for fault in faults(path))


def test_limits_that_nothing_could_be_paid_under_are_named(tmp_path: Path) -> None:
    rows = [PayeeRow(code="LOW", maximum="0.50"), PayeeRow(code="HIGH", minimum="2000.00")]
    path = write_setup(tmp_path, rows, accounts=("eur",))
    path.write_text(
        path.read_text().replace('minimum: "0.01", maximum: "999999999.99"', 'minimum: "1.00", maximum: "1500"')
    )
    assert [fault.partition(", ")[2] for fault in faults(path)] == [
        "maximum 0.50 is below the least that rail SEPA takes; it would never be paid.",
        "minimum 2000.00 is above the most that rail SEPA takes; it would never be paid whole.",
    ]


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("Amsterdam", "Llanfairpwllgwyngyllgogerychwyrndrobwll", "town 'Llanfairpwllgwyn"),
        ("Amsterdam", "東京", "town '..' has no letter or digit"),
        ("Damrak 1", "x" * 71, "has 71 characters, 70 fit"),
        ("1012LG", "1" * 17, "has 17 characters, 16 fit"),
    ],
)  # fmt: skip
def test_an_address_that_the_bank_would_refuse_is_refused_here(tmp_path: Path, old: str, new: str, fault: str) -> None:
    """Not in the night, when it would stop everybody's payment."""
    path = write_setup(tmp_path, [PayeeRow(code="P1")], accounts=("eur",))
    payees = tmp_path / "payees.csv"
    payees.write_text(payees.read_text().replace(old, new))
    assert any(fault in line for line in faults(path))
    path.write_text(path.read_text().replace("town: Berlin", f"town: {'y' * 36}"))
    assert any("holder town" in line for line in faults(path))
