"""Lines in Parquet are the lines in memory, whatever the file; a refused file leaves nothing."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from benchmarks.camt053 import write_statement
from recon import lines_to_parquet
from recon.formats import (
    StatementRefused,
    parquet_spool,
    prove_statement_file,
    read_statement_file,
    read_statement_to_parquet,
)
from tests.unit.recon.camt_files import balance, document, entry, statement

SAMPLES = Path(__file__).resolve().parents[4] / "shared" / "samples"
FILES = sorted(
    path for kind in ("camt.052", "camt.053", "camt.054", "mt940", "bai2") for path in (SAMPLES / kind).glob("*")
)
MEASURE = """
import json, resource, sys
from pathlib import Path
from recon.formats import read_statement_to_parquet
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
grown = []
for path in map(Path, sys.argv[1:]):
    before = peak()
    file = read_statement_to_parquet(path, path.with_suffix(".parquet"), name=path.name)
    grown.append(peak() - before)
print(json.dumps({"grown_kib": grown, "proof": file.statements[0].proof.state.value}))
"""


@pytest.mark.skipif(not FILES, reason="the sample statements are not here")
def test_every_sample_has_the_same_lines_in_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In groups of as many rows as usual, and of few where there are more."""
    out = tmp_path / "lines.parquet"
    compared, usual = 0, parquet_spool.GROUP_ROWS
    for path in FILES:
        try:
            whole = read_statement_file(path, name=path.name)
        except StatementRefused as refused:
            with pytest.raises(StatementRefused, match=refused.rule):
                read_statement_to_parquet(path, out, name=path.name)
            continue
        assert prove_statement_file(path, name=path.name).statements == whole.statements
        for rows_held in (usual,) if whole.lines.height < 3 else (usual, 3):
            monkeypatch.setattr(parquet_spool, "GROUP_ROWS", rows_held)
            spooled = read_statement_to_parquet(path, out, name=path.name)
            assert spooled.statements == whole.statements
            assert spooled.lines.is_empty() and spooled.lines.schema == whole.lines.schema
            assert pl.read_parquet(out).rows() == whole.lines.rows(), path.name
        compared += whole.lines.height
    assert compared > 2_000


def test_rows_that_the_end_of_the_statement_decides_are_settled_in_parquet_too(tmp_path: Path) -> None:
    """No booking date: the closing day's; a currency no balance states: set aside."""
    data = document(
        statement(
            balance("OPBD", "0.00"),
            entry("1.00", ref="A", booked=""),
            entry("2.00", ref="B", ccy="USD"),
            balance("CLBD", "1.00"),
        )
    ).encode()
    whole = read_statement_file(data, name="x")
    read_statement_to_parquet(data, tmp_path / "x.parquet", name="x")
    found = pl.read_parquet(tmp_path / "x.parquet")
    assert found.rows() == whole.lines.rows()
    assert found["booking_date"].null_count() == 0 and found["account_servicer_ref"].to_list() == ["A"]


def test_a_refused_file_leaves_nothing_and_stops_no_other(tmp_path: Path) -> None:
    good, cut, packed = tmp_path / "good.xml", tmp_path / "cut.xml", tmp_path / "packed.xml.gz"
    write_statement(good, 50)
    cut.write_bytes(good.read_bytes()[:5_000])
    packed.write_bytes(gzip.compress(good.read_bytes()))
    again = tmp_path / "again" / "good.xml"
    again.parent.mkdir()
    again.write_bytes(good.read_bytes())
    folder = tmp_path / "lines"
    written = lines_to_parquet([good, cut, packed, again, tmp_path / "none.xml"], folder=folder)
    assert [each.row_count for each in written] == [50, 0, 50, 0, 0]
    assert [each.path is None for each in written] == [False, True, False, True, True]
    assert "well-formed" in str(written[1].reason) and "another folder" in str(written[3].reason)
    names = ["good.xml.parquet", "packed.xml.gz-packed.xml.parquet"]
    assert sorted(path.name for path in folder.iterdir()) == names
    first = [(folder / name).read_bytes() for name in names]
    lines_to_parquet([good, packed], folder=folder)
    assert [(folder / name).read_bytes() for name in names] == first


@pytest.mark.slow
def test_ten_times_the_entries_take_the_same_memory(tmp_path: Path) -> None:
    for name, rows in (("warm", 10), ("small", 10_000), ("large", 100_000)):
        write_statement(tmp_path / f"{name}.xml", rows)
    files = [str(tmp_path / f"{name}.xml") for name in ("warm", "small", "large")]
    root = Path(__file__).resolve().parents[3]
    run = subprocess.run([sys.executable, "-c", MEASURE, *files], capture_output=True, text=True, check=True, cwd=root)
    found = json.loads(run.stdout)
    assert found["proof"] == "proven"
    assert found["grown_kib"][2] < 60 * 1024  # beyond what a tenth of the entries took
