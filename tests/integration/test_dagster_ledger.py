"""What the steps of the ledger say. Holds expire when due. Seals: sealed, not anchored, contradicted, books changed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dagster_project.resources import Session
from dagster_project.rooms import ledger as room
from ledger import CheckFailedError, NewHold, place_holds, post_batch
from nostro.database import Database
from tests.integration.test_seals_tampering import as_superuser, key
from tests.ledger_books import Books, entry, open_books
from tests.support import table_hashes

NOON = dt.datetime(2026, 11, 2, 12, tzinfo=dt.UTC)


@contextmanager
def _session(db: Database, books: Books, anchor: Path | None) -> Iterator[Session]:
    with db.app() as conn:
        yield Session(conn=conn, book_id=books.book, home=Path(), seal_anchor=anchor)


def _post(session: Session, batch: int) -> None:
    sales = [entry(f"sale-{batch}-{n}", "assets:cash", "income:sales", 100 + n) for n in range(4)]
    post_batch(session.conn, book_id=session.book_id, entries=sales)
    session.conn.commit()


@pytest.fixture
def books(db: Database) -> Books:
    return open_books(db)


def test_sealed_checked_and_again_nothing_changes(db: Database, books: Books, tmp_path: Path) -> None:
    with _session(db, books, tmp_path / "seals.jsonl") as session:
        assert room.seals_hold(session).sentence == "nothing is published, so nothing is sealed."
        _post(session, 1)
        first = room.seal(session)
        assert (first.new_seals, first.sealed_through, first.anchor) == (1, 4, "seals.jsonl, 1 seals added")
        verdict = room.seals_hold(session)
        assert verdict.holds
        assert verdict.counts["checked_entries"] == 4
        assert f"sealed through sequence 4, root {first.root}, anchored in seals.jsonl; 0 entries" in verdict.sentence
        session.conn.commit()
        before = table_hashes(session.conn)
        again = room.seal(session)
        assert (again.new_seals, again.digest, again.anchor) == (0, first.digest, "seals.jsonl, 0 seals added")
        assert room.seals_hold(session).counts["checked_entries"] == 0
        session.conn.commit()
        assert table_hashes(session.conn) == before


def test_what_is_not_sealed_yet_is_counted(db: Database, books: Books) -> None:
    with _session(db, books, None) as session:
        _post(session, 1)
        assert room.seal(session).anchor == room.NOT_ANCHORED
        _post(session, 2)
        room.ledger.publish(session.conn)
        verdict = room.seals_hold(session)
        assert verdict.holds, "a home without an anchor file is told so and not failed"
        assert verdict.counts["not_sealed_yet"] == 4
        assert room.NOT_ANCHORED in verdict.sentence


def test_an_anchor_out_of_reach_stops_no_payment_and_is_red(db: Database, books: Books, tmp_path: Path) -> None:
    with _session(db, books, tmp_path / "mount" / "seals.jsonl") as session:
        _post(session, 1)
        sealed = room.seal(session)
        assert (sealed.new_seals, sealed.anchor) == (1, "seals.jsonl was not reached: No such file or directory")
        verdict = room.seals_hold(session)
        assert not verdict.holds and "not anchored yet" in verdict.sentence
        (tmp_path / "mount").mkdir()
        assert room.seal(session).anchor == "seals.jsonl, 1 seals added"
        assert room.seals_hold(session).holds


def test_a_changed_entry_is_named(db: Database, books: Books, tmp_path: Path) -> None:
    with _session(db, books, tmp_path / "seals.jsonl") as session:
        _post(session, 1)
        room.seal(session)
        theft = f"UPDATE ledger.posting SET amount_minor = sign(amount_minor) * 999 WHERE entry_id = {key(1, 2)}"
        as_superuser(db, theft)
        verdict = room.seals_hold(session)
        assert not verdict.holds
        assert "(key sale-1-2) was changed; seal 1" in verdict.sentence
        assert verdict.tables[0].rows


def test_a_rewritten_chain_contradicts_the_anchor(db: Database, books: Books, tmp_path: Path) -> None:
    with _session(db, books, tmp_path / "seals.jsonl") as session:
        _post(session, 1)
        room.seal(session)
        as_superuser(db, "DELETE FROM ledger.seal_leaves", "DELETE FROM ledger.seal", "SELECT ledger.seal(1, 8, 16)")
        with pytest.raises(CheckFailedError, match="is not the one in the books"):
            room.seal(session)
        assert "is not the anchored one" in room.seals_hold(session).sentence
        (tmp_path / "seals.jsonl").write_text("no seal\n")
        assert "the anchor cannot be read" in room.seals_hold(session).sentence


def test_holds_that_are_due_expire_and_again_nothing_changes(db: Database, books: Books) -> None:
    with _session(db, books, None) as session:
        fund = entry("fund", "assets:cash", "liabilities:wallet:W1", 100)
        post_batch(session.conn, book_id=books.book, entries=[fund])
        due = [NewHold(f"h{n}", "liabilities:wallet:W1", 10, expires_at=NOON) for n in range(3)]
        place_holds(session.conn, book_id=books.book, holds=[*due, NewHold("later", "liabilities:wallet:W1", 10)])
        assert room.expire_holds(session, NOON - dt.timedelta(seconds=1)) == 0
        assert room.expire_holds(session, NOON) == 3
        session.conn.commit()
        before = table_hashes(session.conn)
        assert room.expire_holds(session, NOON) == 0
        session.conn.commit()
        assert table_hashes(session.conn) == before
