"""The streaming reader of camt.052, camt.053 and camt.054, every version.

Lives here: one pass over the elements, which statement an entry belongs to, and the assembly of the file.
Must not live here: the meaning of entries (`camt_entry`), of balances (`camt_statement`), of bytes (`safe_xml`).

Memory is bounded by one statement's head, one batch of rows and the finished columns; entries are cleared
as soon as they are read. Nothing of a file is used unless all of it could be read to the end.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, BinaryIO, Final

import polars as pl
from lxml import etree

from recon.formats.camt_columns import run_rows
from recon.formats.camt_entry import entry_rows, set_aside_foreign
from recon.formats.camt_progress import Notes, StatementInProgress
from recon.formats.camt_records import RawEntry, RawHeader, RawStatement
from recon.formats.camt_rows import Row
from recon.formats.camt_shape import Tables, fill, tables
from recon.formats.camt_skim import Skimmer
from recon.formats.camt_spool import MemorySpool, Spool
from recon.formats.camt_statement import Origin, accepted_currencies, finish_statement, stated_day
from recon.formats.rules import StatementRefused
from recon.formats.safe_xml import ByteSource, element_ends, open_bytes, root_tag
from recon.formats.values import clean, parse_moment
from recon.model import STATEMENT_LINES, EntryStatus, Statement, StatementFile

BATCH_ROWS: Final = 4_000
# The newest version whose schema or samples the tests hold.
VERSION_TESTED_MAX: Final = 14

_ISO: Final = "urn:iso:std:iso:20022:tech:xsd:"
_VERSION: Final = re.compile(re.escape(_ISO) + r"(camt\.05[234]\.001\.([0-9]{2}))")
_SHAPES: Final[Mapping[str, tuple[str, str]]] = {
    "camt.052": ("BkToCstmrAcctRpt", "Rpt"),
    "camt.053": ("BkToCstmrStmt", "Stmt"),
    "camt.054": ("BkToCstmrDbtCdtNtfctn", "Ntfctn"),
}
_ANSWERS: Final = ("pain.002", "pacs.002", "pacs.004", "camt.029")
_EVENTS: Final = ("Ntry", "Stmt", "Rpt", "Ntfctn", "GrpHdr", "MsgDefIdr", "Document")
# Not part of a statement's own content: when it was written, and whether it is marked as a copy.
_DELIVERY_ONLY: Final = frozenset({"CreDtTm", "CpyDplctInd"})
_BETWEEN_TAGS: Final = re.compile(rb">\s+<")
_DECLARATION: Final = re.compile(rb'\s+xmlns(?::[\w.-]+)?="[^"]*"')
_PREFIX: Final = re.compile(rb"(</?)[A-Za-z_][\w.-]*:")


def read_camt(path_or_bytes: Path | str | bytes, *, name: str, spool: Spool | None = None) -> StatementFile:
    """Read one camt.052/053/054 file.

    `name` is what people call the file; `spool` says where its rows go (default: memory). Raises `StatementRefused`
    (rule, line, one sentence) when the whole file is refused; a bad entry is quarantined in its statement instead.
    """
    spool = spool or MemorySpool()
    if isinstance(path_or_bytes, bytes):
        return _read_stream(open_bytes(path_or_bytes), name, spool)
    try:
        with Path(path_or_bytes).open("rb") as stream:
            return _read_stream(stream, name, spool)
    except (OSError, ValueError) as fault:
        reason = fault.strerror if isinstance(fault, OSError) and fault.strerror else str(fault)
        raise StatementRefused("file-unreadable", 1, f"cannot be read ({reason}): check path and rights") from None


def _read_stream(stream: BinaryIO, name: str, spool: Spool) -> StatementFile:
    tag, line = root_tag(stream)
    namespace, _, local = tag[1:].rpartition("}") if tag.startswith("{") else ("", "", tag)
    version = _version_of(namespace, line) if local == "Document" else None
    skimmer = Skimmer()
    source = ByteSource(stream, skimmer)
    reader = _Reader(source, skimmer, spool)
    try:
        for element in element_ends(source, _EVENTS):
            reader.take(element)
    except StatementRefused as refused:
        refused.message_version = refused.message_version or reader.version or version
        raise
    return reader.finish(name, root=local, root_line=line)


def _version_of(namespace: str, line: int) -> str:
    """``camt.053.001.08`` from a Document's namespace; raises `StatementRefused` for any other."""
    found = _VERSION.fullmatch(namespace)
    if found is not None:
        return found.group(1)
    if namespace.startswith(_ISO):
        message = namespace.removeprefix(_ISO)[:40]
        what = "send a camt.052, camt.053 or camt.054 instead"
        if message.startswith(_ANSWERS):
            what = "an answer to payments, put it unpacked into the bank's inbox for `nostro bank poll`"
        raise StatementRefused("not-a-camt-report", line, f"this is {message}: {what}")
    shown = repr(namespace[:80]) if namespace else "missing"
    raise StatementRefused(
        "namespace-unknown",
        line,
        f"the Document's namespace is {shown}, not {_ISO}camt.05x.001.nn: ask the bank for the ISO 20022 file",
    )


