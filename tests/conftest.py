"""Fixtures: one embedded Postgres a test session, one fresh migrated database a test."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from itertools import count
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from nostro.database import Database, initialise
from nostro.postgres import throw_away_server
from nostro.users import add_user

SHARED = Path(os.environ.get("NOSTRO_SHARED", Path(__file__).resolve().parents[2] / "shared"))
_numbers = count()


# Files that take longest, the longest first: a long one that starts last leaves the other worker idle.
LONGEST_FIRST = (
    "ui/test_up.py",
    "property/test_payment_files.py",
    "faults/test_settlement_kill_sweep.py",
    "integration/test_bank_recalls_and_debits.py",
    "integration/test_recon_week.py",
    "integration/test_bank_faults.py",
    "integration/test_recon_workflow.py",
    "integration/test_cli.py",
    "integration/test_dagster_day.py",
    "integration/test_week.py",
    "integration/test_berka.py",
    "property/test_payouts_over_days.py",
    "property/test_camt_skim.py",
    "property/test_ledger_stateful.py",
    "integration/test_recon_decisions.py",
    "integration/test_ledger_asof.py",
    "integration/test_lineage.py",
    "integration/test_recon_incremental.py",
    "integration/test_recon_cli.py",
    "faults/test_settlement_send.py",
    "faults/test_ledger_kill.py",
    "integration/test_cli_process.py",
)

# Room that a run in memory may need; with less there, tests use the disk.
_ROOM_BYTES = 3 * 2**30


def _temporary_root() -> Path:
    """Memory where the machine has it, else the disk: hundreds of databases of a thousand files each are made and
    dropped, and a disk's file system takes longer over that than the tests over their work. TMPDIR has its way."""
    memory = Path("/dev/shm")
    if "TMPDIR" not in os.environ and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free >= _ROOM_BYTES:
        return memory
    return Path(tempfile.gettempdir())


# Half of what tests import from others, and the first worker late. After a fresh clone Python compiles what it imports:
# two workers that import in one order compile everything twice.
IMPORTED_LATE = ("dagster", "openpyxl", "holidays", "asyncssh", "scipy.optimize", "xmlschema", "beancount.loader")


def pytest_configure() -> None:
    """Temporary folders of this checkout's own: a second run elsewhere closes the shared one to Postgres' user."""
    if os.environ.get("PYTEST_XDIST_WORKER") == "gw1":
        for name in IMPORTED_LATE:
            with suppress(ImportError):  # whoever needs it says so
                import_module(name)
    if "PYTEST_DEBUG_TEMPROOT" in os.environ:  # a worker's parent has seen to it
        return
    mark = hashlib.sha256(str(Path(__file__).resolve()).encode()).hexdigest()[:8]
    root = _temporary_root() / f"nostro-pytest-{mark}"
    root.mkdir(exist_ok=True)
    _remove_what_a_killed_run_left(root)
    os.environ["PYTEST_DEBUG_TEMPROOT"] = os.environ["TMPDIR"] = tempfile.tempdir = str(root)


def _remove_what_a_killed_run_left(root: Path) -> None:
    """Unless another run is under way in this checkout."""
    held_as_long_as_we_live = os.open(root / ".run", os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(held_as_long_as_we_live, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return
    for entry in root.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, the others as they come."""
    tests = Path(__file__).parent
    place = {tests / name: number for number, name in enumerate(LONGEST_FIRST)}
    assert all(path.is_file() for path in place), "LONGEST_FIRST names a file that is no more"
    items.sort(key=lambda item: place.get(item.path, len(place)))


@pytest.fixture(scope="session")
def shared() -> Path:
    """External test data (schemas, samples of banks, a real bank's journal), kept beside the project."""
    if not SHARED.is_dir():
        pytest.skip(f"external test data not found; put it beside the project or set NOSTRO_SHARED ({SHARED.name})")
    return SHARED


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """Superuser conninfo of a throw-away Postgres, with the settings of a real one but for fsync and the log it keeps.

    Creating and dropping a database a test flushes all of it each time: most of the suite's time. Durability is
    tested on servers of its own (tests/cluster.py), which are killed.
    """
    with throw_away_server("nostro-test-") as (_, conninfo):
        with psycopg.connect(conninfo, autocommit=True) as admin:
            admin.execute("ALTER SYSTEM SET fsync = off")
            admin.execute("ALTER SYSTEM SET min_wal_size = '128MB'")  # it lies in memory
            admin.execute("ALTER SYSTEM SET max_wal_size = '512MB'")
            admin.execute("SELECT pg_reload_conf()")
        yield conninfo


@pytest.fixture(scope="module")
def durable(server: str) -> Iterator[None]:
    """The shared server as a real one is set, for a module whose tests ask it (`nostro doctor`)."""
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute("ALTER SYSTEM RESET fsync")
        admin.execute("SELECT pg_reload_conf()")
        while admin.execute("SELECT current_setting('fsync')").fetchone() != ("on",):
            time.sleep(0.02)
        yield
        admin.execute("ALTER SYSTEM SET fsync = off")
        admin.execute("SELECT pg_reload_conf()")


@pytest.fixture(scope="session")
def template(server: str) -> Database:
    """A migrated database that the tests' databases are copied from, with three people."""
    database = Database(admin_conninfo=server, name="nostro_template", role_prefix="nostro_template")
    initialise(database)
    for person, group in (
        ("alice", "preparer"),
        ("bob", "approver"),
        ("carol", "approver"),
        ("ann", "analyst"),
    ):
        add_user(database, person, group)
    return database


@pytest.fixture
def db(template: Database) -> Iterator[Database]:
    """A fresh database of its own for one test."""
    name = f"nostro_test_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(template.admin_conninfo, autocommit=True) as admin:
        admin.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE nostro_template STRATEGY file_copy").format(sql.Identifier(name))
        )
        yield replace(template, name=name)
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
