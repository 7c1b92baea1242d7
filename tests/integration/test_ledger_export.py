"""Exports, checked by the programs they are for: hledger and beancount agree on every balance."""

from __future__ import annotations

import csv
import datetime as dt
import io
import shutil
import subprocess
from decimal import Decimal
from pathlib import Path
from urllib.parse import unquote

import polars as pl
import pytest
from beancount import loader

from ledger import (
    Connection,
    ExportFormat,
    NewEntry,
    NewPosting,
    NewRate,
    RefusedError,
    account_code,
    add_rates,
    define_currency,
    exchange,
    export_journal,
    export_parquet,
    export_text,
    functional_trial_balance,
    import_journal,
    post_batch,
    revalue,
    reverse,
    trial_balance,
)
from nostro.database import Database
from tests.ledger_books import DAY, Books, entry, open_account, open_books

NASTY = '  *! 5% off; "two" lines\n\\back | tab\t%41 (x) čaj,'
needs_hledger = pytest.mark.skipif(shutil.which("hledger") is None, reason="hledger is not installed")


def _odd_books(db: Database) -> Books:
    """Several currencies and exponents, hard texts and codes, a reversal, a backdated entry."""
    books = open_books(db)
    with db.app() as conn:
        for code, type_, ccy in (
            ("assets:Jpy.cash_1", "asset", "JPY"),
            ("expense:trading:jpy", "expense", "JPY"),
            ("expense:a--b", "expense", "KWD"),
            ("equity:x", "equity", "KWD"),
            ("equity:p1", "equity", "EUR"),
            ("equity:P1", "equity", "EUR"),
        ):
            open_account(conn, books.book, code, type_, currency=ccy)
        four_legs = (
            NewPosting("assets:cash", 10_000),
            NewPosting("income:sales", -10_000),
            NewPosting("assets:Jpy.cash_1", -15_321),
            NewPosting("expense:trading:jpy", 15_321),
        )
        entries = [
            entry("plain", "assets:cash", "income:sales", 1050),
            NewEntry(NASTY, DAY, four_legs, description=NASTY, reference=NASTY),
            entry("kwd", "expense:a--b", "equity:x", 1, description="(code) one fils"),
            entry("case", "equity:p1", "equity:P1", 7, description="= sharp"),
            entry("late", "assets:cash-usd", "income:sales-usd", 2**53 + 1, day=DAY - dt.timedelta(days=3)),
        ]
        post_batch(conn, book_id=books.book, entries=entries)
        reverse(conn, book_id=books.book, key="plain", effective_date=DAY + dt.timedelta(days=1), reason="wrong; again")
    return books


def _ours(conn: Connection, book: int, as_of: dt.date | None = None) -> dict[tuple[str, str], Decimal]:
    """(account, currency) → debit-positive balance, zero balances left out as the other programs do."""
    rows = trial_balance(conn, book_id=book, as_of=as_of).rows
    exact = {(r.code, r.currency): Decimal(r.posted_minor).scaleb(-r.exponent) for r in rows}
    return {key: amount for key, amount in exact.items() if amount}


