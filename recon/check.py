"""The engine of `nostro recon ingest --check`: read and prove files, book nothing.

Lives here: outcomes of files and statements, their totals per message version, and the text and JSON of the
report. Must not live here: a database, the account a statement belongs to, printing.

Whatever the bytes are, a file has an outcome: read, or refused by a named rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from ledger import currency, format_amount
from recon.formats import Layout, StatementRefused, is_packed, prove_pages, prove_statement_file, unpacked
from recon.model import Finding, Proof, ProofReason, ProofState, Quarantined, Statement, StatementFile

# What the JSON form is made of; it has no other types.
Json = None | bool | int | str | list["Json"] | dict[str, "Json"]

UNKNOWN_VERSION: Final = "unknown"

_SENTENCES: Final[dict[ProofReason, str]] = {
    ProofReason.BALANCES_TIE: "opening + booked = closing",
    ProofReason.INTERIM_BALANCES_TIE: "interim opening + booked = interim closing",
    ProofReason.PAGES_TIE: "opening + booked of all pages = closing",
    ProofReason.BALANCES_DIFFER: "opening + booked is not closing",
    ProofReason.QUARANTINED: "an entry or balance could not be read",
    ProofReason.NO_BALANCES: "no balances given",
    ProofReason.NO_BOOK_BALANCES: "only balances that are not booked (available, forward, informational)",
    ProofReason.INTERIM_ONLY: "only interim balances",
    ProofReason.OPENING_MISSING: "no opening balance (OPBD or PRCD)",
    ProofReason.CLOSING_MISSING: "no closing balance (CLBD)",
    ProofReason.AMBIGUOUS: "several opening or closing balances that differ",
    ProofReason.PAGES_MISSING: "one page of several; the others are needed",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementOutcome:
    """One statement: what it is, how its proof came out, what was set aside or noted."""

    statement: Statement
    proofs: tuple[Proof, ...]
    repeats: str | None = None

    @property
    def proof(self) -> Proof:
        order = list(ProofState)
        return min(self.proofs, key=lambda proof: order.index(proof.state))


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a whole file is not used."""

    rule: str
    line: int
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FileOutcome:
    """One file: its statements, or its refusal."""

    name: str
    message_version: str
    sha256: str | None
    refusal: Refusal | None
    statements: tuple[StatementOutcome, ...]
    findings: tuple[Finding, ...]

    @property
    def entry_count(self) -> int:
        return sum(outcome.statement.entry_count for outcome in self.statements)


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Counts over files of one message version, or over all."""

    files_read: int = 0
    files_refused: int = 0
    entries: int = 0
    entries_quarantined: int = 0
    proven: int = 0
    impossible: int = 0
    violated: int = 0
    unproven: int = 0

    @property
    def statements(self) -> int:
        return self.proven + self.impossible + self.violated + self.unproven


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """All outcomes, in the order the files were given."""

    files: tuple[FileOutcome, ...]

    def totals(self) -> Totals:
        return _totals(self.files)

    def totals_by_version(self) -> dict[str, Totals]:
        """Totals per message version, sorted; files refused before they named one are `unknown`."""
        versions = sorted({outcome.message_version for outcome in self.files})
        return {
            version: _totals([outcome for outcome in self.files if outcome.message_version == version])
            for version in versions
        }

    def render(self) -> Iterator[str]:
        """The report as text lines; the last one has the counts, in all and per message version."""
        for outcome in self.files:
            yield from map(_plain, _file_lines(outcome))
        yield _counts_line(self)

    def as_json(self) -> dict[str, Json]:
        """The report as plain values; amounts are integers in minor units."""
        return {
            "files": [_file_json(outcome) for outcome in self.files],
            "totals": _totals_json(self.totals()),
            "versions": {version: _totals_json(total) for version, total in self.totals_by_version().items()},
        }


def check_files(
    paths: Iterable[Path | str],
    *,
    layouts: Sequence[Layout] = (),
    on_progress: Callable[[FileOutcome], None] | None = None,
) -> CheckReport:
    """Read and prove every file; nothing is booked and no file stops the others.

    `on_progress` is called after each file. Pages of one statement that came in several files are proven
    together; a statement whose content was seen before names the file it repeats.
    """
    outcomes: list[FileOutcome] = []
    seen: dict[str, str] = {}
    for path in paths:
        for outcome in _check_path(Path(path), seen, layouts):
            outcomes.append(outcome)
            if on_progress is not None:
                on_progress(outcome)
    return CheckReport(files=tuple(_with_joined_pages(outcomes)))


def _check_path(path: Path, seen: dict[str, str], layouts: Sequence[Layout]) -> Iterator[FileOutcome]:
    """The outcome of a file, or of each file in an archive."""
    name = str(path)
    try:
        with path.open("rb") as stream:
            packed = is_packed(stream.read(4))
    except (OSError, ValueError):
        packed = False  # the reader says why it cannot be read
    if not packed:
        yield _check_file(path, name, seen, layouts)
        return
    try:
        members = list(unpacked(path.read_bytes(), name=name))
    except StatementRefused as refused:
        yield _refused(name, refused)
        return
    for member, content in members:
        yield _check_file(content, member, seen, layouts)


def _refused(name: str, refused: StatementRefused) -> FileOutcome:
    return FileOutcome(
        name=name,
        message_version=refused.message_version or UNKNOWN_VERSION,
        sha256=None,
        refusal=Refusal(rule=refused.rule, line=refused.line, message=refused.message),
        statements=(),
        findings=(),
    )


def _check_file(path: Path | bytes, name: str, seen: dict[str, str], layouts: Sequence[Layout]) -> FileOutcome:
    try:
        read = prove_statement_file(path, name=name, layouts=layouts)
    except StatementRefused as refused:
        return _refused(name, refused)
    return FileOutcome(
        name=name,
        message_version=read.message_version,
        sha256=read.sha256,
        refusal=None,
        statements=tuple(_outcome(statement, read, seen) for statement in read.statements),
        findings=read.findings,
    )


def _outcome(statement: Statement, read: StatementFile, seen: dict[str, str]) -> StatementOutcome:
    here = f"{read.name} statement {statement.ordinal}"
    first = seen.setdefault(statement.content_sha256, here)
    return StatementOutcome(statement=statement, proofs=statement.proofs, repeats=None if first == here else first)


def _with_joined_pages(outcomes: Sequence[FileOutcome]) -> list[FileOutcome]:
    """Prove the pages of one statement together where a page alone does not tie."""
    pages: dict[tuple[str | None, str, str], list[Statement]] = {}
    for outcome in outcomes:
        for each in outcome.statements:
            if each.statement.page is not None and each.repeats is None:
                pages.setdefault(_page_key(each.statement), []).append(each.statement)
    return [
        replace(outcome, statements=tuple(_joined(each, pages) for each in outcome.statements)) for outcome in outcomes
    ]


def _page_key(statement: Statement) -> tuple[str | None, str, str]:
    return (statement.account, statement.id, statement.message_version)


def _joined(outcome: StatementOutcome, pages: dict[tuple[str | None, str, str], list[Statement]]) -> StatementOutcome:
    statement = outcome.statement
    others = pages.get(_page_key(statement), [])
    if outcome.proof.state in (ProofState.PROVEN, ProofState.UNPROVEN) or statement.page is None:
        return outcome
    if len(others) > 1 and (proofs := prove_pages(others)) is not None:
        return replace(outcome, proofs=proofs)
    return outcome


def _totals(outcomes: Sequence[FileOutcome]) -> Totals:
    statements = [each for outcome in outcomes for each in outcome.statements]
    states = [each.proof.state for each in statements]
    return Totals(
        files_read=sum(outcome.refusal is None for outcome in outcomes),
        files_refused=sum(outcome.refusal is not None for outcome in outcomes),
        entries=sum(each.statement.entry_count for each in statements),
        entries_quarantined=sum(each.statement.quarantined_entry_count for each in statements),
        proven=states.count(ProofState.PROVEN),
        impossible=states.count(ProofState.IMPOSSIBLE),
        violated=states.count(ProofState.VIOLATED),
        unproven=states.count(ProofState.UNPROVEN),
    )


def _file_lines(outcome: FileOutcome) -> Iterator[str]:
    if outcome.refusal is not None:
        refusal = outcome.refusal
        yield f"{outcome.name}: refused, line {refusal.line}: {refusal.message} [{refusal.rule}]"
        return
    yield (
        f"{outcome.name}: {outcome.message_version}, {_count(len(outcome.statements), 'statement')}, "
        f"{_count(outcome.entry_count, 'entry', 'entries')}"
    )
    for finding in outcome.findings:
        yield f"  {_finding_text(finding)}"
    for each in outcome.statements:
        yield from _statement_lines(each)


def _statement_lines(outcome: StatementOutcome) -> Iterator[str]:
    statement = outcome.statement
    where = f"  {_short(statement.account or 'no account')} {_short(statement.id)}"
    for proof in outcome.proofs:
        yield f"{where}: {proof_text(proof)}"
    if outcome.repeats is not None:
        yield f"    note: same content as {outcome.repeats} [statement-repeated]"
    for bad in statement.quarantined:
        yield f"    quarantined, line {bad.source_line}: {bad.message} [{bad.rule}]"
    for finding in statement.findings:
        yield f"    {_finding_text(finding)}"


def _plain(line: str) -> str:
    """One line that a terminal shows as it is: a bank's text may carry line ends or control characters."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in line)


