"""The soak in small: everything happens, and nothing that must hold is broken; what is broken would be named."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.history import differences
from benchmarks.soak import Soak
from ledger import NewEntry, NewPosting, reverse
from nostro.database import Database
from tests.ledger_books import DAY


@pytest.fixture
def soak(db: Database) -> Iterator[Soak]:
    """A soak in a database of its own."""
    yield Soak(db, drainers=12, seed=7)


def test_a_short_soak_has_every_kind_of_step_and_no_finding(soak: Soak) -> None:
    result = soak.run(4, None)
    assert result.findings == ()
    figures = result.figures
    assert figures["deadlocks"] == 0
    for happened in (
        "batches",
        "races",
        "repeats",
        "holds",
        "publications",
        "seals",
        "drain_rounds",
        "backends_killed",
    ):
        assert figures[happened] > 0, (happened, figures)
    assert figures["drain_refused"] > 0 and figures["entries"] > figures["batches"]


def test_an_entry_that_nobody_was_told_of_and_one_that_is_missing_are_named(soak: Soak) -> None:
    with soak.database.app() as conn:
        reverse(conn, book_id=soak.book, key="fund liabilities:floored:0", effective_date=DAY, reason="unheard")
    legs = (NewPosting("assets:cash", 5), NewPosting("assets:pair:0", -5))
    soak.acknowledge([NewEntry("never posted", DAY, legs)])
    findings = soak.run(0.0, None).findings
    assert any("1 acknowledged entries are lost, the first never posted" in one for one in findings)
    assert any("the first reverse:fund liabilities:floored:0" in one for one in findings)
    assert any(one.startswith("assets:pair:0 stands at ") for one in findings)


def test_differences_of_equal_sides_are_none() -> None:
    assert differences({"a"}, {"a"}) == []
