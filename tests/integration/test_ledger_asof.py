"""Balances and statements by effective date and knowledge, from the rollup: the same as summing the postings."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterator, Sequence

import pytest
from psycopg import sql

from benchmarks.asof import run as run_asof
from ledger import (
    AppendOnlyError,
    Connection,
    Knowledge,
    NewEntry,
    NewPosting,
    RefusedError,
    StatementCursor,
    UnknownAccountError,
    balance,
    post_batch,
    publish,
    restatement,
    reverse,
    statement,
    statement_page,
    translate_errors,
    trial_balance,
)
from nostro.database import Database
from tests.ledger_books import DAY, Books, entry, fresh_database, open_books

CODES = ("assets:cash", "income:sales", "liabilities:payable:P1")
_SUM = """
SELECT a.code, sum(p.amount_minor)::bigint FROM ledger.posting p JOIN ledger.account a USING (account_id)
 WHERE a.book_id = %s AND p.effective_date <= %s
   AND (%s::bigint IS NULL OR EXISTS (SELECT FROM ledger.batch_seq s
                                       WHERE s.batch_id = p.posting_id >> 20 AND s.last_seq <= %s))
 GROUP BY a.code
"""


def _days_ago(days: int) -> dt.date:
    return DAY - dt.timedelta(days=days)


def _point(conn: Connection) -> Knowledge:
    publish(conn)
    row = conn.execute(
        "SELECT last_seq, published_at FROM ledger.publication ORDER BY last_seq DESC LIMIT 1"
    ).fetchone()
    assert row is not None
    return Knowledge(*row)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def database(template: Database) -> Iterator[Database]:
    """One database for the long history, which no test changes."""
    with fresh_database(template, "nostro_test_asof") as opened:
        yield opened


@pytest.fixture(scope="module")
def history(database: Database) -> Iterator[tuple[Connection, Books, list[Knowledge]]]:
    """200 publications of random entries, a quarter of them backdated, so that runs are merged twice."""
    books, chance = open_books(database), random.Random(17)
    points: list[Knowledge] = []
    with database.app() as conn:
        for step in range(200):
            batch = []
            for number in range(chance.randint(45, 90)):
                debit, credit = chance.sample(CODES, 2)
                day = _days_ago(chance.choice([0, 0, 0, chance.randint(1, 9)]))
                batch.append(entry(f"{step}-{number}", debit, credit, chance.randint(1, 10_000), day=day))
            post_batch(conn, book_id=books.book, entries=batch)
            points.append(_point(conn))
        post_batch(
            conn, book_id=books.book, entries=[entry("tail", "assets:cash", "income:sales", 1, day=_days_ago(3))]
        )
        yield conn, books, points


def test_every_cut_agrees_with_the_postings(history: tuple[Connection, Books, list[Knowledge]]) -> None:
    conn, books, points = history
    _agrees(conn, books, (points[-1], *points[::37], points[15], points[16]))
    assert conn.execute("SELECT max(level) FROM ledger.rollup").fetchone() == (2,)


def _agrees(conn: Connection, books: Books, points: Sequence[Knowledge]) -> None:
    """Every account, as of days before, at and after the entries', known now and at each point."""
    for known in (None, *points):
        for days in (-1, 0, 3, 9, 10):
            day, seq = _days_ago(days), None if known is None else known.seq
            expected = dict(conn.execute(_SUM, (books.book, day, seq, seq)).fetchall())
            whole = trial_balance(conn, book_id=books.book, as_of=day, known=known)
            assert {r.code: r.posted_minor for r in whole.rows} == expected
            assert whole.is_zero
            for code in CODES:
                (one,) = balance(conn, book_id=books.book, account=code, as_of=day, known=known)
                assert one.posted_minor == expected.get(code, 0)
            if days not in (3, 4):
                continue
            rows = list(statement(conn, book_id=books.book, account="assets:cash", as_of=day, known=known))
            page = statement_page(
                conn, book_id=books.book, account="assets:cash", start=dt.date.min, limit=10**6, as_of=day, known=known
            )
            assert list(page.rows) == rows
    assert conn.execute("SELECT * FROM ledger.verify_rollup(%s)", (books.book,)).fetchall() == []


