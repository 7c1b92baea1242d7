"""Holds on a real Postgres: the life of a hold, and every rule of it broken by raw SQL."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from ledger import (
    AccessError,
    AppendOnlyError,
    FloorError,
    HoldError,
    HoldPosting,
    HoldState,
    IdempotencyConflictError,
    NewEntry,
    NewHold,
    NewPosting,
    NostroError,
    UnknownAccountError,
    expire_due,
    list_holds,
    place_holds,
    post_batch,
    post_holds,
    translate_errors,
    verify,
    void_holds,
)
from nostro.database import Database
from tests.ledger_books import DAY, POWERS, Books, as_role, entry, fresh_database, open_books

WALLET = "liabilities:wallet:W1"
NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)


@pytest.fixture(scope="module")
def database(template: Database) -> Iterator[Database]:
    """One database for this file; each test has a book of its own in it."""
    with fresh_database(template, "nostro_test_holds") as opened:
        yield opened


@pytest.fixture
def books(database: Database) -> Iterator[Books]:
    """Books whose wallet (floor 0) has 1000; whatever a test did, every invariant holds at the end."""
    opened = open_books(database)
    with database.app() as conn:
        post_batch(conn, book_id=opened.book, entries=[entry("fund", "assets:cash", WALLET, 1000)])
    yield opened
    with database.app() as conn:
        assert verify(conn, book_id=opened.book) == ()


def place(books: Books, key: str, amount_minor: int, *, expires_at: datetime | None = None) -> bool:
    """Place one hold on the wallet; whether it was new."""
    hold = NewHold(key, WALLET, amount_minor, expires_at)
    with books.db.app() as conn:
        (placed,) = place_holds(conn, book_id=books.book, holds=[hold])
    return placed.is_new


def post(books: Books, key: str, amount_minor: int | None, drawn: int, *, at: datetime = NOON) -> None:
    """Post one hold by an entry ``pay-<key>`` that draws `drawn` from the wallet."""
    paid = entry(f"pay-{key}", WALLET, "assets:cash", drawn)
    with books.db.app() as conn:
        post_holds(conn, book_id=books.book, postings=[HoldPosting(key, paid, amount_minor)], at=at)


def standing(books: Books) -> tuple[int, int]:
    """The wallet's balance and what is held of it."""
    with books.db.app() as conn:
        row = conn.execute(
            "SELECT -posted_minor, held_minor FROM ledger.balance WHERE account_id = %s", (books[WALLET],)
        ).fetchone()
    assert row is not None
    return int(str(row[0])), int(str(row[1]))


def states(books: Books) -> dict[str, HoldState]:
    """Every hold of the book."""
    with books.db.app() as conn:
        return {h.key: h.state for h in list_holds(conn, book_id=books.book, state=None)}


def test_a_hold_takes_from_what_is_available_and_posting_a_part_releases_the_rest(books: Books) -> None:
    assert place(books, "h", 800)
    assert standing(books) == (1000, 800)
    with books.db.app() as conn, pytest.raises(FloorError):
        post_batch(conn, book_id=books.book, entries=[entry("too-much", WALLET, "assets:cash", 201)])
    with pytest.raises(FloorError) as caught:
        place(books, "h2", 201)
    assert "200 minor units available" in str(caught.value)
    post(books, "h", 500, 500)
    assert standing(books) == (500, 0)
    assert states(books) == {"h": HoldState.POSTED}


def test_everything_again_is_the_original_and_changes_nothing(books: Books) -> None:
    assert [place(books, "h", 800) for _ in range(2)] == [True, False]
    for _ in range(2):
        post(books, "h", None, 800)
    assert place(books, "h", 800) is False
    assert place(books, "v", 100)
    with books.db.app() as conn:
        assert [void_holds(conn, book_id=books.book, keys=["v"], at=NOON) for _ in range(2)] == [1, 0]
    assert standing(books) == (200, 0)


def test_a_key_with_other_content_is_a_conflict(books: Books) -> None:
    place(books, "h", 10)
    for other in (NewHold("h", WALLET, 11), NewHold("h", "assets:cash", 10), NewHold("h", WALLET, 10, LATER)):
        with books.db.app() as conn, pytest.raises(IdempotencyConflictError) as caught:
            place_holds(conn, book_id=books.book, holds=[NewHold("n", WALLET, 1), other])
        assert caught.value.constraint == "hold_conflict"
    assert standing(books) == (1000, 10)


