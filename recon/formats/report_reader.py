"""Tabular reports (CSV, workbooks) by a declared layout: of acquirers, payment providers, banks without a standard.

Lives here: rows to statements. Must not live here: what a column means (`report_layout`), the sections that some
reports put around their rows (`report_sections`).

Each row is an entry. Where its parts (gross, each fee, reserve) add up to it, each part is a line; the fees are
also its charges. A statement is one payout or batch; where it has its payout as a row, all rows add up to zero,
and that is its proof. Amounts are texts until they are minor units.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from datetime import date, datetime
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Final

from recon.formats.assembly import Draft, Line, finish_file
from recon.formats.mt940 import decoded
from recon.formats.report_layout import Amount, Layout, built_in
from recon.formats.report_sections import Cells, Report, Row, sections_of
from recon.formats.rules import StatementRefused
from recon.formats.values import Fault, exponent_of, parse_day, parse_money, reference, shown
from recon.formats.workbook import is_workbook, sheets
from recon.model import Balance, EntryStatus, StatementFile

_HEAD_ROWS: Final = 30  # a header row stands among the first
_DEBITS: Final = frozenset({"DR", "D", "DBIT", "DEBIT", "S", "-"})
_CREDITS: Final = frozenset({"CR", "C", "CRDT", "CREDIT", "H", "+"})


def layout_for(data: bytes, layouts: Sequence[Layout] | None = None) -> Layout | None:
    """The layout whose header is among the first rows, a declared one before ours; None when there is none.

    Of several that fit, the one that names most columns: it says most about the file.
    """
    for known in (tuple(layouts or ()), built_in()):
        if is_workbook(data):
            fitting = [layout for sheet in sheets(data) for layout in known if _is_at_head(layout, sheet)]
        else:
            text = decoded(data)[0][:20_000]
            fitting = [layout for layout in known if _is_at_head(layout, _first_rows(text, layout.delimiter))]
        if fitting:
            return max(fitting, key=lambda layout: len(layout.header))
    return None


def _first_rows(text: str, delimiter: str) -> Cells:
    """Up to `_HEAD_ROWS` rows; none when the text cannot be cut into cells."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        return [(reader.line_num, cells) for _, cells in zip(range(_HEAD_ROWS), reader, strict=False)]
    except csv.Error:
        return []


def columns_of(text: str) -> str | None:
    """The first columns of a text that is a table, for a message; None when it is none.

    A table has rows of three cells or more, most of them of one length, by one delimiter.
    """
    for delimiter in ";\t,|":
        rows = [cells for _, cells in _first_rows(text[:20_000], delimiter) if len(cells) > 2]
        lengths = [len(cells) for cells in rows]
        usual = max(lengths, key=lengths.count, default=0)
        if lengths and lengths.count(usual) * 2 >= len(lengths) and max(map(len, rows[lengths.index(usual)])) < 60:
            names = [cell.strip() for cell in rows[lengths.index(usual)] if cell.strip()]
            return f"{', '.join(names[:4])}{', …' if len(names) > 4 else ''}"[:100]
    return None


def _is_at_head(layout: Layout, rows: Cells) -> bool:
    for _, cells in rows[:_HEAD_ROWS]:
        if layout.tag is not None and layout.tag in cells[:2]:
            return True
        if layout.fits(tuple(cell.strip() for cell in cells)):
            return True
    return not layout.header and layout.tag is None and _is_row(layout, rows)


def _is_row(layout: Layout, rows: Cells) -> bool:
    """Whether the first row is an entry of a layout without a header: as many cells, and a date where its date is."""
    cells = next((cells for _, cells in rows if any(cells)), [])
    named = dict(zip(layout.columns, (cell.strip() for cell in cells), strict=False))
    return len(cells) == len(layout.columns) and any(_day(named.get(name, ""), layout) for name in layout.date)


def read_report(data: bytes, layout: Layout, *, name: str) -> StatementFile:
    """Read a report by its layout: CSV text, or the first sheet of a workbook that the layout fits.

    Raises `StatementRefused`: not CSV, cut short, or no row at all. A row that cannot be read is quarantined.
    """
    rows, encoding = _sheet(data, layout) if is_workbook(data) else _csv(data, layout)
    report = sections_of(layout, rows)
    if not report.rows and not report.stated:
        raise StatementRefused("no-statement", 1, "the report has no rows: ask for it again")
    drafts = _drafts(report, layout)
    if layout.rounds:
        drafts[0].notes.add("amounts-rounded", "amounts are rounded to the currency, half to even", 1)
    if encoding != "utf-8":
        drafts[0].notes.add("encoding-assumed", f"the text is not UTF-8; read as {encoding}", 1)
    return finish_file(name, data, drafts)


def _csv(data: bytes, layout: Layout) -> tuple[Cells, str]:
    text, encoding = decoded(data)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=layout.delimiter)
    try:
        rows = [(reader.line_num, cells) for row in reader if any(cells := [cell.strip() for cell in row])]
    except csv.Error as fault:
        raise StatementRefused("not-xml", max(reader.line_num, 1), f"not CSV ({fault}): fetch it again") from None
    return rows, encoding


