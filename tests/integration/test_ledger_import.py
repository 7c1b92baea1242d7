"""Journal files: whole or not at all, every fault with its line, a second import changes nothing."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from ledger import Connection, JournalFileError, balance, close_period, import_journal, request_close_override, verify
from nostro.database import Database
from tests.ledger_books import DAY, Books, fresh_database, open_books
from tests.support import table_hashes

HEADER = "entry_key,effective_date,account,amount,currency,description,reference\n"
SALE = "s1,2026-11-02,assets:cash,12.50,EUR,first sale,R1\ns1,2026-11-02,income:sales,-12.50,EUR,first sale,R1\n"
SECOND = "s2,2026-11-03,assets:cash,1,EUR,,\ns2,2026-11-03,income:sales,-1,EUR,,\n"


@pytest.fixture(scope="module")
def database(template: Database) -> Iterator[Database]:
    with fresh_database(template, "nostro_test_import") as opened:
        yield opened


@pytest.fixture
def books(database: Database) -> Books:
    """Books with rules: customers may be opened, one sort in USD only."""
    opened = open_books(database)
    with database.app() as conn:
        conn.execute(
            "SELECT ledger.define_account_rules(%s, %s, %s, %s, %s, %s::bigint[])",
            (
                opened.book,
                ["liabilities:customer:*", "liabilities:customer:us-*", "assets:till"],
                ["liability", "liability", "asset"],
                [None, "USD", "EUR"],
                [True, False, False],
                [None, None, 0],
            ),
        )
    return opened


@pytest.fixture
def conn(books: Books) -> Iterator[Connection]:
    with books.db.app() as opened:
        yield opened


def faults(conn: Connection, books: Books, path: Path) -> tuple[str, ...]:
    """What the import says; nothing is changed by it."""
    before = table_hashes(conn)
    conn.rollback()
    with pytest.raises(JournalFileError) as caught:
        import_journal(conn, book_id=books.book, path=path)
    conn.rollback()
    assert table_hashes(conn) == before
    conn.rollback()
    assert path.name in str(caught.value)
    return caught.value.faults


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8", newline="")
    return path


def cash(conn: Connection, books: Books) -> int:
    return balance(conn, book_id=books.book, account="assets:cash")[0].posted_minor


def test_csv_gz_and_parquet_are_one_journal(books: Books, conn: Connection, tmp_path: Path) -> None:
    plain = write(tmp_path / "j.csv", HEADER + SALE + SECOND)
    report = import_journal(conn, book_id=books.book, path=plain)
    assert (report.entries, report.new_entries, report.postings, report.accounts_opened) == (2, 2, 4, 0)
    assert cash(conn, books) == 1350
    conn.rollback()
    before = table_hashes(conn)
    conn.rollback()

    assert import_journal(conn, book_id=books.book, path=plain).new_entries == 0
    assert table_hashes(conn) == before  # a content hash of every table: a second import changes nothing
    conn.rollback()

    zipped = tmp_path / "j.csv.gz"
    zipped.write_bytes(gzip.compress(plain.read_bytes()))
    columnar = tmp_path / "j.parquet"
    frame = pl.read_csv(plain, infer_schema=False)
    frame.with_columns(pl.col("amount").cast(pl.Decimal(18, 2)), pl.col("effective_date").str.to_date()).write_parquet(
        columnar
    )
    for path in (zipped, columnar):
        assert import_journal(conn, book_id=books.book, path=path).new_entries == 0
    assert cash(conn, books) == 1350
    assert verify(conn, book_id=books.book) == ()
    source = conn.execute(
        "SELECT DISTINCT s.name, j.source_line FROM ledger.journal j JOIN ledger.source s USING (source_id)"
        " WHERE j.book_id = %s AND j.idempotency_key = 's2'",
        (books.book,),
    ).fetchall()
    assert source == [("j.csv", 4)]


def test_a_byte_order_mark_and_windows_line_ends(books: Books, conn: Connection, tmp_path: Path) -> None:
    path = write(tmp_path / "bom.csv", "\ufeff" + (HEADER + SALE).replace("\n", "\r\n"))
    assert import_journal(conn, book_id=books.book, path=path).new_entries == 1
    assert cash(conn, books) == 1250


def test_quoted_line_breaks_keep_the_line_numbers_right(books: Books, conn: Connection, tmp_path: Path) -> None:
    text = (
        HEADER
        + SALE.replace("first sale", '"first\nsale, with ""quotes"""')
        + SECOND.replace("s2,2026-11-03", "s2,soon")
    )
    assert faults(conn, books, write(tmp_path / "lines.csv", text)) == (
        "line 6: effective_date 'soon' is not a date like 2026-11-02.",
        "line 7: effective_date 'soon' is not a date like 2026-11-02.",
    )


