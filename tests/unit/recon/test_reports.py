"""Reports by layout: every sample of a payment provider, declared layouts, and packed files."""

from __future__ import annotations

import csv
import gzip
import io
import zipfile
from datetime import date
from pathlib import Path

import pytest
import yaml

from recon.check import check_files
from recon.formats import LayoutRefused, StatementRefused, archive, read_layouts, read_statement_file, unpacked
from recon.line_schema import StatementLines
from recon.model import ProofState, StatementFile
from tests.conftest import SHARED
from tests.unit.recon.test_bai2 import bai

SAMPLES = sorted((SHARED / "samples" / "psp").glob("*"))
# Stated payouts or balances that the rows do not give: cut or changed by the projects the samples come from.
OFF = {
    "wikimedia__Wikimedia_Settlement_Reports_20260110.csv": 1,  # by a cent: the report rounds after adding up
    "wikimedia__settlement_detail_report_chargeback.csv": 1,
    "wikimedia__settlement_detail_report_donation-ideal.csv": 1,
    "wikimedia__settlement_detail_report_refund.csv": 1,
    "wikimedia__settlement_report.csv": 1,
    "wikimedia__stl.csv": 2,
    "wikimedia__stl_dr_payment.csv": 1,
    "wikimedia__stl_payout_currency_convert.csv": 2,
}
LAYOUT = """
name: bank.example
header: [Tag, Betrag, Saldo]
delimiter: ";"
decimal: ","
date_format: "%d.%m.%Y"
account_is: DE89370400440532013000
currency_is: EUR
net: {column: Betrag}
balance: Saldo
date: Tag
references: {remittance: Zweck}
"""


@pytest.fixture(params=SAMPLES or [None], ids=lambda path: path.name[:60] if path else "absent")
def sample(request: pytest.FixtureRequest) -> Path:
    if request.param is None:
        pytest.skip("bank samples not found; put them beside the project or set NOSTRO_SHARED")
    path: Path = request.param
    return path


def test_every_row_of_every_sample_is_read(sample: Path) -> None:
    """Rows counted by their first cell, apart from the reader."""
    file = read_statement_file(sample, name=sample.name)
    StatementLines.validate(file.lines)
    with sample.open(encoding="utf-8-sig", newline="") as stream:
        rows = [row for row in csv.reader(stream) if row]
    tags = {"psp.paypal": {"SB"}, "psp.trustly-funding": {"I"}, "psp.trustly-reconciliation": {"T"}}
    if file.message_version in tags:
        expected = sum(row[0] in tags[file.message_version] for row in rows)
    elif file.message_version == "psp.dlocal":
        expected = sum(row[0] not in ("ROW_TYPE", "HEADER") for row in rows)
    else:
        expected = len(rows) - 1
    assert file.entry_count == expected
    assert not any(statement.quarantined for statement in file.statements)


def test_totals_of_samples_hold_or_the_difference_is_known(sample: Path) -> None:
    file = read_statement_file(sample, name=sample.name)
    off = [s for s in file.statements if s.proof.state in (ProofState.VIOLATED, ProofState.UNPROVEN)]
    assert len(off) == OFF.get(sample.name, 0)


def test_every_row_sums_to_its_entry(sample: Path) -> None:
    lines = read_statement_file(sample, name=sample.name).lines
    entries = lines.group_by("statement_ordinal", "line_ordinal").agg("amount_minor", "entry_amount_minor")
    for _, _, parts, whole in entries.iter_rows():
        assert sum(parts) == whole[0] and len(set(whole)) == 1


def read(text: str, tmp_path: Path, layout: str = LAYOUT) -> StatementFile:
    path = tmp_path / "layout.yaml"
    path.write_text(layout, encoding="utf-8")
    return read_statement_file(text.encode(), name="x", layouts=read_layouts(path))


@pytest.mark.parametrize(
    ("written", "minor"),
    [("1.234,56", 123456), ("-5,5", -550), ("5,50-", -550), ("(5,5)", -550), ("1 000", 100000), ("+7", 700), ("", 0)],
)
def test_a_declared_layout_reads_numbers_as_written(tmp_path: Path, written: str, minor: int) -> None:
    file = read(f"Umsätze\nTag;Zweck;Betrag;Saldo\n20.11.2026;Miete;{written};1,00\n", tmp_path)
    (row,) = file.lines.to_dicts()
    assert (row["amount_minor"], row["booking_date"], row["remittance"]) == (minor, date(2026, 11, 20), "Miete")
    assert file.statements[0].account == "DE89370400440532013000"


