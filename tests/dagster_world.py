"""A small marketplace with simulated banks, driven through Dagster's jobs.

Lives here: what several Dagster test files share. Must not live here: assertions.
"""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import dagster as dg

from dagster_project.definitions import defs
from dagster_project.resources import SIMULATED, Books
from ledger import book_id, import_journal
from nostro.database import Database
from nostro.users import add_service
from sandbox import AnomalyPlan, Bank, Business, plan, read_setup
from settlement import FileState, apply_setup, approve, payment_files

MONDAY = dt.date(2026, 11, 2)
ANOMALIES = 6


@cache
def instance_of_runs() -> dg.DagsterInstance:
    """Where runs are recorded, one a process: making one takes as long as a run, and our steps read the books alone."""
    return dg.DagsterInstance.ephemeral()


@dataclass(frozen=True, slots=True)
class World:
    """A prepared home: set up, sales before the first day imported, the journals of each day in the inbox."""

    database: Database
    home: Path
    business: Business
    anomalies: AnomalyPlan

    @property
    def books(self) -> Books:
        """The resource with the days of the simulated bank."""
        return self.books_by(SIMULATED)

    def books_by(self, clock: str) -> Books:
        """The resource with this clock."""
        return Books(
            home=str(self.home),
            app_conninfo=self.database.conninfo(),
            scheduler_conninfo=self.database.conninfo("scheduler"),
            clock=clock,
            seal_anchor=str(self.home / "seals.jsonl"),
        )

    def run(
        self, job: str, day: dt.date, *, tags: dict[str, str] | None = None, instance: dg.DagsterInstance | None = None
    ) -> dg.ExecuteInProcessResult:
        """One run of a job of ours, in this process; a failed step is in the result."""
        return defs.resolve_job_def(job).execute_in_process(
            partition_key=day.isoformat(),
            resources={"books": self.books},
            tags=tags,
            instance=instance or instance_of_runs(),
            raise_on_error=False,
        )

    def approve_all(self) -> list[int]:
        """Bob signs every proposed file."""
        with self.database.login("bob") as conn:
            waiting = payment_files(conn, states={FileState.PROPOSED})
            return [approve(conn, file.file_id).file.file_id for file in waiting]

    def bank_day(self, day: dt.date) -> None:
        """The banks take what is in their outboxes, execute, and deliver the day's statements."""
        with self.bank() as bank:
            bank.receive()
            bank.close_day(day)

    @contextmanager
    def bank(self) -> Iterator[Bank]:
        setup = read_setup(self.home / "business" / "setup.yaml")
        with Bank(
            self.home, setup, seed=self.business.seed, behaviour=self.business.behaviour, anomalies=self.anomalies
        ) as bank:
            yield bank


def prepare_world(
    database: Database, home: Path, *, days: int = 2, payments: int = 200, payees: int = 60, anomalies: int = ANOMALIES
) -> World:
    """Set a home up; ``alice`` and ``bob`` exist already, the service login is added."""
    add_service(database, "scheduler")
    business = Business(seed=1, start=MONDAY, days=days, payments_per_day=payments, payees=payees)
    files = business.write(home / "business", home=home)
    inbox = home / "journals" / "inbox"
    inbox.mkdir(parents=True)
    with database.login("alice") as conn:
        apply_setup(conn, files.setup)
        for journal in files.journals:
            if journal.prior:
                import_journal(conn, book_id=book_id(conn), path=journal.path)
            else:
                shutil.copy(journal.path, inbox)
    planned = plan(
        seed=1,
        count=anomalies,
        days=business.days,
        setup=read_setup(files.setup),
        behaviour=business.behaviour,
        payouts=files.payouts,
    )
    return World(database=database, home=home, business=business, anomalies=planned)


def metadata(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, object]:
    """What an asset showed in a run, by label; tables as lists of rows."""
    key = dg.AssetKey(asset.split("/"))
    events = [event for event in result.get_asset_materialization_events() if event.asset_key == key]
    shown: dict[str, object] = {}
    for name, value in events[-1].step_materialization_data.materialization.metadata.items():
        is_table = isinstance(value, dg.TableMetadataValue)
        shown[name] = [record.data for record in value.records] if is_table else value.value
    return shown


def checks(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    """Every check of a run and whether it passed."""
    return {evaluation.check_name: evaluation.passed for evaluation in result.get_asset_check_evaluations()}
