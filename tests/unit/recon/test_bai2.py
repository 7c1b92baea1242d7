"""BAI2: records, continuations, funds types, signs of type codes, control totals."""

from __future__ import annotations

from datetime import date

import pytest

from recon.formats import StatementRefused, read_statement_file
from recon.line_schema import StatementLines
from recon.model import ProofState, StatementFile
from recon.verifier_texts import read_raw_bai2


def bai(*details: str, opening: int = 100_000, closing: int = 100_000, currency: str = "USD", group: str = "1") -> str:
    """A file of one account whose control totals hold."""
    body = [f"03,0123456789,{currency},010,{opening},,,015,{closing},,/", *details]
    total = opening + closing + sum(int(line.split(",")[2]) for line in details if line.startswith("16"))
    records = len(body) + 1
    return "\n".join(
        [
            "01,BANK,US,261120,0800,1,,,2/",
            f"02,US,BANK,{group},261119,2359,USD,2/",
            *body,
            f"49,{total},{records}/",
            f"98,{total},1,{records + 2}/",
            f"99,{total},1,{records + 4}/",
        ]
    )


def read(text: str) -> StatementFile:
    file = read_statement_file(text.encode(), name="previous-day.txt")
    StatementLines.validate(file.lines)
    return file


def one(detail: str) -> dict[str, object]:
    (row,) = read(bai(*detail.split("\n"))).lines.to_dicts()
    return row


def test_an_account_with_its_proof() -> None:
    text = bai("16,142,2500,Z,B1,C1,ACH CREDIT/", "16,451,500,,,,FEE/", closing=102_000)
    file = read(text)
    (statement,) = file.statements
    assert (statement.proof.state, statement.entry_count) == (ProofState.PROVEN, 2)
    assert (statement.id, statement.account, statement.currency) == ("2026-11-19", "0123456789", "USD")
    assert statement.findings == () and file.findings == ()
    rows = file.lines.to_dicts()
    assert [row["amount_minor"] for row in rows] == [2500, -500]
    assert (rows[0]["account_servicer_ref"], rows[0]["end_to_end_id"], rows[0]["remittance"]) == (
        "B1",
        "C1",
        "ACH CREDIT",
    )
    assert rows[0]["booking_date"] == rows[0]["value_date"] == date(2026, 11, 19)


@pytest.mark.parametrize(
    ("funds", "value_date"),
    [
        ("Z", date(2026, 11, 19)),
        ("0", date(2026, 11, 19)),
        ("1", None),
        ("V,261121,0900", date(2026, 11, 21)),
        ("V,261121,", date(2026, 11, 21)),
        ("S,100,200,2200", None),
        ("D,2,0,100,1,2400", None),
        ("", date(2026, 11, 19)),
    ],
)
def test_funds_types_move_the_fields_behind_them(funds: str, value_date: date | None) -> None:
    row = one(f"16,142,2500,{funds},B1,C1,TEXT, WITH / COMMA/")
    assert (row["account_servicer_ref"], row["instruction_id"], row["value_date"]) == ("B1", "C1", value_date)
    assert row["remittance"] == "TEXT, WITH / COMMA"


def test_continuations_give_fields_first_and_text_then() -> None:
    row = one("16,142,2500,V,261121/\n88,0900,B1,C1/\n88,FIRST PART/\n88,EREF: E-7\n88,DBNM: BUYER INC")
    assert (row["account_servicer_ref"], row["instruction_id"], row["end_to_end_id"]) == ("B1", "C1", "E-7")
    assert row["party_name"] == "BUYER INC"


@pytest.mark.parametrize(("code", "sign"), [("100", 1), ("399", 1), ("400", -1), ("699", -1), ("921", 1), ("961", -1)])
def test_the_type_code_gives_the_sign(code: str, sign: int) -> None:
    assert one(f"16,{code},2500,,,,T/")["amount_minor"] == 2500 * sign


@pytest.mark.parametrize(
    "lines",
    [
        "03,0123456789,USD,010,100000,,,015,100000,,,/\n88,040,1,,,045,2,,/",
        "03,0123456789,USD,010,100000,,,015,100000,/\n88,040,1,,,045,2,,/",
        "03,0123456789,USD,,,,,010,100000,,,015,100000,,,040,1,,,045,2,,/",
        "03,0123456789,USD,010,100000,2,D,2,0,1,1,2,015,100000,,S,1,2,3,040,1,,V,261119,,045/\n88,2,,/",
    ],
)
def test_commas_too_many_or_too_few_move_no_balance(lines: str) -> None:
    text = bai().replace("03,0123456789,USD,010,100000,,,015,100000,,/", lines)
    text = text.replace("49,200000,", "49,200003,").replace("98,200000", "98,200003").replace("99,200000", "99,200003")
    (statement,) = read(text).statements
    assert statement.proof.state is ProofState.PROVEN
    assert [balance.amount_minor for balance in statement.balances] == [100_000, 100_000, 1, 2]
    raw = read_raw_bai2(text.encode(), ordinal=1, exponent=2)
    assert (raw.opening_minor, raw.closing_minor) == (100_000, 100_000)


