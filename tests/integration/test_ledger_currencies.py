"""Currencies beyond ISO 4217 with up to eight decimals, everywhere money is read and shown; exchange rates."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from ledger import (
    AmountError,
    ExportFormat,
    JournalFileError,
    NewEntry,
    NewPosting,
    NewRate,
    RateError,
    RateFileError,
    RefusedError,
    UnknownCurrencyError,
    add_rates,
    balance,
    conversion,
    currencies,
    define_currency,
    events,
    export_audit,
    export_journal,
    format_amount,
    import_journal,
    import_rates,
    parse_amount_minor,
    post_batch,
    post_independent,
    publish,
    rates_on,
    seal,
    translate_errors,
    trial_balance,
    verify,
    verify_seals,
)
from ledger.money import INT64_MAX
from nostro.cli import main
from nostro.database import Database
from recon import build_warehouse
from tests.ledger_books import DAY, Books, open_account, open_books

VERIFIER = Path(__file__).parents[2] / "tools" / "verify_books.py"
NOON = dt.datetime(2026, 11, 2, 12, tzinfo=dt.UTC)


@pytest.fixture
def books(db: Database) -> Books:
    """A book with bitcoin accounts beside euro ones."""
    opened = open_books(db)
    with db.app() as conn:
        define_currency(conn, code="BTC", exponent=8)
        for code, type_ in (("assets:wallet", "asset"), ("equity:capital", "equity")):
            open_account(conn, opened.book, f"{code}:btc", type_, currency="BTC")
    return opened


# --- currencies ----------------------------------------------------------------------------------------------------


def test_a_currency_is_defined_once_for_ever(books: Books) -> None:
    with books.db.app() as conn:
        first = define_currency(conn, code="BTC", exponent=8)
        assert first == currencies(conn)["BTC"] and first.numeric >= 1000
        with pytest.raises(UnknownCurrencyError, match="BTC has 8 decimals, for ever"):
            define_currency(conn, code="BTC", exponent=6)
        assert define_currency(conn, code="EUR", exponent=2).numeric == 978
        with pytest.raises(UnknownCurrencyError, match="JPY has 0 decimals by ISO 4217"):
            define_currency(conn, code="JPY", exponent=2)
        for exponent in (9, 18, -1):
            with pytest.raises(AmountError, match="0 to 8 are kept") as refused:
                define_currency(conn, code="WEI", exponent=exponent)
            assert refused.value.constraint == "currency_exponent"
        for code in ("btc", "B", "TOOLONGCODE", "B2C", ""):
            with pytest.raises(UnknownCurrencyError) as unknown:
                define_currency(conn, code=code, exponent=2)
            assert unknown.value.constraint == "currency_code"
        assert {c.exponent for c in currencies(conn).values()} == {0, 2, 3, 4, 8}


@pytest.mark.parametrize(
    ("code", "exponent", "constraint"), [("WEI", 18, "currency_exponent"), ("b", 2, "currency_code")]
)
def test_currencies_by_raw_sql(books: Books, code: str, exponent: int, constraint: str) -> None:
    with books.db.owner() as conn, pytest.raises((AmountError, UnknownCurrencyError)) as refused, translate_errors():
        conn.execute("INSERT INTO ledger.currency VALUES (30000, %s, %s)", (code, exponent))
    assert refused.value.constraint == constraint


def test_amounts_to_the_edge_of_64_bits_and_none_beyond(books: Books) -> None:
    largest = format_amount(INT64_MAX, 8)
    assert parse_amount_minor(largest, 8) == INT64_MAX
    with pytest.raises(AmountError, match=r"with 8 decimals the largest is 92233720368\.54775807"):
        parse_amount_minor("92233720368.54775808", 8)

    def move(key: str, minor: int) -> NewEntry:
        legs = (NewPosting("assets:wallet:btc", minor), NewPosting("equity:capital:btc", -minor))
        return NewEntry(key, DAY, legs)

    with books.db.app() as conn:
        post_batch(conn, book_id=books.book, entries=[move("all", INT64_MAX)])
        (row,) = balance(conn, book_id=books.book, account="assets:wallet:btc")
        assert row.text == largest
        with pytest.raises(AmountError, match=r"account assets:wallet:btc would not fit in 64 bits"):
            post_batch(conn, book_id=books.book, entries=[move("one more", 1)])
        each = post_independent(conn, book_id=books.book, entries=[move("back", -5), move("5", 5), move("6", 1)])
        assert [one.constraint for one in each] == [None, None, "balance_range"]
        assert isinstance(each[2].error, AmountError) and "assets:wallet:btc" in str(each[2].error)
        with pytest.raises(AmountError, match="64 bits"):
            post_batch(conn, book_id=books.book, entries=[move("too large", INT64_MAX + 1)])
        assert verify(conn, book_id=books.book) == ()


def write_journal(path: Path, *rows: str) -> Path:
    head = "entry_key,effective_date,account,amount,currency,description,reference\n"
    path.write_text(head + "".join(f"{row},,\n" for row in rows))
    return path


def test_a_journal_of_every_number_of_decimals_comes_in_and_goes_out(books: Books, tmp_path: Path) -> None:
    amounts = {"JPY": ("12345678", "1"), "EUR": ("0.01", "9.9"), "KWD": ("1.005", "0.001"), "BTC": ("0.00000001", "3")}
    rows = [
        f"k{n}-{code},2026-11-02,{account}:{code.lower()},{sign}{text},{code}"
        for code, texts in amounts.items()
        for n, text in enumerate(texts)
        for account, sign in (("assets:in", ""), ("equity:out", "-"))
    ]
    with books.db.app() as conn:
        for code in amounts:
            open_account(conn, books.book, f"assets:in:{code.lower()}", "asset", currency=code)
            open_account(conn, books.book, f"equity:out:{code.lower()}", "equity", currency=code)
        conn.commit()
        path = write_journal(tmp_path / "journal.csv", *rows)
        assert import_journal(conn, book_id=books.book, path=path).new_entries == 8
        assert import_journal(conn, book_id=books.book, path=path).new_entries == 0
        shown = {row.currency: row.text for row in trial_balance(conn, book_id=books.book).rows if "in" in row.code}
        assert shown == {"JPY": "12345679", "EUR": "9.91", "KWD": "1.006", "BTC": "3.00000001"}

        # Out as Parquet and in again: the same keys with the same content, to the last satoshi.
        export_journal(conn, book_id=books.book, format_=ExportFormat.PARQUET, path=tmp_path / "all.parquet")
        again = import_journal(conn, book_id=books.book, path=tmp_path / "all.parquet")
        assert (again.entries, again.new_entries) == (8, 0)

        build_warehouse(conn, tmp_path / "nostro.duckdb")
    with duckdb.connect(str(tmp_path / "nostro.duckdb"), read_only=True) as warehouse:
        found = dict(
            warehouse.execute(
                "SELECT currency, money(sum(amount_minor), exponent) FROM posting JOIN account USING (account_id)"
                " WHERE starts_with(account, 'assets:in') GROUP BY currency, exponent"
            ).fetchall()
        )
    assert found == {code: Decimal(text) for code, text in shown.items()}


def test_seals_and_events_carry_eight_decimals(books: Books, tmp_path: Path) -> None:
    legs = (NewPosting("assets:wallet:btc", 123_456_789), NewPosting("equity:capital:btc", -123_456_789))
    with books.db.app() as conn:
        post_batch(conn, book_id=books.book, entries=[NewEntry("in", DAY, legs)])
        publish(conn)
        assert len(seal(conn, book_id=books.book)) == 1
        assert verify_seals(conn, book_id=books.book).faults == ()
        export_audit(conn, book_id=books.book, folder=tmp_path)
        shown = [event.json() for event in events(conn, book_id=books.book)]
    assert "1.23456789" in shown[0]
    checked = subprocess.run(
        [sys.executable, VERIFIER, "export", tmp_path], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_journal_says_what_does_not_fit(books: Books, tmp_path: Path) -> None:
    path = write_journal(
        tmp_path / "journal.csv",
        "fine,2026-11-02,assets:wallet:btc,0.000000001,BTC",
        "fine,2026-11-02,equity:capital:btc,-0.000000001,BTC",
        "large,2026-11-02,assets:wallet:btc,92233720368.54775808,BTC",
        "large,2026-11-02,equity:capital:btc,-1,BTC",
        "who,2026-11-02,assets:wallet:btc,1,DOGE",
    )
    with books.db.app() as conn, pytest.raises(JournalFileError) as refused:
        import_journal(conn, book_id=books.book, path=path)
    said = "\n".join(refused.value.faults)
    assert "line 2: amount '0.000000001' has more decimals than BTC allows (8)." in said
    assert (
        "line 4: amount '92233720368.54775808' does not fit in 64 bits of minor units; the largest amount of BTC"
        in said
    )
    assert "line 6: currency 'DOGE' is neither of ISO 4217 nor defined here." in said


# --- rates ---------------------------------------------------------------------------------------------------------


def new_rate(base: str, quote: str, rate: str, day: dt.date = DAY, hour: int = 12) -> NewRate:
    return NewRate(base, quote, Decimal(rate), day, NOON.replace(hour=hour))


def test_a_corrected_rate_is_a_newer_row_and_what_was_known_stays_known(books: Books) -> None:
    with books.db.app() as conn:
        first = add_rates(conn, book_id=books.book, source="desk", rates=[new_rate("EUR", "USD", "1.0850")])
        again = add_rates(conn, book_id=books.book, source="desk", rates=[new_rate("EUR", "USD", "1.085")])
        assert (first.added, again.added) == (1, 0)
        (known,) = rates_on(conn, book_id=books.book)
        corrected = add_rates(conn, book_id=books.book, source="desk", rates=[new_rate("EUR", "USD", "1.0950")])
        assert (corrected.added, corrected.corrections) == (1, 1)
        old, new = rates_on(conn, book_id=books.book, history=True)
        assert (old.rate_id, old.is_corrected, new.is_corrected) == (known.rate_id, True, False)
        assert rates_on(conn, book_id=books.book) == (new,)

        def usd(known_at: dt.datetime | None, **limits: int) -> tuple[tuple[int, ...], Decimal, Decimal]:
            found = conversion(
                conn,
                book_id=books.book,
                source_currency="EUR",
                target_currency="USD",
                on=DAY + dt.timedelta(days=limits.get("days", 0)),
                max_age_days=3,
                known_at=known_at,
            )
            return found.rate_ids, found.numerator, found.denominator

        assert usd(old.recorded_at) == ((old.rate_id,), Decimal("1.0850"), Decimal(1))
        assert usd(None) == ((new.rate_id,), Decimal("1.0950"), Decimal(1))
        assert usd(None, days=3) == usd(None)
        with pytest.raises(RateError, match="older than 3 days") as stale:
            usd(None, days=4)
        assert stale.value.constraint == "rate_stale"
        with pytest.raises(RateError, match="no rate for EUR/USD on or before 2026-11-01") as unknown:
            usd(None, days=-1)
        assert unknown.value.constraint == "rate_known"


def test_inverse_and_cross_rates_are_exact_fractions_that_cite_their_rows(books: Books) -> None:
    rates = [new_rate("EUR", "USD", "1.08"), new_rate("EUR", "GBP", "0.84"), new_rate("BTC", "USD", "91234.56789")]
    with books.db.app() as conn:
        add_rates(conn, book_id=books.book, source="desk", rates=rates)
        ids = {r.quote if r.base == "EUR" else r.base: r.rate_id for r in rates_on(conn, book_id=books.book)}

        def found(source: str, target: str) -> tuple[tuple[int, ...], Decimal, Decimal]:
            c = conversion(
                conn, book_id=books.book, source_currency=source, target_currency=target, on=DAY, max_age_days=0
            )
            return c.rate_ids, c.numerator, c.denominator

        assert found("USD", "EUR") == ((ids["USD"],), Decimal(1), Decimal("1.08"))
        assert found("USD", "GBP") == ((ids["USD"], ids["GBP"]), Decimal("0.84"), Decimal("1.08"))
        assert found("BTC", "USD") == ((ids["BTC"],), Decimal("91234.56789"), Decimal(1))
        with pytest.raises(RateError):  # no common base: nothing is guessed
            found("BTC", "GBP")


@pytest.mark.parametrize(("base", "rate", "constraint"), [("USD", "0", "rate_positive"), ("EUR", "1", "rate_pair")])
def test_rates_that_are_none(books: Books, base: str, rate: str, constraint: str) -> None:
    with books.db.app() as conn, pytest.raises(RateError) as refused:
        add_rates(conn, book_id=books.book, source="desk", rates=[new_rate(base, "EUR", rate)])
    assert refused.value.constraint == constraint
    values = {"NaN": "rate_positive", "-1": "rate_positive", "Infinity": "rate_positive"}
    for text, name in values.items():
        with books.db.owner() as conn, pytest.raises(RateError) as raw, translate_errors():
            conn.execute(
                "INSERT INTO ledger.rate (book_id, base_id, quote_id, rate, source, rate_date, as_of)"
                " VALUES (%s, 978, 840, %s::numeric, 'raw', %s, %s)",
                (books.book, text, DAY, NOON),
            )
        assert raw.value.constraint == name


ECB = """Date,USD,JPY,TRL,GBP,
2026-11-20,1.0850,163.17,N/A,0.8351,
2026-11-19,1.0841,162.90,N/A,0.8349,
"""


def test_the_ecbs_files(books: Books, tmp_path: Path) -> None:
    path = tmp_path / "eurofxref-hist.csv"
    path.write_text(ECB)
    daily = tmp_path / "eurofxref.csv"
    daily.write_text("Date, USD, JPY, \n20 November 2026, 1.0850, 163.18, \n")
    with books.db.app() as conn:
        report = import_rates(conn, book_id=books.book, path=path, source="ECB")
        assert (report.rates, report.added, report.corrections) == (6, 6, 0)
        assert import_rates(conn, book_id=books.book, path=path, source="ECB").added == 0
        report = import_rates(conn, book_id=books.book, path=daily, source="ECB")
        assert (report.rates, report.added, report.corrections) == (2, 1, 1)
        found = {r.quote: r for r in rates_on(conn, book_id=books.book)}
        assert found["JPY"].rate == Decimal("163.18")
        assert found["GBP"].as_of == dt.datetime(2026, 11, 20, 15, tzinfo=dt.UTC)
        (before,) = rates_on(conn, book_id=books.book, on=dt.date(2026, 11, 19), currency="USD")
        assert before.rate == Decimal("1.0841")


def test_a_file_of_rates_is_taken_whole_or_not_at_all(books: Books, tmp_path: Path) -> None:
    path = tmp_path / "rates.csv"
    path.write_text(
        "date,base,quote,rate\n2026-11-20,BTC,EUR,84000.12345678\n2026-11-20,BTC,EUR,1e5\n20.11.2026,BTC,EUR,1\n"
        "2026-11-20,XYZ,EUR,1\n2026-11-20,EUR,EUR,1\n2026-11-20,BTC,EUR\n2026-11-20,BTC,EUR,0.0\n"
    )
    with books.db.app() as conn:
        with pytest.raises(RateFileError) as refused:
            import_rates(conn, book_id=books.book, path=path, source="desk")
        assert [fault.split(":")[0] for fault in refused.value.faults] == [f"line {n}" for n in range(3, 9)]
        assert rates_on(conn, book_id=books.book) == ()
        for text in ("", "nothing\n", "Date,USD\n", "Date,DOGE\n2026-11-20,1\n"):
            path.write_text(text)
            with pytest.raises(RateFileError):
                import_rates(conn, book_id=books.book, path=path, source="desk")


def test_rates_are_of_one_book(books: Books) -> None:
    other = open_books(books.db)
    with books.db.app() as conn:
        add_rates(conn, book_id=books.book, source="desk", rates=[new_rate("EUR", "USD", "1.08")])
        assert rates_on(conn, book_id=other.book) == ()
        with pytest.raises(RefusedError, match="no book 0"):
            add_rates(conn, book_id=0, source="desk", rates=[new_rate("EUR", "USD", "1.08")])


def test_the_commands(
    books: Books, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Role names are the template's: settings alone would derive them from the database's name.
    monkeypatch.setattr("nostro.cli.common.locate", lambda _settings: books.db)

    def run(line: str, status: int = 0) -> str:
        assert main(line.split()) == status
        printed = capsys.readouterr()
        return printed.out if status == 0 else printed.err

    assert "92233720368.54775807" in run("currency define BTC --exponent 8")
    assert "0 to 8 are kept" in run("currency define WEI --exponent 18", 1)
    listed = {row["code"]: row["exponent"] for row in json.loads(run("currency list --json"))["currencies"]}
    assert (listed["BTC"], listed["JPY"]) == (8, 0)
    path = tmp_path / "rates.csv"
    path.write_text(ECB)
    assert "6 rates, 6 new, 0 corrections" in run(f"rates import {path}")
    assert json.loads(run(f"rates import {path} --json"))["report"]["added"] == 0
    assert [row["rate"] for row in json.loads(run("rates show USD --on 2026-11-19 --json"))["rates"]] == ["1.0841"]
    assert len(run("rates show --history").splitlines()) == 7
    assert "wrong usage" in run(f"rates import {path} --zone Nowhere", 2)
    path.write_text("Date,USD\n2026-11-20,much\n")
    assert "'much' is not a positive decimal number" in run(f"rates import {path}", 1)
