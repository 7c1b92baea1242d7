"""Keys of declared layouts that banks' own files asked for, and how their numbers and balances are read."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from recon.formats import LayoutRefused, read_layouts, read_statement_file
from recon.formats.detect import HEAD_BYTES
from recon.model import ProofState, StatementFile


def read(tmp_path: Path, text: str | bytes, **keys: object) -> StatementFile:
    """A table read by a layout of these keys."""
    basis = {"name": "bank.own", "header": ["Date", "Text"], "account_is": "A1", "currency_is": "EUR", "date": "Date"}
    path = tmp_path / "layout.yaml"
    said = {key: value for key, value in {**basis, **keys}.items() if value is not None}
    path.write_text(yaml.safe_dump(said, allow_unicode=True), encoding="utf-8")
    data = text if isinstance(text, bytes) else text.encode()
    return read_statement_file(data, name="bank.csv", layouts=read_layouts(path))


def amounts(file: StatementFile) -> list[int]:
    return [int(minor) for minor in file.lines["amount_minor"]]


AMOUNT = {"net": {"column": "Amount"}}


def test_an_encoding_that_is_said_is_used_and_one_that_is_none_is_refused(tmp_path: Path) -> None:
    text = "Date,Text,Částka\n2026-11-20,Říčany,5.00\n".encode("cp1250")
    keys = {"net": {"column": "Částka"}, "references": {"remittance": "Text"}}
    assert read(tmp_path, text, encoding="cp1250", **keys).lines["remittance"].to_list() == ["Říčany"]
    with pytest.raises(LayoutRefused, match="no encoding"):
        read(tmp_path, text, encoding="cp-none", **keys)


def test_a_column_without_a_name_of_its_own_is_called_by_its_place(tmp_path: Path) -> None:
    text = "Date,Text,Amount,,Amount\n2026-11-20,x,5.00,S,7.00\n"
    assert amounts(read(tmp_path, text, net={"column": "Amount", "indicator": "#4"})) == [-500]
    assert amounts(read(tmp_path, text, net={"column": "#5"})) == [700]


def test_words_for_in_and_out_that_only_this_bank_uses(tmp_path: Path) -> None:
    text = "Date,Text,Amount,Way\n2026-11-20,x,5.00,Af\n2026-11-20,y,6.00,Bij\n2026-11-20,z,1.00,D\n"
    file = read(tmp_path, text, net={"column": "Amount", "indicator": "Way", "debits": ["Af"], "credits": ["Bij"]})
    assert amounts(file) == [-500, 600]
    assert [bad.rule for bad in file.statements[0].quarantined] == ["entry-sign-unknown"]


@pytest.mark.parametrize(
    ("written", "minor"),
    [
        ("€ 5.00", 500), ("-$5.00", -500), ("$-5.00", -500), ("EUR 5.00", 500), ("5.00 EUR", 500), ("5.00 DR", -500),
        ("5.00CR", 500), ("5.00 kr", 500), ("R 2,200.00", 220000), ("5.00\u2212", -500), ("-5.00 DR", None),
        ("5.00 USD", None), ("5.00 xyz", None), ("DR", 0),
    ],
)  # fmt: skip
def test_what_stands_beside_a_number(tmp_path: Path, written: str, minor: int | None) -> None:
    """The currency's sign or code, and DR or CR; another currency's code, or a sign told twice, is a fault."""
    file = read(tmp_path, f'Date,Text,Amount\n2026-11-20,x,"{written}"\n', **AMOUNT)
    assert amounts(file) == ([] if minor is None else [minor])
    assert len(file.statements[0].quarantined) == (1 if minor is None else 0)


def test_a_time_behind_a_day_in_any_format_is_passed_over(tmp_path: Path) -> None:
    days = ["20.11.2026 10:15", "20.11.2026, 10.15 Uhr", "20.11.2026T10:15:00Z", "20.11.2026"]
    text = "Date,Text,Amount\n" + "".join(f'"{day}",x,1.00\n' for day in days)
    assert {str(day) for day in read(tmp_path, text, date_format="%d.%m.%Y", **AMOUNT).lines["booking_date"]} == {
        "2026-11-20"
    }


def test_each_account_of_a_file_is_a_statement(tmp_path: Path) -> None:
    """Rows of another account are not put on the first one's."""
    text = (
        "Date,Text,Amount,Acc,Bal\n2026-11-20,x,5.00,A,105.00\n2026-11-20,y,7.00,B,57.00\n2026-11-21,z,1.00,A,106.00\n"
    )
    file = read(tmp_path, text, account="Acc", account_is=None, balance="Bal", **AMOUNT)
    assert [(s.account, s.entry_count, s.proof.state) for s in file.statements] == [
        ("A", 2, ProofState.PROVEN),
        ("B", 1, ProofState.PROVEN),
    ]