def test_every_fault_at_once_with_its_line(books: Books, conn: Connection, tmp_path: Path) -> None:
    rows = [
        "u1,2026-11-02,assets:cash,5.00,EUR,,",  # 2 unbalanced
        "u1,2026-11-02,income:sales,-4.99,EUR,,",
        "u2,2026-11-02,assets:cash,5.00,ECU,,",  # 4, 5 unknown currency
        "u2,2026-11-02,income:sales,-5.00,ECU,,",
        "u3,2026-11-02,assets:cash,5.001,EUR,,",  # 6 too many decimals
        "u3,2026-11-02,income:sales,-5.001,EUR,,",
        "u4,2026-11-02,assets:bank:main,5,EUR,,",  # 8 control account
        "u4,2026-11-02,income:sales,-5,EUR,,",
        "u5,2026-11-02,assets:nowhere,5,EUR,,",  # 10 no rule
        "u5,2026-11-02,income:sales,-5,EUR,,",
        "u6,2026-11-02,assets:cash,5,EUR,,",  # 12 one leg
        "u7,2026-11-02,assets:cash,0,EUR,,",  # 13 zero
        "u7,2026-11-02,income:sales,0,EUR,,",
        "u8,2026-11-02,assets:cash,1e3,EUR,,",  # 15 not plain
        "u8,2026-11-02,income:sales,-1e3,EUR,,",
        "u9,2026-11-02,assets:cash-usd,5,EUR,,",  # 17 account's currency
        "u9,2026-11-02,income:sales,-5,EUR,,",
        ",2026-11-02,assets:cash,5,EUR,,",  # 19 no key
        ",2026-11-02,income:sales,-5,EUR,,",
        "v1,2026-11-02,assets:cash,5,EUR,,",  # 21 two dates
        "v1,2026-11-03,income:sales,-5,EUR,,",
        "v2,2026-11-02,assets:cash,5,EUR,one,",  # 23 two stories
        "v2,2026-11-02,income:sales,-5,EUR,two,",
        "v3,2026-11-02,assets:cash,92233720368547758.08,EUR,,",  # 25 too large
        "v3,2026-11-02,income:sales,-92233720368547758.08,EUR,,",
    ]
    found = faults(conn, books, write(tmp_path / "bad.csv", HEADER + "\n".join(rows) + "\n"))
    lines = [int(fault.split(":")[0].removeprefix("line ")) for fault in found]
    assert lines == sorted(lines)
    assert set(lines) >= {2, 4, 5, 6, 7, 8, 10, 12, 13, 15, 17, 19, 21, 23, 25}
    said = "\n".join(found)
    for part in (
        "entry 'u1' does not balance: it is off by 1 minor units of EUR",
        "currency 'ECU' is neither of ISO 4217 nor defined here",
        "amount '5.001' has more decimals than EUR allows (2)",
        "account 'assets:bank:main' is a control account (nostro)",
        "account 'assets:nowhere' does not exist and no rule of the book opens it",
        "entry 'u6' has only one posting",
        "amount is zero",
        "amount '1e3' is not a plain decimal number",
        "account 'assets:cash-usd' is kept in USD, not in EUR",
        "entry_key is empty",
        "entry 'v1' has several effective dates",
        "entry 'v2' has several descriptions",
        "does not fit in 64 bits",
    ):
        assert part in said


def test_a_known_key_with_other_content(books: Books, conn: Connection, tmp_path: Path) -> None:
    import_journal(conn, book_id=books.book, path=write(tmp_path / "one.csv", HEADER + SALE))
    other = write(tmp_path / "two.csv", HEADER + SECOND + SALE.replace("12.50", "12.51"))
    (fault,) = faults(conn, books, other)
    assert fault.startswith("line 4: key 's1' is taken by entry ")


