"""A throw-away server for measurements, with the settings of a real deployment.

Lives here: what every benchmark on the books starts from. Must not live here: what is measured.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nostro.database import Database, initialise
from nostro.postgres import start_embedded


@contextmanager
def throw_away() -> Iterator[Database]:
    """An initialised database on an embedded server of its own, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="nostro-bench-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        home.chmod(0o755)
        database = Database(admin_conninfo=start_embedded(home), name="nostro_bench", role_prefix="nostro_bench")
        initialise(database)
        yield database


def settings_of(database: Database, names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Server settings by name, for the result."""
    with database.app() as conn:
        rows = conn.execute(
            "SELECT name, current_setting(name) FROM pg_settings WHERE name = ANY(%s) ORDER BY name", (list(names),)
        ).fetchall()
    return tuple((str(name), str(value)) for name, value in rows)