@pytest.mark.parametrize("ending", ["post", "void", "expire"])
def test_a_hold_resolves_at_most_once(books: Books, ending: str) -> None:
    place(books, "h", 100, expires_at=LATER)
    with books.db.app() as conn:
        if ending == "post":
            post(books, "h", 100, 100)
        elif ending == "void":
            void_holds(conn, book_id=books.book, keys=["h"], at=NOON)
        else:
            assert expire_due(conn, book_id=books.book, now=LATER) == ("h",)
        with pytest.raises(HoldError) as caught:
            post_holds(
                conn,
                book_id=books.book,
                postings=[HoldPosting("h", entry("again", WALLET, "assets:cash", 100))],
                at=NOON,
            )
        assert caught.value.constraint == "hold_resolved_once"
        if ending != "void":
            with pytest.raises(HoldError):
                void_holds(conn, book_id=books.book, keys=["h"], at=NOON)
        assert expire_due(conn, book_id=books.book, now=LATER + timedelta(days=1)) == ()


def test_an_expired_hold_counts_until_its_expiry_is_committed(books: Books) -> None:
    place(books, "h", 1000, expires_at=NOON)
    with pytest.raises(HoldError) as caught:
        post(books, "h", None, 1000, at=NOON)
    assert caught.value.constraint == "hold_expired"
    with books.db.app() as conn:
        with pytest.raises(FloorError):
            post_batch(conn, book_id=books.book, entries=[entry("early", WALLET, "assets:cash", 1)])
        assert expire_due(conn, book_id=books.book, now=NOON - timedelta(seconds=1)) == ()
        assert expire_due(conn, book_id=books.book, now=NOON) == ("h",)
        post_batch(conn, book_id=books.book, entries=[entry("now", WALLET, "assets:cash", 1000)])
    assert standing(books) == (0, 0)


def test_expiry_goes_in_order_and_in_portions(books: Books) -> None:
    for n in (3, 1, 2):
        place(books, f"h{n}", 1, expires_at=NOON + timedelta(minutes=n))
    place(books, "never", 1)
    with books.db.app() as conn:
        found = [expire_due(conn, book_id=books.book, now=LATER, limit=2) for _ in range(3)]
    assert [sorted(keys) for keys in found] == [["h1", "h2"], ["h3"], []]
    assert standing(books) == (1000, 1)


def test_holds_of_a_batch_are_all_placed_or_none(books: Books) -> None:
    with books.db.app() as conn:
        with pytest.raises(FloorError):
            place_holds(conn, book_id=books.book, holds=[NewHold(f"h{n}", WALLET, 400) for n in range(3)])
        assert list_holds(conn, book_id=books.book, state=None) == ()
        placed = place_holds(conn, book_id=books.book, holds=[NewHold(f"h{n}", WALLET, 1) for n in range(500)])
        assert sum(p.is_new for p in placed) == 500
        postings = [HoldPosting(f"h{n}", entry(f"p{n}", WALLET, "assets:cash", 1)) for n in range(500)]
        posted = post_holds(conn, book_id=books.book, postings=postings, at=NOON)
        assert [p.key for p in posted] == [f"p{n}" for n in range(500)]
    assert standing(books) == (500, 0)


def test_several_holds_by_one_entry(books: Books) -> None:
    place(books, "a", 300)
    place(books, "b", 400)
    paid = NewEntry("both", DAY, (NewPosting(WALLET, 600), NewPosting("assets:cash", -600)))
    with books.db.app() as conn:
        (posted,) = post_holds(
            conn, book_id=books.book, postings=[HoldPosting("a", paid, 200), HoldPosting("b", paid)], at=NOON
        )
    assert posted.is_new
    assert standing(books) == (400, 0)


@pytest.mark.parametrize(
    ("posted", "drawn", "constraint"),
    [
        (101, 101, "hold_posted_within"),
        (0, 100, "hold_posted_by_entry"),
        (100, 99, "hold_posting"),
        (50, 60, "hold_posting"),
    ],
)
def test_what_is_posted_is_at_most_what_was_held_and_just_what_the_entry_draws(
    books: Books, posted: int, drawn: int, constraint: str
) -> None:
    place(books, "h", 100)
    with pytest.raises(HoldError) as caught:
        post(books, "h", posted, drawn)
    assert caught.value.constraint == constraint
    assert states(books) == {"h": HoldState.OPEN}


def test_an_entry_that_was_there_before_does_not_post_a_hold(books: Books) -> None:
    place(books, "h", 100)
    with books.db.app() as conn:
        post_batch(conn, book_id=books.book, entries=[entry("pay-h", WALLET, "assets:cash", 100)])
    with pytest.raises(HoldError) as caught:
        post(books, "h", 100, 100)
    assert caught.value.constraint == "hold_posting"


