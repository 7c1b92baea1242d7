"""Payees and stopped payments on the command line, and eight processes at the same night."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from settlement import seal
from tests.cli_program import Outcome, Program, new_program, run_together
from tests.settlement_world import moment

MONDAY, NOON = "2026-11-02", "2026-11-02T12:00:00+00:00"
PAYEE = "P000001"


@pytest.fixture(scope="module")
def program(server: str) -> Iterator[Program]:
    """A company with sales that nobody has paid yet."""
    with new_program(server, "nostro_stops") as program:
        program.set_up()
        for name in ("journal-2026-10-30.csv", "journal-2026-11-02.csv"):
            program.done("import", "journal", program.files / name)
        yield program


def together(*words: str) -> list[Outcome]:
    """The same command in eight processes at once."""
    return run_together(8, *words, "--json")


def test_eight_processes_make_one_run_and_send_each_file_once(program: Program) -> None:
    proposed = together("settle", "propose", "--date", MONDAY, "--now", NOON, "--as", "alice")
    assert [outcome.status for outcome in proposed] == [0] * 8, proposed
    files = [{row["file"]["file_id"]: row["is_new"] for row in json.loads(o.out)["files"]} for o in proposed]
    assert len({tuple(sorted(each)) for each in files}) == 1, "everybody sees the same files"
    assert sum(all(each.values()) for each in files) == 1 and sum(not any(each.values()) for each in files) == 7
    program.done("settle", "approve", "--all", "--as", "bob")
    first = str(min(files[0]))
    released = together("settle", "release", first, "--now", NOON, "--as", "alice")
    sent = [o for o in released if o.status == 0 and json.loads(o.out)["files"][0]["is_new"]]
    others = [o for o in released if o not in sent]
    assert len(sent) == 1 and len(others) == 7
    for other in others:  # it was sent already, or somebody is sending it this moment: both are said clearly
        said = json.loads(other.out)["files"][0] if other.status == 0 else other.error
        assert (other.status, said.get("state")) == (0, "sent") or (other.status == 3 and said["retryable"]), other
    with program.owner() as owner:
        count = owner.execute("SELECT count(*), count(DISTINCT bank_account_id) FROM settlement.run").fetchone()
        sends = owner.execute("SELECT count(*) FROM settlement.file_event WHERE state = 'sending'").fetchone()
    assert count is not None and count[0] == count[1], "one run a bank account"
    assert sends == (1,)


def test_payees_on_the_command_line(program: Program) -> None:
    shown = program.done("payee", "show", PAYEE, "--json").json
    assert shown["payee"] == PAYEE and shown["held"] == []
    iban = "FR1420041010050500013M02606"
    changed = program.done("payee", "change", PAYEE, "--iban", iban, "--as", "alice", "--json").json
    assert changed["is_new"] is True
    assert program.done("payee", "change", PAYEE, "--iban", iban, "--as", "alice", "--json").json["is_new"] is False
    program.done("payee", "hold", PAYEE, "--reason", "disputed", "--as", "alice")
    assert "disputed" in program.done("payee", "show", PAYEE).out
    assert program("payee", "release", PAYEE, "--reason", "settled", "--as", "alice").status == 1
    released = program.done("payee", "release", PAYEE, "--reason", "settled", "--as", "bob", "--json").json
    assert released["released"] == 1
    assert program.done("payee", "screen", PAYEE, "--as", "alice", "--json").json == {"verdicts": []}
    for words in (("payee", "show", "P9"), ("payee", "hold", "P9", "--reason", "x", "--as", "alice")):
        assert program(*words).status == 1
    refused = program("payee", "change", PAYEE, "--iban", "NL00", "--as", "alice")
    assert refused.status == 1 and "IBAN" in refused.sentence
    assert program("payee", "change", PAYEE, "--as", "alice").status == 2


def test_stops_on_the_command_line(program: Program) -> None:
    program("settle", "propose", "--date", MONDAY, "--now", NOON, "--as", "alice")
    with program.owner() as owner:
        row = owner.execute(
            "SELECT i.end_to_end_id, f.file_id, f.run_id FROM settlement.instruction i"
            " JOIN settlement.file_current f USING (file_id) WHERE f.state = 'approved' ORDER BY 1 LIMIT 1"
        ).fetchone()
        gone = owner.execute(
            "SELECT i.end_to_end_id, i.file_id FROM settlement.instruction i"
            " JOIN settlement.file_current f USING (file_id) WHERE f.state = 'sent' LIMIT 1"
        ).fetchone()
        assert row is not None and gone is not None
    run = str(row[2])
    as_alice = ("--reason", "checking", "--as", "alice", "--json")
    assert program.done("settle", "hold-run", run, *as_alice).json == {"run_id": int(run), "is_new": True}
    assert program("settle", "release", str(row[1]), "--now", NOON, "--as", "alice").status == 1
    assert program.done("settle", "release-run", run, *as_alice).json["is_new"] is True
    with program.database.app() as app:
        seal(app, int(str(row[1])), now=moment())
    assert program("settle", "hold", str(row[0]), *as_alice).status == 1, "sealed"
    assert program.done("settle", "cancel", str(row[1]), *as_alice).json["state"] == "cancelled"
    assert program.done("settle", "recall", str(gone[0]), "--code", "DUPL", *as_alice).json["is_new"] is True
    assert program("settle", "recall", str(gone[0]), "--code", "NOPE", *as_alice).status == 2
    assert program("settle", "recall", "--code", "DUPL", *as_alice).status == 2
    assert "requested" in program.done("settle", "recalls").out
    asked_of = str(gone[1])
    assert program("settle", "recall-send", asked_of, "--as", "alice").status == 1, "nobody approved"
    as_alice_gives = ("--code", "AM05", *as_alice)
    assert "no collection" in program("settle", "reverse", str(gone[0]), *as_alice_gives).err
    assert program("settle", "reverse", "--file", asked_of, *as_alice_gives).status == 1, "it pays, it collects nothing"
    assert program("settle", "reverse", str(gone[0]), "--code", "DUPL", *as_alice).status == 2
    assert program("settle", "reverse", *as_alice_gives).status == 2
    part = ("--amount", "1.00", "--part", "2", *as_alice_gives)
    assert "no collection" in program("settle", "reverse", str(gone[0]), *part).err
    assert "no payment NOPE" in program("settle", "reverse", "NOPE", *part).err
    assert program("settle", "reverse", "--file", asked_of, *part).status == 2, "a file is given back whole"
    assert program("settle", "recall-approve", asked_of, "--now", NOON, "--as", "alice").status == 1
    approved = program.done("settle", "recall-approve", asked_of, "--now", NOON, "--as", "bob", "--json").rows(
        "recalls"
    )
    assert [row["state"] for row in approved] == ["approved"]
    for is_new in (True, False):
        (asked,) = program.done("settle", "recall-send", asked_of, "--as", "alice", "--json").rows("recalls")
        assert (asked["state"], asked["is_new"]) == ("sent", is_new)
    assert "was already" in program.done("settle", "recall-send", asked_of, "--as", "alice").out
    whole = program.done("settle", "recall", "--file", asked_of, "--code", "TECH", *as_alice).json["asked_back"]
    rows = program.done("settle", "recalls", "--file", asked_of, "--json").rows("recalls")
    assert sorted(row["state"] for row in rows) == sorted(["sent"] + ["requested"] * int(str(whole)))
    assert program("settle", "recall", str(row[0]), "--code", "DUPL", *as_alice).status == 1
    again = program.done("settle", "propose", "--date", MONDAY, "--now", NOON, "--as", "alice", "--json")
    with program.owner() as owner:
        owed = owner.execute(
            "SELECT i.end_to_end_id FROM settlement.instruction i WHERE i.file_id = %s ORDER BY 1 LIMIT 1",
            (again.rows("files")[0]["file"]["file_id"],),  # type: ignore[index]
        ).fetchone()
    assert owed is not None
    held = program.done("settle", "hold", str(owed[0]), *as_alice).json["held"]
    assert isinstance(held, int) and held > 0
    payee = ("--payee", PAYEE)
    assert program("settle", "propose", "--date", MONDAY, "--now", NOON, *payee, "--as", "alice").status == 0
