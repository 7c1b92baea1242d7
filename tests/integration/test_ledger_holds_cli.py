"""`nostro hold …` and `nostro period …` as a person types them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from ledger import post_batch, verify
from nostro.cli import main
from nostro.database import Database
from tests.ledger_books import Books, entry, fresh_database, open_books

WALLET = "liabilities:wallet:W1"
Run = Callable[..., str]


@pytest.fixture
def books(template: Database) -> Iterator[Books]:
    """The only book of a database; its wallet (floor 0) has 10.00."""
    with fresh_database(template, "nostro_test_holds_cli") as database:
        opened = open_books(database)
        with database.app() as conn:
            post_batch(conn, book_id=opened.book, entries=[entry("fund", "assets:cash", WALLET, 1000)])
        yield opened
        with database.app() as conn:
            assert verify(conn, book_id=opened.book) == ()


@pytest.fixture
def run(books: Books, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command that must end with this status; what it printed."""
    # Role names are the template's: settings alone would derive them from the database's name.
    monkeypatch.setattr("nostro.cli.common.locate", lambda _settings: books.db)

    def command(line: str, *more: str, status: int = 0) -> str:
        assert main([*line.split(), *more]) == status
        printed = capsys.readouterr()
        return printed.out if status == 0 else printed.err

    return command


def test_the_life_of_holds(run: Run) -> None:
    assert "placed" in run(f"hold place order-1 {WALLET} 8.00 --expires 2030-01-01T00:00+00:00")
    assert "was placed before" in run(f"hold place order-1 {WALLET} 8.00 --expires 2030-01-01T00:00+00:00")
    assert "200 minor units available" in run(f"hold place order-2 {WALLET} 2.01", status=1)
    assert run(f"balance {WALLET}").split()[-5:] == [WALLET, "10.00", "8.00", "2.00", "EUR"]
    run(f"hold place order-2 {WALLET} 2.00")
    assert [line.split()[0] for line in run("hold list").splitlines()] == ["hold", "order-1", "order-2"]
    assert "5.00 posted by entry hold:order-1" in run(
        "hold post order-1 assets:cash --amount 5.00 --at 2026-11-03T00:00Z"
    )
    assert "1 holds voided" in run("hold void order-2")
    run(f"hold place order-3 {WALLET} 5.00 --expires 2026-11-03T00:00+00:00")
    assert "expired at" in run("hold post order-3 assets:cash --at 2026-11-03T00:00Z", status=1)
    assert json.loads(run("hold expire --at 2026-11-03T00:00Z --json")) == {"expired": ["order-3"]}
    holds = json.loads(run("hold list --all --json"))["holds"]
    assert [(h["key"], h["state"], h["posted_minor"]) for h in holds] == [
        ("order-1", "posted", 500),
        ("order-2", "voided", 0),
        ("order-3", "expired", 0),
    ]
    assert "no hold with key" in run("hold post nothing assets:cash", status=1)
    assert "whole code" in run("hold place x liabilities:wallet 1.00", status=1)


def test_the_life_of_a_period(run: Run) -> None:
    assert "nothing is closed" in run("period status")
    run("period soft-close 2026-11-30")
    run("period close 2026-11-30 --as alice --request-override", "no bank account is live yet")
    assert "closed" in run("close-period 2026-11-30 --as bob")
    assert "another person re-opens" in run("period reopen 2026-11-01 --as alice --reason", "an invoice was forgotten")
    run("period reopen 2026-11-01 --as alice", status=1)
    assert "open again" in run("period reopen 2026-11-01 --as bob")
    status = json.loads(run("period status --json"))
    assert (status["closed_through"], status["soft_closed_through"]) == ("2026-10-31", "2026-10-31")
    assert [e["event"] for e in status["events"]] == [
        "soft-closed",
        "override requested",
        "closed",
        "re-opening requested",
        "re-opened",
    ]
    assert "an invoice was forgotten" in run("period status")