def _sheet(data: bytes, layout: Layout) -> tuple[Cells, str]:
    return next((sheet for sheet in sheets(data, layout) if _is_at_head(layout, sheet)), []), "utf-8"


def _drafts(report: Report, layout: Layout) -> list[Draft]:
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in report.rows:
        code = _currency(row, layout, report)
        groups.setdefault((row.get(layout.statement), code), []).append(row)
    for key, currency, _, _ in report.stated:
        groups.setdefault((key, currency), [])
    drafts = []
    for (key, currency), rows in groups.items():
        draft = Draft(version=layout.name, source_line=rows[0].line if rows else 1)
        draft.currency = currency if exponent_of(currency) is not None else None
        draft.account = layout.account_is or (rows[0].get(layout.account) if rows else "") or report.account
        for ordinal, row in enumerate(rows, 1):
            _entry(ordinal, row, draft, layout)
        draft.entry_count = len(rows)
        days = [line.booking_date for line in draft.lines if line.booking_date is not None]
        draft.from_date, draft.to_date = (min(days), max(days)) if days else (None, None)
        parts = [part for part in (key, currency if len(groups) > 1 else "") if part]
        draft.id = " ".join(parts) or report.id or (draft.to_date.isoformat() if draft.to_date else None)
        if report.balances is not None and len(groups) == 1:
            report.stated.append((key, currency, *report.balances))
        _balances(draft, layout, report, key, currency, rows)
        if report.count is not None and report.count != len(report.rows):
            message = f"the report states {report.count} rows, there are {len(report.rows)}"
            draft.notes.add("summary-count-differs", message, draft.source_line)
        drafts.append(draft)
    return drafts


def _currency(row: Row, layout: Layout, report: Report) -> str:
    stated = row.get(layout.currency) or row.get(layout.other_currency)
    return (layout.currency_is or stated or report.currency).upper()


def _entry(ordinal: int, row: Row, draft: Draft, layout: Layout) -> None:
    draft.content.append("\x1f".join(row.cells.values()))
    code = draft.currency
    reference_ = reference(row.get(layout.references.get("account_servicer_ref"))) or None
    if code is None:
        draft.set_aside(
            ordinal, Fault("currency-unknown", "no ISO 4217 currency in the row"), row.line, reference=reference_
        )
        return
    faults: list[Fault] = []
    parts = [(part, _amount(row, part, code, layout, faults)) for part in layout.parts]
    net = _amount(row, layout.net, code, layout, faults) if layout.net else sum(minor for _, minor in parts)
    stated = row.first(layout.date)
    day = _day(stated, layout)
    if layout.date and day is None and (stated or layout.sections == "plain"):
        what = f"{shown(stated)} is not a date" if stated else "no date (a total? name how it starts in `skip`)"
        faults.append(Fault("date-garbled", what))
    for fault in faults:
        draft.set_aside(ordinal, fault, row.line, reference=reference_)
    if not faults:
        draft.lines += _lines(
            ordinal, row, draft, layout, net, [(p.code or row.get(layout.type), m) for p, m in parts], day
        )


def _lines(
    ordinal: int, row: Row, draft: Draft, layout: Layout, net: int, parts: list[tuple[str, int]], day: date | None
) -> list[Line]:
    kind = row.get(layout.type) or None
    fees = -sum(minor for (_, minor), part in zip(parts, layout.parts, strict=True) if part.code and _is_fee(part.code))
    if layout.rest is not None:
        parts = [(kind or layout.rest, net - sum(minor for _, minor in parts)), *parts]
    parts = [(code, minor) for code, minor in parts if minor]
    if sum(minor for _, minor in parts) != net and layout.parts:
        draft.notes.add("details-do-not-sum", f"the parts of a row do not add up to its net {net}", row.line)
        parts = []
    whole = (
        [(kind, net)]
        if len(parts) < 2
        else [(f"{kind}/{code}" if kind and code != kind else code, m) for code, m in parts]
    )
    texts = {name: reference(row.get(column)) for name, column in layout.references.items()}
    reason = row.get(layout.reason.column) if layout.reason else ""
    lines = [
        Line(
            line_ordinal=ordinal,
            detail_ordinal=place if len(whole) > 1 else 0,
            amount_minor=minor,
            entry_amount_minor=net,
            currency=draft.currency or "",
            status=_status(row, layout, kind),
            booking_date=day,
            value_date=_day(row.first(layout.value_date), layout) or day,
            proprietary_code=code or None,
            return_reason=reason if layout.reason and reason and reason.startswith(layout.reason.prefix) else None,
            charges_minor=fees if fees and place == 1 else None,
            source_line=row.line,
        )
        for place, (code, minor) in enumerate(whole, 1)
    ]
    for line in lines:
        for name, text in texts.items():
            setattr(line, name, text)
    return lines


def _is_fee(code: str) -> bool:
    return "fee" in code or code in ("commission", "markup", "interchange")


