"""Texts in sheets that people open: never a formula, never lost, the same when they come back."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import openpyxl  # type: ignore[import-untyped]
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from recon.decisions import _lines
from recon.errors import DecisionFileError
from recon.formats.workbook import sheets
from recon.sheet_cells import CELL_MAX, fitting, guarded, unguarded
from recon.workbook_writer import write_workbook

TEXT = st.text(st.sampled_from("=+-@＝;,|\t\r\n'\" x1"), max_size=12)
STARTS = tuple("=+-@\t\r＝＋－＠")
HEAD = ["break_id", "sha256", "action", "reason"]


def csv_of(*lines: list[str], mark: str = ",") -> bytes:
    text = io.StringIO()
    csv.writer(text, delimiter=mark, lineterminator="\r\n").writerows(lines)
    return text.getvalue().encode("utf-8-sig")


def faults(content: bytes) -> tuple[str, ...]:
    with pytest.raises(DecisionFileError) as caught:
        list(_lines(content, "breaks.csv"))
    return caught.value.faults


@given(TEXT, TEXT)
@example("x;=1", "x\n=1")
def test_no_cell_is_a_formula_whatever_parts_the_lines(first: str, second: str) -> None:
    """By commas as it was written, or by semicolons, where quotes that do not begin a cell part nothing."""
    line = csv_of([guarded("B1"), guarded(first), guarded(second)]).decode("utf-8-sig")
    by_comma = next(csv.reader(io.StringIO(line, newline="")))
    pieces = [piece for row in line.splitlines() for piece in row.split(";")]
    for cell in (*by_comma, *pieces[1:]):
        shown = cell.lstrip(" \"'") if cell.startswith(('"', " ")) else cell
        assert not shown.startswith(STARTS) or cell.lstrip(' "').startswith("'") or _is_number(cell), (cell, line)


def _is_number(cell: str) -> bool:
    return cell.strip('"\r\n,').removeprefix("-").replace(".", "", 1).isdigit()


@given(TEXT)
@example("''x")
@example("'=x")
def test_what_is_guarded_in_front_reads_as_it_was(text: str) -> None:
    front = guarded(text.partition(";")[0].translate(str.maketrans("", "", "\t\r\n")))
    assert unguarded(front) == text.partition(";")[0].translate(str.maketrans("", "", "\t\r\n"))


@pytest.mark.parametrize("text", ["-5.00", "12", "-0.1"])
def test_numbers_stay_numbers(text: str) -> None:
    assert guarded(text) == text


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=12), min_size=1, max_size=4))
def test_a_workbook_reads_as_it_was_written(cells: list[str]) -> None:
    """Also line ends and what looks like an escape; characters that XML has not are left out."""
    kept = [
        "".join(c for c in cell if c in "\t\n\r" or (c >= " " and c not in "\ufffe\uffff")).strip() for cell in cells
    ]
    (sheet,) = sheets(write_workbook("breaks", [["head"], cells]))
    read = dict(sheet).get(2, [])
    assert [*read, *[""] * (len(kept) - len(read))] == kept


def test_others_read_the_same_workbook(tmp_path: Path) -> None:
    cells = ["a;b", '"q"', "two\nlines", "=1+1", "_x0041_", "\ufffe-"]
    path = tmp_path / "breaks.xlsx"
    path.write_bytes(write_workbook("breaks", [cells]))
    sheet = openpyxl.load_workbook(path).active
    assert sheet is not None
    (row,) = sheet.iter_rows()
    assert [cell.data_type for cell in row] == ["inlineStr"] * 6 or {cell.data_type for cell in row} <= {
        "s",
        "inlineStr",
    }
    assert [str(cell.value) for cell in row][:4] == cells[:4]


def test_a_cell_holds_no_more_than_spreadsheets_do_and_says_so() -> None:
    told = fitting("x" * 40_000)
    assert len(told) <= CELL_MAX
    assert told.endswith("… (7,633 more characters; `nostro breaks show` has all)")
    assert fitting("x" * 32_000) == "x" * 32_000


@pytest.mark.parametrize("mark", [",", ";"])
def test_reasons_of_every_kind_come_back(mark: str) -> None:
    reasons = ["a; b, c", 'she said "no"', "two\nlines\r\nthree", "'tis right", "y" * 200_000, "ends in ;"]
    rows = list(_lines(csv_of(HEAD, *(["B1", "0", "note", each] for each in reasons), mark=mark), "breaks.csv"))
    assert [(number, line["reason"]) for number, line in rows] == list(enumerate(reasons, start=2))


def test_what_would_be_lost_is_a_fault() -> None:
    plain = "break_id,sha256,action,reason\nB1,0,note,asked the bank, ticket 4711\nB2,0,note,fine,,\n"
    assert faults(plain.encode()) == ("row 2: it has more cells than row 1; put texts in quotes",)
    assert faults(b"break_id,sha256,action,reason,reason\n") == ("row 1: there are two columns 'reason'",)
