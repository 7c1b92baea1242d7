"""Two runs side by side: each decision that changed, and why.

Lives here: the chain of counterfactual runs that finds the cause. Must not live here: keeping or deciding runs
(`recon.material`, `recon.deciding`).

From run A's published decisions to run B's in steps that change one thing each: A's inputs by the rules and code of
now; the same with B's declared terms; the same with B's day and calendars; B's inputs; what B published. A cause is
what of A, put back into B alone, would decide otherwise (two changes may be needed together); where each of several
would do alone, the first step that moved the decision. So causes are computed, not guessed from digests. Where one
program published both runs, it is no cause, though the program of now may decide otherwise.
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
    # The rules' text, or declared terms: tolerances, days in flight, acquirers, suggesting rules, sets taken back
    RULE = "rule"
    CALENDAR = "calendar"  # the day, and the business days of the accounts
    CODE = "code"  # the program around the rules


@dataclass(frozen=True, slots=True)
class Change:
    """One item decided differently, and its causes, the first one first.

    `also`: the others, when it took several. `because` names what is new beside it, when that is known.
    """

    posting_id: int
    bank_account: str
    reference: str
    amount: str
    before: str
    after: str
    cause: Cause
    because: str
    also: tuple[Cause, ...] = ()

    @property
    def causes(self) -> tuple[Cause, ...]:
        """All causes, the first one first."""
        return (self.cause, *self.also)


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
            told = " and ".join(change.causes)
            yield f"    because of {told}{f': {change.because}' if change.because else ''}"
        for name in self.findings_new:
            yield f"  {name} is new (data)"
        for name in self.findings_gone:
            yield f"  {name} is gone (data)"


def run_diff(conn: Connection, *, book_id: int, run_a: int, run_b: int) -> RunDiff:
    """Every decision that differs between two runs of the book, with its cause. Raises `NoRunError`."""
    with transaction(conn):
        a, b = (material(conn, book_id=book_id, run_id=run) for run in (run_a, run_b))
        steps = decided_in_steps(a, b, stored_keys(conn, run_id=run_a), stored_keys(conn, run_id=run_b))
        first, last = steps.chain[0], steps.chain[-1]
        kept_b = _cleared_by(conn, book_id, run_b, [item for item in first if item not in last])
        kept_a = _cleared_by(conn, book_id, run_a, [item for item in last if item not in first])
        findings = [_findings(conn, run) for run in (run_a, run_b)]
    items = _items(a.inputs, b.inputs)
    changes = []
    for item in sorted({*first, *last}):
        keys = steps.of(item)
        if item in kept_b:  # cleared before B: not among its inputs, but decided all the same
            keys[-2] = keys[-1] = cleared_key(*kept_b[item])
        if item in kept_a:  # cleared before A, and open again since
            rule, members = kept_a[item]
            keys[:4] = [cleared_key(rule, members)] * 4
            if tuple(members) in b.inputs.denied:
                keys[2] = keys[3] = keys[-2]
        if keys[0] != keys[-1]:
            causes = steps.causes(item, keys)
            because = _because(item, items, keys, a.inputs, item in kept_a) if Cause.DATA in causes else ""
            if Cause.RULE in causes and item in kept_a:
                because = "its set was taken back"
            shown = items.get(item, ("", "", ""))
            changes.append(Change(item, *shown, keys[0], keys[-1], causes[0], because, causes[1:]))
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


@dataclass(frozen=True, slots=True)
class Steps:
    """Every item's decision (`decision_keys`) at each end of each step from A to B.

    `chain`: published by A; A's inputs by the program of now; with B's terms; with B's days; B's inputs; B's published.
    `kinds`: the causes that each of the five steps stands for; a program with other rules and other code stands for
    both, for it is not kept and nobody can tell which did it. `back`: B's inputs with one thing of A, by its cause.
    `differing`: what the inputs differ in. `is_same_program`: one program published both.
    """

    chain: tuple[Mapping[int, str], ...]
    kinds: tuple[tuple[Cause, ...], ...]
    back: Mapping[Cause, Mapping[int, str]]
    differing: tuple[Cause, ...]
    is_same_program: bool

    def of(self, item: int) -> list[str]:
        """The item's decisions along the chain."""
        return [step.get(item, ABSENT) for step in self.chain]

    def causes(self, item: int, keys: Sequence[str]) -> tuple[Cause, ...]:
        """Why an item with these decisions along the chain is decided otherwise; never none."""
        if keys[0] == ABSENT:
            return (Cause.DATA,)  # what is new is no other thing's doing
        moved = [kinds for n, kinds in enumerate(self.kinds) if keys[n] != keys[n + 1]]
        inner = [kinds[0] for n, kinds in enumerate(self.kinds[1:-1], start=1) if keys[n] != keys[n + 1]]
        needed = [
            kind
            for (kind,) in self.kinds[1:-1]
            if (kind in inner if kind not in self.back else self.back[kind].get(item, keys[-2]) != keys[-2])
        ]
        if self.is_same_program:
            # What the program of then made of these inputs, that of now may not.
            return tuple(needed or inner[:1] or self.differing or (Cause.CODE,))
        ends = (0, len(self.kinds) - 1)
        program = [kind for at in ends if keys[at] != keys[at + 1] for kind in self.kinds[at]]
        return tuple(dict.fromkeys([*program, *needed] or moved[0]))


