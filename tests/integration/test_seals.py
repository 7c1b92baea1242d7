"""Seals from the outside: constraints, sealing beside posting, incremental checks, anchors, export, proof."""

from __future__ import annotations

import contextlib
import io
import json
import runpy
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg.conninfo import make_conninfo

from ledger import (
    AppendOnlyError,
    CheckFailedError,
    Connection,
    RefusedError,
    anchor_to_file,
    list_seals,
    post_batch,
    prove,
    publish,
    read_seal_lines,
    seal,
    translate_errors,
    verify_after,
    verify_seals,
)
from nostro.cli import main
from nostro.database import Database, initialise
from tests.integration.test_seals_tampering import as_superuser
from tests.ledger_books import Books, entry, open_books

VERIFIER = Path(__file__).parents[2] / "tools" / "verify_books.py"


def sell(books: Books, conn: Connection, prefix: str, count: int, *, each: int = 1) -> None:
    """Post and publish so many sales, ``each`` a batch."""
    new = [entry(f"{prefix}-{n}", "assets:cash", "income:sales", n + 1) for n in range(count)]
    for start in range(0, count, each):
        post_batch(conn, book_id=books.book, entries=new[start : start + each])
    publish(conn)


def test_seals_tile_the_order_book_by_book(db: Database) -> None:
    first, second = open_books(db), open_books(db)
    with db.app() as conn:
        for turn in range(7):
            sell(first, conn, f"a{turn}", 3)
            sell(second, conn, f"b{turn}", 2)
            seal(conn, book_id=(first, second)[turn % 2].book, entries=4)
        for books, total in ((first, 21), (second, 14)):
            seal(conn, book_id=books.book, entries=4)
            made = list_seals(conn, book_id=books.book)
            assert [s.seal_no for s in made] == list(range(1, len(made) + 1))
            assert [s.first_seq for s in made] == [1, *(s.last_seq + 1 for s in made[:-1])]
            assert sum(s.entry_count for s in made) == total
            report = verify_seals(conn, book_id=books.book)
            assert (report.faults, report.checked_entries, report.unsealed_entries) == ((), total, 0)


def test_sealing_again_makes_nothing(db: Database) -> None:
    books = open_books(db)
    with db.app() as conn:
        assert seal(conn, book_id=books.book) == ()
        sell(books, conn, "a", 3)
        assert len(seal(conn, book_id=books.book)) == 1
        assert seal(conn, book_id=books.book) == ()


def test_sealing_waits_for_nobody_and_nobody_for_it(db: Database) -> None:
    """An open post keeps its place behind the watermark: it is not sealed, and not lost."""
    books = open_books(db)
    with db.app() as conn, db.app() as busy:
        for connection in (conn, busy):
            connection.execute("SET lock_timeout = '5s'")
            connection.commit()
        sell(books, conn, "a", 2)
        with busy.transaction():
            post_batch(busy, book_id=books.book, entries=[entry("open", "assets:cash-usd", "income:sales-usd", 7)])
            sell(books, conn, "b", 2)
            assert [s.entry_count for s in seal(conn, book_id=books.book)] == [2]
            with db.owner() as sealer:  # a seal in the making holds just this lock
                sealer.execute("LOCK TABLE ledger.seal IN SHARE ROW EXCLUSIVE MODE")
                post_batch(
                    busy, book_id=books.book, entries=[entry("beside", "assets:cash-usd", "income:sales-usd", 8)]
                )
        publish(conn)
        assert [s.entry_count for s in seal(conn, book_id=books.book)] == [4]
        assert verify_seals(conn, book_id=books.book).faults == ()


