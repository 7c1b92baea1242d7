"""`nostro up`: Postgres and Dagster as one foreground program.

Lives here: Dagster's own database, its folder and configuration, and the child processes (code server, web
server, daemon) from start to stop. Must not live here: what runs when (`dagster_project`), anything that moves
money. The children never learn how to log in as the owner: they get the conninfo of the app and of the service
login ``scheduler``, a preparer, so nothing Dagster does can approve a payment.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import FrameType
from typing import IO

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ledger import UnavailableError
from nostro.database import Database, initialise, locate
from nostro.settings import Settings
from nostro.users import add_service

SCHEDULER = "scheduler"
_LOCATION = "nostro"
_PACKAGES = Path(__file__).resolve().parents[1]
_PASSED_ON = ("NOSTRO_BOOK", "NOSTRO_CLOCK", "NOSTRO_FIRST_DAY", "NOSTRO_SEAL_ANCHOR", "NOSTRO_TIMEZONE")
_HOST = "127.0.0.1"
_START_S = 120.0
_STOP_S = 20.0

_DAGSTER_YAML = """\
# Written by `nostro up` at every start; change it there, not here.
storage: {postgres: {postgres_url: {env: DAGSTER_PG_URL}}}
scheduler: {module: dagster.core.scheduler, class: DagsterDaemonScheduler, config: {max_catchup_runs: 1}}
concurrency:
  runs:
    max_concurrent_runs: 2
    tag_concurrency_limits: [{key: nostro/turn, value: {applyLimitPerUniqueValue: true}, limit: 1}]
  pools: {default_limit: 1, granularity: op}
run_retries: {enabled: true, max_retries: 1, retry_on_asset_or_op_failure: false}
run_monitoring:
  {enabled: true, start_timeout_seconds: 180, max_runtime_seconds: 7200, free_slots_after_run_end_seconds: 300}
retention: {schedule: {purge_after_days: 400}, sensor: {purge_after_days: {skipped: 7, failure: 90, success: 400}}}
telemetry: {enabled: false}
nux: {enabled: false}
"""

_WORKSPACE_YAML = """\
# Written by `nostro up` at every start.
load_from: [{{grpc_server: {{host: {host}, port: {port}, location_name: {location}}}}}]
"""


@dataclass(frozen=True, slots=True)
class Child:
    """One of the processes, with its log."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path


@dataclass(frozen=True, slots=True)
class Running:
    """A running deployment: where people look, and the environment its processes got."""

    address: str
    read_only_address: str | None
    environment: Mapping[str, str]
    started_in_s: float
    children: tuple[Child, ...]


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def up(
    settings: Settings,
    *,
    port: int = 3000,
    read_only_port: int | None = None,
    open_for_s: float | None = None,
    say: Callable[[str], None] = _print,
) -> None:
    """Start everything, print the address, and stay until Ctrl-C, SIGTERM, a dead child, or ``open_for_s``.

    Raises `UnavailableError` when a port is taken, this home is up already, or a process does not start.
    """
    with _signals_as_interrupt(), ExitStack() as stack:
        try:
            say(f"Starting Postgres and Dagster for {settings.home_path} …")
            running = stack.enter_context(deployment(settings, port=port, read_only_port=read_only_port))
            say(f"Nostro is up after {running.started_in_s:.0f} s: {running.address}")
            if running.read_only_address is not None:
                say(f"For everybody, read-only: {running.read_only_address}")
            say(f"Logs: {settings.home_path / 'dagster' / 'logs'}. Ctrl-C stops it.")
            _stay(running, open_for_s)
        except KeyboardInterrupt:
            say("Stopping.")


def _stay(running: Running, open_for_s: float | None) -> None:
    """Wait until the time is over; a child that ends before is a fault."""
    until = None if open_for_s is None else time.monotonic() + open_for_s
    while until is None or time.monotonic() < until:
        for child in running.children:
            if child.process.poll() is not None:
                raise UnavailableError(f"the {child.name} ended by itself; read {child.log}, then start again.")
        time.sleep(0.5)