def test_pages_put_together_are_the_statement(history: tuple[Connection, Books, list[Knowledge]]) -> None:
    conn, books, points = history
    for known in (None, points[100], points[170]):
        whole = list(statement(conn, book_id=books.book, account="assets:cash", known=known))
        for limit in (797, 10_000):
            start: dt.date | StatementCursor | None = _days_ago(30)
            rows = []
            while start is not None:
                page = statement_page(
                    conn, book_id=books.book, account="assets:cash", start=start, limit=limit, known=known
                )
                rows += page.rows
                start = page.more
            assert rows == whole
        middle: dt.date | StatementCursor = _days_ago(4)
        later = [row for row in whole if row.effective_date >= _days_ago(4)]
        for line in range(8):
            page = statement_page(conn, book_id=books.book, account="assets:cash", start=middle, limit=1, known=known)
            assert page.rows == (later[line],)
            assert page.opening_minor == later[line].balance_minor - later[line].amount_minor
            assert page.more is not None
            middle = page.more


def test_a_page_ends_at_the_date_asked(history: tuple[Connection, Books, list[Knowledge]]) -> None:
    conn, books, _ = history
    until = _days_ago(5)
    page = statement_page(conn, book_id=books.book, account="assets:cash", start=dt.date.min, limit=10_000, as_of=until)
    assert list(page.rows) == list(statement(conn, book_id=books.book, account="assets:cash", as_of=until))
    assert page.more is None


def test_uncommitted_and_unpublished_postings(db: Database) -> None:
    """What has committed counts at once, rolled up or not; what has not does not."""
    books = open_books(db)
    with db.app() as slow, db.app() as conn:
        with slow.transaction():
            post_batch(slow, book_id=books.book, entries=[entry("slow", "assets:cash-usd", "income:sales-usd", 5)])
            post_batch(conn, book_id=books.book, entries=[entry("fast", "assets:cash", "income:sales", 7)])
            publish(conn)
            assert [r.posted_minor for r in trial_balance(conn, book_id=books.book, as_of=DAY).rows] == [7, -7]
            conn.rollback()
        assert [r.posted_minor for r in trial_balance(conn, book_id=books.book, as_of=DAY).rows] == [7, 5, -7, -5]
        publish(conn)
        assert [r.posted_minor for r in trial_balance(conn, book_id=books.book, as_of=DAY).rows] == [7, 5, -7, -5]


def test_unknown_accounts_and_accounts_without_postings(db: Database) -> None:
    books = open_books(db)
    with db.app() as conn:
        (none,) = balance(conn, book_id=books.book, account="assets:cash", as_of=DAY)
        assert none.posted_minor == 0
        assert len(balance(conn, book_id=books.book, account="assets", as_of=DAY)) == 4
        page = statement_page(conn, book_id=books.book, account="assets:cash", start=DAY, limit=5)
        assert (page.opening_minor, page.rows, page.more) == (0, (), None)
        for account in ("assets:nothing", "asset"):
            with pytest.raises(UnknownAccountError):
                balance(conn, book_id=books.book, account=account, as_of=DAY)
        with pytest.raises(UnknownAccountError):
            statement_page(conn, book_id=books.book, account="assets", start=DAY, limit=5)


def test_a_batch_published_after_later_ones_counts_from_then_on(db: Database) -> None:
    """A caller may take a batch's id and then begin to write after later ones were published and rolled up."""
    books = open_books(db)
    points = []
    with db.owner() as owner, db.app() as conn:

        def post(name: str, count: int, batch: int) -> None:
            owner.execute("SELECT setval('ledger.batch_id_seq', %s, false)", (batch,))
            owner.commit()
            days = [_days_ago(n % 9) for n in range(count)]
            entries = [entry(f"{name} {n}", "assets:cash", "income:sales", n + 1, day=d) for n, d in enumerate(days)]
            post_batch(conn, book_id=books.book, entries=entries)

        post("first", 400, 10)
        points.append(_point(conn))
        conn.rollback()
        post("overtaken", 3, 5)
        _agrees(conn, books, points)  # committed, not published
        conn.rollback()
        points.append(_point(conn))
        conn.rollback()
        post("later", 400, 20)
        post("overtaken with it", 3, 15)
        points.append(_point(conn))
        conn.rollback()
        post("new, and overtaken again", 1, 2)
        post("new", 2, 30)
        points.append(_point(conn))
        _agrees(conn, books, points)
        runs = conn.execute("SELECT count(*) FROM ledger.rollup_run WHERE account_id = %s", (books["assets:cash"],))
        assert runs.fetchone() == (4,)
        assert conn.execute("SELECT * FROM ledger.verify_rollup(%s)", (books.book,)).fetchall() == []


