# ruff: noqa: E501
"""Reliability test 20, the tamper drill: a superuser changes sealed books, and verification says where.

Every change is made as the superuser with triggers switched off, the way a thief with the server's keys would; the
books are then checked against the seals that were anchored before.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from ledger import (
    Connection,
    Seal,
    anchor_to_file,
    post_batch,
    publish,
    read_seal_lines,
    seal,
    seal_checks,
    verify_seals,
)
from nostro.database import Database
from tests.ledger_books import Books, entry, open_books

TABLES = (
    "entry",
    "entry_text",
    "posting",
    "batch",
    "batch_seq",
    "account",
    "source",
    "publication",
    "book",
    "currency",
)
SEALS = ("seal", "seal_leaves", "seal_check")
BATCHES = 6


def sealed_books(db: Database, folder: Path) -> tuple[Books, tuple[Seal, ...]]:
    """Six batches of four entries under three seals of two batches each, anchored in a file."""
    books = open_books(db)
    with db.app() as conn:
        for batch in range(BATCHES):
            new = [
                entry(
                    f"sale-{batch}-{n}", "assets:cash", "income:sales", 100 + n, description="Café", reference=f"r{n}"
                )
                for n in range(4)
            ]
            post_batch(conn, book_id=books.book, entries=new)
        publish(conn)
        assert len(seal(conn, book_id=books.book, entries=8)) == 3
        anchor_to_file(conn, folder / "seals.jsonl", book_id=books.book)
        assert verify_seals(conn, book_id=books.book).faults == ()
    return books, read_seal_lines(folder / "seals.jsonl", book_id=books.book)


def as_superuser(db: Database, *statements: str) -> None:
    """Run statements with every trigger disabled and every constraint's trigger asleep."""
    with psycopg.connect(make_conninfo(db.admin_conninfo, dbname=db.name)) as conn:
        conn.execute("SET session_replication_role = replica")
        for table in (*TABLES, *SEALS):
            conn.execute(sql.SQL("ALTER TABLE {} DISABLE TRIGGER ALL").format(sql.Identifier("ledger", table)))
        for statement in statements:
            conn.execute(statement.encode())


def key(batch: int, number: int) -> str:
    """The entry id of one of the sealed sales, as SQL."""
    return f"(SELECT entry_id FROM ledger.entry WHERE idempotency_key = 'sale-{batch}-{number}')"


def found(db: Database, books: Books, anchored: tuple[Seal, ...]) -> str:
    """Everything that verification says, one fault a line."""
    with db.app() as conn:
        return "\n".join(
            f"{f.invariant} {f.place} {f.fault}"
            for f in verify_seals(conn, book_id=books.book, anchored=anchored).faults
        )


SALE_1_2 = "(key sale-1-2) was changed; seal 1 "
FORGED = """
INSERT INTO ledger.entry SELECT {id}, book_id, effective_date, 2, {id}, NULL, 'forged' FROM ledger.entry LIMIT 1;
INSERT INTO ledger.posting SELECT {id} + posting_id - first_posting_id, {id}, amount_minor, account_id, p.book_id,
       p.effective_date, currency_id FROM ledger.posting p JOIN ledger.entry e USING (entry_id)
 WHERE idempotency_key = 'sale-0-0';
"""
NEXT_IN_BATCH = "(SELECT max(entry_id) + 1000 FROM ledger.entry WHERE idempotency_key = 'sale-2-3')"
NEW_BATCH = """
INSERT INTO ledger.batch (batch_id, book_id, entry_count, posting_count, system_identifier)
SELECT 5000, book_id, 1, 2, system_identifier FROM ledger.batch LIMIT 1;
"""