@contextmanager
def deployment(settings: Settings, *, port: int = 3000, read_only_port: int | None = None) -> Iterator[Running]:
    """Postgres, code server, web server(s) and daemon, all answering; stopped in reverse order on leaving.

    Raises `UnavailableError` as `up` does.
    """
    begun = time.monotonic()
    home = settings.home_path
    folder = home / "dagster"
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    with _only_one(folder / "up.lock", home) as lock, ExitStack() as stack:
        for wanted in (port, read_only_port):
            if wanted is not None:
                _refuse_taken(wanted)
        environment = prepare(settings)
        code_port = _free_port()
        workspace = folder / "workspace.yaml"
        workspace.write_text(_WORKSPACE_YAML.format(host=_HOST, port=code_port, location=_LOCATION))
        start = _Starter(stack, environment, folder, lock)
        # The code server first: the others load the definitions from it.
        code = start("code server", *_code_server(code_port))
        _wait(code, lambda: _listens(code_port))
        web = start("web server", *_webserver(workspace, port))
        reader = (
            start("read-only web server", *_webserver(workspace, read_only_port), "--read-only")
            if read_only_port
            else None
        )
        daemon = start("daemon", "dagster._daemon", "run", "-w", str(workspace))
        children = [child for child in (code, web, reader, daemon) if child is not None]
        stack.callback(_ask_all_to_stop, children)  # all at once; then each is waited for
        _wait(web, lambda: _answers(port))
        if reader is not None and read_only_port is not None:
            _wait(reader, lambda: _answers(read_only_port))
        yield Running(
            address=f"http://{_HOST}:{port}",
            read_only_address=f"http://{_HOST}:{read_only_port}" if read_only_port else None,
            environment=environment,
            started_in_s=time.monotonic() - begun,
            children=tuple(children),
        )


def prepare(settings: Settings) -> dict[str, str]:
    """Bring database, logins, Dagster's database and folder up to date; return the children's environment."""
    database = locate(settings)
    initialise(database)
    add_service(database, SCHEDULER)
    home = settings.home_path
    folder = home / "dagster"
    folder.mkdir(exist_ok=True)
    (folder / "dagster.yaml").write_text(_DAGSTER_YAML)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("NOSTRO_", "DAGSTER_"))}
    environment |= {
        "NOSTRO_HOME": str(home),
        "NOSTRO_APP_CONNINFO": database.conninfo(),
        "NOSTRO_SCHEDULER_CONNINFO": database.conninfo(SCHEDULER),
        "DAGSTER_HOME": str(folder),
        "DAGSTER_PG_URL": _dagster_database(database),
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "PYTHONUNBUFFERED": "1",
        # The children run in Dagster's folder; they find the packages where this one was found.
        "PYTHONPATH": os.pathsep.join(filter(None, (str(_PACKAGES), os.environ.get("PYTHONPATH")))),
    }
    environment |= {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    environment.setdefault("NOSTRO_FIRST_DAY", _first_day(database))
    if (home / "sandbox").is_dir():  # the bank of this home is simulated, and so are its days
        environment.setdefault("NOSTRO_CLOCK", "simulated")
    _migrate_storage(folder, environment)
    return environment


def _first_day(database: Database) -> str:
    """The day the oldest bank account was opened in the books: the first day there can be work for."""
    with database.app() as conn:
        row = conn.execute(
            "SELECT coalesce(min(opening_date), current_date)::text FROM settlement.bank_account"
        ).fetchone()
    assert row is not None
    return str(row[0])


def _dagster_database(database: Database) -> str:
    """Create the database of Dagster's own records and its login; the URL to reach it.

    The URL names psycopg2: SQLAlchemy 2.1 takes a bare ``postgresql://`` for psycopg 3, with which every run dies.
    """
    from sqlalchemy import URL

    name = role = database.role("dagster")
    password = secrets.token_urlsafe(24)
    with psycopg.connect(database.admin_conninfo, autocommit=True) as admin:
        if not admin.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone():
            admin.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
            admin.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(sql.Identifier(role)))
        # A new password at every start: nothing to store, nothing to leak.
        admin.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(password)))
        if not admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone():
            admin.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(role)))
    parts = conninfo_to_dict(make_conninfo(database.admin_conninfo, dbname=name, user=role, password=password))
    known = {"host", "port", "dbname", "user", "password"}
    query = {key: str(value) for key, value in parts.items() if key not in known}
    host = str(parts.get("host") or "")
    if host.startswith("/"):
        query["host"], host = host, ""
    url = URL.create(
        "postgresql+psycopg2",
        username=role,
        password=password,
        host=host or None,
        port=int(str(parts["port"])) if parts.get("port") else None,
        database=name,
        query=query,
    )
    return url.render_as_string(hide_password=False)


