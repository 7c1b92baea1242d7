"""Who commands log in as: nobody but `init` and `user add` is ever the owner or a superuser.

The server itself tells: with `log_connections` on, it writes down every login of every command.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from nostro.postgres import throw_away_server
from tests.cli_program import new_program

MONDAY, NOON = "2026-11-02", "2026-11-02T12:00:00+00:00"
NAME = "nostro_logins"

# Every command that works on the books, in an order in which each has something to do.
COMMANDS: tuple[tuple[str, ...], ...] = (
    ("setup", "{files}/setup.yaml"),
    ("import", "journal", "{files}/journal-2026-10-30.csv", "{files}/journal-2026-11-02.csv"),
    ("settle", "netting", "--date", MONDAY),
    ("settle", "propose", "--date", MONDAY, "--now", NOON, "--as", "alice"),
    ("settle", "show"),
    ("settle", "approve", "--all", "--as", "bob"),
    ("settle", "release", "--all", "--now", NOON, "--as", "alice"),
    ("bank", "send", "--now", NOON, "--as", "alice"),
    ("bank", "simulate", "--date", MONDAY, "--setup", "{files}/setup.yaml"),
    ("bank", "poll"),
    ("settle", "status"),
    ("settle", "payout-report"),
    ("recon", "ingest", "--inbox"),
    ("recon", "run", "--date", MONDAY),
    ("recon", "report"),
    ("breaks", "list"),
    ("balance", "assets:bank:eur-payouts"),
    ("statement", "assets:bank:eur-payouts"),
    ("trial-balance",),
    ("reverse", "sale:20261102-000001", "--reason", "Booked twice", "--on", "2026-11-03", "--as", "alice"),
    ("close-period", MONDAY, "--as", "alice"),
    ("export", "duckdb"),
    ("verify",),
    ("doctor",),
    ("user", "list"),
)


@pytest.fixture(scope="module")
def log() -> Iterator[tuple[str, Path]]:
    """A server of its own that logs every login; (its superuser conninfo, the log's folder)."""
    with throw_away_server("nostro-log-") as (folder, server):
        with psycopg.connect(server, autocommit=True) as admin:
            admin.execute("ALTER SYSTEM SET log_connections = 'authorization'")
            admin.execute("ALTER SYSTEM SET log_min_messages = 'warning'")
            admin.execute("SELECT pg_reload_conf()")
        yield server, folder / "postgres"


def logins(folder: Path) -> list[str]:
    """Every user the server let into the company's database (or into `postgres`), in order."""
    text = "".join(path.read_text(errors="replace") for path in sorted(folder.rglob("*log*")) if path.is_file())
    return re.findall(r"connection authorized: user=(\S+) database=(?:nostro_logins|postgres)\b", text)


def test_no_command_logs_in_as_owner_or_superuser(log: tuple[str, Path]) -> None:
    server, folder = log
    allowed = {f"{NAME}_service", f"{NAME}_alice", f"{NAME}_bob"}
    with new_program(server, NAME) as program:
        program.done("init")
        for person, group in (("alice", "preparer"), ("bob", "approver")):
            program.done("user", "add", person, "--group", group)
        seen = len(logins(folder))
        assert seen > 0, "the server's log shows logins"
        for words in COMMANDS:
            program.done(*(word.format(files=program.files) for word in words))
            told = logins(folder)
            new, seen = told[seen:], len(told)
            assert new or words[:2] == ("bank", "simulate"), (words, "logged in as nobody")
            assert set(new) <= allowed, (words, new)
        with psycopg.connect(server) as admin:
            rights = admin.execute(
                "SELECT rolname FROM pg_roles WHERE rolname = ANY(%s) AND (rolsuper OR rolcreaterole OR rolcreatedb"
                " OR rolbypassrls OR rolreplication OR pg_has_role(rolname, %s, 'MEMBER'))",
                (sorted(allowed), f"{NAME}_owner"),
            ).fetchall()
        assert rights == []
