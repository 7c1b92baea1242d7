"""What a night costs after a year of history against the same night after a week.

Lives here: the measurement behind `nostro bench nightly`. Must not live here: the steps themselves, the nights that
make the history (`benchmarks.nights`), printing.

Every week is the same: every night so many payees are owed, paid, and shown by the bank's statement of the day; once a
week comes a stray receipt, which two people book away, and a cleared set is taken back and confirmed again. Some nights
after the first week and some after all others are measured step by step: rows that Postgres read of all tables (of
indexes: those fetched), processor time of its sessions and of Python. A step whose rows grow reads history.
Sequential scans, hash and merge joins are off for it: over tables as small as these a planner reads all of them, over
large ones it does not.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.nights import Company
from benchmarks.result import BenchResult, Figure, peak_rss_mb
from benchmarks.server import throw_away

STEPS = ("sales", "settle", "ingest", "reconcile", "verify")
RECONCILIATION = ("ingest", "reconcile", "verify")


@dataclass(frozen=True, slots=True)
class Cost:
    """What one step of one night took: rows read, processor milliseconds of Postgres and of Python."""

    rows: int
    server_ms: float
    python_ms: float

    @property
    def cpu_ms(self) -> float:
        return self.server_ms + self.python_ms


@dataclass(frozen=True, slots=True)
class Night:
    """One measured night, step by step; `tables`: rows read of each."""

    number: int
    steps: dict[str, Cost]
    tables: dict[str, int]

    def total(self, names: Sequence[str]) -> Cost:
        """The sum over these steps."""
        parts = [self.steps[name] for name in names]
        return Cost(sum(p.rows for p in parts), sum(p.server_ms for p in parts), sum(p.python_ms for p in parts))


def measure(
    *, nights: int, payees: int, week: int = 5, repeats: int = 3, advance: Callable[[int, int], None] | None = None
) -> tuple[list[Night], list[Night]]:
    """Measured nights after `week` nights, and after `nights` in all."""
    with throw_away() as database, tempfile.TemporaryDirectory(prefix="nostro-nights-") as home:
        company = Company(database, Path(home), payees=payees)
        early: list[Night] = []
        late: list[Night] = []
        for number in range(nights + repeats):
            if number in range(week, week + repeats):
                early.append(_measured(company, number))
            elif number >= nights:
                late.append(_measured(company, number))
            else:
                for step in STEPS[:-1]:
                    company.step(step, number)
            company.after(number)
            if advance is not None:
                advance(number + 1, nights + repeats)
        company.close()
    return early, late


def _measured(company: Company, number: int) -> Night:
    company.tidy()
    steps = {}
    first = company.read()
    for step in STEPS:
        rows, (server, python) = sum(company.read().values()), company.spent()
        company.step(step, number)
        server_after, python_after = company.spent()
        steps[step] = Cost(sum(company.read().values()) - rows, server_after - server, python_after - python)
    last = company.read()
    return Night(number, steps, {table: count - first.get(table, 0) for table, count in last.items()})


def run(*, nights: int, payees: int, repeats: int, advance: Callable[[int, int], None] | None = None) -> BenchResult:
    """The benchmark's answer: the speed of a night after `nights` nights against its speed after five."""
    early, late = measure(nights=nights, payees=payees, repeats=repeats, advance=advance)
    others: list[tuple[str, Figure]] = []
    for step in (*STEPS, "reconciliation"):
        names = RECONCILIATION if step == "reconciliation" else (step,)
        for word, found in (("week", early), ("year", late)):
            totals = [night.total(names) for night in found]
            others.append((f"{step}_{word}_rows_read", round(statistics.median(t.rows for t in totals))))
            others.append((f"{step}_{word}_server_ms", round(statistics.median(t.server_ms for t in totals), 1)))
            others.append((f"{step}_{word}_python_ms", round(statistics.median(t.python_ms for t in totals), 1)))
    grown = sorted(
        ((late[-1].tables[t] - early[-1].tables.get(t, 0), t) for t in late[-1].tables), key=lambda each: -each[0]
    )
    others.append(("rows_read_grew", ", ".join(f"{table} {n:+}" for n, table in grown[:12] if n > 0)))
    others.append(("nights", nights))
    week, year = (
        statistics.median(night.total(RECONCILIATION).cpu_ms for night in found) / 1000 for found in (early, late)
    )
    return BenchResult(
        bench="nightly",
        rows=payees,
        ours=f"payments a second of processor time, from statement to verified run, after {nights} nights",
        ours_per_s=payees / year,
        reference="the same night after five nights",
        reference_per_s=payees / week,
        peak_rss_mb=peak_rss_mb(),
        others=tuple(others),
    )