def decided_in_steps(a: Material, b: Material, published_a: Mapping[int, str], published_b: Mapping[int, str]) -> Steps:
    """Decide A's inputs again with one thing of B after the other; a replay that cannot differ is not made."""
    is_now = [m.rules_sha256 == current_rules() and m.code_sha256 == code_sha256() for m in (a, b)]
    again_a = published_a if is_now[0] else decision_keys(a.decide())
    again_b = published_b if is_now[1] else decision_keys(b.decide())
    terms, days = _with_terms(a.inputs, b.inputs), _with_days(_with_terms(a.inputs, b.inputs), b.inputs)
    differing = []
    with_terms = with_days = again_a
    if not _is_same(terms, a.inputs):
        differing.append(Cause.RULE)
        with_terms = with_days = decision_keys(a.decide(terms))
    if not _is_same(days, terms):
        differing.append(Cause.CALENDAR)
        with_days = decision_keys(a.decide(days))
    if not _is_same(days, b.inputs) or not a.cleared_before.equals(b.cleared_before):
        differing.append(Cause.DATA)
    undone = {Cause.RULE: _with_terms(b.inputs, a.inputs), Cause.CALENDAR: _with_days(b.inputs, a.inputs)}
    back = {
        kind: decision_keys(b.decide(inputs))
        for kind, inputs in undone.items()
        if kind in differing and len(differing) > 1
    }
    same = (a.rules_sha256, a.code_sha256) == (b.rules_sha256, b.code_sha256)
    kinds = (_program(a), (Cause.RULE,), (Cause.CALENDAR,), (Cause.DATA,), _program(b))
    chain = (published_a, again_a, with_terms, with_days, again_b, published_b)
    return Steps(chain, kinds, back, tuple(differing), same)


def _program(published: Material) -> tuple[Cause, ...]:
    """What the program that published a run differs in from that of now: its rules, its code, or both."""
    differing = {
        Cause.RULE: published.rules_sha256 != current_rules(),
        Cause.CODE: published.code_sha256 != code_sha256(),
    }
    return tuple(cause for cause, differs in differing.items() if differs) or (Cause.CODE,)


def _with_terms(inputs: RunInputs, of: RunInputs) -> RunInputs:
    """The inputs under the declared terms of others; days in flight of an item that is not there stay."""
    sla = pl.concat([of.items, of.later]).select("item_id", pl.col("sla_days").alias("s")).unique("item_id")

    def under(items: pl.DataFrame) -> pl.DataFrame:
        joined = items.join(sla, on="item_id", how="left", maintain_order="left")
        return joined.with_columns(pl.coalesce("s", "sla_days").alias("sla_days")).select(items.columns)

    return dataclasses.replace(
        inputs,
        items=under(inputs.items),
        later=under(inputs.later),
        tolerances=of.tolerances,
        suggested=of.suggested,
        denied=of.denied,
        acquirers=of.acquirers,
    )


def _with_days(inputs: RunInputs, of: RunInputs) -> RunInputs:
    """The inputs on the day, and by the calendars, of others."""
    return dataclasses.replace(inputs, items=_moved(inputs.items, of), later=_moved(inputs.later, of))


def _is_same(one: RunInputs, other: RunInputs) -> bool:
    frames = ("items", "later", "decided", "acquirers")
    return (one.tolerances, one.suggested, one.denied) == (other.tolerances, other.suggested, other.denied) and all(
        getattr(one, name).equals(getattr(other, name)) for name in frames
    )


def _moved(items: pl.DataFrame, to: RunInputs) -> pl.DataFrame:
    """The items with the days and ages of the other run; one that is not there moves as its account does."""
    there = pl.concat([to.items, to.later]).select("item_id", "account", "day", "age_days")
    own = there.select("item_id", pl.col("day").alias("d"), pl.col("age_days").alias("a")).unique("item_id")
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


def _because(
    item: int, items: Mapping[int, tuple[str, str, str]], keys: Sequence[str], before: RunInputs, was_cleared: bool
) -> str:
    """What is new beside an item that data moved: itself, or the members of its set that were not there."""
    known = set(before.items["item_id"].to_list()) | set(before.later["item_id"].to_list())
    members = [int(word) for word in keys[-1].partition(": ")[2].split() if word.isdigit()]
    new = [m for m in members if m not in known]
    if was_cleared:
        return "its set was taken back"
    if item not in known:
        return "the posting is new"
    return "with " + ", ".join(f"{m} {items.get(m, ('', '', ''))[1]}".strip() for m in new[:5]) if new else ""


def _cleared_by(conn: Connection, book_id: int, run_id: int, items: Sequence[int]) -> dict[int, tuple[str, list[int]]]:
    """Sets that had taken these items when the run was published: rule and members."""
    rows = conn.execute(
        "SELECT x.posting_id, s.rule, (SELECT array_agg(l.posting_id ORDER BY l.posting_id) FROM recon.match_leg l"
        "   WHERE l.match_set_id = s.match_set_id)"
        "  FROM recon.match_leg x JOIN recon.match_set s USING (match_set_id)"
        " WHERE x.book_id = %s AND x.posting_id = ANY (%s) AND s.run_id <= %s ORDER BY x.generation",
        (book_id, list(items), run_id),
    ).fetchall()
    return {int(str(item)): (str(rule), members) for item, rule, members in rows}  # type: ignore[misc]


def _findings(conn: Connection, run_id: int) -> set[str]:
    rows = conn.execute(
        "SELECT break_id, code FROM recon.break_run WHERE run_id = %s AND finding_id IS NOT NULL", (run_id,)
    ).fetchall()
    return {f"{break_id} {code}" for break_id, code in rows}


__all__ = ["Cause", "Change", "RunDiff", "open_key", "run_diff"]
