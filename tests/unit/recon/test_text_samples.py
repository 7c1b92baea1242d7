"""MT940, MT942 and BAI2 files of real banks and programs: all are read, independent readers agree.

The other readers are `mt-940`, `bai2` (Python packages that share no code with ours), the verifier's own small
reading, and the counts of the index beside the files. Where they differ, the difference is named here and
explained in docs/statement-rules.md.
"""

from __future__ import annotations

import csv
import logging
import os
import re
import shutil
import subprocess
from decimal import Decimal
from fractions import Fraction
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import mt940
import pytest
from bai2 import bai2
from bai2.exceptions import NotSupportedYetException

from ledger import currency
from recon.errors import ReconCheckError
from recon.formats import read_statement_file
from recon.line_schema import StatementLines
from recon.model import ProofReason, ProofState, StatementFile
from recon.verifier_texts import read_raw_bai2, read_raw_mt940
from tests.conftest import SHARED

SAMPLES = sorted(path for kind in ("mt940", "bai2") for path in (SHARED / "samples" / kind).glob("*"))

# Files that the other reader cannot read, and sums on which it differs: see docs/statement-rules.md.
NOT_READ_BY_MT_940 = {
    "WoLpH__0708271685_09022020_164516.940.txt",
    "sandermarechal__K4262927_20200905-080000-952.txt",
    "sandermarechal__oldenburgischelandesbank2.txt",
}
MT_940_ADDS_REVERSED_CREDITS = {"WoLpH__sepa_mt9401.sta", "sandermarechal__sparkasse3.txt"}
NOT_READ_BY_BAI2 = {"moov-io__sample2.txt", "moov-io__sample3.txt"}
# The index counts lines that start with 16; two records stand in the middle of a line.
INDEX_COUNTS = {"moov-io__sample3.txt": 26}
# Statements that state balances which their lines do not give: amounts were changed to make the file anonymous,
# or the file is a fragment that a test of its project uses.
OFF = {
    "WoLpH__abnamro.sta": 2,
    "WoLpH__details_60-63.sta": 1,
    "WoLpH__ing.sta": 1,
    "WoLpH__knab.sta": 1,
    "WoLpH__malformed_details.sta": 1,
    "WoLpH__overly_long_details.sta": 1,
    "WoLpH__postfinance.sta": 1,
    "WoLpH__rabobank.sta": 2,
    "WoLpH__raiffeisen-cmi.sta": 1,
    "WoLpH__sepa_snippet.sta": 1,
    "WoLpH__sepa_snippet_broken.sta": 1,
    "WoLpH__triodos.sta": 1,
    "WoLpH__whitespace.sta": 1,
    "WoLpH__with_newline_in_tnr.sta": 1,
    "moov-io__sample4-continuations-newline-delimited.txt": 2,
    "moov-io__sample5-issue113.txt": 2,
    "sandermarechal__abnamro.txt": 2,
    "sandermarechal__bug-core-5401.txt": 1,
    "sandermarechal__commerzbank.txt": 1,
    "sandermarechal__deutschebank.txt": 1,
    "sandermarechal__ing-dos.txt": 1,
    "sandermarechal__knab.txt": 1,
    "sandermarechal__oldenburgischelandesbank.txt": 1,
    "sandermarechal__oldenburgischelandesbankmitbindestrich.txt": 1,
    "sandermarechal__postfinance.txt": 1,
    "sandermarechal__rabobank.txt": 2,
    "sandermarechal__sparkasse2.txt": 1,
    "sandermarechal__sparkasse3.txt": 1,
    "sandermarechal__triodos.txt": 1,
}


def of(kind: str) -> list[Path | None]:
    return [path for path in SAMPLES if path.parent.name == kind] or [None]


@pytest.fixture(params=SAMPLES or [None], ids=lambda path: path.name[:60] if path else "absent")
def sample(request: pytest.FixtureRequest) -> Path:
    return _present(request.param)


def _present(path: Path | None) -> Path:
    if path is None:
        pytest.skip("bank samples not found; put them beside the project or set NOSTRO_SHARED")
    return path


@cache
def _read(path: Path) -> StatementFile:
    return read_statement_file(path, name=path.name)


@cache
def _index() -> dict[str, dict[str, str]]:
    with (SHARED / "samples" / "INDEX.tsv").open(encoding="utf-8", newline="") as file:
        return {row["file"]: row for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)}


def test_every_entry_is_read(sample: Path) -> None:
    file = _read(sample)
    StatementLines.validate(file.lines)
    row = _index()[f"{sample.parent.name}/{sample.name}"]
    assert file.message_version == row["message_version"].lower()
    assert file.entry_count == INDEX_COUNTS.get(sample.name, int(row["entries"])) == file.lines.height


def test_totals_equal_the_stated_balances_or_the_difference_is_known(sample: Path) -> None:
    proofs = [statement.proof for statement in _read(sample).statements]
    off = [proof for proof in proofs if proof.state in (ProofState.VIOLATED, ProofState.UNPROVEN)]
    assert len(off) == OFF.get(sample.name, 0)
    for proof in proofs:
        if proof.state is ProofState.IMPOSSIBLE:
            assert proof.reason is not ProofReason.AMBIGUOUS
            assert proof.opening_minor is None or proof.closing_minor is None


