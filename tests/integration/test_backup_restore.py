"""The backup and restore of docs/operations.md: a dump restored into a new server is the same books."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg.conninfo import make_conninfo

from ledger import (
    FloorError,
    HoldPosting,
    IdempotencyConflictError,
    NewEntry,
    NewHold,
    NewPosting,
    book_id,
    events,
    import_journal,
    list_seals,
    place_holds,
    post_batch,
    post_holds,
    publish,
    seal,
    take_events,
    verify,
    verify_seals,
)
from nostro.database import Database
from settlement import apply_setup
from tests.cluster import run_tool, throw_away_cluster
from tests.ledger_books import open_account
from tests.support import table_hashes

_SETUP = """
book: {name: Marktplatz, functional_currency: EUR}
accounts:
  - {code: "assets:cash", type: asset, currency: EUR}
  - {code: "income:sales", type: income, currency: EUR}
banks:
  nordbank:
    bic: NORDDEFFXXX
    timezone: Europe/Berlin
    holidays: ECB
    rails: {SEPA: {cutoff: "20:00"}}
    transport: {kind: folder, outbox: bank/nordbank/outbox, inbox: bank/nordbank/inbox}
bank_accounts:
  - {code: eur, bank: nordbank, iban: DE89370400440532013000, currency: EUR, rail: SEPA,
     holder: {name: Marktplatz, country: DE, town: Berlin}, opening: {date: 2026-11-01, balance: "100.00"}}
"""
_JOURNAL = """entry_key,effective_date,account,amount,currency,description,reference
sale-1,2026-11-02,assets:cash,12.50,EUR,,
sale-1,2026-11-02,income:sales,-12.50,EUR,,
"""


CUSTOMER = "liabilities:wallet:W1"
NOON = dt.datetime(2026, 11, 3, 12, tzinfo=dt.UTC)


@pytest.fixture
def elsewhere() -> Iterator[str]:
    """Superuser conninfo of a second, empty server."""
    with throw_away_cluster("elsewhere") as cluster:
        yield cluster.start().admin_conninfo


def _pay(key: str, amount_minor: int, *, debit: str = "assets:cash", credit: str = "income:sales") -> NewEntry:
    return NewEntry(key, NOON.date(), (NewPosting(debit, amount_minor), NewPosting(credit, -amount_minor)))


def test_a_restored_dump_is_the_same_books_and_goes_on(db: Database, elsewhere: str, tmp_path: Path) -> None:
    setup = tmp_path / "company.yaml"
    setup.write_text(_SETUP)
    journal = tmp_path / "sales.csv"
    journal.write_text(_JOURNAL)
    with db.login("alice") as conn:
        apply_setup(conn, setup)
        book = book_id(conn)
        import_journal(conn, book_id=book, path=journal)
        open_account(conn, book, CUSTOMER, "liability", floor_minor=0)
        conn.commit()
        post_batch(conn, book_id=book, entries=[_pay("fund", 100, credit=CUSTOMER)])
        place_holds(conn, book_id=book, holds=[NewHold("h1", CUSTOMER, 60)])
        published = publish(conn)
        seals = seal(conn, book_id=book)
        read = [event.seq for event in take_events(conn, consumer="mart", limit=2)]
        conn.commit()
        post_batch(conn, book_id=book, entries=[_pay("unpublished", 7)])
    roles, dump = tmp_path / "roles.sql", tmp_path / "nostro.dump"
    run_tool("pg_dumpall", "--roles-only", "-d", db.admin_conninfo, "-f", str(roles))
    run_tool("pg_dump", "--format=custom", "-d", make_conninfo(db.admin_conninfo, dbname=db.name), "-f", str(dump))

    run_tool("psql", "-q", "-d", elsewhere, "-f", str(roles))
    run_tool("pg_restore", "-d", elsewhere, "--create", str(dump))
    restored = Database(admin_conninfo=elsewhere, name=db.name, role_prefix=db.role_prefix)
    with db.owner() as before, restored.owner() as after:
        assert table_hashes(after) == table_hashes(before)
    with restored.login("alice") as conn:
        assert verify(conn, book_id=book) == ()

        # Idempotency: what was posted is recognised, other content under its key is refused.
        assert import_journal(conn, book_id=book, path=journal).new_entries == 0
        assert [one.is_new for one in post_batch(conn, book_id=book, entries=[_pay("unpublished", 7)])] == [False]
        with pytest.raises(IdempotencyConflictError):
            post_batch(conn, book_id=book, entries=[_pay("unpublished", 8)])

        # Holds still count, and resolve.
        with pytest.raises(FloorError):
            post_batch(conn, book_id=book, entries=[_pay("draw", 41, debit=CUSTOMER, credit="assets:cash")])
        draw = HoldPosting("h1", _pay("draw held", 60, debit=CUSTOMER, credit="assets:cash"))
        assert [one.is_new for one in post_holds(conn, book_id=book, postings=[draw], at=NOON)] == [True]

        # Knowledge order goes on without a gap: what the old server had not numbered comes first.
        assert publish(conn) == published + 2
        numbers = [(event.seq, event.key) for event in events(conn)]
        assert [seq for seq, _ in numbers] == list(range(1, published + 3))
        assert [key for _, key in numbers[-2:]] == ["unpublished", "draw held"]

        # The consumer reads on where it stood, each event once.
        assert read == [1, 2]
        assert [event.seq for event in take_events(conn, consumer="mart")] == list(range(3, published + 3))
        conn.commit()

        # Seals: the old ones hold against what the old server gave out, the next is chained to them.
        assert list_seals(conn, book_id=book) == seals
        (further,) = seal(conn, book_id=book)
        assert further.previous == seals[-1].digest and further.first_seq == seals[-1].last_seq + 1
        assert verify_seals(conn, book_id=book, anchored=seals).faults == ()
        assert verify(conn, book_id=book) == ()
