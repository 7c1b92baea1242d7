"""DuckDB databases in memory for questions of a few thousand rows, in one instance a process.

Lives here: handing them out and taking them back. Must not live here: any query.

An instance takes 15 ms of processor time to open, a database inside it half of one. But it remembers databases that
are gone: after 500 of them each query takes a quarter longer, so from time to time there is a new one. The instance
runs on the caller's own thread; callers in several threads have a connection each.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

import duckdb

_DATABASES = 32  # that one instance serves; those still open keep it alive when the next one takes over

_lock = Lock()
_instances: dict[int, duckdb.DuckDBPyConnection] = {}  # by process: a child must not use what its parent opened
_numbers = itertools.count(1)


def open_scratch() -> tuple[duckdb.DuckDBPyConnection, str]:
    """A connection whose default database is new and empty, and that database's name for `close_scratch`."""
    with _lock:
        process, number = os.getpid(), next(_numbers)
        if process not in _instances or number % _DATABASES == 0:
            _instances[process] = duckdb.connect(":memory:", config={"threads": 1})
        name = f"scratch_{number}"
        db = _instances[process].cursor()
    db.execute("SET enable_progress_bar = false")
    db.execute(f"ATTACH ':memory:' AS {name}")
    db.execute(f"USE {name}")
    return db, name


def close_scratch(db: duckdb.DuckDBPyConnection, name: str) -> None:
    """Forget the database and end the connection."""
    db.execute("USE memory")
    db.execute(f"DETACH {name}")
    db.close()


@contextmanager
def scratch() -> Iterator[duckdb.DuckDBPyConnection]:
    """A new, empty database for the length of a `with` block."""
    db, name = open_scratch()
    try:
        yield db
    finally:
        close_scratch(db, name)