def test_a_closed_period_refuses_new_entries_and_lets_old_files_repeat(
    books: Books, conn: Connection, tmp_path: Path
) -> None:
    old = write(tmp_path / "old.csv", HEADER + SALE)
    import_journal(conn, book_id=books.book, path=old)
    with books.db.login("alice") as alice:
        request_close_override(alice, book_id=books.book, through=DAY, reason="no bank account is live yet")
    with books.db.login("bob") as bob:
        close_period(bob, book_id=books.book, through=DAY)
    assert import_journal(conn, book_id=books.book, path=old).new_entries == 0
    late = write(tmp_path / "late.csv", HEADER + SALE.replace("s1", "s9"))
    assert faults(conn, books, late) == (
        "line 2: effective_date 2026-11-02 lies in a closed period (closed through 2026-11-02).",
    )


def test_floating_point_columns_are_refused(books: Books, conn: Connection, tmp_path: Path) -> None:
    path = tmp_path / "float.parquet"
    write(tmp_path / "j.csv", HEADER + SALE)
    pl.read_csv(tmp_path / "j.csv").write_parquet(path)
    with pytest.raises(JournalFileError, match="floating-point"):
        import_journal(conn, book_id=books.book, path=path)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.csv", b"entry_key,amount\n1,2\n", "wrong columns"),
        ("x.csv", HEADER.encode() + b"s1,2026-11-02,assets:cash,1,EUR,,,\n", "line 2 has 8 fields"),
        ("x.csv", HEADER.encode() + SALE.encode() + b"s2,2026-11-02,a\xffb,1,EUR,,\n", "UTF-8"),
        ("x.csv.gz", gzip.compress((HEADER + SALE).encode(), mtime=0)[:-12], "cannot be read"),
        ("x.parquet", b"PAR1 no", "cannot be read"),
        ("x.json", b"{}", "neither"),
    ],
)
def test_files_that_are_no_journal(
    books: Books, conn: Connection, tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(JournalFileError, match=said):
        import_journal(conn, book_id=books.book, path=path)


def test_accounts_open_by_the_longest_rule(books: Books, conn: Connection, tmp_path: Path) -> None:
    text = HEADER + "".join(
        f"{key},2026-11-02,{debit},3.00,{currency},,\n{key},2026-11-02,{credit},-3.00,{currency},,\n"
        for key, debit, credit, currency in (
            ("c1", "assets:cash", "liabilities:customer:C1", "EUR"),
            ("c2", "assets:cash-usd", "liabilities:customer:us-7", "USD"),
            ("c3", "assets:till", "liabilities:customer:C1", "EUR"),
        )
    )
    report = import_journal(conn, book_id=books.book, path=write(tmp_path / "open.csv", text))
    assert report.accounts_opened == 3
    rows = conn.execute(
        "SELECT code, currency, settleable FROM ledger.account_balance WHERE book_id = %s"
        " AND (code LIKE 'liabilities:customer:%%' OR code = 'assets:till') ORDER BY code",
        (books.book,),
    ).fetchall()
    assert rows == [
        ("assets:till", "EUR", False),
        ("liabilities:customer:C1", "EUR", True),
        ("liabilities:customer:us-7", "USD", False),
    ]


def test_a_rule_never_changes_silently(books: Books, conn: Connection) -> None:
    from ledger import IdempotencyConflictError, translate_errors

    with pytest.raises(IdempotencyConflictError, match="account rule"), translate_errors():
        conn.execute(
            "SELECT ledger.define_account_rules(%s, '{assets:till}', '{liability}', '{EUR}', '{f}', '{0}')",
            (books.book,),
        )


@pytest.mark.parametrize("sizes", [(1, 2, 100, 5_000, 1, 30_000, 3)])
def test_one_session_takes_batches_of_every_size(
    books: Books, conn: Connection, tmp_path: Path, sizes: tuple[int, ...]
) -> None:
    """Plans made for one entry must carry tens of thousands: quadratic ones would not end within the timeout."""
    conn.execute("SET statement_timeout = '20s'")
    conn.commit()
    for round_, size in enumerate(sizes):
        keys = [f"{round_}:{n}" for n in range(size) for _ in range(2)]
        amounts = [Decimal(n + 1).scaleb(-2) * sign for n in range(size) for sign in (1, -1)]
        frame = pl.DataFrame(
            {
                "entry_key": keys,
                "effective_date": ["2026-11-02"] * len(keys),
                "account": ["assets:cash", "income:sales"] * size,
                "amount": [str(amount) for amount in amounts],
                "currency": ["EUR"] * len(keys),
                "description": ["bulk"] * len(keys),
            }
        )
        path = tmp_path / f"{round_}.parquet"
        frame.write_parquet(path)
        for expected in (size, 0):
            assert import_journal(conn, book_id=books.book, path=path).new_entries == expected
    assert verify(conn, book_id=books.book) == ()
