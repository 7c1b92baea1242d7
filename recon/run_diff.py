"""Two runs side by side: each decision that changed, and why.

Lives here: the chain of counterfactual runs that finds the cause. Must not live here: keeping or deciding runs
(`recon.material`, `recon.deciding`).

From run A's published decisions to run B's in steps that change one thing each: A's inputs by the rules and code of
now; the same with B's declared terms; the same with B's day and calendars; B's inputs; what B published. The first
step at which an item's decision changes is its cause. So causes are computed, not guessed from digests.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import polars as pl

from ledger import Connection, currency, format_amount, transaction
from recon.deciding import RunInputs
from recon.material import (
    Material,
    cleared_key,
    code_sha256,
    current_rules,
    decision_keys,
    material,
    open_key,
    stored_keys,
)

ABSENT = "not there"


class Cause(StrEnum):
    """Why a decision changed."""

    DATA = "data"  # postings, lines, what people decided
    RULE = "rule"  # the rules' text, or declared terms: tolerances, rules that only suggest, sets taken back
    CALENDAR = "calendar"  # the day, and the business days of the accounts
    CODE = "code"  # the program around the rules


@dataclass(frozen=True, slots=True)
class Change:
    """One item decided differently. `because` names what is new beside it, when that is known."""

    posting_id: int
    bank_account: str
    reference: str
    amount: str
    before: str
    after: str
    cause: Cause
    because: str


@dataclass(frozen=True, slots=True)
class RunDiff:
    """What changed from run A to run B: items, and breaks of whole statements (S…) that came or went."""

    run_a: int
    run_b: int
    date_a: dt.date
    date_b: dt.date
    is_same_rules: bool
    is_same_code: bool
    changes: tuple[Change, ...]
    findings_new: tuple[str, ...]
    findings_gone: tuple[str, ...]

    def render(self) -> Iterator[str]:
        """The difference as text lines."""
        a, b = f"Run {self.run_a} ({self.date_a})", f"run {self.run_b} ({self.date_b})"
        yield f"{a} to {b}: {len(self.changes)} decisions changed"
        rules, code = ("the same" if same else "changed" for same in (self.is_same_rules, self.is_same_code))
        yield f"rules {rules}, code {code}"
        for change in self.changes:
            yield f"  {change.posting_id} {change.bank_account} {change.reference} {change.amount}"
            yield f"    {change.before} -> {change.after}"
            yield f"    because of {change.cause}{f': {change.because}' if change.because else ''}"
        for name in self.findings_new:
            yield f"  {name} is new (data)"
        for name in self.findings_gone:
            yield f"  {name} is gone (data)"


def run_diff(conn: Connection, *, book_id: int, run_a: int, run_b: int) -> RunDiff:
    """Every decision that differs between two runs of the book, with its cause. Raises `NoRunError`."""
    with transaction(conn):
        a, b = (material(conn, book_id=book_id, run_id=run) for run in (run_a, run_b))
        chain = _chain(conn, a, b)
        kept = _cleared_by(conn, book_id, run_b, [item for item in chain[0] if item not in chain[-1]])
        findings = [_findings(conn, run) for run in (run_a, run_b)]
    steps = [cause for cause, _ in _steps(a, b)]
    items = _items(a.inputs, b.inputs)
    changes = []
    for item in sorted({*chain[0], *chain[-1]}):
        keys = [step.get(item, ABSENT) for step in chain]
        if item in kept:  # cleared before B: not among its inputs, but decided all the same
            keys[-2] = keys[-1] = kept[item]
        if keys[0] == keys[-1]:
            continue
        place = next(n for n in range(len(steps)) if keys[n] != keys[n + 1])
        changes.append(_change(item, items, keys, steps[place], a.inputs))
    return RunDiff(
        run_a=run_a,
        run_b=run_b,
        date_a=a.business_date,
        date_b=b.business_date,
        is_same_rules=a.rules_sha256 == b.rules_sha256,
        is_same_code=a.code_sha256 == b.code_sha256,
        changes=tuple(changes),
        findings_new=tuple(sorted(findings[1] - findings[0])),
        findings_gone=tuple(sorted(findings[0] - findings[1])),
    )


def _steps(a: Material, b: Material) -> Sequence[tuple[Cause, str]]:
    """The cause that each step of the chain stands for."""
    of_a = Cause.CODE if a.rules_sha256 == current_rules() else Cause.RULE
    of_b = Cause.CODE if b.rules_sha256 == current_rules() else Cause.RULE
    return (
        (of_a, "the program of now on A's inputs"),
        (Cause.RULE, "B's declared terms"),
        (Cause.CALENDAR, "B's day and calendars"),
        (Cause.DATA, "B's inputs"),
        (of_b, "what B published"),
    )


def _chain(conn: Connection, a: Material, b: Material) -> list[dict[int, str]]:
    """The decisions at each end of each step; a replay that cannot differ is not made."""
    published_a, published_b = stored_keys(conn, run_id=a.run_id), stored_keys(conn, run_id=b.run_id)
    is_now = [m.rules_sha256 == current_rules() and m.code_sha256 == code_sha256() for m in (a, b)]
    again_a = published_a if is_now[0] else decision_keys(a.decide())
    terms = dataclasses.replace(
        a.inputs, tolerances=b.inputs.tolerances, suggested=b.inputs.suggested, denied=b.inputs.denied
    )
    same_terms = (terms.tolerances, terms.suggested, terms.denied) == (
        a.inputs.tolerances,
        a.inputs.suggested,
        a.inputs.denied,
    )
    with_terms = again_a if same_terms else decision_keys(a.decide(terms))
    moved = dataclasses.replace(terms, items=_moved(terms.items, b.inputs), later=_moved(terms.later, b.inputs))
    same_days = moved.items.equals(terms.items) and moved.later.equals(terms.later)
    with_days = with_terms if same_days else decision_keys(a.decide(moved))
    again_b = published_b if is_now[1] else decision_keys(b.decide())
    return [published_a, again_a, with_terms, with_days, again_b, published_b]


def _moved(items: pl.DataFrame, to: RunInputs) -> pl.DataFrame:
    """The items with the days and ages of the other run; one that is not there moves as its account does."""
    there = pl.concat([to.items, to.later]).select("item_id", "account", "date", "day", "age_days", "sla_days")
    own = there.select(
        "item_id", pl.col("day").alias("d"), pl.col("age_days").alias("a"), pl.col("sla_days").alias("s")
    )
    shift = (
        items.join(own, on="item_id", how="inner")
        .group_by("account")
        .agg((pl.col("a") - pl.col("age_days")).max().alias("shift"))
    )
    return (
        items.join(own, on="item_id", how="left")
        .join(shift, on="account", how="left")
        .with_columns(pl.col("shift").fill_null(0))
        .with_columns(
            pl.coalesce("d", pl.col("day") - pl.col("shift")).cast(pl.Int32).alias("day"),
            pl.coalesce("a", pl.col("age_days") + pl.col("shift")).cast(pl.Int32).alias("age_days"),
            pl.coalesce("s", "sla_days").cast(pl.Int32).alias("sla_days"),
        )
        .select(items.columns)
        .sort("item_id")
    )


def _items(a: RunInputs, b: RunInputs) -> dict[int, tuple[str, str, str]]:
    """Bank account, reference and amount of every item of both runs."""
    frame = pl.concat([a.items, a.later, b.items, b.later]).unique("item_id", keep="last")
    return {
        item: (account, reference or "", f"{format_amount(amount, currency(code).exponent)} {code}")
        for item, account, reference, amount, code in frame.select(
            "item_id", "account", "reference", "amount_minor", "currency"
        ).rows()
    }


def _change(
    item: int, items: Mapping[int, tuple[str, str, str]], keys: Sequence[str], cause: Cause, before: RunInputs
) -> Change:
    account, reference, amount = items.get(item, ("", "", ""))
    because = ""
    if cause is Cause.DATA:
        known = set(before.items["item_id"].to_list()) | set(before.later["item_id"].to_list())
        members = [int(word) for word in keys[-1].partition(": ")[2].split() if word.isdigit()]
        new = [m for m in members if m not in known]
        if item not in known:
            because = "the posting is new"
        elif new:
            because = "with " + ", ".join(f"{m} {items.get(m, ('', '', ''))[1]}".strip() for m in new[:5])
    return Change(item, account, reference, amount, keys[0], keys[-1], cause, because)


def _cleared_by(conn: Connection, book_id: int, run_id: int, items: Sequence[int]) -> dict[int, str]:
    """Sets that had taken these items when the run was published."""
    rows = conn.execute(
        "SELECT x.posting_id, s.rule, (SELECT array_agg(l.posting_id ORDER BY l.posting_id) FROM recon.match_leg l"
        "   WHERE l.match_set_id = s.match_set_id)"
        "  FROM recon.match_leg x JOIN recon.match_set s USING (match_set_id)"
        " WHERE x.book_id = %s AND x.posting_id = ANY (%s) AND s.run_id <= %s ORDER BY x.generation",
        (book_id, list(items), run_id),
    ).fetchall()
    return {int(str(item)): cleared_key(str(rule), members) for item, rule, members in rows}  # type: ignore[arg-type]


def _findings(conn: Connection, run_id: int) -> set[str]:
    rows = conn.execute(
        "SELECT break_id, code FROM recon.break_run WHERE run_id = %s AND finding_id IS NOT NULL", (run_id,)
    ).fetchall()
    return {f"{break_id} {code}" for break_id, code in rows}


__all__ = ["Cause", "Change", "RunDiff", "open_key", "run_diff"]
