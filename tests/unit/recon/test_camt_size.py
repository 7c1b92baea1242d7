"""Large files: memory stays bounded, time stays near that of the parser alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.camt053 import run as run_benchmark
from recon.formats import read_statement_file
from tests.unit.recon.camt_files import balance, details, document, entry, statement

ENTRIES = 30_000
MEASURE = """
import json, resource, sys, time
from lxml import etree
from recon.formats import read_statement_file
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before, start = peak(), time.process_time()
file = read_statement_file(sys.argv[1], name="big")
seconds, grown_kib = time.process_time() - start, peak() - before
start, previous = time.process_time(), None
for _, element in etree.iterparse(sys.argv[1], tag="{*}Ntry"):
    element.clear()
    if previous is not None:
        previous.getparent().remove(previous)
    previous = element
print(json.dumps({"seconds": seconds, "bare": time.process_time() - start, "grown_kib": grown_kib,
                  "rows": file.lines.height, "proof": file.statements[0].proof.state.value}))
"""


@pytest.mark.slow
def test_a_large_file_is_read_in_bounded_memory_and_time(tmp_path: Path) -> None:
    path = tmp_path / "big.xml"
    entries = (
        entry(
            "1.00",
            "DBIT",
            ref=f"B{number:09d}",
            inside=details(
                f"<Refs><EndToEndId>E{number:09d}</EndToEndId></Refs>"
                f"<RltdPties><Cdtr><Pty><Nm>Payee {number}</Nm></Pty></Cdtr></RltdPties>"
                f"<RmtInf><Ustrd>Payout {number}</Ustrd></RmtInf>"
            ),
        )
        for number in range(ENTRIES)
    )
    closing = balance("CLBD", f"{ENTRIES}.00", sign="DBIT")
    path.write_text(document(statement(balance("OPBD", "0.00"), closing, *entries)), encoding="utf-8")
    root = Path(__file__).resolve().parents[3]
    run = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True, cwd=root
    )
    found = json.loads(run.stdout)
    assert (found["rows"], found["proof"]) == (ENTRIES, "proven")
    assert found["grown_kib"] < 100 * 1024
    # About 4 on an idle machine; the margin is for a busy one.
    assert found["seconds"] < 10 * found["bare"]


def test_many_statements_in_one_file_take_no_more_than_their_share(tmp_path: Path) -> None:
    file = read_statement_file(
        document(*(statement(entry(ref=f"B{number}"), id_=f"S{number}") for number in range(500))).encode(), name="x"
    )
    assert len(file.statements) == 500
    assert file.lines_of(file.statements[-1])["account_servicer_ref"].to_list() == ["B499"]


def test_the_benchmark_measures_three_readers_of_one_file() -> None:
    result = run_benchmark(60, repeats=1).to_json()
    others = result["others"]
    assert isinstance(others, dict)
    assert result["rows"] == others["pyiso20022_entries"] == 60
    assert float(str(result["ratio"])) > 0
    assert float(str(others["times_faster_than_pyiso20022"])) > 0