def test_many_sealers_make_one_chain(db: Database) -> None:
    books = open_books(db)
    with db.app() as conn:
        sell(books, conn, "a", 60)
    made: list[int] = []

    def work() -> None:
        with db.app() as own:
            made.append(len(seal(own, book_id=books.book, entries=3)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with db.app() as conn:
        assert len(made) == 4
        assert [s.entry_count for s in list_seals(conn, book_id=books.book)] == [3] * 20
        assert verify_seals(conn, book_id=books.book).faults == ()


INSERT = """
INSERT INTO ledger.seal (book_id, seal_no, first_seq, last_seq, entry_count, root, previous, digest, sealed_at)
SELECT book_id, {no}::int, {first}::bigint, {last}::bigint, {count}::int, sha256('x'), {previous},
       sha256(record_send(ROW(book_id, {no}::int, {first}::bigint, {last}::bigint, {count}::int, sha256('x'),
                              {previous}, sealed_at))){spoil}, sealed_at
  FROM ledger.seal ORDER BY seal_no DESC LIMIT 1
"""
GOOD = {"no": "3", "first": "7", "last": "9", "count": "3", "previous": "digest", "spoil": ""}


@pytest.mark.parametrize(
    ("changes", "constraint"),
    [
        ({"first": "8", "count": "2"}, "seal_chain"),
        ({"first": "6"}, "seal_chain"),
        ({"no": "4"}, "seal_chain"),
        ({"previous": "sha256('y')"}, "seal_chain"),
        ({"previous": "root"}, "seal_chain"),
        ({"no": "4", "first": "4", "last": "6", "previous": "previous"}, "seal_once"),
        ({"count": "4"}, "seal_range"),
        ({"last": "6", "count": "1"}, "seal_range"),
        ({"no": "1", "previous": "decode(repeat('00', 32), 'hex')"}, "seal_start"),
        ({"spoil": " || 'x'"}, "seal_digest"),
    ],
    ids=lambda value: "" if isinstance(value, str) else " ".join(f"{k}={v}" for k, v in value.items()),
)
def test_gaps_overlaps_and_forks_are_refused_to_the_owner(
    db: Database, changes: dict[str, str], constraint: str
) -> None:
    books = open_books(db)
    with db.app() as conn:
        sell(books, conn, "a", 6)
        assert len(seal(conn, book_id=books.book, entries=3)) == 2
    with db.owner() as conn:
        with pytest.raises(AppendOnlyError) as caught, translate_errors(), conn.transaction():
            conn.execute(INSERT.format(**GOOD | changes).encode())
        assert caught.value.constraint == constraint
        conn.execute(INSERT.format(**GOOD).encode())
        conn.rollback()


def test_incremental_looks_at_what_is_new_only(db: Database) -> None:
    books = open_books(db)
    with db.app() as conn:
        sell(books, conn, "a", 40, each=10)
        seal(conn, book_id=books.book, entries=10)
        assert verify_seals(conn, book_id=books.book, incremental=True).checked_entries == 40
        assert verify_seals(conn, book_id=books.book, incremental=True).checked_entries == 0
        sell(books, conn, "b", 5)
        seal(conn, book_id=books.book, entries=10)
        report = verify_seals(conn, book_id=books.book, incremental=True)
        assert (report.checked_seals, report.checked_entries, report.checked_from_seq) == (1, 5, 40)
        assert verify_after(conn, book_id=books.book, after_seq=report.checked_from_seq) == ()
        sell(books, conn, "c", 5)
        seal(conn, book_id=books.book, entries=10)
    as_superuser(db, "UPDATE ledger.posting SET amount_minor = 999 WHERE amount_minor = 3")
    with db.app() as conn:
        report = verify_seals(conn, book_id=books.book, incremental=True)
        assert [f.place.split("(")[1] for f in report.faults] == ["key c-2)"]
        assert "sums to 996" in verify_after(conn, book_id=books.book, after_seq=report.checked_from_seq)[0].fault
        again = verify_seals(conn, book_id=books.book, incremental=True)
        assert again.checked_entries == 5, "a check with faults is not noted as good"
        assert len(verify_seals(conn, book_id=books.book).faults) == 3


def test_a_seal_is_not_made_over_books_that_lost_entries(db: Database) -> None:
    books = open_books(db)
    with db.app() as conn:
        sell(books, conn, "a", 4, each=4)
    as_superuser(
        db,
        "DELETE FROM ledger.posting WHERE entry_id = (SELECT max(entry_id) FROM ledger.entry)",
        "DELETE FROM ledger.entry WHERE entry_id = (SELECT max(entry_id) FROM ledger.entry)",
    )
    with db.app() as conn, pytest.raises(CheckFailedError) as caught:
        seal(conn, book_id=books.book)
    assert caught.value.constraint == "seal_complete"


def test_proofs_are_refused_where_there_is_nothing_to_prove(db: Database) -> None:
    books = open_books(db)
    with db.app() as conn:
        sell(books, conn, "a", 2)
        with pytest.raises(RefusedError, match="no entry with key 'none'"):
            prove(conn, book_id=books.book, key="none")
        with pytest.raises(RefusedError, match="not sealed yet"):
            prove(conn, book_id=books.book, key="a-1")


def test_an_anchor_file_grows_and_contradiction_is_seen(db: Database, tmp_path: Path) -> None:
    books, anchor = open_books(db), tmp_path / "anchor.jsonl"
    with db.app() as conn:
        for turn in range(3):
            sell(books, conn, f"t{turn}", 2)
            seal(conn, book_id=books.book)
            assert anchor_to_file(conn, anchor, book_id=books.book) == 1
            assert anchor_to_file(conn, anchor, book_id=books.book) == 0
        assert read_seal_lines(anchor, book_id=books.book) == list_seals(conn, book_id=books.book)
        text = anchor.read_text(encoding="utf-8")
        told = [json.loads(line) for line in text.splitlines()]
        anchor.write_text(text.replace(told[1]["root"], told[0]["root"]), encoding="utf-8")
        with pytest.raises(RefusedError, match="line 2: the file itself was altered"):
            read_seal_lines(anchor, book_id=books.book)
    as_superuser(db, "DELETE FROM ledger.seal_leaves", "DELETE FROM ledger.seal", "SELECT ledger.seal(1, 100, 1)")
    anchor.write_text(text, encoding="utf-8")
    with db.app() as conn, pytest.raises(CheckFailedError, match="is not the one in the books"):
        anchor_to_file(conn, anchor, book_id=books.book)


# --- the command line, and the verifier as a program of its own -------------------------------------------------------


@pytest.fixture(scope="module")
def deployment(server: str) -> Iterator[Books]:
    """A deployment as `nostro init` makes it, with thirty sales."""
    database = Database(admin_conninfo=server, name="nostro_seals", role_prefix="nostro_seals")
    initialise(database)
    books = open_books(database)
    with database.app() as conn:
        sell(books, conn, "sale", 30, each=4)
    yield books


def verifier(*arguments: object) -> tuple[int, str]:
    """Run the verifier with an isolated interpreter: no site packages, nothing of ours on the path."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(VERIFIER), *map(str, arguments)], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def verdict(*arguments: object) -> tuple[int, str]:
    """What the verifier says of the same in this process: a hundred damaged copies need no hundred interpreters."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        status = runpy.run_path(str(VERIFIER))["main"]([str(argument) for argument in arguments])
    return status, out.getvalue()


def test_from_sealing_to_the_auditor(
    deployment: Books, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    db, anchor, audit = deployment.db, tmp_path / "anchor.jsonl", tmp_path / "audit"
    monkeypatch.setenv("NOSTRO_DATABASE_URL", make_conninfo(db.admin_conninfo, dbname=db.name))
    assert main(["seal", "--entries", "8", "--anchor-file", str(anchor)]) == 0
    assert "4 new seals over 30 entries" in capsys.readouterr().out
    keep = "import sys, pathlib; pathlib.Path(sys.argv[1]).write_text(sys.stdin.read())"
    assert main(["seal", "--anchor-command", f'{sys.executable} -c "{keep}" {tmp_path}/head.jsonl']) == 0
    assert (tmp_path / "head.jsonl").read_text() == anchor.read_text().splitlines(keepends=True)[-1]
    assert main(["seal", "--anchor-command", f'{sys.executable} -c "raise SystemExit(7)"']) == 3
    assert "ended with status 7" in capsys.readouterr().err

    assert main(["verify", "--root", str(anchor)]) == 0
    assert "4 of 4 seals checked, 30 entries under them, against anchor.jsonl" in capsys.readouterr().out
    assert main(["verify", "--incremental", "--root", str(tmp_path / "head.jsonl")]) == 0
    assert "0 of 4 seals checked" in capsys.readouterr().out
    assert main(["export", "audit", str(audit)]) == 0
    capsys.readouterr()
    assert main(["proof", "sale-17"]) == 0
    (tmp_path / "proof.json").write_text(capsys.readouterr().out)

    assert verifier("export", audit, "--root", anchor) == (0, _said(anchor, "30 entries, 4 seals, 2 accounts", "holds"))
    assert verifier("export", audit)[1].endswith("give --root to prove that it is what was sealed\n")
    assert verifier("proof", tmp_path / "proof.json", "--root", anchor)[0] == 0
    _alter_every_line(audit, anchor)
    _alter_proof(tmp_path / "proof.json", anchor)

    as_superuser(db, "UPDATE ledger.entry SET effective_date = effective_date + 1 WHERE idempotency_key = 'sale-9'")
    assert main(["verify", "--root", str(anchor)]) == 5
    assert "(key sale-9) was changed; seal 2 (sequence 9 to 16)" in capsys.readouterr().out
    assert main(["verify", "--json"]) == 5
    assert json.loads(capsys.readouterr().out)["seals"]["checked_seals"] == 4
    assert main(["proof", "sale-9"]) == 5


def _said(anchor: Path, first: str, last: str) -> str:
    head = json.loads(anchor.read_text().splitlines()[-1])["digest"]
    return f"{first} with postings\nhead: {head}\n{last}\n"


def _alter_every_line(audit: Path, anchor: Path) -> None:
    """Drop, double and swap lines, and change a character of each file: the verifier sees every one."""
    for name in ("entries.jsonl", "batches.jsonl", "seals.jsonl"):
        path = audit / name
        good = path.read_text(encoding="utf-8")
        lines = good.splitlines(keepends=True)
        altered = ["".join(lines[:2] + lines[3:]), "".join([*lines[:1], lines[2], lines[1], *lines[3:]])]
        if name == "batches.jsonl":  # keyed by id: their order in the file says nothing
            altered = altered[:1]
        else:
            altered.append("".join([*lines[:2], lines[1], *lines[2:]]))
        digits = [i for i, c in enumerate(lines[1]) if c.isdigit()]
        for at in digits[:: max(1, len(digits) // 25)]:
            other = str((int(lines[1][at]) + 1) % 10)
            altered.append("".join([lines[0], lines[1][:at] + other + lines[1][at + 1 :], *lines[2:]]))
        for text in altered:
            path.write_text(text, encoding="utf-8")
            status, said = verdict("export", audit, "--root", anchor)
            assert status == 5 and "FAULT" in said, text[:200]
        assert verifier("export", audit, "--root", anchor) == (status, said)
        path.write_text(good, encoding="utf-8")
    assert verifier("export", audit, "--root", anchor)[0] == 0


def _alter_proof(path: Path, anchor: Path) -> None:
    good = json.loads(path.read_text())
    changes: tuple[dict[str, object], ...] = (
        {"key": "sale-16"},
        {"leaf": "00" * 32},
        {"path": good["path"][:-1]},
        {
            "path": [
                {**good["path"][0], "side": "left" if good["path"][0]["side"] == "right" else "right"},
                *good["path"][1:],
            ]
        },
        {"entry": {**good["entry"], "description": "other"}},
        {"batch": {**good["batch"], "recorded_by": "other"}},
        {"seal": {**good["seal"], "seal_no": 1}},
        {"seal": {}},
    )
    for change in changes:
        path.write_text(json.dumps(good | change))
        assert verdict("proof", path, "--root", anchor)[0] == 5, change
