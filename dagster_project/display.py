"""What finance operations read in the UI: counts as numbers (Dagster plots them), money as text, short tables.

Must not live here: queries, rules, decisions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from dagster_project.rooms.answers import Table, Verdict
from ledger import NostroError

MAX_ROWS = 20

Shown = Mapping[str, dg.MetadataValue]


def table(*values: Table) -> Shown:
    """The first rows of each table under its name; `… in all` counts them when some were left out."""
    return {label: shown for value in values for label, shown in _table(value).items()}


def _table(value: Table) -> Shown:
    shown = value.rows[:MAX_ROWS]
    if not shown:
        return {value.name: dg.MetadataValue.text("none")}
    schema = dg.TableSchema(columns=[dg.TableColumn(name=name, type="string") for name in value.columns])
    records = [
        dg.TableRecord({name: "" if cell is None else str(cell) for name, cell in zip(value.columns, row, strict=True)})
        for row in shown
    ]
    out: dict[str, dg.MetadataValue] = {value.name: dg.MetadataValue.table(records=records, schema=schema)}
    if len(value.rows) > len(shown):
        out[f"{value.name}, in all"] = dg.MetadataValue.int(len(value.rows))
    return out


def numbers(**counts: int) -> Shown:
    """Counts, plotted over the days by the UI; underscores become blanks."""
    return {name.replace("_", " "): dg.MetadataValue.int(count) for name, count in counts.items()}


def texts(values: Mapping[str, str]) -> Shown:
    """Amounts and sentences, exactly as written."""
    return {name: dg.MetadataValue.text(text) for name, text in values.items()}


def path(name: str, value: Path) -> Shown:
    """Where a file is."""
    return {name: dg.MetadataValue.path(value)}


def check_result(
    verdict: Verdict, *, severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR
) -> dg.AssetCheckResult:
    """A verdict as an asset check's result."""
    shown = {**texts({"verdict": verdict.sentence}), **numbers(**verdict.counts)}
    shown |= table(*verdict.tables)
    return dg.AssetCheckResult(passed=verdict.holds, severity=severity, description=verdict.sentence, metadata=shown)


def require(*verdicts: Verdict) -> None:
    """Refuse to go on unless every verdict holds.

    A blocking check stops only the steps behind it in its own run; a later run of those steps alone would start.
    So the step asks again itself.
    """
    for verdict in verdicts:
        if not verdict.holds:
            raise dg.Failure(description=verdict.sentence, metadata=table(*verdict.tables), allow_retries=False)


@contextmanager
def refusals() -> Iterator[None]:
    """A room's refusal as the step's failure: its sentence, its list of faults, tried again only when that is safe."""
    try:
        yield
    except NostroError as error:
        faults = Table("faults", ("fault",), tuple((str(fault),) for fault in getattr(error, "faults", ())))
        shown = table(faults) if faults.rows else {}
        raise dg.Failure(description=str(error), metadata=shown, allow_retries=error.retryable) from error
