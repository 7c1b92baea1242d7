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
from recon.formats.running import every_step_holds, running_ends
from recon.formats.values import Fault, exponent_of, parse_day, parse_money, reference, shown
from recon.formats.workbook import is_workbook, sheets
from recon.model import Balance, EntryStatus, StatementFile

_HEAD_ROWS: Final = 30  # a header row stands among the first
_HEAD_BYTES: Final = 80_000
# A time behind a day: after a blank or a T, or its digits right behind those of the day (20261120120000).
_TIME_BEHIND: Final = re.compile(r"[ T,]+(?:at )?[0-9]{1,2}[:.][0-9]{2}.*$|(?<=^[0-9]{8})[0-9]{4,6}(?:[.\[].*)?$")
# Blanks, marks of grouping, and how people write currencies beside an amount; the layout says which one it is.
_FILLING: Final = re.compile(
    r"[\s\u00a0'’$€£¥₤₹₽₺₩₪₫₱₴₦฿]|(?<![a-z])(?:kr|sek|z\u0142|k\u010d|ft|rs|r|руб|лв)\.?(?![a-z])(?<!sek)",
    re.IGNORECASE,
)
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
            head = whole_lines(data, _HEAD_BYTES)
            fitting = [layout for layout in known if _is_at_head(layout, _head_of(head, layout))]
        if fitting:
            return max(fitting, key=lambda layout: len(layout.header))
    return None


def whole_lines(data: bytes, most: int) -> bytes:
    """The first lines of a text, `most` bytes at the most: a cut inside a character would change the encoding."""
    return data if len(data) <= most else data[: data.rfind(b"\n", 0, most) + 1] or data[:most]


def _head_of(data: bytes, layout: Layout) -> Cells:
    return first_rows(_text(data, layout)[0][:20_000], layout.delimiter)


def _text(data: bytes, layout: Layout) -> tuple[str, str]:
    """Text and encoding: the layout's where it says one and the bytes are no Unicode, else as for any bank's text."""
    text, encoding = decoded(data)
    if layout.encoding is None or encoding == "utf-8":
        return text, encoding
    return data.decode(layout.encoding, "replace"), "utf-8"