# name → (what the thief does, what verification must say)
THEFTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "an amount, both legs": (
        (f"UPDATE ledger.posting SET amount_minor = sign(amount_minor) * 999 WHERE entry_id = {key(1, 2)}",),
        (SALE_1_2,),
    ),
    "one cent": (
        (f"UPDATE ledger.posting SET amount_minor = amount_minor + 1 WHERE entry_id = {key(1, 2)} AND amount_minor > 0",),
        (SALE_1_2,),
    ),
    "the effective date": (
        (f"UPDATE ledger.entry SET effective_date = effective_date + 1 WHERE entry_id = {key(1, 2)}",
         f"UPDATE ledger.posting SET effective_date = effective_date + 1 WHERE entry_id = {key(1, 2)}"),
        (SALE_1_2,),
    ),
    "a posting's date alone": (
        (f"UPDATE ledger.posting SET effective_date = effective_date + 1 WHERE entry_id = {key(1, 2)}",),
        (SALE_1_2,),
    ),
    "a description": (
        (f"UPDATE ledger.entry_text SET description = 'Cafe' WHERE entry_id = {key(1, 2)}",), (SALE_1_2,),
    ),
    "text moved between fields": (
        (f"UPDATE ledger.entry_text SET description = 'Cafér', reference = '2' WHERE entry_id = {key(1, 2)}",),
        (SALE_1_2,),
    ),
    "a text removed": ((f"DELETE FROM ledger.entry_text WHERE entry_id = {key(1, 2)}",), (SALE_1_2,)),
    "an empty text for none": (
        (f"UPDATE ledger.entry_text SET source_line = 0 WHERE entry_id = {key(1, 2)}",), (SALE_1_2,),
    ),
    "the key": (
        (f"UPDATE ledger.entry SET idempotency_key = 'other' WHERE entry_id = {key(1, 2)}",),
        ("(key other) was changed; seal 1 ",),
    ),
    "another account": (
        (f"UPDATE ledger.posting SET account_id = (SELECT account_id FROM ledger.account WHERE code = 'assets:cash-usd')"
         f" WHERE entry_id = {key(1, 2)} AND amount_minor > 0",),
        (SALE_1_2,),
    ),
    "a reversal mark": (
        (f"UPDATE ledger.entry SET reverses_entry_id = {key(0, 0)} WHERE entry_id = {key(1, 2)}",), (SALE_1_2,),
    ),
    "a deleted entry": (
        (f"DELETE FROM ledger.posting WHERE entry_id = {key(3, 1)}",
         f"DELETE FROM ledger.entry_text WHERE entry_id = {key(3, 1)}",
         "DELETE FROM ledger.entry WHERE idempotency_key = 'sale-3-1'",
         "UPDATE ledger.batch SET entry_count = entry_count - 1 WHERE batch_id = 4"),
        ("is missing; seal 2 ",),
    ),
    "a deleted posting": (
        (f"DELETE FROM ledger.posting WHERE entry_id = {key(1, 2)} AND amount_minor < 0",), (SALE_1_2,),
    ),
    "a deleted entry row, its postings left": (
        ("DELETE FROM ledger.entry WHERE idempotency_key = 'sale-3-1'",), ("was changed; seal 2 ",),
    ),
    "a deleted batch": (
        (f"DELETE FROM ledger.batch_seq WHERE batch_id = {key(2, 0)} >> 20",
         f"DELETE FROM ledger.batch WHERE batch_id = {key(2, 0)} >> 20"),
        ("is missing; seal 2 ", "(key sale-2-0) belongs to no batch"),
    ),
    "an entry inserted below the seal, in a sealed batch": (
        (FORGED.format(id=NEXT_IN_BATCH.replace("entry_id", "entry.entry_id")),), ("(key forged) was inserted; seal 2 ",),
    ),
    "an entry inserted in a batch of its own, placed inside a seal": (
        (NEW_BATCH + FORGED.format(id="5242880000"),
         "ALTER TABLE ledger.batch_seq DROP CONSTRAINT batch_seq_first_seq_key, DROP CONSTRAINT batch_seq_last_seq_key",
         "INSERT INTO ledger.batch_seq SELECT 5000, last_seq, last_seq, publication_id FROM ledger.batch_seq"
         " ORDER BY first_seq OFFSET 1 LIMIT 1"),
        ("(key forged) was inserted; seal 1 ",),
    ),
    "an entry inserted before the first": (
        (NEW_BATCH + FORGED.format(id="5242880000"),
         "INSERT INTO ledger.batch_seq SELECT 5000, 0, 0, publication_id FROM ledger.batch_seq LIMIT 1"),
        ("batch 5000 is placed before the first number",),
    ),
    "an entry inserted without a batch": (
        (FORGED.format(id="5242880000"),), ("(key forged) belongs to no batch", "posting 5242880000 belongs to no"),
    ),
    "a third posting": (
        (f"INSERT INTO ledger.posting SELECT posting_id + 500, entry_id, 7, account_id, book_id, effective_date, currency_id"
         f" FROM ledger.posting WHERE entry_id = {key(1, 2)} LIMIT 1",),
        (SALE_1_2,),
    ),
    "the order of two batches": (
        ("UPDATE ledger.batch_seq SET first_seq = -first_seq, last_seq = -last_seq + 10 WHERE first_seq IN (9, 13)",
         "UPDATE ledger.batch_seq SET first_seq = CASE first_seq WHEN -9 THEN 13 ELSE 9 END,"
         " last_seq = CASE first_seq WHEN -9 THEN 16 ELSE 12 END WHERE first_seq < 0"),
        ("(key sale-2-0) was changed; seal 2 ", "(key sale-3-3) was changed; seal 2 "),
    ),
    "a batch moved to another seal": (
        ("UPDATE ledger.batch_seq SET first_seq = 1000 + first_seq, last_seq = 1000 + last_seq WHERE first_seq = 9",),
        ("is missing; seal 2 ",),
    ),
    "two entries swapped": (
        (f"UPDATE ledger.posting p SET amount_minor = sign(p.amount_minor) * CASE entry_id WHEN {key(1, 2)} THEN 103 ELSE 102 END"
         f" WHERE entry_id IN ({key(1, 2)}, {key(1, 3)})",
         f"UPDATE ledger.entry_text SET reference = CASE entry_id WHEN {key(1, 2)} THEN 'r3' ELSE 'r2' END"
         f" WHERE entry_id IN ({key(1, 2)}, {key(1, 3)})",
         "UPDATE ledger.entry SET idempotency_key = 'x' WHERE idempotency_key = 'sale-1-2'",
         "UPDATE ledger.entry SET idempotency_key = 'sale-1-2' WHERE idempotency_key = 'sale-1-3'",
         "UPDATE ledger.entry SET idempotency_key = 'sale-1-3' WHERE idempotency_key = 'x'"),
        (SALE_1_2, "(key sale-1-3) was changed; seal 1 "),
    ),
    "who recorded it": (
        (f"UPDATE ledger.batch SET recorded_by = 'someone' WHERE batch_id = {key(1, 2)} >> 20",), (SALE_1_2,),
    ),
    "when it was recorded": (
        (f"UPDATE ledger.batch SET recorded_at = recorded_at - interval '1 microsecond' WHERE batch_id = {key(1, 2)} >> 20",),
        (SALE_1_2,),
    ),
    "when it was published": (
        ("UPDATE ledger.publication SET published_at = published_at - interval '1 day'",), (SALE_1_2, "(key sale-5-0)"),
    ),
    "an account renamed": (
        ("UPDATE ledger.account SET code = 'assets:bank:mine' WHERE code = 'assets:cash'",), (SALE_1_2, "(key sale-5-0)"),
    ),
    "a currency's exponent": (
        ("UPDATE ledger.currency SET exponent = 3 WHERE code = 'EUR'",), (SALE_1_2, "(key sale-5-0)"),
    ),
    "the book's name": (("UPDATE ledger.book SET name = 'Other'",), (SALE_1_2,)),
    "a leaf in the list of leaves": (
        ("UPDATE ledger.seal_leaves SET leaves = set_byte(leaves, 40, 1 + get_byte(leaves, 40) % 255) WHERE seal_no = 2",),
        ("seal 2 (sequence 9 to 16) its list of leaves was altered; the entries are sound",),
    ),
    "an id in the list of leaves": (
        ("UPDATE ledger.seal_leaves SET entry_ids = set_byte(entry_ids, 3, 9) WHERE seal_no = 2",),
        ("its list of leaves was altered; the entries are sound",),
    ),
    "the list of leaves deleted": (("DELETE FROM ledger.seal_leaves WHERE seal_no = 1",), ("seal 1 ",)),
    "an amount and the list of leaves": (
        (f"UPDATE ledger.posting SET amount_minor = sign(amount_minor) * 999 WHERE entry_id = {key(1, 2)}",
         "UPDATE ledger.seal_leaves SET leaves = decode(repeat('00', octet_length(leaves)), 'hex') WHERE seal_no = 1"),
        ("seal 1 (sequence 1 to 8) the entries are not those sealed",),
    ),
    "a seal's root": (
        ("ALTER TABLE ledger.seal DROP CONSTRAINT seal_digest",
         "UPDATE ledger.seal SET root = sha256('') WHERE seal_no = 2"),
        ("seal 2 (sequence 9 to 16) its row was changed",),
    ),
    "the moment of sealing": (
        ("ALTER TABLE ledger.seal DROP CONSTRAINT seal_digest",
         "UPDATE ledger.seal SET sealed_at = sealed_at - interval '1 year' WHERE seal_no = 2"),
        ("seal 2 (sequence 9 to 16) its row was changed",),
    ),
    "the last seal deleted": (
        ("DELETE FROM ledger.seal_leaves WHERE seal_no = 3", "DELETE FROM ledger.seal WHERE seal_no = 3"),
        ("seal 3 (sequence 17 to 24) is anchored, and missing",),
    ),
    "a seal in the middle deleted": (
        ("DELETE FROM ledger.seal_leaves WHERE seal_no = 2", "DELETE FROM ledger.seal WHERE seal_no = 2"),
        ("seal 2 (sequence 9 to 16) is anchored, and missing", "seal 3 (sequence 17 to 24) does not start where seal 1"),
    ),
    "an amount, and the whole chain rewritten": (
        (f"UPDATE ledger.posting SET amount_minor = sign(amount_minor) * 999 WHERE entry_id = {key(2, 2)}",
         "DELETE FROM ledger.seal_leaves", "DELETE FROM ledger.seal", "SELECT ledger.seal(1, 8, 16)"),
        ("seal 1 (sequence 1 to 8) is not the anchored one", "seal 3 (sequence 17 to 24) is not the anchored one",
         "seal 2 (sequence 9 to 16) the entries are not those sealed"),
    ),
    "an amount, and the chain rewritten from there, sealed at the same moments": (
        ("CREATE TABLE public.kept AS SELECT seal_no, sealed_at FROM ledger.seal",
         f"UPDATE ledger.posting SET amount_minor = sign(amount_minor) * 999 WHERE entry_id = {key(4, 1)}",
         "DELETE FROM ledger.seal_leaves WHERE seal_no = 3", "DELETE FROM ledger.seal WHERE seal_no = 3",
         "SELECT ledger.seal(1, 8, 16)",
         "UPDATE ledger.seal s SET sealed_at = k.sealed_at, digest = sha256(record_send(ROW(s.book_id, s.seal_no, s.first_seq,"
         " s.last_seq, s.entry_count, s.root, s.previous, k.sealed_at))) FROM public.kept k"
         " WHERE k.seal_no = s.seal_no AND s.seal_no = 3"),
        ("seal 3 (sequence 17 to 24) is not the anchored one", "seal 3 (sequence 17 to 24) the entries are not those sealed"),
    ),
    "the chain cut another way": (
        ("DELETE FROM ledger.seal_leaves", "DELETE FROM ledger.seal", "SELECT ledger.seal(1, 100, 16)"),
        ("seal 1 (sequence 1 to 8) is not the anchored one", "seal 2 (sequence 9 to 16) is anchored, and missing"),
    ),
    "the function of the leaves replaced": (
        (f"UPDATE ledger.posting SET amount_minor = sign(amount_minor) * 999 WHERE entry_id = {key(1, 2)}",
         "CREATE OR REPLACE FUNCTION ledger.entry_leaves(p_book_id int, p_first_seq bigint, p_last_seq bigint,"
         " p_low_batch bigint, p_high_batch bigint) RETURNS TABLE (first_seq bigint, entry_id bigint, leaf bytea)"
         " LANGUAGE sql AS 'SELECT 1::bigint, 1::bigint, sha256('''')'"),
        (SALE_1_2,),
    ),
}  # fmt: skip


