"""The proposal: the layout as YAML, its evidence, its open questions, and what reading the file with it gives.

Lives here: putting together, the trial, text. Must not live here: decisions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

import yaml
from pydantic import ValidationError

from ledger import currency, format_amount
from recon.check import proof_text
from recon.formats.report_layout import Layout
from recon.formats.report_reader import layout_for, read_report
from recon.formats.rules import StatementRefused
from recon.layout_finder.findings import Choice, Findings, Question, Strength, Value
from recon.layout_finder.table import Table
from recon.model import ProofState, StatementFile

_ORDER: Final[tuple[str, ...]] = (
    "name", "header", "columns", "delimiter", "encoding", "decimal", "date_format", "account", "account_is", "currency",
    "currency_is", "minor_units", "rounds", "net", "rest", "parts", "balance", "total", "opening", "closing", "skip",
    "statement", "date", "value_date", "type", "payout", "status", "references",
)  # fmt: skip
_USUAL: Final[Mapping[str, Value]] = {
    "delimiter": ",", "decimal": ".", "encoding": "cp1252", "date_format": None, "minor_units": False, "rounds": False,
}  # fmt: skip
_SHOWN: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Sum:
    """Booked rows of one currency: in, out (negative), minor units."""

    currency: str
    rows: int
    in_minor: int
    out_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What the reader makes of the whole file with the layout. `refused` says why it makes nothing."""

    refused: str | None
    statements: int = 0
    entries: int = 0
    quarantined: int = 0
    informing: int = 0
    from_date: date | None = None
    to_date: date | None = None
    sums: tuple[Sum, ...] = ()
    proofs: tuple[str, ...] = ()
    proven: int = 0
    violated: int = 0
    faults: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether every row was read and no proof is violated."""
        return self.refused is None and not self.quarantined and not self.violated


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutProposal:
    """A proposed layout; `is_complete` when nothing that is needed is open and the file reads with it."""

    file: str
    known_as: str | None
    rows: int
    choices: tuple[Choice, ...]
    questions: tuple[Question, ...]
    unused: tuple[str, ...]
    layout: Mapping[str, Value]
    yaml: str
    trial: Trial | None

    @property
    def is_complete(self) -> bool:
        """Whether it can be used as it is."""
        return not any(each.blocks for each in self.questions) and self.trial is not None and self.trial.holds

    def render(self) -> Iterator[str]:
        """The proposal as lines of text."""
        if self.known_as is not None:
            yield f"{self.file}: read as {self.known_as} without a layout; this is what would be proposed"
        yield f"{self.file}: {self.rows} entries looked at"
        for choice in self.choices:
            yield f"  {choice.key}: {_flow(choice.value)}  [{choice.strength}: {choice.evidence}]"
        if self.unused:
            yield f"  not used: {', '.join(self.unused)}"
        for question in self.questions:
            listed = f" ({' | '.join(_flow(each) for each in question.candidates)})" if question.candidates else ""
            yield f"  {'OPEN' if question.blocks else 'look at'} {question.key}: {question.why}{listed}"
        yield from _trial_lines(self.trial)


def complete(data: bytes, table: Table, findings: Findings, *, file_name: str, known_as: str | None) -> LayoutProposal:
    """Put the proposal together and try it on the file."""
    for key in findings.said:
        findings.choose(key, None, Strength.SAID, "")
    keys = {choice.key: choice.value for choice in findings.choices}
    layout: dict[str, Value] = {
        key: keys[key] for key in _ORDER if key in keys and keys[key] != _USUAL.get(key, _MISSING)
    }
    layout |= {key: value for key, value in keys.items() if key not in _ORDER}
    used = set(_names(layout))
    blocked = any(each.blocks for each in findings.questions)
    return LayoutProposal(
        file=file_name,
        known_as=known_as,
        rows=len(table.rows),
        choices=tuple(sorted(findings.choices, key=lambda each: _place(each.key))),
        questions=tuple(findings.questions),
        unused=tuple(name for name in table.names if name not in used),
        layout=layout,
        yaml=_yaml(layout, findings),
        trial=None if blocked else _tried(data, layout, file_name),
    )


_MISSING: Final = object()


def _place(key: str) -> int:
    return _ORDER.index(key) if key in _ORDER else len(_ORDER)


def _names(layout: Mapping[str, Value]) -> Iterator[str]:
    for key, value in layout.items():
        if key in ("header", "columns", "skip", "payout", "opening", "closing"):
            continue
        stack = [value]
        while stack:
            each = stack.pop()
            if isinstance(each, str):
                yield each
            elif isinstance(each, dict):
                stack += list(each.values())
            elif isinstance(each, list):
                stack += each


def _yaml(layout: Mapping[str, Value], findings: Findings) -> str:
    """The layout with its evidence as comments; what is open stands as a comment alone."""
    why = {choice.key: choice for choice in findings.choices}
    lines = []
    for key, value in layout.items():
        choice = why[key]
        lines += [f"# {choice.strength}: {choice.evidence}", f"{key}: {_flow(value)}"]
    for each in findings.questions:
        listed = f" {' or '.join(_flow(candidate) for candidate in each.candidates)}" if each.candidates else ""
        lines.append(f"# {'OPEN, decide it' if each.blocks else 'look at'}: {each.key}:{listed}  ({each.why})")
    return "".join(f"{_one_line(line)}\n" for line in lines)


def _one_line(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _flow(value: Value) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=100_000, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...").removesuffix("...").strip()


def _tried(data: bytes, layout: Mapping[str, Value], file_name: str) -> Trial:
    try:
        declared = Layout.model_validate(layout)
        if layout_for(data, [declared]) != declared:
            return Trial(refused="the file is not known by these columns")
        return _outcome(read_report(data, declared, name=file_name))
    except StatementRefused as refused:
        return Trial(refused=f"line {refused.line}: {refused.message} [{refused.rule}]")
    except ValidationError as faults:
        listed = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in faults.errors())
        return Trial(refused=f"no layout: {listed}")


def _outcome(file: StatementFile) -> Trial:
    sums: dict[str, list[int]] = {}
    informing: set[tuple[int, int]] = set()
    seen: set[tuple[int, int]] = set()
    columns = ("statement_ordinal", "line_ordinal", "entry_amount_minor", "currency", "status")
    for statement, ordinal, minor, code, status in file.lines.select(columns).iter_rows():
        if (statement, ordinal) in seen:
            continue
        seen.add((statement, ordinal))
        if status != "BOOK":
            informing.add((statement, ordinal))
            continue
        row = sums.setdefault(code, [0, 0, 0])
        row[0] += 1
        row[1 if minor > 0 else 2] += minor
    proofs = [proof for each in file.statements for proof in each.proofs]
    bad = [fault for each in file.statements for fault in each.quarantined]
    days = [day for each in file.statements for day in (each.from_date, each.to_date) if day is not None]
    return Trial(
        refused=None,
        statements=len(file.statements),
        entries=file.entry_count,
        quarantined=sum(each.quarantined_entry_count for each in file.statements),
        informing=len(informing),
        from_date=min(days, default=None),
        to_date=max(days, default=None),
        sums=tuple(Sum(currency=code, rows=n, in_minor=i, out_minor=o) for code, (n, i, o) in sorted(sums.items())),
        proofs=tuple(proof_text(proof) for proof in proofs),
        proven=sum(proof.state is ProofState.PROVEN for proof in proofs),
        violated=sum(proof.state is ProofState.VIOLATED for proof in proofs),
        faults=tuple(f"line {each.source_line}: {each.message} [{each.rule}]" for each in bad),
    )


def _trial_lines(trial: Trial | None) -> Iterator[str]:
    if trial is None:
        yield "not tried: decide what is open, with --say KEY=VALUE or in the written layout"
        return
    if trial.refused is not None:
        yield f"tried: refused, {trial.refused}"
        return
    said = f", {trial.informing} of them inform only" if trial.informing else ""
    yield (
        f"tried: {trial.statements} statements, {trial.entries} entries{said}, {trial.quarantined} quarantined, "
        f"{trial.from_date} to {trial.to_date}"
    )
    for each in trial.sums:
        exponent = currency(each.currency).exponent
        into, out = format_amount(each.in_minor, exponent), format_amount(each.out_minor, exponent)
        yield f"  {each.currency}: {each.rows} rows, in {into}, out {out}"
    for text, count in _counted(trial.proofs):
        yield f"  {text}{f' ({count} statements)' if count > 1 else ''}"
    yield from (f"  quarantined, {fault}" for fault in trial.faults[:_SHOWN])
    if len(trial.faults) > _SHOWN:
        yield f"  and {len(trial.faults) - _SHOWN} more"


def _counted(proofs: tuple[str, ...]) -> list[tuple[str, int]]:
    counted: dict[str, int] = {}
    for text in proofs:
        counted[text] = counted.get(text, 0) + 1
    return sorted(counted.items(), key=lambda each: -each[1])[:_SHOWN]
