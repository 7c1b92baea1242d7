"""Breaks to a spreadsheet and decisions back: exported with their hash, imported all or nothing.

Lives here: the sheet's columns, reading CSV and XLSX, checking every row, carrying the rows out in one transaction.
Must not live here: what a decision does (`recon.workflow`, `recon.adjustments`), the workbook's own format.

A row's `sha256` says which content of the break the person saw, `proposal` which proposal about it: what changed since
is a fault of its row, not a decision about something else. A file that was carried out once is known by its hash and
changes nothing again.
"""

from __future__ import annotations

import csv
import datetime as dt
import hashlib
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ledger import Connection, NostroError, currency, format_amount, transaction
from recon.adjustments import Wish, approve_proposal, end_proposal, open_proposal, propose
from recon.board import BoardRow, Filters, breaks_list
from recon.errors import DecisionFileError
from recon.formats.workbook import is_workbook, sheets
from recon.sheet_cells import fitting, guarded, unguarded
from recon.templates import TEMPLATES
from recon.workbook_writer import write_workbook
from recon.workflow import assign_break, note_break, reopen_break, resolve_break

SHOWN = (
    *("break_id", "code", "severity", "state", "bank_account", "reference", "amount", "currency", "items", "since"),
    *("age_days", "explanation", "usual_way", "sha256", "proposal", "proposed"),
)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?=$|[ T]00:00)")
DECIDED = ("action", "owner", "due", "template", "reason")
COLUMNS = (*SHOWN, *DECIDED)
ACTIONS = ("assign", "note", "propose", "match", "approve", "reject", "resolve", "reopen")
_NEEDS_REASON = frozenset({"note", "propose", "match", "reject", "resolve", "reopen"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One row that says what to do with a break. `row` is its number in the sheet (the head is row 1)."""

    row: int
    break_id: str
    sha256: str
    proposal: str
    action: str
    owner: str | None
    due: dt.date | None
    template: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class ImportedDecisions:
    """What a file did: decisions carried out by action, decisions in effect already, rows without a decision.

    `is_new` False: just this file had been carried out before.
    """

    sha256: str
    is_new: bool
    carried_out: dict[str, int]
    in_effect: int
    without: int


def export_breaks(
    conn: Connection, *, book_id: int, path: Path, business_date: dt.date | None = None, filters: Filters | None = None
) -> int:
    """Write the breaks of a day to a CSV or XLSX file (by its name), with empty columns for decisions; how many."""
    rows = breaks_list(conn, book_id=book_id, business_date=business_date, filters=filters)
    proposed = _proposed(conn, [row.adjustment_id for row in rows if row.state == "proposed"])
    shown = (_shown(row, proposed.get(row.adjustment_id or 0, "")) for row in rows)
    table = [COLUMNS, *(tuple(fitting(cell) for cell in line) for line in shown)]
    part = path.with_name(f".{path.name}.part")
    if path.suffix.lower() == ".xlsx":
        part.write_bytes(write_workbook("breaks", table))
    else:
        text = io.StringIO()
        csv.writer(text, lineterminator="\r\n").writerows([guarded(cell) for cell in line] for line in table)
        part.write_text(text.getvalue(), encoding="utf-8-sig", newline="")
    part.replace(path)
    return len(rows)


_PROPOSED = """
SELECT a.adjustment_id, settlement.person(a.proposed_by), a.kind, a.template, a.reason, coalesce(l.currency, ''),
       l.account, l.amount_minor
  FROM recon.adjustment a LEFT JOIN recon.adjustment_leg l USING (adjustment_id)
 WHERE a.adjustment_id = ANY (%s) ORDER BY a.adjustment_id, l.leg
"""


def _proposed(conn: Connection, numbers: Sequence[int | None]) -> dict[int, str]:
    """What is proposed, in words: who, how, each leg of the entry, why."""
    said: dict[int, str] = {}
    with transaction(conn):
        rows = conn.execute(_PROPOSED, (list(numbers),)).fetchall()
    for number, by, kind, template, reason, code, account, amount in rows:
        text = said.setdefault(int(str(number)), f"{by}: {kind} {template} ({reason})")
        if account is not None:
            money = format_amount(abs(int(str(amount))), currency(str(code)).exponent)
            side = "Dr" if int(str(amount)) > 0 else "Cr"
            said[int(str(number))] = f"{text}; {side} {account} {money} {code}"
    return said


def _shown(row: BoardRow, proposed: str) -> tuple[str, ...]:
    amount = format_amount(row.amount_minor, currency(row.currency).exponent)
    since = "" if row.first_date is None else row.first_date.isoformat()
    return (
        *(row.break_id, row.code, row.severity, row.state, row.bank_account, row.item_ref, amount, row.currency),
        *(str(row.item_count), since, str(row.age_days), row.explanation, row.proposal, row.sha256),
        *("" if row.adjustment_id is None else str(row.adjustment_id), proposed),
        *("", row.owner or "", "" if row.due_date is None else row.due_date.isoformat(), "", ""),
    )


def import_decisions(conn: Connection, *, book_id: int, path: Path) -> ImportedDecisions:
    """Carry out the decisions of a file, all or none, in the caller's name.

    Raises `DecisionFileError` with every fault and its row; nothing is done then. The same file again does nothing.
    """
    content = path.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    with transaction(conn):
        known = conn.execute(
            "SELECT FROM recon.decision_file WHERE book_id = %s AND sha256 = %s", (book_id, sha256)
        ).fetchone()
        if known is not None:
            return ImportedDecisions(sha256, False, {}, 0, 0)
        faults: list[str] = []
        lines = list(_lines(content, path.name))
        said = [found for found in (_decision(line, row, faults) for row, line in lines) if found is not None]
        decisions = _check_against_books(conn, book_id, said, faults)
        if not faults:
            _carry_out(conn, book_id, decisions, faults)
        if faults:
            raise DecisionFileError(path.name, sorted(faults, key=_row_of))
        conn.execute("SELECT recon.keep_decisions(%s, %s, %s, %s)", (book_id, sha256, path.name, len(decisions)))
    counts = {action: sum(d.action == action for d in decisions) for action in ACTIONS}
    done = {action: count for action, count in counts.items() if count}
    return ImportedDecisions(sha256, True, done, len(said) - len(decisions), len(lines) - len(said))


def _row_of(fault: str) -> int:
    return int(fault.removeprefix("row ").partition(":")[0])


def _lines(content: bytes, name: str) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Rows by column name, with their numbers. A head without the needed columns is a fault of row 1."""
    if is_workbook(content):
        table: Sequence[tuple[int, Sequence[str]]] = next(iter(sheets(content)), [])
    else:
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise DecisionFileError(name, ["row 1: the file is not UTF-8 text; save it as CSV UTF-8 or XLSX"]) from None
        head = next(iter(text.splitlines()), "")
        mark = ";" if head.count(";") > head.count(",") else ","
        table = list(_records(text, mark, name))
    names = [cell.strip() for cell in table[0][1]] if table else []
    if twice := sorted({column for column in names if column in COLUMNS and names.count(column) > 1}):
        raise DecisionFileError(name, [f"row 1: there are two columns {column!r}" for column in twice])
    missing = [column for column in ("break_id", "sha256", "action", "reason") if column not in names]
    if missing:
        raise DecisionFileError(name, [f"row 1: there is no column {column!r}" for column in missing])
    # More cells than columns: a text with a comma that nobody quoted, of which the rest would be lost.
    if wide := [number for number, cells in table[1:] if any(cells[len(names) :])]:
        raise DecisionFileError(name, [f"row {n}: it has more cells than row 1; put texts in quotes" for n in wide])
    for number, cells in table[1:]:
        padded = [*cells, *[""] * (len(names) - len(cells))]
        line = {column: unguarded(cell.strip()) for column, cell in zip(names, padded, strict=False)}
        if any(line.values()):
            yield number, line


def _records(text: str, mark: str, name: str) -> Iterator[tuple[int, list[str]]]:
    """Rows of a CSV text, with their numbers; a text in quotes may hold line ends and be of any length."""
    before = csv.field_size_limit(max(len(text), csv.field_size_limit()))
    number = 0
    try:
        for number, cells in enumerate(csv.reader(io.StringIO(text, newline=""), delimiter=mark), start=1):
            yield number, cells
    except csv.Error as fault:
        raise DecisionFileError(name, [f"row {number + 1}: it is no row of a CSV file ({fault})"]) from None
    finally:
        csv.field_size_limit(before)


def _decision(line: Mapping[str, str], row: int, faults: list[str]) -> Decision | None:
    """The decision of a row, None when it has none; what is wrong with it goes to `faults`."""
    action, before = line["action"].lower(), len(faults)
    if not action:
        return None
    due = None
    if text := line.get("due", ""):
        try:
            found = _DAY.match(text)  # a workbook's day may come with its midnight
            due = dt.date.fromisoformat(found[0] if found else text)
        except ValueError:
            faults.append(f"row {row}: due {text!r} is not a date like 2026-11-06")
    template = line.get("template") or None
    if action not in ACTIONS:
        faults.append(f"row {row}: action {action!r} is not one of {', '.join(ACTIONS)}")
    elif action == "assign" and not line.get("owner"):
        faults.append(f"row {row}: assign needs an owner")
    elif action in _NEEDS_REASON and len(line["reason"]) < 5:
        faults.append(f"row {row}: {action} needs a reason of five letters or more")
    if template is not None and template not in TEMPLATES:
        faults.append(f"row {row}: there is no template {template!r}; there are {', '.join(sorted(TEMPLATES))}")
    if any("\0" in cell for cell in line.values()):
        faults.append(f"row {row}: a cell holds a character that is none (NUL)")
    if len(faults) > before:
        return None
    return Decision(
        row=row,
        break_id=line["break_id"],
        sha256=line["sha256"],
        proposal=line.get("proposal", ""),
        action=action,
        owner=line.get("owner") or None,
        due=due,
        template=template,
        reason=line["reason"],
    )


def _check_against_books(
    conn: Connection, book_id: int, decisions: Sequence[Decision], faults: list[str]
) -> list[Decision]:
    """The decisions that are not in effect yet; unknown, repeated and stale rows are faults."""
    board = {row.break_id: row for row in breaks_list(conn, book_id=book_id)}
    seen: dict[str, int] = {}
    for each in decisions:
        if each.break_id in seen:
            faults.append(f"row {each.row}: {each.break_id} is decided in row {seen[each.break_id]} already")
        seen.setdefault(each.break_id, each.row)
        now = board.get(each.break_id)
        if now is None and each.action not in ("note", "resolve"):
            faults.append(f"row {each.row}: {each.break_id} is not open any more; export again")
        elif now is not None and now.sha256 != each.sha256:
            faults.append(f"row {each.row}: {each.break_id} changed since the export; look at it again")
        elif now is not None and _is_about_another_proposal(each, now):
            shown, stands = each.proposal or "none", f"{each.break_id}: proposal {now.adjustment_id} stands"
            faults.append(f"row {each.row}: {stands}, the sheet shows {shown}; export again")
    return [each for each in decisions if not _in_effect(each, board.get(each.break_id))]


def _is_about_another_proposal(each: Decision, now: BoardRow) -> bool:
    is_decided = each.action in ("approve", "reject") and now.state in ("proposed", "approved")
    return is_decided and each.proposal != str(now.adjustment_id)


def _in_effect(each: Decision, now: BoardRow | None) -> bool:
    """Whether a decision has nothing left to do: the same sheet, saved again, is no new decision."""
    if now is None:
        return False
    match each.action:
        case "assign":
            return now.owner == each.owner and each.due in (None, now.due_date) and each.reason in ("", now.note or "")
        case "note":
            return now.note == each.reason and each.due in (None, now.due_date)
        case "propose" | "match":
            return now.state in ("proposed", "approved") and now.note == each.reason
        case "approve":
            return now.state == "approved"
        case _:
            return False


def _carry_out(conn: Connection, book_id: int, decisions: Sequence[Decision], faults: list[str]) -> None:
    """Every decision in its own savepoint, so that each refusal is listed; the caller undoes all when there is one."""
    for each in decisions:
        try:
            with transaction(conn):
                _one(conn, book_id, each)
        except NostroError as error:
            faults.append(f"row {each.row}: {each.break_id}: {error}")


def _one(conn: Connection, book_id: int, each: Decision) -> None:
    name = each.break_id
    match each.action:
        case "assign":
            note = each.reason or None
            assign_break(conn, book_id=book_id, break_id=name, owner=each.owner or "", due=each.due, note=note)
        case "note":
            note_break(conn, book_id=book_id, break_id=name, note=each.reason, due=each.due)
        case "propose" | "match":
            wish = Wish(match=True) if each.action == "match" else Wish(template=each.template)
            propose(conn, book_id=book_id, break_id=name, wish=wish, reason=each.reason)
        case "approve":
            number = open_proposal(conn, book_id=book_id, break_id=name)
            approve_proposal(conn, book_id=book_id, adjustment_id=number)
        case "reject":
            number = open_proposal(conn, book_id=book_id, break_id=name)
            end_proposal(conn, book_id=book_id, adjustment_id=number, reason=each.reason)
        case "resolve":
            resolve_break(conn, book_id=book_id, break_id=name, note=each.reason)
        case "reopen":
            reopen_break(conn, book_id=book_id, break_id=name, reason=each.reason)