@pytest.mark.parametrize("theft", THEFTS)
def test_a_theft_is_located(db: Database, tmp_path: Path, theft: str) -> None:
    books, anchored = sealed_books(db, tmp_path)
    statements, expected = THEFTS[theft]
    as_superuser(db, *statements)
    said = found(db, books, anchored)
    for part in expected:
        assert part in said


def test_a_named_entry_is_the_only_one_named(db: Database, tmp_path: Path) -> None:
    books, anchored = sealed_books(db, tmp_path)
    as_superuser(db, *THEFTS["one cent"][0])
    assert len(found(db, books, anchored).splitlines()) == 1


def test_two_connections_say_what_one_says(db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each seal a chunk of its own, read in turns: the same faults in the same order, and all entries counted."""
    monkeypatch.setattr(seal_checks, "_CHUNK_ENTRIES", 1)
    books, anchored = sealed_books(db, tmp_path)
    for theft in ("one cent", "a deleted entry", "the order of two batches", "the last seal deleted"):
        as_superuser(db, *THEFTS[theft][0])
        with db.app() as conn, db.app() as beside:
            alone = verify_seals(conn, book_id=books.book, anchored=anchored)
            both = verify_seals(conn, book_id=books.book, anchored=anchored, beside=beside)
        assert both == alone
        assert both.faults


def test_every_column_of_the_sealed_rows_is_covered(db: Database, tmp_path: Path) -> None:
    """Whatever column of a sealed row changes, some fault says so: the list of columns comes from the catalogue."""
    books, anchored = sealed_books(db, tmp_path)
    changed = 0
    for table in ("entry", "entry_text", "posting", "batch", "batch_seq", "publication"):
        with db.app() as conn:
            columns = conn.execute(
                "SELECT attname, format_type(atttypid, NULL) FROM pg_attribute"
                " WHERE attrelid = ('ledger.' || %s)::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
                (table,),
            ).fetchall()
        for column, kind in columns:
            if (table, column) == ("posting", "in_block"):
                continue  # says where readers by account find it; test_ledger_blocks.py
            said = _after_change(db, books, anchored, table, str(column), str(kind))
            assert said != "", f"{table}.{column}"
            changed += 1
    assert changed >= 35


def _other_number(column: str) -> str:
    return f"coalesce({column}, 0) + 1000003"


_OTHER: dict[str, Callable[[str], str]] = {
    "text": lambda c: f"coalesce({c}, '') || 'x'",
    "name": lambda c: f"({c} || 'x')::name",
    "smallint": lambda c: f"coalesce({c}, 0) + 1",
    "date": lambda c: f"{c} + 1",
    "timestamp with time zone": lambda c: f"{c} + interval '1 microsecond'",
    "xid8": lambda c: f"(({c}::text)::bigint + 1)::text::xid8",
}


def _after_change(db: Database, books: Books, anchored: tuple[Seal, ...], table: str, column: str, kind: str) -> str:
    """What verification says inside a transaction that changes one column of one row, and is rolled back."""
    conn: Connection = psycopg.connect(make_conninfo(db.admin_conninfo, dbname=db.name))
    with conn:
        conn.execute("SET session_replication_role = replica")
        name = sql.Identifier("ledger", table)
        conn.execute(sql.SQL("ALTER TABLE {} DISABLE TRIGGER ALL").format(name))
        for (constraint,) in conn.execute(
            "SELECT conname FROM pg_constraint WHERE conrelid = ('ledger.' || %s)::regclass AND contype IN ('c', 'f')",
            (table,),
        ).fetchall():
            conn.execute(sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(name, sql.Identifier(str(constraint))))
        conn.execute("ALTER TABLE ledger.publication ALTER publication_id DROP IDENTITY IF EXISTS")
        value = _OTHER.get(kind, _other_number)(f'"{column}"')
        done = conn.execute(
            f'UPDATE ledger.{table} SET "{column}" = {value}'  # names and values of this file and the catalogue
            f" WHERE ctid = (SELECT max(ctid) FROM ledger.{table})".encode()
        )
        assert done.rowcount == 1
        report = verify_seals(conn, book_id=books.book, anchored=anchored)
        conn.rollback()
    return "\n".join(f.fault for f in report.faults)


def test_without_an_anchor_a_rewritten_chain_passes_and_with_it_does_not(db: Database, tmp_path: Path) -> None:
    """Why the root must be kept outside: the books alone cannot tell."""
    books, anchored = sealed_books(db, tmp_path)
    as_superuser(db, *THEFTS["an amount, and the whole chain rewritten"][0])
    assert found(db, books, ()) == ""
    assert "is not the anchored one" in found(db, books, anchored)


def test_the_head_alone_binds_everything_below(db: Database, tmp_path: Path) -> None:
    books, anchored = sealed_books(db, tmp_path)
    as_superuser(db, *THEFTS["an amount, and the whole chain rewritten"][0])
    assert "seal 3 (sequence 17 to 24) is not the anchored one" in found(db, books, anchored[-1:])


def test_later_entries_do_not_disturb(db: Database, tmp_path: Path) -> None:
    books, anchored = sealed_books(db, tmp_path)
    with db.app() as conn:
        late = entry("late", "assets:cash", "income:sales", 5, day=date(2026, 1, 5))
        post_batch(conn, book_id=books.book, entries=[late])
        publish(conn)
    assert found(db, books, anchored) == ""
