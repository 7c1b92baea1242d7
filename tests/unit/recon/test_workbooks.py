"""Workbooks are read as their sheets saved as CSV would be; openpyxl writes them."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from datetime import date, datetime
from pathlib import Path

import openpyxl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from openpyxl.styles import numbers

from recon.check import check_files
from recon.formats import StatementRefused, read_layouts, read_statement_file, unpacked
from recon.formats.workbook import is_workbook, sheets
from recon.model import ProofState
from tests.conftest import SHARED
from tests.unit.recon.test_reports import LAYOUT

SAMPLES = sorted((SHARED / "samples" / "psp").glob("*.csv"))
NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,12})\.[0-9]{2}")

BOOK_1904 = (
    '<workbook xmlns="urn:s" xmlns:r="urn:o"><workbookPr date1904="1"/><sheets><sheet name="a" r:id="a"/></sheets>'
    "</workbook>"
)


def workbook(*rows: list[object], **more: list[list[object]]) -> bytes:
    """A workbook of one sheet, and more sheets by title (those starting with `hidden` are)."""
    book = openpyxl.Workbook()
    sheet = book.active
    for row in rows:
        sheet.append(row)
    for title, content in more.items():
        other = book.create_sheet(title)
        for row in content:
            other.append(row)
        if title.startswith("hidden"):
            other.sheet_state = "hidden"
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def one_sheet(data: bytes) -> list[list[str]]:
    (sheet,) = sheets(data)
    return [cells for _, cells in sheet]


@pytest.mark.skipif(not SAMPLES, reason="the samples of payment providers are not here")
@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name[:60])
def test_every_sample_saved_as_a_workbook_has_the_same_lines(path: Path) -> None:
    """Amounts become numbers where a spreadsheet would make them so; everything else stays text."""
    with path.open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.reader(stream))
    saved = workbook(
        *([float(cell) if NUMBER.fullmatch(cell) and "." in cell else cell for cell in row] for row in rows)
    )
    as_text, as_book = read_statement_file(path, name="x"), read_statement_file(saved, name="x")
    assert as_book.message_version == as_text.message_version
    differing = "source_line"  # a quoted line break counts in text only
    assert as_book.lines.drop(differing).rows() == as_text.lines.drop(differing).rows()
    assert [s.proofs for s in as_book.statements] == [s.proofs for s in as_text.statements]


@given(st.integers(-(10**14) + 1, 10**14 - 1), st.integers(0, 2))
@settings(max_examples=200, deadline=None)
def test_no_binary_fraction_changes_an_amount(minor: int, exponent: int) -> None:
    """What arithmetic leaves in a cell is up to a rounding error away from the amount; the text is the amount."""
    value = minor / 10**exponent
    for noisy in (value, value * 3 / 3, value + 0.1 - 0.1):
        xml = repr(noisy)
        (cells,) = one_sheet(patched(workbook([1.5]), b"<v>1.5</v>", f"<v>{xml}</v>".encode()))
        whole, _, fraction = cells[0].partition(".")
        read = int(whole.removeprefix("-") + fraction.ljust(exponent, "0")[:exponent])
        assert len(fraction) <= exponent
        assert (-read if cells[0].startswith("-") else read) == minor


def patched(data: bytes, old: bytes, new: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(out, "w") as target:
        for info in source.infolist():
            target.writestr(info.filename, source.read(info.filename).replace(old, new))
    return out.getvalue()


def test_numbers_dates_and_texts_are_read_as_people_see_them() -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.append(["a", None, 12, 1e21, True, date(2026, 11, 20), datetime(2026, 11, 20, 13, 45, 7), "=1+1"])  # noqa: DTZ001
    sheet["F1"].number_format = "dd.mm.yyyy"
    sheet.append([0.30000000000000004, "007", -1234.5])
    sheet["C2"].number_format = numbers.FORMAT_NUMBER_COMMA_SEPARATED1
    sheet["D2"] = 45000
    sheet["D2"].number_format = '"days" 0'
    out = io.BytesIO()
    book.save(out)
    assert one_sheet(out.getvalue()) == [
        ["a", "", "12", "1000000000000000000000", "1", "2026-11-20", "2026-11-20 13:45:07", ""],
        ["0.3", "007", "-1234.5", "45000"],
    ]


def test_a_declared_layout_reads_a_workbook_with_real_dates_and_numbers(tmp_path: Path) -> None:
    layout, book = tmp_path / "bank.yaml", tmp_path / "bank.xlsx"
    layout.write_text(LAYOUT, encoding="utf-8")
    header: list[object] = ["Tag", "Betrag", "Saldo", "Zweck"]
    rows: list[list[object]] = [
        [date(2026, 11, 20), 1234.56, 1234.56, "Miete"],
        ["21.11.2026", "-1.234,50", 0.06, "Strom"],
    ]
    hidden: list[list[object]] = [header, [date(2026, 1, 1), 9.99, 9.99, "old"]]
    book.write_bytes(workbook(["Kontoauszug"], hidden1=hidden, Umsätze=[["Konto"], header, *rows]))
    layouts = read_layouts(layout)
    file = read_statement_file(book, name=book.name, layouts=layouts)
    assert file.lines.select("booking_date", "amount_minor", "remittance", "source_line").rows() == [
        (date(2026, 11, 20), 123456, "Miete", 3),
        (date(2026, 11, 21), -123450, "Strom", 4),
    ]
    assert file.statements[0].proof.state is ProofState.PROVEN
    checked = check_files([book], layouts=layouts)
    assert [outcome.refusal for outcome in checked.files] == [None]


def test_what_no_layout_knows_is_refused_with_what_to_do(tmp_path: Path) -> None:
    data = workbook(["some", "columns"], [1, 2])
    with pytest.raises(StatementRefused, match="proposes a --layout"):
        read_statement_file(data, name="x")
    cut = data[: len(data) // 2]
    assert not is_workbook(cut)
    with pytest.raises(StatementRefused, match="archive-damaged"):
        list(unpacked(cut, name="x.xlsx"))
    packed = tmp_path / "packed.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("report.xlsx", data)
    assert [outcome.refusal.rule for outcome in check_files([packed]).files if outcome.refusal] == ["layout-unknown"]


@pytest.mark.parametrize(
    "part", ["xl/workbook.xml", "xl/_rels/workbook.xml.rels", "xl/styles.xml", "xl/worksheets/sheet1.xml"]
)
def test_a_damaged_part_or_a_doctype_refuses_the_workbook(part: str) -> None:
    data = workbook(["Tag", "Betrag", "Saldo"], [date(2026, 11, 20), 1.5, 1.5])
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        content = archive.read(part)
    for bad in (content[: len(content) // 2], b'<!DOCTYPE x [<!ENTITY a "b">]>' + content):
        with pytest.raises(StatementRefused):
            list(sheets(patched(data, content, bad)))


def test_shared_strings_in_runs_with_pronunciation_and_dates_since_1904() -> None:
    strings = (
        '<sst xmlns="urn:s"><si><t>plain</t></si><si><r><t>in </t></r><r><t>runs</t></r>'
        "<rPh><t>said so</t></rPh></si></sst>"
    )
    rows = (
        '<row><c t="s"><v>0</v></c><c r="D1" t="s"><v>1</v></c></row>'
        '<row r="7"><c t="s"><v>9</v></c><c s="1"><v>0.5</v></c><c s="1"><v>1462</v></c><c t="e"><v>#N/A</v></c></row>'
    )
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("xl/workbook.xml", BOOK_1904)
        archive.writestr("xl/_rels/workbook.xml.rels", '<x xmlns="urn:r"><Relationship Id="a" Target="/xl/s.xml"/></x>')
        archive.writestr(
            "xl/styles.xml", '<x xmlns="urn:s"><cellXfs><xf numFmtId="0"/><xf numFmtId="14"/></cellXfs></x>'
        )
        archive.writestr("xl/sharedStrings.xml", strings)
        archive.writestr("xl/s.xml", f'<worksheet xmlns="urn:s"><sheetData>{rows}</sheetData></worksheet>')
    (sheet,) = sheets(out.getvalue())
    assert sheet == [(1, ["plain", "", "", "in runs"]), (7, ["", "0.5", "1908-01-02", "#N/A"])]


@given(st.binary(max_size=300), st.integers(0, 5_000))
@example(b"\x00\x00@", 4_587)  # a version of zip that nobody speaks
@settings(max_examples=60, deadline=None)
def test_no_bytes_lead_to_anything_but_a_refusal(noise: bytes, at: int) -> None:
    data = workbook(["payout_id", "x"], ["P1", 2.5])
    broken = data[:at] + noise + data[at + len(noise) :]
    try:
        for name, member in unpacked(broken, name="x"):
            read_statement_file(member, name=name)
    except StatementRefused:
        pass