def test_what_is_derived_is_compared_with_the_postings(history: tuple[Connection, Books, list[Knowledge]]) -> None:
    conn, books, _ = history
    conn.rollback()
    change = {
        "posting_day": (
            "posting_id = posting_id + 1",
            "effective_date = effective_date + 1",
            "step_seq = step_seq + 1",
            "amount_minor = -amount_minor",
            "entry_no = entry_no + 1",
        ),
        "rollup": (
            "net_minor = net_minor + 1",
            "posting_count = posting_count + 1",
            "effective_date = effective_date - 99",
        ),
        "rollup_run": (
            "net_minor = net_minor + 1",
            "high_date = high_date + 1",
            "furthest_date = furthest_date + 1",
            "high_batch_id = 0",
        ),
        "rollup_step": ("high_batch_id = high_batch_id - 1",),
    }
    with books.db.owner() as owner:
        for table, changes in change.items():
            with pytest.raises(AppendOnlyError), translate_errors():
                owner.execute(_tamper(table, changes[0]))
            owner.rollback()
            for each in changes:
                owner.execute(
                    sql.SQL("ALTER TABLE ledger.{} DISABLE TRIGGER append_only").format(sql.Identifier(table))
                )
                owner.execute(_tamper(table, each))
                faults = owner.execute("SELECT place, fault FROM ledger.verify_rollup(%s)", (books.book,)).fetchall()
                assert faults, (table, each)
                owner.rollback()


def _tamper(table: str, change: str) -> sql.Composed:
    row = sql.SQL("(SELECT ctid FROM ledger.{} ORDER BY ctid DESC LIMIT 1)").format(sql.Identifier(table))
    return sql.SQL("UPDATE ledger.{} SET {} WHERE ctid = {}").format(sql.Identifier(table), sql.SQL(change), row)  # type: ignore[arg-type]


def test_large_books_are_read_in_a_bounded_number_of_buffers() -> None:
    """The small version of the benchmark: it also compares the balance with the sum of the postings."""
    result = run_asof(postings=60_000, repeats=1).to_json()
    others: dict[str, int] = result["others"]  # type: ignore[assignment]
    read = {name: buffers for name, buffers in others.items() if name.startswith("buffers_")}
    assert len(read) == 25
    assert max(read.values()) < 200, read


# --- restatement ---------------------------------------------------------------------------------------------------


def test_a_restatement_is_what_later_knowledge_changed(db: Database) -> None:
    books = open_books(db)
    march = _days_ago(30)
    with db.app() as conn:
        post_batch(conn, book_id=books.book, entries=[entry("first", "assets:cash", "income:sales", 1000, day=march)])
        before = _point(conn)
        late = NewEntry(
            "late",
            march,
            (NewPosting("assets:cash", 250), NewPosting("liabilities:payable:P1", -250)),
            description="found in a drawer",
        )
        post_batch(conn, book_id=books.book, entries=[late, entry("new", "assets:cash", "income:sales", 9)])
        reverse(conn, book_id=books.book, key="first", effective_date=march, reason="wrong")
        after = _point(conn)
        report = restatement(conn, book_id=books.book, as_of=march, before=before, after=after)
        assert [(b.code, b.before_minor, b.after_minor) for b in report.balances] == [
            ("assets:cash", 1000, 250),
            ("income:sales", 1000, 0),
            ("liabilities:payable:P1", 0, 250),
        ]
        assert [(p.key, p.account, p.amount_minor) for p in report.postings] == [
            ("late", "assets:cash", 250),
            ("late", "liabilities:payable:P1", -250),
            ("reverse:first", "assets:cash", -1000),
            ("reverse:first", "income:sales", 1000),
        ]
        assert report.postings[0].description == "found in a drawer"
        assert restatement(conn, book_id=books.book, as_of=march, before=after, after=after).balances == ()
        with pytest.raises(RefusedError, match="swap them"):
            restatement(conn, book_id=books.book, as_of=march, before=after, after=before)


def test_postings_explain_every_restated_balance(history: tuple[Connection, Books, list[Knowledge]]) -> None:
    conn, books, points = history
    report = restatement(conn, book_id=books.book, as_of=_days_ago(2), before=points[40], after=points[150])
    side = {"assets:cash": 1, "income:sales": -1, "liabilities:payable:P1": -1}
    for changed in report.balances:
        moved = sum(p.amount_minor for p in report.postings if p.account == changed.code)
        assert changed.change_minor == side[changed.code] * moved
    assert len(report.balances) == 3