def _status(row: Row, layout: Layout, kind: str | None) -> str:
    informs = layout.all_inform or (kind in layout.informs)
    if layout.status is not None:
        informs = informs or row.get(layout.status.column) in layout.status.informs
    return (EntryStatus.INFO if informs else EntryStatus.BOOK).value


def _amount(row: Row, part: Amount, code: str, layout: Layout, faults: list[Fault]) -> int:
    if part.credit is not None or part.debit is not None:
        credit, debit = (_number(row.get(column), code, layout, faults) for column in (part.credit, part.debit))
        if debit < 0:
            _needs_signed(row.get(part.debit), part, faults)
        return (credit + debit if debit < 0 and part.signed else credit - debit) * part.sign
    minor = _number(row.get(part.column), code, layout, faults) * part.sign
    if part.indicator is not None and minor:
        word = row.get(part.indicator).upper()
        if word not in _DEBITS | _CREDITS:
            faults.append(Fault("sign-unknown", f"{shown(word)} is neither credit nor debit"))
        if minor < 0:
            _needs_signed(row.get(part.column), part, faults)
        return -minor if word in _DEBITS and not (minor < 0 and part.signed) else minor
    return minor


def _needs_signed(text: str, part: Amount, faults: list[Fault]) -> None:
    """A minus beside a word or column that says debit may mean out or back; only the layout knows."""
    if part.signed is None:
        faults.append(Fault("sign-unknown", f"{shown(text)} has a minus of its own: say `signed` in the layout"))


def _number(text: str, code: str, layout: Layout, faults: list[Fault]) -> int:
    """Minor units of a written number: a sign before or behind, brackets, grouping; an empty cell is zero."""
    plain = re.sub(r"[\s\u00a0'’]", "", text)
    negative = plain.startswith(("-", "\u2212", "(")) or plain.endswith("-")
    plain = plain.strip("+-\u2212()")
    if not plain:
        return 0
    plain = plain.replace("." if layout.decimal == "," else ",", "").replace(",", ".")
    if layout.minor_units:
        if plain.isascii() and plain.isdigit() and len(plain) <= 18:
            return -int(plain) if negative else int(plain)
        faults.append(Fault("amount-garbled", f"amount {shown(text)} is not a whole number of minor units"))
        return 0
    if layout.rounds:
        plain = _rounded(plain, code)
    minor = parse_money(plain, code)
    if isinstance(minor, Fault):
        faults.append(minor)
        return 0
    return -minor if negative else minor


def _rounded(plain: str, code: str) -> str:
    """The number in the decimals of its currency, half to even; what is no number stays as it is."""
    try:
        return f"{Decimal(plain).quantize(Decimal(1).scaleb(-(exponent_of(code) or 0)), ROUND_HALF_EVEN):f}"
    except InvalidOperation:
        return plain


def _day(text: str, layout: Layout) -> date | None:
    if not text:
        return None
    if layout.date_format is not None:
        try:
            return datetime.strptime(text, layout.date_format).date()  # noqa: DTZ007  a date as the file writes it
        except ValueError:
            return None
    return parse_day(text[:10].replace("/", "-"))


def _balances(draft: Draft, layout: Layout, report: Report, key: str, currency: str, rows: Sequence[Row]) -> None:
    """Stated sums, a running balance, or a payout among the rows: what the rows must add up to."""
    code = draft.currency
    if code is None:
        return
    for stated_key, stated_currency, opening, closing in report.stated:
        if (stated_key, stated_currency) == (key, currency):
            faults: list[Fault] = []
            _bracket(draft, code, _number(opening, code, layout, faults), _number(closing, code, layout, faults))
    if draft.balances or not draft.lines:
        return
    if layout.balance is not None:
        _running(draft, layout, code, rows)
    elif any(row.get(layout.type) in layout.payout for row in rows):
        _bracket(draft, code, 0, 0)


def _running(draft: Draft, layout: Layout, code: str, rows: Sequence[Row]) -> None:
    """A balance behind each row, oldest row first or last."""
    faults: list[Fault] = []
    after = [_number(row.get(layout.balance), code, layout, faults) for row in rows]
    nets = {line.line_ordinal: line.entry_amount_minor for line in draft.lines}
    if faults or len(nets) != len(rows):
        return
    amounts = [nets[ordinal] for ordinal in range(1, len(rows) + 1)]
    if all(after[i] + amounts[i + 1] == after[i + 1] for i in range(len(rows) - 1)):
        _bracket(draft, code, after[0] - amounts[0], after[-1])
    else:
        _bracket(draft, code, after[-1] - amounts[-1], after[0])


def _bracket(draft: Draft, code: str, opening: int, closing: int) -> None:
    for kind, minor, day in (("OPBD", opening, draft.from_date), ("CLBD", closing, draft.to_date)):
        draft.balances.append(
            Balance(
                kind=kind,
                intermediate=False,
                amount_minor=minor,
                currency=code,
                day=day,
                moment=None,
                source_line=draft.source_line,
            )
        )