@pytest.mark.parametrize("newest_first", [False, True])
def test_a_running_balance_proves_and_a_lost_row_does_not(tmp_path: Path, newest_first: bool) -> None:
    rows = ["18.11.2026;a;5,00;105,00", "19.11.2026;b;-2,00;103,00", "20.11.2026;c;1,00;104,00"]
    if newest_first:
        rows.reverse()
    (statement,) = read("\n".join(["Tag;Zweck;Betrag;Saldo", *rows]), tmp_path).statements
    assert (statement.proof.state, statement.proof.opening_minor) == (ProofState.PROVEN, 10_000)
    (cut,) = read("\n".join(["Tag;Zweck;Betrag;Saldo", rows[0], rows[2]]), tmp_path).statements
    assert cut.proof.state is ProofState.VIOLATED


@pytest.mark.parametrize(
    ("rule", "row"),
    [
        ("entry-amount-garbled", "20.11.2026;a;5,0x;1"),
        ("entry-amount-decimals", "20.11.2026;a;5,001;1"),
        ("entry-date-garbled", "31.11.2026;a;5;1"),
    ],
)
def test_a_bad_row_is_quarantined(tmp_path: Path, rule: str, row: str) -> None:
    (statement,) = read(f"Tag;Zweck;Betrag;Saldo\n{row}\n", tmp_path).statements
    assert [bad.rule for bad in statement.quarantined] == [rule]
    assert statement.proof.state is ProofState.UNPROVEN


def test_credit_and_debit_columns_and_indicators(tmp_path: Path) -> None:
    columns = LAYOUT.replace("{column: Betrag}", "{credit: Betrag, debit: Soll}")
    assert read("Tag;Soll;Betrag;Saldo\n20.11.2026;5;;1\n", tmp_path, columns).lines["amount_minor"].to_list() == [-500]
    marked = LAYOUT.replace("{column: Betrag}", "{column: Betrag, indicator: SH}")
    file = read("Tag;SH;Betrag;Saldo\n20.11.2026;S;5;1\n20.11.2026;?;5;1\n", tmp_path, marked)
    assert file.lines["amount_minor"].to_list() == [-500]
    assert [bad.rule for bad in file.statements[0].quarantined] == ["entry-sign-unknown"]


@pytest.mark.parametrize(
    "layout",
    [
        ": not yaml: [",
        "name: X",
        LAYOUT + "colour: blue\n",
        LAYOUT.replace("net: {column: Betrag}\n", ""),
        "name: a.b\nnet: {}\n",
    ],
)
def test_a_layout_with_a_fault_is_refused(tmp_path: Path, layout: str) -> None:
    with pytest.raises(LayoutRefused):
        read("", tmp_path, layout)


def test_a_cut_report_is_refused() -> None:
    head = "H,P11KFUN,1.0.0,2026-02-01T12:00:00Z,2026-02-02T12:00:00Z,3618,0001of0001\n"
    with pytest.raises(StatementRefused, match="cut-short"):
        read_statement_file((head + "F,Corp,,ABC,USD,0,21,x\n").encode(), name="x")


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archived:
        for name, content in members.items():
            archived.writestr(name, content)
    return buffer.getvalue()


def test_packed_files_are_checked_member_by_member(tmp_path: Path) -> None:
    both = tmp_path / "both.bin"
    both.write_bytes(zipped(a=bai().encode(), b=b"only a text"))
    single = tmp_path / "single"
    single.write_bytes(gzip.compress(bai().encode()))
    report = check_files([both, single])
    assert [(f.message_version, f.refusal is None) for f in report.files] == [
        ("bai2", True),
        ("unknown", False),
        ("bai2", True),
    ]
    assert report.files[2].statements[0].repeats is not None


@pytest.mark.parametrize(
    ("rule", "data"),
    [
        ("archive-damaged", gzip.compress(bai().encode(), mtime=0)[:-9]),
        ("archive-damaged", zipped(a=bai().encode())[:-30]),
        ("archive-damaged", zipped()),
        ("archive-unsafe", gzip.compress(bytes(5_000_000))),
        ("archive-unsafe", zipped(a=bytes(5_000_000))),
        ("archive-unsafe", zipped(a=zipped(b=b"x"))),
        ("archive-unsafe", gzip.compress(gzip.compress(b"x"))),
        ("archive-unsafe", zipped(**{"xl/workbook.xml": bytes(5_000_000)})),
    ],
    ids=["gzip-cut", "zip-cut", "empty", "gzip-dense", "zip-dense", "zip-in-zip", "gzip-in-gzip", "workbook-dense"],
)
def test_an_archive_that_is_not_safe_is_refused(rule: str, data: bytes) -> None:
    with pytest.raises(StatementRefused) as caught:
        list(unpacked(data, name="x"))
    assert caught.value.rule == rule


def test_too_many_members_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MEMBERS_MAX", 2)
    with pytest.raises(StatementRefused, match="archive-unsafe"):
        list(unpacked(zipped(a=b"1", b=b"2", c=b"3"), name="x"))