@dataclass(frozen=True, slots=True)
class _Report:
    """The message a statement stands in."""

    element: Any
    namespace: str
    version: str
    statement_tag: str
    tables: Tables
    header: RawHeader


@dataclass(frozen=True, slots=True)
class _Read:
    """A statement whose end was reached; it is finished when the whole file is read."""

    report: _Report
    raw: RawStatement
    progress: StatementInProgress
    content_sha256: str
    source_line: int


class _Reader:
    """State of one pass: the current message and statement, rows in batches."""

    def __init__(self, source: ByteSource, skimmer: Skimmer, spool: Spool) -> None:
        self._source = source
        self._skimmer = skimmer
        self._marker = f"{{{skimmer.namespace}}}Ntry"
        self._report: _Report | None = None
        self._element: Any = None
        self._previous: Any = None
        self._progress: StatementInProgress | None = None
        self._hash = hashlib.sha256()
        self._rows: list[Row] = []
        self._spool = spool
        self._read: list[_Read] = []
        self._dropped: list[tuple[int, int]] = []
        self._named: list[tuple[str, int]] = []
        self.version: str | None = None

    def take(self, element: Any) -> None:
        tag: str = element.tag
        local = tag.rpartition("}")[2]
        if local == "Ntry":
            self._entry(element, tag)
        elif local == "GrpHdr":
            self._header(element)
        elif local == "MsgDefIdr":
            self._named.append((clean(element.text) or "", element.sourceline or 1))
        elif local == "Document":
            _version_of(tag[1:].rpartition("}")[0], element.sourceline or 1)
            self._source.silent_bytes = 0
        else:
            self._statement(element)

    def finish(self, name: str, *, root: str, root_line: int) -> StatementFile:
        if self._report is None:
            raise StatementRefused(
                "not-a-camt-report",
                root_line,
                f"no Document with a bank report inside {root[:40]!r}: send a camt.052, camt.053 or camt.054",
            )
        if not self._read:
            raise StatementRefused(
                "no-statement",
                self._report.element.sourceline or root_line,
                "the message has no statement: ask the bank to send it again",
                message_version=self._report.version,
            )
        self._flush()
        statements = self._finished()
        first = self._read[0].report
        notes = self._file_notes(first)
        return StatementFile(
            name=name,
            sha256=self._source.sha256(),
            message_version=first.version,
            message_id=clean(first.header.message_id),
            created_at=parse_moment(first.header.created),
            statements=statements,
            findings=notes.findings(),
            lines=self._lines(statements),
        )

    def _entry(self, element: Any, tag: str) -> None:
        parent = element.getparent()
        if parent is not self._element or self._progress is None:
            self._begin(parent, element)
        report, progress = self._report, self._progress
        if report is None or progress is None:
            raise AssertionError("an entry is only reached inside a begun statement")
        if tag == self._marker:
            self._run(int(element.text), parent, report, progress)
        elif tag == f"{{{report.namespace}}}Ntry":
            self._digest(element)
            raw = RawEntry(line=element.sourceline or 1)
            fill(element, report.tables.entry, raw)
            self._rows.extend(entry_rows(raw, progress))
        else:
            raise _foreign(element)
        element.clear()
        if self._previous is not None:
            parent.remove(self._previous)
        self._previous = element
        self._source.silent_bytes = 0
        if len(self._rows) >= BATCH_ROWS:
            self._flush()

    def _run(self, number: int, parent: Any, report: _Report, progress: StatementInProgress) -> None:
        """The ordinary entries that a marker stands for; they had no prefix, so the default namespace is theirs."""
        if parent.nsmap.get(None) != report.namespace:
            raise _foreign(parent)
        run = self._skimmer.run(number)
        self._hash.update(run.content)
        self._flush()
        self._spool.add(run_rows(run, progress))

    def _header(self, element: Any) -> None:
        report = self._report_at(element.getparent(), element)
        if report is not None:
            fill(element, report.tables.header, report.header)

    def _statement(self, element: Any) -> None:
        if element is not self._element:
            report = self._report_at(element.getparent(), element)
            if report is None:
                return
            self._begin(element, element)
        report, progress = self._report, self._progress
        if report is None or progress is None:
            raise AssertionError("a statement is begun before it ends")
        raw = RawStatement()
        fill(element, report.tables.statement, raw)
        for child in element:
            local = str(child.tag).rpartition("}")[2]
            if local not in _DELIVERY_ONLY and local != "Ntry":
                self._digest(child)
        dropped = set_aside_foreign(progress, accepted_currencies(raw))
        self._dropped.extend((progress.ordinal, ordinal) for ordinal in sorted(dropped))
        line = element.sourceline or 1
        self._read.append(_Read(report, raw, progress, self._hash.hexdigest(), line))
        element.clear()
        self._element = self._previous = self._progress = None
        self._source.silent_bytes = 0

    def _begin(self, statement: Any, at: Any) -> None:
        """Start the statement whose first entry, or whose end, was reached."""
        report = None if statement is None else self._report_at(statement.getparent(), at)
        if report is None or statement.tag.rpartition("}")[2] != report.statement_tag:
            raise StatementRefused(
                "entry-misplaced",
                at.sourceline or 1,
                "an entry stands outside a statement, so it is not clear what it belongs to: ask the bank",
            )
        if statement.tag != f"{{{report.namespace}}}{report.statement_tag}":
            raise _foreign(statement)
        head = RawStatement()
        fill(statement, report.tables.statement, head)
        own = clean(head.iban) or clean(head.other_account_id)
        self._element = statement
        self._previous = None
        self._hash = hashlib.sha256()
        self._progress = StatementInProgress(
            ordinal=len(self._read) + 1,
            own_account=None if own is None else "".join(own.split()).upper(),
            # A statement reports booked entries; a report or notification may announce them.
            missing_status=EntryStatus.BOOK if report.version.startswith("camt.053") else EntryStatus.PDNG,
            stated_currencies=accepted_currencies(head),
        )

    def _report_at(self, element: Any, at: Any) -> _Report | None:
        """The message around a header or statement; None when this is no message of ours."""
        if self._report is not None and element is self._report.element:
            return self._report
        if element is None or re.sub(r"V[0-9]{2}$", "", _local(element)) not in _REPORT_NAMES:
            return None
        document = element.getparent()
        if document is None or _local(document) != "Document":
            raise StatementRefused(
                "not-a-camt-report",
                element.sourceline or 1,
                "the report does not stand in a Document: send the file as the bank delivered it",
            )
        namespace = document.tag[1:].rpartition("}")[0]
        version = _version_of(namespace, document.sourceline or 1)
        report_name, statement_tag = _SHAPES[version[:8]]
        if re.sub(r"V[0-9]{2}$", "", _local(element)) != report_name:
            raise StatementRefused(
                "message-contradicts-namespace",
                element.sourceline or 1,
                f"the namespace says {version} but the report is {_local(element)}: ask the bank which it is",
            )
        if element.tag != f"{{{namespace}}}{_local(element)}":
            raise _foreign(element)
        self.version = version
        self._report = _Report(element, namespace, version, statement_tag, tables(namespace), RawHeader())
        return self._report

    def _digest(self, element: Any) -> None:
        """Add an element's content to the statement's hash: no namespace, prefix, indentation or comment."""
        data = _BETWEEN_TAGS.sub(b"><", etree.tostring(element, with_tail=False))
        end = data.index(b">")
        head = _DECLARATION.sub(b"", data[:end])
        body = data[end:]
        if element.prefix is not None:
            head, body = _PREFIX.sub(rb"\1", head), _PREFIX.sub(rb"\1", body)
        self._hash.update(head)
        self._hash.update(body)

    def _flush(self) -> None:
        if not self._rows:
            return
        columns = zip(*self._rows, strict=True)
        self._spool.add(
            pl.DataFrame(
                [
                    pl.Series(name, values, dtype=dtype, strict=True)
                    for (name, dtype), values in zip(STATEMENT_LINES.items(), columns, strict=True)
                ]
            )
        )
        self._rows = []

    def _finished(self) -> tuple[Statement, ...]:
        in_report = Counter(id(read.report) for read in self._read)
        statements: list[Statement] = []
        first_row = 0
        for read in self._read:
            origin = Origin(
                message_version=read.report.version,
                header=read.report.header,
                source_line=read.source_line,
                first_row=first_row,
                content_sha256=read.content_sha256,
                is_only_statement=in_report[id(read.report)] == 1,
            )
            statements.append(finish_statement(read.raw, read.progress, origin))
            first_row += statements[-1].row_count
        return tuple(statements)

    def _lines(self, statements: tuple[Statement, ...]) -> pl.DataFrame:
        """All rows; quarantined currencies dropped, missing booking dates of booked lines filled."""
        keys = {"statement_ordinal": pl.Int32, "line_ordinal": pl.Int32}
        dropped = pl.DataFrame(self._dropped, schema=keys, orient="row")
        days: dict[int, date | None] = {statement.ordinal: stated_day(statement) for statement in statements}
        undated = pl.col("booking_date").is_null() & (pl.col("status") == EntryStatus.BOOK.value)

        def settled(lines: pl.DataFrame) -> pl.DataFrame:
            if dropped.height:
                lines = lines.join(dropped, on=list(keys), how="anti", maintain_order="left")
            if not lines.select(undated.any()).item():
                return lines
            stated = pl.col("statement_ordinal").replace_strict(days, return_dtype=pl.Date)
            return lines.with_columns(
                pl.when(undated).then(stated).otherwise(pl.col("booking_date")).alias("booking_date")
            )

        return self._spool.finish(settled)

    def _file_notes(self, first: _Report) -> Notes:
        notes = Notes()
        for named, line in self._named:
            if named != first.version:
                notes.add("header-names-other-message", f"the header says {named!r}, it is {first.version}", line)
        if int(first.version[-2:]) > VERSION_TESTED_MAX:
            notes.add("version-untested", f"{first.version} is newer than any version tested", 1)
        return notes


_REPORT_NAMES: Final = frozenset(report for report, _ in _SHAPES.values())


def _local(element: Any) -> str:
    return str(element.tag).rpartition("}")[2]


def _foreign(element: Any) -> StatementRefused:
    return StatementRefused(
        "foreign-namespace",
        element.sourceline or 1,
        f"{_local(element)} is in another namespace than its Document: ask the bank for a corrected file",
    )