def _short(text: str) -> str:
    return text if len(text) <= 70 else text[:67] + "..."


def proof_text(proof: Proof) -> str:
    """One sentence on a proof, amounts in decimal, e.g. ``violated by -50.00 EUR: …``."""
    state = proof.state.value
    if proof.state is ProofState.VIOLATED and proof.difference_minor is not None:
        state = f"violated by {_money(proof.difference_minor, proof.currency)}"
    text = f"{state}: {_SENTENCES[proof.reason]}"
    if proof.opening_minor is None or proof.closing_minor is None:
        return text
    opening, booked, closing = (
        _money(minor, proof.currency) for minor in (proof.opening_minor, proof.booked_minor, proof.closing_minor)
    )
    return f"{text} (opening {opening}, booked {booked}, closing {closing})"


def _money(minor: int, code: str | None) -> str:
    return str(minor) if code is None else f"{format_amount(minor, currency(code).exponent)} {code}"


def _finding_text(finding: Finding) -> str:
    times = "" if finding.count == 1 else f" ({finding.count} times)"
    return f"note, line {finding.source_line}: {finding.message}{times} [{finding.rule}]"


def _counts_line(report: CheckReport) -> str:
    parts = [_totals_text("all", report.totals())]
    parts += [_totals_text(version, total) for version, total in report.totals_by_version().items()]
    return " | ".join(parts)