def declared(tmp_path: Path, text: str, **keys: object) -> StatementFile:
    """A table read by a layout of these keys."""
    basis = {"name": "bank.own", "header": ["Date", "Text"], "account_is": "A1", "currency_is": "EUR", "date": "Date"}
    path = tmp_path / "layout.yaml"
    path.write_text(yaml.safe_dump({**basis, **keys}), encoding="utf-8")
    return read_statement_file(text.encode(), name="bank.csv", layouts=read_layouts(path))


@pytest.mark.parametrize(
    ("signed", "debit", "minor"),
    [(None, "5.00", -500), (True, "-5.00", -500), (False, "-5.00", 500), (True, "5.00", -500), (None, "-5.00", None)],
)
@pytest.mark.parametrize("by", ["column", "indicator"])
def test_a_minus_in_a_debit_means_what_the_layout_says(
    tmp_path: Path, by: str, signed: bool | None, debit: str, minor: int | None
) -> None:
    part = {"debit": "Out", "credit": "In"} if by == "column" else {"column": "Out", "indicator": "In"}
    text = f"Date,Text,Out,In\n2026-11-20,x,{debit},{'D' if by == 'indicator' else ''}\n"
    file = declared(tmp_path, text, net=part | ({} if signed is None else {"signed": signed}))
    assert file.lines["amount_minor"].to_list() == ([] if minor is None else [minor])
    rules = [bad.rule for bad in file.statements[0].quarantined]
    assert rules == (["entry-sign-unknown"] if minor is None else [])
    assert "details-do-not-sum" not in {finding.rule for finding in file.statements[0].findings}


def test_rows_that_state_balances_prove_and_totals_are_no_entries(tmp_path: Path) -> None:
    rows = "".join(f"Remark {n},,\n" for n in range(12))
    text = f"{rows}Balance new,,15.00\nDate,Text,Amount\n2026-11-20,x,5.00\nTotal,,5.00\nBalance old,,10.00\n"
    keys = {"net": {"column": "Amount"}, "opening": "Balance old", "closing": "Balance new"}
    file = declared(tmp_path, text, skip=["Total"], **keys)
    proof = file.statements[0].proof
    assert (proof.state, proof.opening_minor, proof.closing_minor) == (ProofState.PROVEN, 1000, 1500)
    (statement,) = declared(tmp_path, text, **keys).statements
    assert [bad.rule for bad in statement.quarantined] == ["entry-date-garbled"]
    undated = declared(tmp_path, "Date,Text,Amount\n2026-11-20,x,5.00\n,Total,5.00\n", net={"column": "Amount"})
    assert "skip" in undated.statements[0].quarantined[0].message


def test_a_file_without_a_header_is_known_by_its_columns(tmp_path: Path) -> None:
    keys = {"header": [], "columns": ["When", "Later", "Text", "Amount"], "net": {"column": "Amount"}}
    file = declared(tmp_path, "2026-11-20,,x,5.00\n,2026-11-21,y,6.00\n", date=["When", "Later"], **keys)
    assert file.lines["amount_minor"].to_list() == [500, 600]
    assert [str(day) for day in file.lines["booking_date"]] == ["2026-11-20", "2026-11-21"]
    with pytest.raises(StatementRefused, match="layout-unknown"):
        declared(tmp_path, "2026-11-20,,x,5.00,more\n", date="When", **keys)
    with pytest.raises(StatementRefused, match="layout-unknown"):
        declared(tmp_path, "When,Later,Text,Amount\n", date="When", **keys)


def test_of_two_layouts_that_fit_the_one_that_says_more_is_used(tmp_path: Path) -> None:
    path = tmp_path / "layouts.yaml"
    both = [
        {
            "name": name,
            "header": header,
            "account_is": "A",
            "currency_is": "EUR",
            "date": "Date",
            "net": {"column": "Sum"},
        }
        for name, header in (("short", ["Date", "Sum"]), ("long.one", ["Date", "Sum", "Text"]))
    ]
    path.write_text(yaml.safe_dump(both), encoding="utf-8")
    file = read_statement_file(b"Date,Sum,Text\n2026-11-20,5.00,x\n", name="x", layouts=read_layouts(path))
    assert file.message_version == "long.one"


STRIPE = {
    "psp.stripe-activity": "balance_transaction_id,created_utc,currency,gross,fee,net,reporting_category,description",
    "psp.stripe-history": "id,Created (UTC),Currency,Amount,Fee,Net,Type,Source",
}


@pytest.mark.parametrize(("name", "header"), STRIPE.items())
def test_other_exports_of_stripe(name: str, header: str) -> None:
    file = read_statement_file(f"{header}\nt1,2026-11-20 10:00,eur,9.00,1.00,8.00,charge,x\n".encode(), name="x.csv")
    assert file.message_version == name
    assert file.lines["amount_minor"].to_list() == [900, -100]
    assert {str(day) for day in file.lines["booking_date"]} == {"2026-11-20"}
