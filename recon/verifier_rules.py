"""What the verifiers of batch and nightly runs share: faults, what runs declare, the checks of `verifier_rules.sql`.

Must not live here: anything of the matcher or of the break rules (`recon.matching`, `recon.breaks`): an import
contract says so. What is known of a rule is what the run itself declared: code, version, order, and the column that
members share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import duckdb

from recon.codes import BreakCode


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that does not hold: its kind, where (item, set or account), and what was found."""

    kind: str
    place: str
    message: str


def declare(
    db: duckdb.DuckDBPyConnection,
    *,
    rules: Sequence[Mapping[str, Any]],
    permitted: Sequence[str],
    window_days: int,
    rounding_minor: int,
    margin: int,
) -> None:
    """What a run says about its rules, codes and settings, as tables. Rules of people come before all others."""
    places = [-1 if rule.get("by") == "people" else at for at, rule in enumerate(rules)]
    rows = [
        (place, rule["code"], rule["version"], rule["key"], rule["is_fungible"])
        for place, rule in zip(places, rules, strict=True)
    ]
    db.execute(
        "CREATE TABLE rule_known (position INTEGER, code VARCHAR, version INTEGER, key VARCHAR, is_fungible BOOLEAN)"
    )
    db.executemany("INSERT INTO rule_known VALUES (?, ?, ?, ?, ?)", rows)
    db.execute("CREATE TABLE code_known (code VARCHAR)")
    db.executemany("INSERT INTO code_known VALUES (?)", [(code.value,) for code in BreakCode])
    db.execute("CREATE TABLE code_permitted (code VARCHAR)")
    if permitted:
        db.executemany("INSERT INTO code_permitted VALUES (?)", [(code,) for code in permitted])
    db.execute("CREATE TABLE setting (window_days INTEGER, rounding_minor BIGINT, margin INTEGER)")
    db.execute("INSERT INTO setting VALUES (?, ?, ?)", [window_days, rounding_minor, margin])


def run_checks(db: duckdb.DuckDBPyConnection, *scripts: str) -> list[Fault]:
    """Run these scripts of `recon`, which add to the table `finding`, and give what they found."""
    for script in scripts:
        db.execute(script_text(script))
    rows = db.execute("SELECT fault, place, message FROM finding ORDER BY fault, place, message").fetchall()
    return [Fault(str(kind), str(place), str(message)) for kind, place, message in rows]


def script_text(name: str) -> str:
    return resources.files("recon").joinpath(f"{name}.sql").read_text(encoding="utf-8")