def test_references_of_a_record_without_text() -> None:
    assert one("16,142,2500,Z/")["account_servicer_ref"] is None
    row = one("16,142,2500,Z,B1/")
    assert (row["account_servicer_ref"], row["instruction_id"], row["remittance"]) == ("B1", None, None)
    row = one("16,142,2500,V,261121,,B1,C1/\n88,TRID: T-9\n88,REMI: RENT")
    assert (row["account_servicer_ref"], row["instruction_id"]) == ("B1", "C1")
    assert (row["remittance"], row["additional_info"]) == ("RENT", "TRID: T-9")


def test_a_text_without_money_is_no_entry() -> None:
    file = read(bai("16,890,0,,,,RATES CHANGED/"))
    assert file.statements[0].proof.state is ProofState.PROVEN and file.lines.height == 0
    assert [finding.rule for finding in file.statements[0].findings] == ["information-only"]


def test_several_files_in_one_and_files_without_line_ends() -> None:
    one_file = bai("16,142,2500,,B,,TEXT/", closing=102_500)
    two = read(f"{one_file}\n{one_file.replace('261119', '261120')}\x1a")
    assert [statement.id for statement in two.statements] == ["2026-11-19", "2026-11-20"]
    assert two.findings == ()
    stated = one_file.replace("0800,1,,,2/", "0800,1,80,1,2/")
    (statement,) = read("".join(line.ljust(80) for line in stated.split("\n"))).statements
    assert statement.proof.state is ProofState.PROVEN and statement.findings == ()


def test_every_account_needs_its_control_record_and_every_entry_its_account() -> None:
    body = bai().split("\n")
    text = "\n".join([*body[:3], *body[2:]])
    first, second = read(text).statements
    assert [bad.rule for bad in first.quarantined] == ["balance-control-missing"]
    assert second.quarantined == ()
    with pytest.raises(StatementRefused, match="entry-misplaced"):
        read("\n".join([*body[:4], "16,142,2500,,,,T/", *body[4:]]))


def test_returns_carry_a_reason() -> None:
    assert one('16,557,2500,,B,C,RETURN,Reason: "R02"/')["return_reason"] == "R02"
    assert one("16,255,2500,,B,C,CHECK/")["return_reason"] == "NARR"
    assert one("16,142,2500,,B,C,ACH/")["return_reason"] is None


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("entry-amount-negative", bai("16,142,-2500,,,,T/")),
        ("entry-amount-garbled", bai("16,142,2500,,,,T/").replace("142,2500", "142,25.00")),
        ("entry-amount-missing", bai("16,142,2500,,,,T/").replace("142,2500", "142,")),
        ("entry-sign-unknown", bai("16,890,2500,,,,T/")),
        ("balance-currency-unknown", bai(currency="USX")),
        ("balance-amount-garbled", bai().replace("010,100000", "010,1000.00")),
        ("balance-total-differs", bai("16,142,2500,,,,T/").replace("49,202500", "49,202501")),
        ("balance-total-differs", bai("16,142,2500,,,,T/", "16,142,2500,,,,T/").replace("16,142,2500,,,,T/\n", "", 1)),
        ("balance-control-missing", "\n".join(line for line in bai().split("\n") if not line.startswith("49"))),
        ("balance-not-original", bai(group="4")),
    ],
)
def test_what_cannot_be_trusted_leaves_the_account_unproven(rule: str, text: str) -> None:
    (statement,) = read(text).statements
    assert rule in {bad.rule for bad in statement.quarantined}
    assert statement.proof.state is ProofState.UNPROVEN


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("group-total-differs", bai().replace("98,200000", "98,200001")),
        ("file-total-differs", bai().replace("99,200000", "99,200001")),
        ("record-count-differs", bai().replace("99,200000,1,6", "99,200000,1,7")),
        ("group-status", bai(group="3")),
    ],
)
def test_what_is_noted_for_the_file(rule: str, text: str) -> None:
    assert rule in {finding.rule for finding in read(text).findings}


def test_stated_totals_are_compared_with_the_details() -> None:
    text = bai("16,142,2500,,,,T/").replace("015,100000,,/", "015,100000,,,100,2400,1,/").replace("202500", "204900")
    assert [finding.rule for finding in read(text).statements[0].findings] == ["summary-count-differs"]


def test_intraday_groups_inform() -> None:
    file = read(bai("16,142,2500,,,,T/").replace("USD,2/", "USD,3/"))
    assert file.message_version == "bai2.intraday" and file.lines["status"].to_list() == ["PDNG"]


@pytest.mark.parametrize("rows", [1, 2, 3, 4])
def test_a_cut_file_is_refused(rows: int) -> None:
    with pytest.raises(StatementRefused, match="cut-short"):
        read("\n".join(bai().split("\n")[:rows]))
