"""Periods: soft-close, close, re-open by a second person; and certified bank days, whose cash stays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta

import pytest

from ledger import (
    AccessError,
    AppendOnlyError,
    CertifiedDayError,
    ClosedPeriodError,
    Connection,
    NostroError,
    NotCertifiedError,
    RefusedError,
    close_period,
    period_status,
    post_batch,
    reopen_period,
    request_close_override,
    request_reopen,
    soft_close_period,
    translate_errors,
    verify,
)
from nostro.database import Database
from tests.ledger_books import (
    DAY,
    POWERS,
    Books,
    RawEntry,
    RawPosting,
    as_role,
    books_with_an_entry,
    entry,
    fresh_database,
    honest,
    refused,
    write_raw,
)

NEXT = DAY + timedelta(days=1)
BANK, TRANSIT = "assets:bank:main", "assets:transit:main"


@pytest.fixture(scope="module")
def database(template: Database) -> Iterator[Database]:
    """One database for this file; each test has a book of its own in it."""
    with fresh_database(template, "nostro_test_periods") as opened:
        yield opened


@pytest.fixture
def books(database: Database) -> Iterator[Books]:
    """Books with one posted entry; whatever a test did, every invariant holds at the end."""
    opened = books_with_an_entry(database)
    yield opened
    with database.app() as conn:
        assert verify(conn, book_id=opened.book) == ()


def close(books: Books, through: date = DAY, *, asks: str = "alice", closes: str = "bob") -> None:
    """Close by override."""
    with books.db.login(asks) as conn:
        request_close_override(conn, book_id=books.book, through=through, reason="no bank account is live yet")
    with books.db.login(closes) as conn:
        close_period(conn, book_id=books.book, through=through)


def reopen(books: Books, from_date: date = DAY, *, asks: str = "alice", opens: str = "bob") -> None:
    """Request and re-open."""
    with books.db.login(asks) as conn:
        request_reopen(conn, book_id=books.book, from_date=from_date, reason="an invoice was forgotten")
    with books.db.login(opens) as conn:
        reopen_period(conn, book_id=books.book, from_date=from_date)


def post(books: Books, key: str, day: date, *, person: str = "service") -> None:
    """Post one entry on a day, as a person."""
    with books.db.login(person) as conn:
        post_batch(conn, book_id=books.book, entries=[entry(key, "assets:cash", "income:sales", 1, day=day)])


# --- soft-close ----------------------------------------------------------------------------------------------------


def test_in_a_soft_closed_period_only_approvers_post(books: Books) -> None:
    with books.db.app() as conn:
        soft_close_period(conn, book_id=books.book, through=DAY)
        soft_close_period(conn, book_id=books.book, through=DAY)  # again: harmless
    for person in ("service", "alice"):
        with pytest.raises(ClosedPeriodError) as caught:
            post(books, "late", DAY, person=person)
        assert caught.value.constraint == "entry_period_soft_closed"
    post(books, "accrual", DAY, person="bob")
    post(books, "today", NEXT)
    with books.db.app() as conn:
        status = period_status(conn, book_id=books.book)
    assert (status.closed_through, status.soft_closed_through) == (None, DAY)
    assert [e.event for e in status.events] == ["soft-closed"]


@pytest.mark.parametrize("role", POWERS)
def test_a_superuser_is_no_approver(books: Books, role: str) -> None:
    with books.db.app() as conn:
        soft_close_period(conn, book_id=books.book, through=DAY)
    refused(books, role, honest(books), ClosedPeriodError, "entry_period_soft_closed")


def test_modules_do_their_work_in_a_soft_closed_period(books: Books) -> None:
    with books.db.app() as conn:
        soft_close_period(conn, book_id=books.book, through=DAY)
    with as_role(books.db, "owner") as conn:
        write_raw(conn, honest(books).but(module="recon"))
        conn.commit()


def test_soft_close_goes_forward_and_a_close_follows(books: Books) -> None:
    with books.db.app() as conn:
        soft_close_period(conn, book_id=books.book, through=NEXT)
        with pytest.raises(ClosedPeriodError) as caught:
            soft_close_period(conn, book_id=books.book, through=DAY)
        assert caught.value.constraint == "period_order"
    close(books)
    with pytest.raises(ClosedPeriodError) as closed:
        post(books, "late", DAY, person="bob")
    assert closed.value.constraint == "entry_period_open"
    post(books, "accrual", NEXT, person="bob")
    with books.db.app() as conn, pytest.raises(ClosedPeriodError):
        soft_close_period(conn, book_id=books.book, through=DAY - timedelta(days=1))


# --- re-open -------------------------------------------------------------------------------------------------------


def test_a_second_person_reopens_with_the_reason_of_the_first(books: Books) -> None:
    close(books)
    with books.db.login("carol") as conn:
        request_reopen(conn, book_id=books.book, from_date=DAY, reason="an invoice was forgotten")
        with pytest.raises(AccessError) as caught:
            reopen_period(conn, book_id=books.book, from_date=DAY)
        assert caught.value.constraint == "period_second_person"
    with books.db.login("alice") as conn, pytest.raises(AccessError):
        reopen_period(conn, book_id=books.book, from_date=DAY)  # no approver
    with books.db.login("bob") as conn:
        reopen_period(conn, book_id=books.book, from_date=DAY)
    post(books, "forgotten", DAY)
    with books.db.app() as conn:
        status = period_status(conn, book_id=books.book)
    assert status.closed_through == DAY - timedelta(days=1)
    last = status.events[-1]
    assert (last.event, last.day, last.reason) == ("re-opened", DAY, "an invoice was forgotten")
    assert (str(last.requested_by).endswith("carol"), last.recorded_by.endswith("bob")) == (True, True)


def test_reopening_lifts_a_soft_close_too(books: Books) -> None:
    with books.db.app() as conn:
        soft_close_period(conn, book_id=books.book, through=NEXT)
    reopen(books, NEXT)
    post(books, "again", NEXT)
    with pytest.raises(ClosedPeriodError):
        post(books, "late", DAY)


def test_reopening_soft_closed_days_closes_none_of_the_others(books: Books) -> None:
    close(books, DAY - timedelta(days=30))
    with books.db.app() as conn:
        soft_close_period(conn, book_id=books.book, through=NEXT)
    reopen(books, NEXT)
    with books.db.app() as conn:
        status = period_status(conn, book_id=books.book)
    assert (status.closed_through, status.soft_closed_through) == (DAY - timedelta(days=30), DAY)
    post(books, "accrual", DAY, person="bob")


def test_what_was_reopened_closes_again_with_a_new_override(books: Books) -> None:
    close(books)
    reopen(books)
    with books.db.login("bob") as conn, pytest.raises(NotCertifiedError):
        close_period(conn, book_id=books.book, through=DAY)  # the old override has served
    close(books, asks="carol")
    with pytest.raises(ClosedPeriodError):
        post(books, "late", DAY)
    with books.db.login("bob") as conn, pytest.raises(AccessError) as caught:
        reopen_period(conn, book_id=books.book, from_date=DAY)  # the old request has served
    assert caught.value.constraint == "period_reopen_requested"
    reopen(books)
    post(books, "late", DAY)


def test_open_books_are_not_reopened(books: Books) -> None:
    close(books)
    with pytest.raises(RefusedError) as caught:
        reopen(books, NEXT)
    assert caught.value.constraint == "period_is_closed"
    with books.db.login("alice") as conn, pytest.raises(RefusedError) as short:
        request_reopen(conn, book_id=books.book, from_date=DAY, reason="why not")
    assert short.value.constraint == "period_reopen_reason"


@pytest.mark.parametrize("role", POWERS)
@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        (
            "INSERT INTO ledger.period_reopen (book_id, request_no, from_date) SELECT %(book)s, 0, %(day)s",
            "period_reopen_requested",
        ),
        (
            "INSERT INTO ledger.period_reopen (book_id, request_no, from_date, reopened_by)"
            " SELECT book_id, event_no, from_date, 'somebody'"
            " FROM ledger.period_reopen_request WHERE book_id = %(book)s",
            "period_second_person",
        ),
        (
            "INSERT INTO ledger.period_reopen_request (book_id, from_date, reason, requested_by)"
            " VALUES (%(book)s, %(day)s, 'made up by somebody', 'nobody')",
            "period_second_person",
        ),
        ("INSERT INTO ledger.period_soft_close (book_id, through_date) VALUES (%(book)s, %(day)s)", "period_order"),
    ],
)
def test_periods_by_raw_sql(books: Books, role: str, statement: str, constraint: str) -> None:
    close(books)
    with books.db.login("alice") as conn:
        request_reopen(conn, book_id=books.book, from_date=DAY, reason="an invoice was forgotten")
    with as_role(books.db, role) as conn, pytest.raises(NostroError) as caught, translate_errors():
        conn.execute(statement, {"book": books.book, "day": DAY})
    assert caught.value.constraint == constraint


@pytest.mark.parametrize("role", POWERS)
@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM ledger.period_soft_close",
        "UPDATE ledger.period_reopen_request SET requested_by = 'nobody'",
        "TRUNCATE ledger.period_reopen",
        "DELETE FROM ledger.entry_moved",
    ],
)
def test_period_events_stay(books: Books, role: str, statement: str) -> None:
    with as_role(books.db, role) as conn, pytest.raises(AppendOnlyError), translate_errors():
        conn.execute(statement)


def test_reopening_waits_for_running_posts(books: Books) -> None:
    close(books)
    with books.db.app() as posting, books.db.login("alice") as asking, posting.transaction():
        post_batch(posting, book_id=books.book, entries=[entry("today", "assets:cash", "income:sales", 1, day=NEXT)])
        asking.execute("SET lock_timeout = '300ms'")
        with pytest.raises(NostroError) as caught, translate_errors():
            asking.execute("SELECT ledger.request_reopen(%s, %s, 'an invoice was forgotten')", (books.book, DAY))
        assert caught.value.retryable


# --- certified bank days -------------------------------------------------------------------------------------------

_POST = "SELECT entry_id, is_new FROM ledger.post_internal(%s, %s, NULL, %s, %s, NULL, NULL, NULL, NULL, %s, %s, %s)"


def certify(conn: Connection, books: Books, through: date = DAY) -> None:
    """Record a certificate, as reconciliation does."""
    conn.execute("SELECT ledger.record_certificate(%s, %s, %s, 'sha')", (books.book, books[BANK], through))


def by_module(
    conn: Connection,
    books: Books,
    module: str,
    key: str,
    day: date,
    other: str = "liabilities:payable:P1",
    *,
    legs: int = 2,
) -> tuple[int, bool]:
    """Post 5 from transit to a payable as a module, once for every two legs."""
    pairs = legs // 2
    accounts = [books[TRANSIT], books[other]] * pairs
    parameters = (books.book, module, [key], [day], [1] * legs, accounts, [5, -5] * pairs)
    row = conn.execute(_POST, parameters).fetchone()
    assert row is not None
    return int(str(row[0])), bool(row[1])


@pytest.mark.parametrize("role", POWERS)
@pytest.mark.parametrize("account", [BANK, TRANSIT])
def test_cash_of_a_certified_day_stays(books: Books, role: str, account: str) -> None:
    with books.db.owner() as conn:
        certify(conn, books)
        conn.commit()
    module = "setup" if account == BANK else "settlement"
    postings = (RawPosting(0, 0, books[account], 5), RawPosting(1, 0, books["income:sales"], -5))
    batch = honest(books).but(module=module, postings=postings)
    refused(books, role, batch, CertifiedDayError, "cash_day_certified")
    tomorrow = tuple(replace(p, day=NEXT) for p in postings)
    with as_role(books.db, role) as conn:
        write_raw(conn, batch.but(postings=tomorrow, entries=(RawEntry(0, "raw", first=0, day=NEXT),)))
        conn.commit()


def test_other_accounts_of_a_certified_day_are_free(books: Books) -> None:
    with books.db.owner() as conn:
        certify(conn, books)
        conn.commit()
    post(books, "backdated", DAY)


def test_reconciliation_brings_evidence_of_a_certified_day(books: Books) -> None:
    with books.db.owner() as conn:
        certify(conn, books)
        by_module(conn, books, "recon", "line", DAY)
        conn.commit()
        assert conn.execute("SELECT count(*) FROM ledger.entry_moved WHERE book_id = %s", (books.book,)).fetchone() == (
            0,
        )


def test_what_settlement_meant_for_a_certified_day_moves_to_the_next_and_a_retry_is_recognised(books: Books) -> None:
    with books.db.owner() as conn:
        early = by_module(conn, books, "settlement", "early", DAY)
        certify(conn, books)
        moved = by_module(conn, books, "settlement", "late", DAY)
        assert by_module(conn, books, "settlement", "late", DAY) == (moved[0], False)
        assert by_module(conn, books, "settlement", "early", DAY) == (early[0], False)
        certify(conn, books, NEXT)
        assert by_module(conn, books, "settlement", "late", DAY) == (moved[0], False)
        conn.commit()
        with pytest.raises(NostroError) as caught, translate_errors():
            by_module(conn, books, "settlement", "late", DAY - timedelta(days=1))
        assert caught.value.constraint == "idempotency_conflict"
        conn.rollback()
        rows = conn.execute(
            "SELECT e.idempotency_key, e.effective_date, m.meant_date FROM ledger.entry e"
            " JOIN ledger.entry_moved m USING (entry_id) WHERE e.book_id = %s",
            (books.book,),
        ).fetchall()
    assert rows == [("late", NEXT, DAY)]


def test_a_batch_asks_for_certificates_once_however_many_cash_postings_it_has(books: Books) -> None:
    asked = []
    with as_role(books.db, "replica") as conn:
        certify(conn, books)
        conn.execute("SET LOCAL track_functions = 'all'")
        for legs in (2, 200):
            by_module(conn, books, "settlement", f"{legs} legs", NEXT, legs=legs)
            row = conn.execute(
                "SELECT sum(calls) FROM pg_stat_xact_user_functions WHERE funcname IN ('certified_cash', 'nostro_of')"
            ).fetchone()
            assert row is not None
            asked.append(int(str(row[0])))
        conn.rollback()
    assert asked[1] == 2 * asked[0] > 0


@pytest.mark.parametrize("role", POWERS)
def test_nobody_says_later_that_an_entry_was_moved(books: Books, role: str) -> None:
    with as_role(books.db, role) as conn, pytest.raises(AppendOnlyError), translate_errors():
        conn.execute(
            "INSERT INTO ledger.entry_moved"
            " SELECT entry_id, book_id, effective_date - 1 FROM ledger.entry WHERE book_id = %s",
            (books.book,),
        )


def test_a_certificate_waits_for_posts_under_way(books: Books) -> None:
    with books.db.owner() as posting, books.db.owner() as certifying:
        by_module(posting, books, "settlement", "under-way", DAY)
        certifying.execute("SET lock_timeout = '300ms'")
        with pytest.raises(NostroError) as caught, translate_errors():
            certify(certifying, books)
        assert caught.value.retryable
        certifying.rollback()
        posting.commit()
        certify(certifying, books)
        certifying.commit()
