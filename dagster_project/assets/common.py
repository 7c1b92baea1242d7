"""What every step and every check has in common: a partition a day, an owner, patience with a busy database.

A step is a function of a `Run`, a check a function of a session and a day; the Dagster side of both is made here.
Must not live here: any particular step.
"""

# No `from __future__ import annotations`: Dagster reads the annotation of `context` and takes no text for it.

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import dagster as dg

from dagster_project import display
from dagster_project.partitions import day_of, days
from dagster_project.resources import Books, Session
from dagster_project.rooms.answers import Verdict

POSTGRES, XML, POLARS, DUCKDB = (frozenset({kind}) for kind in ("postgres", "xml", "polars", "duckdb"))
OWNERS = ["team:finance-ops"]
# Pools of one: two runs never talk to a bank, or write the analysts' file, at the same time.
BANK_GATEWAY, DUCKDB_WRITER = "bank_gateway", "duckdb_writer"
FILE_TAG = "nostro/file"
LAST = -1  # a step of this priority waits until nothing else is ready

# Only failures that a room calls retryable get this far; the others end the step at once.
_PATIENCE = dg.RetryPolicy(max_retries=2, delay=5, backoff=dg.Backoff.EXPONENTIAL)


@dataclass(frozen=True, slots=True)
class Run:
    """One execution of a step. `only_file`: the payment file the run was started for, if it was for one."""

    books: Books
    day: dt.date
    only_file: int | None

    @property
    def now(self) -> dt.datetime:
        """The moment that counts as now."""
        return self.books.now(self.day)


def step(
    group: str,
    *,
    deps: Sequence[dg.AssetsDefinition] = (),
    kinds: frozenset[str] = POSTGRES,
    pool: str | None = None,
    code_version: str | None = None,
    priority: int = 0,
) -> Callable[[Callable[[Run], display.Shown]], dg.AssetsDefinition]:
    """Make a function an asset `group/<its name>`, materialised a day at a time; it returns what people read."""

    def decorate(function: Callable[[Run], display.Shown]) -> dg.AssetsDefinition:
        def compute(context: dg.AssetExecutionContext, books: Books) -> dg.MaterializeResult[None]:
            file = context.run.tags.get(FILE_TAG)
            run = Run(books=books, day=day_of(context.partition_key), only_file=int(file) if file else None)
            with display.refusals():
                return dg.MaterializeResult(metadata=function(run))

        return dg.asset(
            name=function.__name__,
            key_prefix=[group],
            group_name=group,
            description=function.__doc__,
            deps=list(deps),
            partitions_def=days,
            kinds=set(kinds),
            owners=OWNERS,
            pool=pool,
            code_version=code_version,
            op_tags={"dagster/priority": str(priority)} if priority else None,
            retry_policy=_PATIENCE,
        )(compute)

    return decorate


def check(
    asset: dg.AssetsDefinition, *, blocking: bool = False, severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR
) -> Callable[[Callable[[Session, dt.date], Verdict]], dg.AssetChecksDefinition]:
    """Make a function a check of an asset's day. `blocking` keeps later steps of the same run from starting."""

    def decorate(function: Callable[[Session, dt.date], Verdict]) -> dg.AssetChecksDefinition:
        def evaluate(context: dg.AssetCheckExecutionContext, books: Books) -> dg.AssetCheckResult:
            with display.refusals(), books.reader() as session:
                return display.check_result(function(session, day_of(context.partition_key)), severity=severity)

        return dg.asset_check(
            asset=asset,
            name=function.__name__,
            description=function.__doc__,
            blocking=blocking,
            partitions_def=days,
        )(evaluate)

    return decorate
