"""The command line over the past of the books, over events and exports: what a person or a script gets."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ledger import post_batch, publish
from nostro.cli.app import app, main
from nostro.database import Database
from tests.ledger_books import DAY, Books, entry, open_books


@pytest.fixture
def books(db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Books:
    """Twenty sales, known in two steps; the command line works on these books."""
    opened = open_books(db)
    with db.app() as conn:
        for number in range(20):
            post_batch(conn, book_id=opened.book, entries=[entry(f"k{number}", "assets:cash", "income:sales", 100)])
        publish(conn)
    # the cluster's role names carry the template's name, so the deployment is handed over, not located
    monkeypatch.setattr("nostro.cli.common.locate", lambda settings: db)
    monkeypatch.setenv("NOSTRO_HOME", str(tmp_path))
    return opened


def _run(*words: str) -> str:
    done = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_statement_goes_on_where_the_page_ended(books: Books) -> None:
    first = json.loads(_run("statement", "assets:cash", "--from", str(DAY), "--limit", "12", "--json"))
    assert [row["key"] for row in first["rows"]] == [f"k{n}" for n in range(12)]
    more = first["more"]
    token = f"{more['day']}/{more['posting_id']}/{more['balance_minor']}"
    assert f"more: --after {token}" in _run("statement", "assets:cash", "--limit", "12")
    second = json.loads(_run("statement", "assets:cash", "--after", token, "--json"))
    assert [row["key"] for row in second["rows"]] == [f"k{n}" for n in range(12, 20)]
    assert second["rows"][-1]["balance_minor"] == 2000
    assert second["more"] is None
    whole = json.loads(_run("statement", "assets:cash", "--json"))
    assert whole["rows"] == first["rows"] + second["rows"]


@pytest.mark.parametrize("words", [("--after", "x"), ("--from", "2026-11-02", "--after", "2026-11-02/1/1")])
def test_a_wrong_page_is_a_usage_error(words: tuple[str, ...]) -> None:
    assert main(["statement", "assets:cash", *words]) == 2


def test_a_restatement_names_the_late_entry(books: Books) -> None:
    then = datetime.now(UTC).isoformat()
    with books.db.app() as conn:
        post_batch(conn, book_id=books.book, entries=[entry("late", "assets:cash", "income:sales", 250, day=DAY)])
        publish(conn)
    now = datetime.now(UTC).isoformat()
    said = _run("restatement", "--as-of", str(DAY), "--between", then, now)
    assert "late" in said
    report = json.loads(_run("restatement", "--as-of", str(DAY), "--between", then, now, "--json"))
    assert [(b["before_minor"], b["after_minor"]) for b in report["balances"]] == [(2000, 2250), (2000, 2250)]
    assert "nothing changed" in _run("restatement", "--as-of", "2026-01-01", "--between", then, now)


def test_tail_prints_each_event_once_for_a_consumer(books: Books) -> None:
    lines = _run("events", "tail", "--consumer", "mart", "--limit", "15", "--json").splitlines()
    assert [json.loads(line)["seq"] for line in lines] == list(range(1, 16))
    rest = _run("events", "tail", "--consumer", "mart").splitlines()
    assert len(rest) == 5
    assert rest[0] == "16 2026-11-02 k15: assets:cash 1.00 EUR, income:sales -1.00 EUR"
    assert _run("events", "tail", "--consumer", "mart") == ""
    assert len(_run("events", "tail", "--after", "18", "--json").splitlines()) == 2
    assert main(["events", "tail", "--consumer", "mart", "--after", "3"]) == 2


def test_exports_to_a_file_and_to_standard_output(books: Books, tmp_path: Path) -> None:
    path = tmp_path / "books.journal"
    said = json.loads(_run("export", "hledger", "--to", str(path), "--json"))
    assert said["report"]["entries"] == 20
    assert _run("export", "hledger") == path.read_text(encoding="utf-8")
    assert "open Assets:Cash EUR" in _run("export", "beancount")
    assert "20 entries, 40 postings" in _run("export", "parquet", "--to", str(tmp_path / "books.parquet"))
    assert main(["export", "parquet"]) == 2