def _totals_text(label: str, total: Totals) -> str:
    return (
        f"{label}: files read {total.files_read}, refused {total.files_refused}; "
        f"entries {total.entries}, quarantined {total.entries_quarantined}; "
        f"statements {total.statements}, proven {total.proven}, impossible {total.impossible}, "
        f"violated {total.violated}, unproven {total.unproven}"
    )


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def _totals_json(total: Totals) -> dict[str, Json]:
    return {
        "files_read": total.files_read,
        "files_refused": total.files_refused,
        "entries": total.entries,
        "entries_quarantined": total.entries_quarantined,
        "statements": total.statements,
        "proven": total.proven,
        "impossible": total.impossible,
        "violated": total.violated,
        "unproven": total.unproven,
    }


def _file_json(outcome: FileOutcome) -> dict[str, Json]:
    refusal = outcome.refusal
    return {
        "name": outcome.name,
        "message_version": outcome.message_version,
        "sha256": outcome.sha256,
        "refusal": None
        if refusal is None
        else {"rule": refusal.rule, "line": refusal.line, "message": refusal.message},
        "findings": [_finding_json(finding) for finding in outcome.findings],
        "statements": [_statement_json(each) for each in outcome.statements],
    }


def _statement_json(outcome: StatementOutcome) -> dict[str, Json]:
    statement = outcome.statement
    return {
        "id": statement.id,
        "account": statement.account,
        "currency": statement.currency,
        "page": statement.page,
        "source_line": statement.source_line,
        "entries": statement.entry_count,
        "content_sha256": statement.content_sha256,
        "repeats": outcome.repeats,
        "proofs": [_proof_json(proof) for proof in outcome.proofs],
        "quarantined": [_quarantined_json(bad) for bad in statement.quarantined],
        "findings": [_finding_json(finding) for finding in statement.findings],
    }


def _proof_json(proof: Proof) -> dict[str, Json]:
    return {
        "state": proof.state.value,
        "reason": proof.reason.value,
        "currency": proof.currency,
        "opening_minor": proof.opening_minor,
        "booked_minor": proof.booked_minor,
        "closing_minor": proof.closing_minor,
        "difference_minor": proof.difference_minor,
    }


def _quarantined_json(bad: Quarantined) -> dict[str, Json]:
    return {
        "entry": bad.line_ordinal,
        "rule": bad.rule,
        "line": bad.source_line,
        "message": bad.message,
        "reference": bad.reference,
    }


def _finding_json(finding: Finding) -> dict[str, Json]:
    return {
        "rule": finding.rule,
        "line": finding.source_line,
        "message": finding.message,
        "count": finding.count,
    }