def test_a_balance_behind_the_last_row_of_a_day_only_proves_too(tmp_path: Path) -> None:
    rows = ["2026-11-19,a,5.00,", "2026-11-19,b,5.00,110.00", "2026-11-20,c,-1.00,", "2026-11-20,d,-2.00,107.00"]
    text = "\n".join(["Date,Text,Amount,Bal", *rows])
    (statement,) = read(tmp_path, text, balance="Bal", **AMOUNT).statements
    assert (statement.proof.state, statement.proof.opening_minor) == (ProofState.PROVEN, 10_000)
    (lost,) = read(tmp_path, text.replace("2026-11-20,c,-1.00,\n", ""), balance="Bal", **AMOUNT).statements
    assert lost.proof.state is ProofState.VIOLATED
    (newest,) = read(tmp_path, text.replace(",107.00", ","), balance="Bal", **AMOUNT).statements
    assert newest.proof.state is ProofState.IMPOSSIBLE  # what the newest rows did, no balance says


def test_rows_that_inform_change_no_balance(tmp_path: Path) -> None:
    rows = ["2026-11-20,a,5.00,105.00,DONE", "2026-11-20,b,9.00,,OPEN", "2026-11-21,c,1.00,106.00,DONE"]
    text = "\n".join(["Date,Text,Amount,Bal,State", *rows])
    keys = {"balance": "Bal", "status": {"column": "State", "informs": ["OPEN"]}}
    (statement,) = read(tmp_path, text, **keys, **AMOUNT).statements
    assert statement.proof.state is ProofState.PROVEN


def test_a_row_that_states_the_total_of_a_settlement_is_no_entry_and_proves(tmp_path: Path) -> None:
    text = (
        "Id,Ccy,Total,Date,Text,Amount\n7,GBP,4.50,,,\n7,,,2026-11-20,x,5.00\n7,,,2026-11-20,fee,-0.50\n8,GBP,1.00,,,\n"
    )
    keys = {"statement": "Id", "total": "Total", "currency": "Ccy", "currency_is": None}
    seven, eight = read(tmp_path, text, **keys, **AMOUNT).statements
    assert (seven.entry_count, seven.currency, seven.proof.state) == (2, "GBP", ProofState.PROVEN)
    assert (eight.entry_count, eight.proof.state) == (0, ProofState.VIOLATED)  # its entries are missing
    (short, _) = read(tmp_path, text.replace("-0.50", "-0.40"), **keys, **AMOUNT).statements
    assert short.proof.state is ProofState.VIOLATED


def test_a_large_file_is_known_although_its_head_ends_inside_a_letter(tmp_path: Path) -> None:
    """The first bytes are looked at; cut inside a letter they would be another encoding, and the header another."""
    for shift in range(2):
        text = f"Date,Text,Währung,Amount\n2026-11-20,{'x' * shift}{'ä' * HEAD_BYTES},EUR,5.00\n"
        file = read(tmp_path, text, header=["Date", "Währung"], currency="Währung", currency_is=None, **AMOUNT)
        assert amounts(file) == [500]