def test_the_verifier_reads_the_same(sample: Path) -> None:
    file = _read(sample)
    reader = read_raw_mt940 if sample.parent.name == "mt940" else read_raw_bai2
    for statement in file.statements:
        if statement.proof.state not in (ProofState.PROVEN, ProofState.VIOLATED):
            continue
        raw = reader(
            sample.read_bytes(), ordinal=statement.ordinal, exponent=currency(statement.currency or "").exponent
        )
        proof = statement.proof
        assert (raw.opening_minor, raw.lines_minor) == (proof.opening_minor, proof.booked_minor)
        assert (raw.closing_minor, raw.booked_count) == (proof.closing_minor, statement.entry_count)


def test_the_verifier_refuses_what_has_no_balances() -> None:
    with pytest.raises(ReconCheckError):
        read_raw_mt940(b":20:X\n:25:1\n:60F:C260101EUR1,\n", ordinal=1, exponent=2)
    with pytest.raises(ReconCheckError):
        read_raw_bai2(b"03,1,USD,010,5,,/\n49,5,2/\n", ordinal=1, exponent=2)


@pytest.mark.parametrize("path", of("mt940"), ids=lambda path: path.name[:60] if path else "absent")
def test_mt_940_agrees(path: Path | None, caplog: pytest.LogCaptureFixture) -> None:
    """Count, every amount, and the references of :61: in order."""
    sample = _present(path)
    caplog.set_level(logging.CRITICAL)
    if sample.name in NOT_READ_BY_MT_940:
        with pytest.raises(RuntimeError):
            mt940.parse(sample.read_bytes())
        return
    theirs = [transaction.data for transaction in mt940.parse(sample.read_bytes())]
    lines = _read(sample).lines
    ours = [
        Decimal(minor).scaleb(-currency(code).exponent) for minor, code in lines[["amount_minor", "currency"]].rows()
    ]
    stated = [Decimal(str(each["amount"].amount)) for each in theirs]
    reversed_credits = [(mine, other) for mine, other in zip(ours, stated, strict=True) if mine != other]
    assert bool(reversed_credits) == (sample.name in MT_940_ADDS_REVERSED_CREDITS)
    assert all(mine == -other for mine, other in reversed_credits)
    for mine, other in zip(lines["account_servicer_ref"], theirs, strict=True):
        assert (mine or "NONREF") == (other.get("bank_reference") or "NONREF").strip()


@pytest.mark.parametrize("path", of("bai2"), ids=lambda path: path.name[:60] if path else "absent")
def test_bai2_agrees(path: Path | None) -> None:
    """Count, amounts, type codes and both references in order."""
    sample = _present(path)
    text = sample.read_text(encoding="utf-8")
    if sample.name in NOT_READ_BY_BAI2:
        with pytest.raises((NotSupportedYetException, ValueError)):
            bai2.parse_from_string(text, check_integrity=False)
        return
    found = bai2.parse_from_string(text, check_integrity=False)
    theirs = [each for group in found.children for account in group.children for each in account.children]
    ours = (
        _read(sample).lines.select("amount_minor", "proprietary_code", "account_servicer_ref", "instruction_id").rows()
    )
    for (minor, code, bank, customer), other in zip(ours, theirs, strict=True):
        assert (abs(minor), code) == (other.amount, other.type_code.code)
        assert (bank or "", customer or "") == (
            (other.bank_reference or "").strip(),
            (other.customer_reference or "").strip(),
        )


# No transaction type behind the amount, transport lines, or an early end.
NOT_READ_BY_AQBANKING = {
    "WoLpH__0708271685_09022020_164516.940.txt",
    "WoLpH__abnamro.sta",
    "WoLpH__details_60-63.sta",
    "WoLpH__gv_codes.sta",
    "WoLpH__ing.sta",
    "WoLpH__malformed_details.sta",
    "WoLpH__overly_long_details.sta",
    "WoLpH__raiffeisen-cmi.sta",
    "WoLpH__raphaelm.sta",
    "WoLpH__whitespace.sta",
    "sandermarechal__abnamro.txt",
    "sandermarechal__ing-dos.txt",
    "sandermarechal__volksbankenraiffeisenbanken.txt",
}


@pytest.mark.skipif(shutil.which("aqbanking-cli") is None, reason="aqbanking-cli is not installed (aqbanking-tools)")
def test_aqbanking_agrees(tmp_path: Path) -> None:
    """Number of entries and every amount, reversals included, of each file it reads."""
    read: set[str] = set()
    for path in of("mt940"):
        sample = _present(path)
        file, found = _read(sample), tmp_path / f"{sample.name}.ctx"
        command = [
            "aqbanking-cli",
            "-n",
            "import",
            "--importer=swift",
            f"--profile=SWIFT-{file.message_version.upper()}",
        ]
        environment = {**os.environ, "HOME": str(tmp_path)}
        subprocess.run(
            [*command, "-f", str(sample), "-c", str(found)], env=environment, capture_output=True, check=False
        )
        if not found.exists():
            continue
        read.add(sample.name)
        text = found.read_text(encoding="utf-8", errors="replace")
        blocks = re.findall(r"^ {6}transaction \{(.*?)^ {6}\} #transaction$", text, re.MULTILINE | re.DOTALL)
        values = [value for block in blocks for value in re.findall(r'char value="([^"]*)"', block)]
        theirs = sorted(Fraction(unquote(value).split(":")[0]) for value in values)
        rows = file.lines[["amount_minor", "currency"]].rows()
        assert sorted(Fraction(minor, 10 ** currency(code).exponent) for minor, code in rows) == theirs, sample.name
    assert {path.name for path in SAMPLES if path.parent.name == "mt940"} - read <= NOT_READ_BY_AQBANKING
