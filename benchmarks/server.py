"""A throw-away server for measurements, with the settings of a real deployment.

Lives here: what every benchmark on the books starts from. Must not live here: what is measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from nostro.database import Database, initialise
from nostro.postgres import throw_away_server


@contextmanager
def throw_away(*, wal_files: int = 0) -> Iterator[Database]:
    """An initialised database on an embedded server of its own, gone afterwards.

    It has ``wal_files`` files of write-ahead log to write over, as a server has that has run for some time; a new one
    makes and fills each file inside somebody's commit.
    """
    with throw_away_server("nostro-bench-") as (_, server):
        database = Database(admin_conninfo=server, name="nostro_bench", role_prefix="nostro_bench")
        initialise(database)
        if wal_files:
            with psycopg.connect(database.admin_conninfo, autocommit=True) as admin:
                for _ in range(wal_files):
                    admin.execute("SELECT pg_logical_emit_message(false, 'bench', 'next file'), pg_switch_wal()")
                admin.execute("CHECKPOINT")
        yield database


def settings_of(database: Database, names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Server settings by name, for the result."""
    with database.app() as conn:
        rows = conn.execute(
            "SELECT name, current_setting(name) FROM pg_settings WHERE name = ANY(%s) ORDER BY name", (list(names),)
        ).fetchall()
    return tuple((str(name), str(value)) for name, value in rows)
