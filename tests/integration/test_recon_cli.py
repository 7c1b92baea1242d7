"""People's decisions from the command line: a break to its end, sign-off, samples, rules, sheets, runs compared."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.cli_program import Program, new_program
from tests.recon_world import ACCOUNT, BankBook, Line
from tests.settlement_world import DAY, PayeeRow, write_setup
from tests.unit.recon.camt_files import document

TUESDAY = DAY + timedelta(days=1)
WHY = ("--reason", "a fee that is right")


@pytest.fixture(scope="module")
def program(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """Two charges of Monday that no tariff has, and interest that policy posted."""
    folder = tmp_path_factory.mktemp("recon-cli")
    with new_program(server, "nostro_recon_cli") as made:
        said(made, "init")
        said(made, "user", "add", "alice", "--group", "preparer")
        said(made, "user", "add", "bob", "--group", "approver")
        said(made, "setup", write_setup(folder, [PayeeRow(code="P1")], accounts=("eur",)))
        lines = [
            Line(amount_minor=-251, ref="B1", code="PMNT/ICDT/CHRG"),
            Line(amount_minor=-252, ref="B2", code="PMNT/ICDT/CHRG"),
            Line(amount_minor=77, ref="B3", code="ACMT/MCOP/INTR"),
        ]
        statement = folder / "monday.xml"
        statement.write_text(document(BankBook(world=None).statement(lines)))  # type: ignore[arg-type]
        said(made, "recon", "ingest", statement)
        said(made, "recon", "run", "--date", str(DAY))
        yield made


def said(program: Program, *words: str | Path, status: int = 0) -> dict[str, object]:
    outcome = program(*words, "--json")
    assert outcome.status == status, (words, outcome.err)
    return outcome.json if status in (0, 5) else outcome.error


def breaks(program: Program, *words: str) -> list[dict[str, object]]:
    rows = said(program, "breaks", "list", *words)["breaks"]
    assert isinstance(rows, list)
    return rows


def test_decisions_from_the_command_line(program: Program, tmp_path: Path) -> None:
    first, second = sorted((str(row["break_id"]) for row in breaks(program)), key=lambda b: int(b[1:]))
    assert len(breaks(program, "--severity", "low", "--owner", "", "--age", "0", "--state", "open")) == 2
    said(program, "breaks", "assign", first, "alice", "--due", "2026-11-06", "--as", "bob")
    said(program, "breaks", "note", first, "asked the bank", "--as", "alice")
    assert [row["due_date"] for row in breaks(program, "--owner", "alice")] == ["2026-11-06"]
    explained = said(program, "breaks", "explain", first)
    assert any(str(way["text"]).startswith("with bank-fee") for way in explained["closes"])  # type: ignore[attr-defined]
    tried = said(program, "breaks", "propose", first, *WHY, "--dry-run", "--as", "alice")
    assert tried["adjustment_id"] is None
    refused = said(program, "breaks", "propose", first, *WHY, "--match", "--as", "alice", status=1)
    assert refused["error"] == "AdjustmentError"
    leg = ("--leg", "expenses:bank-fees:eur=2.51")
    assert said(program, "breaks", "propose", first, *WHY, *leg, "--as", "alice")["adjustment_id"] == 1
    said(program, "breaks", "approve", first, "--reject", "take the template", "--as", "bob")
    said(program, "breaks", "propose", first, *WHY, "--as", "alice")
    assert said(program, "breaks", "approve", first, "--as", "alice", status=1)["error"] == "AccessError"
    assert said(program, "breaks", "approve", first, "--as", "bob")["proposal"] == 2

    limits = ("--max", "3.00", "--daily", "4.00")
    said(program, "breaks", "policy", "BANK_ORIGINATED", "bank-fee", *limits, *WHY, "--as", "alice")
    said(program, "breaks", "policy-approve", "1", "--as", "bob")
    policies = said(program, "breaks", "policies")["policies"]
    assert [policy["state"] for policy in policies] == ["in force"]  # type: ignore[attr-defined]
    posted = said(program, "breaks", "routine", "--as", "alice")["posted"]
    assert [each["plan"]["break_id"] for each in posted] == [second]  # type: ignore[attr-defined]
    (used,) = said(program, "breaks", "policies")["policies"]  # type: ignore[misc]
    assert [used[f"{what}_{unit}"] for what in ("daily", "used") for unit in ("minor", "count")] == [400, 20, 252, 1]
    said(program, "breaks", "policy-end", "1", *WHY, "--as", "bob")
    said(program, "recon", "run", "--date", str(TUESDAY))
    assert breaks(program) == []
    shown = said(program, "breaks", "show", first)
    assert shown["head"]["state"] == "resolved"  # type: ignore[index]
    assert said(program, "breaks", "resolve", first, *WHY, "--as", "alice", status=1)["error"] == "BreakStateError"
    assert said(program, "breaks", "reopen", first, *WHY, "--as", "alice", status=1)["error"] == "BreakStateError"

    proposals = shown["proposals"]
    cleared = str(proposals[-1]["match_set_id"])  # type: ignore[index]
    said(program, "recon", "unmatch", cleared, *WHY, "--as", "alice")
    assert said(program, "recon", "unmatch", cleared, "--approve", "--as", "bob")["open_again"] == 2
    said(program, "recon", "run", "--date", str(TUESDAY))
    path = tmp_path / "breaks.csv"
    assert said(program, "breaks", "export", path)["breaks"] == 1
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    rows[0] |= {"action": "assign", "owner": "bob"}
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    assert said(program, "breaks", "import", path, "--as", "alice")["carried_out"] == {"assign": 1}
    assert said(program, "breaks", "import", path, "--as", "alice")["is_new"] is False
    declared = said(program, "breaks", "thresholds", "--set", "high:EUR:2.00", "--set", "medium:age:3", "--as", "alice")
    assert len(declared["thresholds"]) == 2  # type: ignore[arg-type]
    assert [row["severity"] for row in breaks(program)] == ["high"]


def test_sign_off_and_runs_from_the_command_line(program: Program) -> None:
    day = str(DAY)
    assert said(program, "recon", "signoff", str(TUESDAY), "--as", "alice", status=1)["error"] == "SignOffError"
    said(program, "recon", "signoff", day, "--as", "alice")
    signed = said(program, "recon", "signoff", day, "--as", "bob")
    assert [c["state"] for c in signed["certificates"]] == ["signed"]  # type: ignore[attr-defined]
    identity = said(program, "recon", "identity", "--date", day)
    assert [line["amount_minor"] for line in identity["lines"] if line["line"] == "difference"] == [0, 0]  # type: ignore[attr-defined]
    sample = said(program, "recon", "sample", day, "--account", ACCOUNT, "--size", "3", "--as", "alice")
    (one,) = sample["sets"]  # type: ignore[misc]
    done = said(program, "recon", "review", str(one["match_set_id"]), "--sample", "1", "--as", "alice")
    assert done["bound_minor"] is not None
    rules = said(program, "recon", "rules", "--demote")["rules"]
    assert {rule["rule"] for rule in rules} >= {"routine-interest", "adjustment"}  # type: ignore[attr-defined]
    runs = [str(run["run_id"]) for run in said(program, "recon", "runs")["runs"]]  # type: ignore[attr-defined]
    assert said(program, "recon", "rerun", runs[0])["differences"] == []
    changed = said(program, "recon", "diff", runs[-1], runs[0])["changes"]
    assert changed
    known = said(program, "recon", "report", "--as-of", day, "--known-at", "2099-01-01T00:00:00+00:00")
    assert known["signed"] == {ACCOUNT: "signed by alice and bob"}