def _migrate_storage(folder: Path, environment: Mapping[str, str]) -> None:
    """Create or upgrade Dagster's tables, once a version, before several processes try it at the same time."""
    marker, wanted = (
        folder / "storage.version",
        f"{metadata.version('dagster')} {environment['DAGSTER_PG_URL'].rpartition('@')[2]}",
    )
    if marker.exists() and marker.read_text() == wanted:
        return
    done = subprocess.run(
        [sys.executable, "-m", "dagster", "instance", "migrate"],
        env=dict(environment),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        (folder / "logs" / "migrate.log").write_text(done.stdout + done.stderr)
        raise UnavailableError(f"Dagster's database could not be prepared; see {folder / 'logs' / 'migrate.log'}.")
    marker.write_text(wanted)


def _code_server(port: int) -> tuple[str, ...]:
    return (
        *("dagster", "api", "grpc", "-h", _HOST, "-p", str(port), "-m", "dagster_project.definitions"),
        *("--location-name", _LOCATION, "--use-python-environment-entry-point"),
    )


def _webserver(workspace: Path, port: int | None) -> tuple[str, ...]:
    return ("dagster_webserver", "-w", str(workspace), "-h", _HOST, "-p", str(port))


class _Starter:
    """Starts children that the stack stops again, each with a log of its own."""

    def __init__(self, stack: ExitStack, environment: Mapping[str, str], folder: Path, lock: IO[str]) -> None:
        self._stack, self._environment, self._folder, self._lock = stack, environment, folder, lock

    def __call__(self, name: str, module: str, *arguments: str) -> Child:
        log = self._folder / "logs" / f"{name.replace(' ', '-')}.log"
        with log.open("wb") as stream:
            # A session of its own: Ctrl-C reaches us alone, and stopping the group leaves no grandchild behind.
            process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                env=dict(self._environment),
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # The children share the lock: should we be killed, no second set starts beside them.
                pass_fds=(self._lock.fileno(),),
            )
        child = Child(name=name, process=process, log=log)
        self._stack.callback(_stop, child)
        self._lock.write(f"{name} {process.pid}\n")
        self._lock.flush()
        return child


def _ask_all_to_stop(children: list[Child]) -> None:
    for child in children:
        with suppress(ProcessLookupError):
            os.killpg(child.process.pid, signal.SIGTERM)


def _stop(child: Child) -> None:
    """Ask the process group to end, then insist."""
    for number, patience_s in ((signal.SIGTERM, _STOP_S), (signal.SIGKILL, 5.0)):
        try:
            os.killpg(child.process.pid, number)
            child.process.wait(patience_s)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def _wait(child: Child, ready: Callable[[], bool]) -> None:
    """Wait until the child answers; raises `UnavailableError` with the end of its log when it dies or hangs."""
    until = time.monotonic() + _START_S
    while not ready():
        if child.process.poll() is not None or time.monotonic() > until:
            what = "ended at once" if child.process.poll() is not None else f"did not answer within {_START_S:.0f} s"
            tail = child.log.read_text(errors="replace").strip().splitlines()[-1:] or ["(its log is empty)"]
            raise UnavailableError(f"the {child.name} {what}: {tail[0]} (whole log: {child.log})")
        time.sleep(0.1)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((_HOST, port)) == 0


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{_HOST}:{port}/server_info", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _refuse_taken(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError as error:
            raise UnavailableError(
                f"port {port} cannot be used ({error.strerror}); stop what uses it or choose another with --port."
            ) from error


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])


@contextmanager
def _only_one(path: Path, home: Path) -> Iterator[IO[str]]:
    """Two daemons on one instance would both run the schedules; the kernel drops this lock with its last holder."""
    with path.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.seek(0)
            who = ", ".join(lock.read().split("\n")).strip(", ")
            raise UnavailableError(
                f"`nostro up` already runs for {home} ({who}); use its address, or stop these processes first."
            ) from error
        lock.truncate(0)
        yield lock


@contextmanager
def _signals_as_interrupt() -> Iterator[None]:
    """SIGTERM and SIGINT end the wait, also when whoever started us had them ignored.

    Handlers are functions, so the children start with the default ones.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
