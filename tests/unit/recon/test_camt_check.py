"""The report of a check: outcomes, totals per version, text and JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recon.check import FileOutcome, check_files
from tests.unit.recon.camt_files import balance, document, entry, statement

OPEN, CLOSE = balance("OPBD", "100.00"), balance("CLBD", "90.00")
PAID = entry("10.00", "DBIT")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files = {
        "1-good.xml": document(statement(OPEN, CLOSE, PAID)),
        "2-again.xml": document(statement(OPEN, CLOSE, PAID, created="2026-11-21T01:00:00"), message_id="M2"),
        "3-off.xml": document(statement(OPEN, CLOSE, id_="S3"), version="camt.053.001.02"),
        "4-bad.xml": document(statement(OPEN, CLOSE, entry("1,0"), id_="S4")),
        "5-note.xml": document(statement(entry(), kind="camt.054", id_="S5"), version="camt.054.001.08"),
        "6-cut.xml": document(statement(id_="S6"))[:-9],
        "7-text.txt": ":20:X",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_text(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    lines = list(check_files([path.name for path in sorted(folder.iterdir())]).render())
    golden = Path(__file__).resolve().parents[2] / "golden" / "camt-check.txt"
    assert "\n".join(lines) + "\n" == golden.read_text(encoding="utf-8")


def test_totals(folder: Path) -> None:
    report = check_files(sorted(folder.iterdir()))
    totals = report.totals()
    assert (totals.files_read, totals.files_refused, totals.entries, totals.entries_quarantined) == (5, 2, 4, 1)
    assert (totals.proven, totals.violated, totals.unproven, totals.impossible) == (2, 1, 1, 1)
    by_version = report.totals_by_version()
    assert list(by_version) == ["camt.053.001.02", "camt.053.001.08", "camt.054.001.08", "unknown"]
    assert by_version["camt.053.001.08"].files_refused == 1
    assert sum(total.statements for total in by_version.values()) == totals.statements == 5


def test_progress_is_told_file_by_file(folder: Path) -> None:
    seen: list[FileOutcome] = []
    report = check_files(sorted(folder.iterdir()), on_progress=seen.append)
    assert [outcome.name for outcome in seen] == [outcome.name for outcome in report.files]


def test_json_is_plain_and_complete(folder: Path) -> None:
    report = check_files(sorted(folder.iterdir()))
    found = json.loads(json.dumps(report.as_json()))
    assert found["totals"]["proven"] == 2
    assert [file["refusal"] and file["refusal"]["rule"] for file in found["files"]][-2:] == [
        "xml-not-well-formed",
        "not-xml",
    ]
    assert found["files"][2]["statements"][0]["proofs"][0]["difference_minor"] == -1000
    assert found["files"][1]["statements"][0]["repeats"].endswith("1-good.xml statement 1")


def test_pages_in_several_files_are_proven_together(tmp_path: Path) -> None:
    for number, last, parts in ((1, "false", OPEN + PAID), (2, "true", CLOSE)):
        page = f"<MsgPgntn><PgNb>{number}</PgNb><LastPgInd>{last}</LastPgInd></MsgPgntn>"
        text = document(statement(parts), message_id=f"M{number}", page=page)
        (tmp_path / f"{number}.xml").write_text(text, encoding="utf-8")
    both = sorted(tmp_path.iterdir())
    assert [s.proof.reason.value for file in check_files(both).files for s in file.statements] == ["pages-tie"] * 2
    assert check_files(both[:1]).totals().impossible == 1


def test_a_banks_text_cannot_break_the_report(tmp_path: Path) -> None:
    hostile = "A\nall: files read 9\x9b31m" + "x" * 10_000
    (tmp_path / "a.xml").write_text(document(statement(id_=hostile)), encoding="utf-8")
    _, line, last = check_files([tmp_path / "a.xml"]).render()
    assert line.isprintable() and len(line) < 250
    assert last.startswith("all: files read 1,")


def test_no_files() -> None:
    report = check_files([])
    assert list(report.render())[-1].startswith("all: files read 0, refused 0; entries 0")