def first_rows(text: str, delimiter: str, most: int = _HEAD_ROWS) -> Cells:
    """Up to `most` rows; none when the text cannot be cut into cells."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        return [(reader.line_num, cells) for _, cells in zip(range(most), reader, strict=False)]
    except csv.Error:
        return []


def columns_of(text: str) -> str | None:
    """The first columns of a text that is a table, for a message; None when it is none.

    A table has rows of three cells or more, most of them of one length, by one delimiter.
    """
    for delimiter in ";\t,|":
        rows = [cells for _, cells in first_rows(text[:20_000], delimiter) if len(cells) > 2]
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
    return len(cells) == len(layout.columns) and any(day_of(named.get(name, ""), layout) for name in layout.date)


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
    text, encoding = _text(data, layout)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=layout.delimiter)
    try:
        rows = [(reader.line_num, cells) for row in reader if any(cells := [cell.strip() for cell in row])]
    except csv.Error as fault:
        raise StatementRefused("not-xml", max(reader.line_num, 1), f"not CSV ({fault}): fetch it again") from None
    return rows, encoding


def _sheet(data: bytes, layout: Layout) -> tuple[Cells, str]:
    return next((sheet for sheet in sheets(data, layout) if _is_at_head(layout, sheet)), []), "utf-8"


def _drafts(report: Report, layout: Layout) -> list[Draft]:
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in report.rows:
        # A report that states sums states them over all accounts it names.
        account = row.get(layout.account) if layout.sections == "plain" else ""
        groups.setdefault((row.get(layout.statement), account, _currency(row, layout, report)), []).append(row)
    known = {(key, currency) for key, _, currency in groups}
    for key, currency, _, _ in report.stated:
        if (key, currency) not in known:
            groups[(key, "", currency)] = []
    accounts = {account for _, account, _ in groups}
    drafts = []
    for (key, account, currency), rows in groups.items():
        draft = Draft(version=layout.name, source_line=rows[0].line if rows else 1)
        draft.currency = currency if exponent_of(currency) is not None else None
        draft.account = layout.account_is or (rows[0].get(layout.account) if rows else "") or report.account
        for ordinal, row in enumerate(rows, 1):
            _entry(ordinal, row, draft, layout)
        draft.entry_count = len(rows)
        days = [line.booking_date for line in draft.lines if line.booking_date is not None]
        draft.from_date, draft.to_date = (min(days), max(days)) if days else (None, None)
        several = (account if len(accounts) > 1 else "", currency if len(groups) > 1 else "")
        parts = [part for part in (key, *several) if part]
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
    of_statement = report.currencies.get(row.get(layout.statement), report.currency)
    return (layout.currency_is or stated or of_statement).upper()


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
    day = day_of(stated, layout)
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
            value_date=day_of(row.first(layout.value_date), layout) or day,
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
        debits, credits = (
            (frozenset(map(str.upper, part.debits)), frozenset(map(str.upper, part.credits)))
            if part.debits or part.credits
            else (_DEBITS, _CREDITS)
        )
        if word not in debits | credits:
            faults.append(Fault("sign-unknown", f"{shown(word)} is neither credit nor debit"))
        if minor < 0:
            _needs_signed(row.get(part.column), part, faults)
        return -minor if word in debits and not (minor < 0 and part.signed) else minor
    return minor


def _needs_signed(text: str, part: Amount, faults: list[Fault]) -> None:
    """A minus beside a word or column that says debit may mean out or back; only the layout knows."""
    if part.signed is None:
        faults.append(Fault("sign-unknown", f"{shown(text)} has a minus of its own: say `signed` in the layout"))


def bare_number(text: str, code: str) -> str:
    """A written number without blanks, apostrophes and its currency: sign, digits, marks, ``DR`` or ``CR``."""
    plain = _FILLING.sub("", text).upper()
    return plain.removeprefix(code).removesuffix(code) if code else plain


def _number(text: str, code: str, layout: Layout, faults: list[Fault]) -> int:
    """Minor units of a written number: a sign before or behind, brackets, grouping; an empty cell is zero.

    ``DR`` or ``CR`` behind it is its sign. A currency's sign or code beside it goes; another code stays, a fault.
    """
    bare = bare_number(text, code)
    plain = bare.removesuffix("DR").removesuffix("CR")
    negative = plain.startswith(("-", "\u2212", "(")) or plain.endswith(("-", "\u2212"))
    if negative and bare != plain:
        faults.append(Fault("sign-unknown", f"{shown(text)} has a minus and a word for its sign"))
    negative = negative or bare.endswith("DR")
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


def day_of(text: str, layout: Layout) -> date | None:
    if not text:
        return None
    if layout.date_format is not None:
        return _in_format(text, layout.date_format) or _in_format(_TIME_BEHIND.sub("", text), layout.date_format)
    return parse_day(text[:10].replace("/", "-"))


def _in_format(text: str, date_format: str) -> date | None:
    try:
        return datetime.strptime(text, date_format).date()  # noqa: DTZ007  a date as the file writes it
    except ValueError:
        return None


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
    """A balance behind each row, or the last of a day; oldest row first or last. Rows that inform change none."""
    faults: list[Fault] = []
    if len({line.line_ordinal for line in draft.lines}) != len(rows):
        return
    booked = {
        line.line_ordinal: line.entry_amount_minor for line in draft.lines if line.status == EntryStatus.BOOK.value
    }
    texts = {ordinal: rows[ordinal - 1].get(layout.balance) for ordinal in booked}
    after = [_number(text, code, layout, faults) if text else None for text in texts.values()]
    amounts = list(booked.values())
    if faults or not amounts:
        return
    ways = [(amounts, after), (amounts[::-1], after[::-1])]
    whole = next((way for way in ways if every_step_holds(*way)), None)
    ends = running_ends(*whole) if whole else running_ends(*ways[1]) or running_ends(*ways[0])
    if ends is not None:
        _bracket(draft, code, *ends)


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
