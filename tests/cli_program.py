"""The `nostro` program as tests run it: in this process, or as a process of its own. No assertions on behaviour here.

A `Program` has a home folder and a database of its own on the test server; `commands()` lists every command there is.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import cast

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from ledger import Connection
from nostro.cli import main
from nostro.cli.app import program
from nostro.database import Database, locate
from nostro.settings import Settings
from tests.support import table_hashes

FIXTURES = Path(__file__).resolve().parents[1] / "data" / "fixtures" / "sandbox"
ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command left behind: its exit status and what it said."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, object]:
        """The one JSON object on stdout; fails when there is more or less."""
        value = json.loads(self.out)
        assert isinstance(value, dict)
        return value

    def rows(self, name: str) -> list[dict[str, object]]:
        """A list of objects in the answer."""
        return cast(list[dict[str, object]], self.json[name])

    @property
    def error(self) -> dict[str, object]:
        """The JSON object on stderr of a refused `--json` command."""
        value = json.loads(self.err)
        assert isinstance(value, dict)
        return value

    @property
    def sentence(self) -> str:
        """The first line on stderr, and that nothing else but listed faults follows it."""
        first, *faults = self.err.strip().splitlines()
        assert all(line.startswith("  ") for line in faults), self.err
        return first


@dataclass(frozen=True, slots=True)
class Program:
    """One deployment: a home folder, a database on the test server, the files of the synthetic business."""

    home: Path
    files: Path
    database_url: str

    def __call__(self, *words: str | Path | int) -> Outcome:
        """Run a command in this process, as `nostro` on the command line would."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = main([str(word) for word in words])
        return Outcome(status, out.getvalue(), err.getvalue())

    def done(self, *words: str | Path | int) -> Outcome:
        """Run a command that must end with status 0."""
        outcome = self(*words)
        assert outcome.status == 0, (words, outcome)
        return outcome

    @property
    def database(self) -> Database:
        return locate(Settings())

    def owner(self) -> Connection:
        return self.database.owner()

    def hashes(self) -> dict[str, str]:
        """Content hash of every table of the books."""
        with self.owner() as owner:
            return table_hashes(owner)

    def kept_bytes(self) -> dict[str, bytes]:
        """Every payment file, certificate and statement in the home, by path."""
        wanted = {".xml", ".json", ".csv"}
        paths = sorted(path for path in self.home.rglob("*") if path.suffix in wanted and path.is_file())
        return {str(path.relative_to(self.home)): path.read_bytes() for path in paths}

    def set_up(self) -> None:
        """From nothing to a company with sales of two days, a preparer and two approvers."""
        self.done("init")
        for person, group in (("alice", "preparer"), ("bob", "approver"), ("carol", "approver")):
            self.done("user", "add", person, "--group", group)
        self.done("setup", self.files / "setup.yaml")


@contextlib.contextmanager
def new_program(server: str, name: str) -> Iterator[Program]:
    """A deployment on the test server, taken away afterwards."""
    with tempfile.TemporaryDirectory(prefix="nostro-cli-") as folder, pytest.MonkeyPatch.context() as patch:
        files = Path(folder) / "files"
        shutil.copytree(FIXTURES, files)
        url = make_conninfo(server, dbname=name)
        patch.setenv("NOSTRO_HOME", str(Path(folder) / "home"))
        patch.setenv("NOSTRO_DATABASE_URL", url)
        patch.delenv("NOSTRO_USER", raising=False)
        yield Program(Path(folder) / "home", files, url)
        with psycopg.connect(server, autocommit=True) as admin:
            admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
            roles = admin.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE %s", (f"{name}\\_%",)).fetchall()
            for (role,) in roles:
                admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(str(role))))


def run_process(*words: str, home: Path, **environment: str) -> Outcome:
    """Run the program as a process of its own, with only these NOSTRO_ settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NOSTRO_")}
    ended = subprocess.run(
        [sys.executable, "-m", "nostro", *words],
        env=kept | {"NOSTRO_HOME": str(home), "PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return Outcome(ended.returncode, ended.stdout, ended.stderr)


# A fresh interpreter imports once and then forks: processes of their own, without eight times the start-up. The tests'
# own process has threads (Polars'), and a fork of it may wait for ever for a lock that one of them held.
_TOGETHER = """
import contextlib, io, json, multiprocessing, sys
from nostro.cli import main

def work(_):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(sys.argv[2:])
    return status, out.getvalue(), err.getvalue()

count = int(sys.argv[1])
with multiprocessing.get_context("fork").Pool(count) as pool:
    print(json.dumps(pool.map(work, range(count), chunksize=1)))
"""


def run_together(count: int, *words: str) -> list[Outcome]:
    """The same command in so many processes at once, with this process's settings."""
    ended = subprocess.run(
        [sys.executable, "-c", _TOGETHER, str(count), *words],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
    )
    return [Outcome(status, out, err) for status, out, err in json.loads(ended.stdout)]


@cache
def commands() -> dict[str, str]:
    """Every command of the program ("settle approve") with its help text."""
    return dict(_walk(program(), ()))


def _walk(command: object, path: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield " ".join(path), str(getattr(command, "help", None) or "")
    for name, each in (inner or {}).items():
        yield from _walk(each, (*path, name))
