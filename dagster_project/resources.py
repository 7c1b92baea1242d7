"""How steps reach the books: conninfo of two logins and the home folder, handed over by `nostro up`.

Neither login is the owner. ``service`` reads; ``scheduler`` is a preparer: it imports, proposes, releases and books,
and the database refuses it an approval.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from dagster_project.partitions import night_of
from ledger import Connection, book_id, connect

WALL, SIMULATED = "wall", "simulated"


@dataclass(frozen=True, slots=True)
class Session:
    """An open connection, the book it is about, and the home folder."""

    conn: Connection
    book_id: int
    home: Path
    seal_anchor: Path | None


class Books(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The books of one deployment. `clock`: `wall`, or `simulated` (a step happens when its day says it is due).

    `seal_anchor`: the file that keeps the seals, empty for none.
    """

    home: str
    app_conninfo: str
    scheduler_conninfo: str
    book: str = ""
    clock: str = WALL
    seal_anchor: str = ""

    @property
    def home_path(self) -> Path:
        """The home folder."""
        return Path(self.home)

    def now(self, day: dt.date) -> dt.datetime:
        """The moment a step of this day counts as now."""
        return night_of(day) if self.is_simulated else dt.datetime.now(dt.UTC)

    @property
    def is_simulated(self) -> bool:
        """Whether the bank of this home is the sandbox's, whose days are not those of the wall clock."""
        return self.clock == SIMULATED

    @contextmanager
    def reader(self) -> Iterator[Session]:
        """A session that reads."""
        with self._session(self.app_conninfo) as session:
            yield session

    @contextmanager
    def preparer(self) -> Iterator[Session]:
        """A session of the service login, a preparer."""
        with self._session(self.scheduler_conninfo) as session:
            yield session

    @contextmanager
    def _session(self, conninfo: str) -> Iterator[Session]:
        with connect(conninfo) as conn:
            yield Session(
                conn=conn,
                book_id=book_id(conn, self.book or None),
                home=self.home_path,
                seal_anchor=Path(self.seal_anchor) if self.seal_anchor else None,
            )


def books_from_environment() -> Books:
    """The resource as `nostro up` configures it (docs/operations.md lists the variables)."""
    return Books(
        home=dg.EnvVar("NOSTRO_HOME"),
        app_conninfo=dg.EnvVar("NOSTRO_APP_CONNINFO"),
        scheduler_conninfo=dg.EnvVar("NOSTRO_SCHEDULER_CONNINFO"),
        book=os.environ.get("NOSTRO_BOOK", ""),
        clock=os.environ.get("NOSTRO_CLOCK", WALL),
        seal_anchor=os.environ.get("NOSTRO_SEAL_ANCHOR", ""),
    )
