"""Books by login on the command line: two companies in one deployment, a person for one of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ledger import RefusedError
from nostro.users import add_service
from tests.cli_program import Program, new_program

FIRST, SECOND = "Marktplatz GmbH", "Zweite GmbH"


@pytest.fixture(scope="module")
def program(server: str) -> Iterator[Program]:
    with new_program(server, "nostro_two_books") as program:
        program.done("init")
        with program.database.app() as conn:
            for name in (FIRST, SECOND):
                conn.execute("SELECT ledger.define_book(%s, 'EUR')", (name,))
        add_service(program.database, "robot")
        yield program


def test_a_person_for_one_book(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    program.done("user", "add", "eve", "--group", "preparer", "--book", FIRST)
    program.done("user", "add", "ann", "--group", "analyst")
    users = {str(row["user"]): row["books"] for row in program.done("user", "list", "--json").rows("users")}
    assert users == {"eve": [FIRST], "ann": None, "robot": None}
    assert program("trial-balance").status == 1  # which of the two?
    monkeypatch.setenv("NOSTRO_USER", "eve")
    program.done("trial-balance")  # there is one for her
    refused = program("trial-balance", "--book", SECOND)
    assert (refused.status, refused.sentence) == (
        1,
        f"refused: there is no book {SECOND!r}; run `nostro setup FILE.yaml` first.",
    )

    assert program.done("user", "grant-book", "eve", SECOND, "--json").json["books"] == [FIRST, SECOND]
    assert program.done("user", "revoke-book", "eve", FIRST, "--json").json["books"] == [SECOND]
    program.done("trial-balance", "--book", SECOND)
    before = program.hashes()
    assert program.done("user", "revoke-book", "eve", FIRST).out == "eve sees Zweite GmbH\n"
    assert program.hashes() == before  # said again, it is not written again
    assert program.done("user", "grant-book", "eve", "--every").out == "eve sees every book\n"


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        (("user", "grant-book", "ann"), 2, "name the books, or say --every"),
        (("user", "grant-book", "ann", FIRST, "--every"), 2, "name the books, or say --every"),
        (("user", "grant-book", "ann", "Nobody"), 1, "there is no book 'Nobody' (books: Marktplatz GmbH, Zweite GmbH)"),
        (("user", "grant-book", "nobody", FIRST), 1, "there is no login 'nobody'"),
        (("user", "grant-book", "app", FIRST), 1, "there is no login 'app'"),
        (("user", "grant-book", "service", FIRST), 1, "there is no login 'service'"),
        (("user", "add", "service", "--group", "preparer"), 1, "one lower-case word (a–z, 0–9) other than owner, app,"),
        (("user", "add", "robot", "--group", "approver"), 1, "robot is a login of the program"),
        (("user", "revoke-book", "ann", FIRST), 1, "ann sees every book"),
        (("user", "add", "bea", "--group", "preparer", "--book", "Nobody"), 1, "there is no book 'Nobody'"),
    ],
)
def test_what_is_refused_changes_nothing(program: Program, words: tuple[str, ...], status: int, sentence: str) -> None:
    before, users = program.hashes(), program.done("user", "list", "--json").out
    outcome = program(*words)
    assert (outcome.status, sentence in outcome.sentence) == (status, True), outcome
    assert (program.hashes(), program.done("user", "list", "--json").out) == (before, users)


def test_a_login_without_the_right_is_told_so(program: Program) -> None:
    outcome = program("settle", "propose", "--as", "ann", "--book", FIRST)
    assert (outcome.status, "this login may not do that" in outcome.sentence) == (1, True), outcome


def test_an_approver_is_not_made_a_login_of_the_program(program: Program) -> None:
    program.done("user", "add", "max", "--group", "approver")
    with pytest.raises(RefusedError, match="max is an approver's login"):
        add_service(program.database, "max")
    groups = {str(row["user"]): row["groups"] for row in program.done("user", "list", "--json").rows("users")}
    assert (groups["max"], groups["robot"]) == (["approver"], ["preparer", "service"])


def test_access_prints_the_matrix(program: Program) -> None:
    rows = program.done("access", "--json").rows("privileges")
    posting = [row for row in rows if row["name"] == "ledger.posting" and str(row["role"]).endswith("_app")]
    assert [row["verbs"] for row in posting] == [["SELECT"]]
    assert "function ledger.reopen_period" in " ".join(program.done("access").out.split())