def _hledger(path: Path, *arguments: str) -> str:
    done = subprocess.run(["hledger", "-f", str(path), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _hledger_balances(path: Path) -> dict[tuple[str, str], Decimal]:
    out = _hledger(path, "balance", "--flat", "--no-total", "--layout=bare", "-O", "csv")
    return {
        (row["account"], row["commodity"]): Decimal(row["balance"])
        for row in csv.DictReader(io.StringIO(out))
        if Decimal(row["balance"])
    }


def _beancount_balances(path: Path) -> dict[tuple[str, str], Decimal]:
    found, errors, _ = loader.load_file(str(path))
    assert errors == []
    codes = {e.account: e.meta["code"] for e in found if type(e).__name__ == "Open"}
    assert {account_code(name): code for name, code in codes.items()} == {code: code for code in codes.values()}
    balances: dict[tuple[str, str], Decimal] = {}
    for transaction in (e for e in found if type(e).__name__ == "Transaction"):
        for leg in transaction.postings:
            key = (codes[leg.account], leg.units.currency)
            balances[key] = balances.get(key, Decimal(0)) + leg.units.number
    return {key: amount for key, amount in balances.items() if amount}


@needs_hledger
def test_hledger_agrees_on_every_balance(db: Database, tmp_path: Path) -> None:
    books, path = _odd_books(db), tmp_path / "books.journal"
    with db.app() as conn:
        report = export_journal(conn, book_id=books.book, format_=ExportFormat.HLEDGER, path=path)
        assert (report.entries, report.postings, report.accounts) == (6, 14, 14)
        assert _hledger_balances(path) == _ours(conn, books.book)
    _hledger(path, "check", "accounts", "commodities")
    assert sorted(path.parent.iterdir()) == [path]


@needs_hledger
def test_hledger_reads_keys_back_exactly(db: Database, tmp_path: Path) -> None:
    books, path = _odd_books(db), tmp_path / "books.journal"
    with db.app() as conn:
        export_journal(conn, book_id=books.book, format_=ExportFormat.HLEDGER, path=path)
    keys = {unquote(line) for line in _hledger(path, "tags", "key", "--values").splitlines()}
    assert keys == {"plain", NASTY, "kwd", "case", "late", "reverse:plain"}
    assert len(_hledger(path, "tags", "reference", "--values").splitlines()) == 2


def _exchanged_books(db: Database) -> Books:
    """Euro, dollar, yen and bitcoin, exchanged for each other at recorded rates, revalued; a rate was corrected."""
    books = open_books(db)
    with db.app() as conn:
        define_currency(conn, code="BTC", exponent=8)
        conn.commit()
        for code in ("JPY", "BTC"):
            open_account(conn, books.book, f"assets:cash-{code.lower()}", "asset", currency=code)
        conn.commit()
        fixed = dt.datetime.combine(DAY, dt.time(15), dt.UTC)
        for btc in ("84000.5", "85123.456789"):
            rates = [
                NewRate("EUR", "USD", Decimal("1.0850"), DAY, fixed),
                NewRate("EUR", "JPY", Decimal("163.17"), DAY, fixed),
                NewRate("BTC", "EUR", Decimal(btc), DAY, fixed),
            ]
            add_rates(conn, book_id=books.book, source="desk", rates=rates)
        trades = [("", "-usd", 1_000_00), ("", "-btc", 7_777_77), ("", "-jpy", 333_33), ("-btc", "", 123_457)]
        for n, (sold, bought, minor) in enumerate(trades):
            exchange(
                conn,
                book_id=books.book,
                key=f"x{n}",
                effective_date=DAY,
                sold_account=f"assets:cash{sold}",
                bought_account=f"assets:cash{bought}",
                sold_minor=minor,
                at_market=True,
            )
        add_rates(
            conn,
            book_id=books.book,
            source="desk",
            rates=[NewRate("BTC", "EUR", Decimal("91234.56789"), DAY, fixed)],
        )
        assert revalue(conn, book_id=books.book, on=DAY).entries_posted > 0
    return books


def _in_euro(conn: Connection, book: int) -> dict[str, Decimal]:
    rows = functional_trial_balance(conn, book_id=book, as_of=DAY).rows
    return {row.code: Decimal(row.functional_minor).scaleb(-2) for row in rows if row.functional_minor}


@needs_hledger
def test_hledger_agrees_on_exchanged_currencies_and_their_value(db: Database, tmp_path: Path) -> None:
    books, path = _exchanged_books(db), tmp_path / "books.journal"
    with db.app() as conn:
        export_journal(conn, book_id=books.book, format_=ExportFormat.HLEDGER, path=path)
        ours, in_euro = _ours(conn, books.book), _in_euro(conn, books.book)
    assert ours["assets:cash-btc", "BTC"] == Decimal("0.09013590")
    assert _hledger_balances(path) == ours
    _hledger(path, "check", "accounts", "commodities")
    until = str(DAY + dt.timedelta(days=1))
    valued = _hledger(
        path, *("balance", "--flat", "--no-total", "--layout=bare", "-O", "csv", "-e", until, f"--value={DAY},EUR")
    )
    theirs = {row["account"]: Decimal(row["balance"]) for row in csv.DictReader(io.StringIO(valued))}
    assert {code: amount for code, amount in theirs.items() if amount} == in_euro


def test_beancount_agrees_on_exchanged_currencies_and_reads_the_rates(db: Database, tmp_path: Path) -> None:
    books, path = _exchanged_books(db), tmp_path / "books.beancount"
    with db.app() as conn:
        export_journal(conn, book_id=books.book, format_=ExportFormat.BEANCOUNT, path=path)
        assert _beancount_balances(path) == _ours(conn, books.book)
    found, _, _ = loader.load_file(str(path))
    prices = [(e.date, e.currency, str(e.amount)) for e in found if type(e).__name__ == "Price"]
    assert sorted(prices) == [(DAY, "BTC", "91234.56789 EUR"), (DAY, "EUR", "1.0850 USD"), (DAY, "EUR", "163.17 JPY")]


@needs_hledger
def test_an_export_as_of_a_date_is_the_books_as_of_that_date(db: Database, tmp_path: Path) -> None:
    books, path, day = _odd_books(db), tmp_path / "books.journal", DAY - dt.timedelta(days=1)
    with db.app() as conn:
        report = export_journal(conn, book_id=books.book, format_=ExportFormat.HLEDGER, path=path, as_of=day)
        assert report.entries == 1
        assert _hledger_balances(path) == _ours(conn, books.book, day)


def test_beancount_agrees_on_every_balance(db: Database, tmp_path: Path) -> None:
    books, path = _odd_books(db), tmp_path / "books.beancount"
    with db.app() as conn:
        export_journal(conn, book_id=books.book, format_=ExportFormat.BEANCOUNT, path=path)
        assert _beancount_balances(path) == _ours(conn, books.book)
    found, _, _ = loader.load_file(str(path))
    odd = next(e for e in found if e.meta.get("key") == NASTY)
    assert (odd.narration, odd.meta["reference"]) == (NASTY, NASTY)


def test_parquet_imports_into_another_book_as_the_same_books(db: Database, tmp_path: Path) -> None:
    books, path = _odd_books(db), tmp_path / "books.parquet"
    with db.app() as conn:
        report = export_parquet(conn, book_id=books.book, path=path)
        copy = open_books(db)
        for row in conn.execute(
            "SELECT a.code, a.type, c.code FROM ledger.account a JOIN ledger.currency c USING (currency_id)"
            " WHERE book_id = %s AND a.code NOT IN (SELECT code FROM ledger.account WHERE book_id = %s)",
            (books.book, copy.book),
        ).fetchall():
            open_account(conn, copy.book, str(row[0]), str(row[1]), currency=str(row[2]))
        assert import_journal(conn, book_id=copy.book, path=path).postings == report.postings
        assert _ours(conn, copy.book) == _ours(conn, books.book)
    assert pl.read_parquet(path)["amount"].dtype == pl.Decimal(38, 8)


def test_an_empty_book_and_an_unknown_one(db: Database, tmp_path: Path) -> None:
    books = open_books(db)
    with db.app() as conn:
        for format_ in ExportFormat:
            report = export_journal(conn, book_id=books.book, format_=format_, path=tmp_path / format_.value)
            assert (report.entries, report.postings) == (0, 0)
        with pytest.raises(RefusedError, match="there is no book 999"):
            export_text(conn, book_id=999, format_=ExportFormat.HLEDGER, out=io.StringIO())
        with pytest.raises(RefusedError, match="there is no book 999"):
            export_journal(conn, book_id=999, format_=ExportFormat.HLEDGER, path=tmp_path / "none")
    assert not (tmp_path / "none").exists()
    assert not list(tmp_path.glob(".*"))


# --- a real bank's first year --------------------------------------------------------------------------------------


def _berka(db: Database, shared: Path) -> tuple[Books, Path]:
    folder = shared / "real" / "berka"
    if not folder.is_dir():
        pytest.skip("the Berka journal is not there; put real/berka into the shared folder")
    with db.app() as conn:
        row = conn.execute("SELECT ledger.define_book('Berka', 'CZK')").fetchone()
        assert row is not None
        books = Books(db, int(str(row[0])), {})
        patterns = ["liabilities:*", "assets:*", "income:*", "expense:*"]
        conn.execute(
            "SELECT ledger.define_account_rules(%s, %s, %s, %s::text[], %s, %s::bigint[])",
            (books.book, patterns, ["liability", "asset", "income", "expense"], [None] * 4, [False] * 4, [None] * 4),
        )
    return books, folder / "journal-1993.csv.gz"


def test_berka_agrees_to_the_haler(db: Database, shared: Path, tmp_path: Path) -> None:
    books, journal = _berka(db, shared)
    path = tmp_path / "berka.beancount"
    with db.app() as conn:
        imported = import_journal(conn, book_id=books.book, path=journal)
        ours = _ours(conn, books.book)
        export_journal(conn, book_id=books.book, format_=ExportFormat.BEANCOUNT, path=path)
        assert _beancount_balances(path) == ours
        if shutil.which("hledger") is not None:
            path = tmp_path / "berka.journal"
            report = export_journal(conn, book_id=books.book, format_=ExportFormat.HLEDGER, path=path)
            assert (report.entries, report.postings) == (imported.entries, imported.postings)
            assert _hledger_balances(path) == ours
    assert len(ours) > 1000
