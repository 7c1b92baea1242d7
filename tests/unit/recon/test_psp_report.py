"""Acquirer payout reports: exact amounts, and every fault with its line."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from recon.formats import PspReportRefused, read_psp_report

HEADER = "payout_id,acquirer,bank_account,currency,payout_date,gross,refunds,chargebacks,fees,net,line_count\n"
GOOD = "P1,cardia,eur-main,EUR,2026-11-20,100.00,10.00,5.00,1.55,83.45,7\n"


def faults_of(text: str | bytes) -> list[tuple[int, str]]:
    data = text.encode() if isinstance(text, str) else text
    with pytest.raises(PspReportRefused) as caught:
        read_psp_report(data, name="psp.csv")
    for fault in caught.value.faults:
        assert f"line {fault.line}: {fault.message}" in str(caught.value)
    return [(fault.line, fault.column) for fault in caught.value.faults]


@pytest.mark.parametrize(
    "text", [HEADER + GOOD, "\ufeff" + HEADER + GOOD, (HEADER + GOOD).replace("\n", "\r\n") + "\r\n"]
)
def test_a_good_report_is_exact(text: str) -> None:
    (payout,) = read_psp_report(text.encode(), name="psp.csv").payouts
    assert (payout.payout_id, payout.acquirer, payout.bank_account, payout.currency) == (
        "P1",
        "cardia",
        "eur-main",
        "EUR",
    )
    assert payout.payout_date == date(2026, 11, 20)
    assert (payout.gross_minor, payout.refunds_minor, payout.chargebacks_minor) == (10000, 1000, 500)
    assert (payout.fees_minor, payout.net_minor, payout.line_count, payout.source_line) == (155, 8345, 7, 2)


def test_a_report_from_a_path_has_its_hash(tmp_path: Path) -> None:
    path = tmp_path / "psp.csv"
    path.write_bytes((HEADER + GOOD).encode())
    assert read_psp_report(path, name="a").sha256 == read_psp_report(path.read_bytes(), name="b").sha256


def test_refunds_may_exceed_sales_and_yen_have_no_decimals() -> None:
    row = "P2,cardia,jpy,JPY,2026-11-20,100,150,0,3,-53,2\n"
    assert read_psp_report((HEADER + row).encode(), name="x").payouts[0].net_minor == -53


@pytest.mark.parametrize(
    ("old", "new", "column"),
    [
        ("P1", " ", "payout_id"),
        ("cardia", "", "acquirer"),
        ("eur-main", "", "bank_account"),
        ("EUR", "EURO", "currency"),
        ("2026-11-20", "20.11.2026", "payout_date"),
        ("2026-11-20", "2026-02-30", "payout_date"),
        ("100.00", "1,0", None),
        ("100.00", "100.001", "gross"),
        ("100.00", "9" * 5000, "gross"),
        ("10.00", "-10.00", "refunds"),
        ("83.45", "83.44", "net"),
        (",7", ",x", "line_count"),
        (",7", ",7,8", ""),
        ("P1", '"P1', ""),
    ],
)
def test_a_fault_has_its_line_and_column(old: str, new: str, column: str | None) -> None:
    found = faults_of(HEADER + GOOD.replace("P1", "P0") + GOOD.replace(old, new, 1))
    assert found[0][0] == 3
    assert column is None or found[0][1] == column


def test_all_faults_are_told_at_once_in_line_order() -> None:
    bad = GOOD.replace("EUR", "???").replace("2026-11-20", "soon")
    assert faults_of(HEADER + bad + GOOD + GOOD + GOOD.replace("83.45", "1.00")) == [
        (2, "currency"),
        (2, "payout_date"),
        (4, "payout_id"),
        (5, "net"),
    ]


@pytest.mark.parametrize(
    ("data", "line"),
    [(b"", 1), (b"a,b\n1,2\n", 1), ((HEADER + GOOD).encode() + b"\xff\xfe,x\n", 3), (b"\x00\x00", 1)],
)
def test_what_is_no_report(data: bytes, line: int) -> None:
    assert faults_of(data) == [(line, "")]


def test_a_missing_file() -> None:
    with pytest.raises(PspReportRefused, match="cannot be read"):
        read_psp_report(Path("no-such-file.csv"), name="x")