@pytest.mark.parametrize(
    ("hold", "error"),
    [
        (NewHold("h", WALLET, 0), HoldError),
        (NewHold("h", WALLET, -5), HoldError),
        (NewHold("", WALLET, 5), HoldError),
        (NewHold("h", "assets:bank:main", 5), HoldError),
        (NewHold("h", "assets:nowhere", 5), UnknownAccountError),
        (NewHold("h", WALLET, 5, datetime(2026, 11, 2)), HoldError),  # noqa: DTZ001
    ],
)
def test_holds_that_make_no_sense(books: Books, hold: NewHold, error: type[NostroError]) -> None:
    with books.db.app() as conn, pytest.raises(error):
        place_holds(conn, book_id=books.book, holds=[hold])


def test_unknown_holds_are_named(books: Books) -> None:
    with books.db.app() as conn, pytest.raises(HoldError) as caught:
        void_holds(conn, book_id=books.book, keys=["nothing"], at=NOON)
    assert "nothing" in str(caught.value)


# --- raw SQL, as the owner and as a superuser in replica mode ------------------------------------------------------

_PLACE = "INSERT INTO ledger.hold (book_id, account_id, amount_minor, idempotency_key) VALUES (%s, %s, %s, 'raw')"
_RESOLVE = (
    "INSERT INTO ledger.hold_resolution (hold_id, book_id, kind, held_minor, posted_minor, entry_key, at)"
    " SELECT hold_id, book_id, %s, amount_minor + %s, %s, %s, %s FROM ledger.hold WHERE book_id = %s"
)


@pytest.mark.parametrize("role", POWERS)
@pytest.mark.parametrize(
    ("account", "amount", "constraint"),
    [(WALLET, 1001, "balance_floor"), (WALLET, 0, "hold_amount_positive"), ("assets:bank:main", 1, "hold_on_account")],
)
def test_raw_holds(books: Books, role: str, account: str, amount: int, constraint: str) -> None:
    with as_role(books.db, role) as conn, pytest.raises(NostroError) as caught, translate_errors():
        conn.execute(_PLACE, (books.book, books[account], amount))
    assert caught.value.constraint == constraint


@pytest.mark.parametrize("role", POWERS)
@pytest.mark.parametrize(
    ("kind", "more", "posted", "entry_key", "constraint"),
    [
        ("posted", 0, 100, "no-such-entry", "hold_posting"),
        ("posted", 0, 100, "fund", "hold_posting"),
        ("posted", 0, 101, "fund", "hold_posted_within"),
        ("posted", 0, 100, None, "hold_posted_by_entry"),
        ("posted", 0, 0, "fund", "hold_posted_by_entry"),
        ("voided", 0, 5, None, "hold_posted_by_entry"),
        ("voided", 1, 0, None, "hold_exists"),
        ("expired", 0, 0, None, "hold_not_due"),
    ],
)
def test_raw_resolutions(
    books: Books, role: str, kind: str, more: int, posted: int, entry_key: str | None, constraint: str
) -> None:
    place(books, "h", 100)
    with as_role(books.db, role) as conn, pytest.raises(NostroError) as caught, translate_errors():
        conn.execute(_RESOLVE, (kind, more, posted, entry_key, NOON, books.book))
        conn.commit()
    assert caught.value.constraint == constraint
    assert standing(books) == (1000, 100)


@pytest.mark.parametrize("role", POWERS)
def test_a_second_resolution_by_raw_sql(books: Books, role: str) -> None:
    place(books, "h", 100)
    with as_role(books.db, role) as conn:
        conn.execute(_RESOLVE, ("voided", 0, 0, None, NOON, books.book))
        conn.commit()
        with pytest.raises(HoldError) as caught, translate_errors():
            conn.execute(_RESOLVE, ("voided", 0, 0, None, NOON, books.book))
    assert caught.value.constraint == "hold_resolved_once"
    assert standing(books) == (1000, 0)


@pytest.mark.parametrize("role", POWERS)
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger.hold SET amount_minor = 1",
        "DELETE FROM ledger.hold",
        "TRUNCATE ledger.hold",
        "UPDATE ledger.hold_resolution SET kind = 'voided'",
        "DELETE FROM ledger.hold_resolution",
        "UPDATE ledger.balance SET held_minor = 0",
    ],
)
def test_nothing_of_a_hold_is_changed(books: Books, role: str, statement: str) -> None:
    place(books, "h", 100)
    with as_role(books.db, role) as conn, pytest.raises(AppendOnlyError), translate_errors():
        conn.execute(statement)


@pytest.mark.parametrize(
    "statement", [_PLACE, "DELETE FROM ledger.hold_resolution WHERE book_id = %s AND hold_id IN (%s, %s)"]
)
def test_the_app_writes_holds_by_functions_alone(books: Books, statement: str) -> None:
    with books.db.app() as conn, pytest.raises(AccessError), translate_errors():
        conn.execute(statement, (books.book, books[WALLET], 1))
