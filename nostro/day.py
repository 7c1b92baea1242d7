"""A business day by hand: the night's settlement and the morning's reconciliation, as the demo and `berka` run them.

The same calls in the same order as the schedules make them, with a person for each pair of eyes. Lives here: the
order of steps. Must not live here: a rule about money.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from ledger import Connection, RefusedError
from nostro.database import Database, initialise
from nostro.users import add_user
from recon import IngestReport, RunReport, arrived_files, ingest_files, reconcile
from settlement import FileState, PaymentFileStatus, approve, poll, propose, release, require_reconciled

PREPARER, APPROVER = "alice", "bob"


@dataclass(frozen=True, slots=True)
class Night:
    """What one night paid."""

    business_date: date
    files: tuple[PaymentFileStatus, ...]

    @property
    def instructions(self) -> int:
        """Payments sent."""
        return sum(file.instruction_count for file in self.files)


@dataclass(frozen=True, slots=True)
class Morning:
    """What one morning proved."""

    business_date: date
    ingest: IngestReport
    run: RunReport


class Desk:
    """Two people, an application login, and one book: enough to run a company's nights and mornings."""

    def __init__(self, database: Database, *, home: Path, book_id: int) -> None:
        self._database = database
        self._home = home
        self.book_id = book_id
        self.app: Connection = database.app()
        self._preparer = database.login(PREPARER)
        self._approver = database.login(APPROVER)
        self._read: set[Path] = set()

    def close(self) -> None:
        """Give the three connections back."""
        for conn in (self.app, self._preparer, self._approver):
            conn.close()

    def settle(self, business_date: date, *, now: datetime) -> Night:
        """Propose as one person, approve as another, seal and send.

        Raises `RefusedError` when a file became void on the way.
        """
        require_reconciled(self._preparer, self._home)
        proposed = propose(self._preparer, book_id=self.book_id, business_date=business_date, now=now)
        for each in proposed:
            approve(self._approver, each.file_id)
        for each in proposed:
            step = release(self._preparer, each.file_id, home=self._home, now=now)
            if step.state is FileState.VOID:
                raise RefusedError(f"file {each.file_id} became void: {step.reason}.")
        return Night(business_date, tuple(each.file for each in proposed))

    def poll(self) -> int:
        """Read the banks' status reports; the number of payments they rejected."""
        report = poll(self.app, home=self._home, book_id=self.book_id)
        return sum(message.rejected for message in report.messages)

    def prove(self, business_date: date) -> Morning:
        """Ingest what arrived in the banks' inboxes since the last morning and reconcile through a business date."""
        arrived = arrived_files(self.app, book_id=self.book_id, home=self._home)
        paths = [path for path in arrived if path not in self._read]
        taken = ingest_files(self.app, book_id=self.book_id, paths=paths)
        self._read.update(paths)
        run = reconcile(self.app, book_id=self.book_id, business_date=business_date, home=self._home)
        return Morning(business_date, taken, run)


def open_shop(database: Database) -> None:
    """Create the schema and the two people."""
    initialise(database)
    add_user(database, PREPARER, "preparer")
    add_user(database, APPROVER, "approver")


def fresh_home(home: Path) -> Path:
    """An empty folder for a demonstration. A folder with anything else in it is left alone.

    Raises `RefusedError`.
    """
    marker = home / ".demonstration"
    if home.exists():
        if not marker.exists() and any(home.iterdir()):
            raise RefusedError(f"{home.name} in NOSTRO_HOME is not a demonstration's folder; move it away first.")
        shutil.rmtree(home)
    home.mkdir(parents=True)
    marker.touch()
    return home
