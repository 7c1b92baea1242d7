"""What stands around the rows of a report: headers, trailers, stated sums.

Lives here: one function for each way to frame rows. Must not live here: the meaning of a row's columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from recon.formats.report_layout import Layout
from recon.formats.rules import StatementRefused

Cells = Sequence[tuple[int, list[str]]]


@dataclass(frozen=True, slots=True)
class Row:
    """One row by column name, and its line."""

    line: int
    cells: dict[str, str]

    def get(self, column: str | None) -> str:
        """A cell; empty when the layout names no column or the row has none."""
        return "" if column is None else self.cells.get(column, "")

    def first(self, columns: Sequence[str]) -> str:
        """The first of these cells that has a text."""
        return next((text for text in map(self.get, columns) if text), "")


@dataclass(slots=True)
class Report:
    """The rows and what the report says about them. `stated`: statement key, currency, opening, closing (texts)."""

    rows: list[Row] = field(default_factory=list)
    stated: list[tuple[str, str, str, str]] = field(default_factory=list)
    # Opening and closing (texts) of the only statement.
    balances: tuple[str, str] | None = None
    account: str | None = None
    currency: str = ""
    # Currency by statement key, of rows that state sums; where their entries name none.
    currencies: dict[str, str] = field(default_factory=dict)
    id: str | None = None
    count: int | None = None


def sections_of(layout: Layout, rows: Cells) -> Report:
    """Rows and stated sums of a report."""
    frames = {"plain": _plain, "paypal": _paypal, "dlocal": _dlocal, "trustly": _trustly}
    return frames[layout.sections](layout, rows)


def column_names(header: Sequence[str]) -> list[str]:
    """What a layout calls each column: its name, or its place (``#3``) where it has none of its own."""
    names: list[str] = []
    for place, name in enumerate(header, 1):
        names.append(f"#{place}" if not name or name in names else name)
    return names


def _named(names: Sequence[str], line: int, cells: Sequence[str]) -> Row:
    return Row(line, dict(zip(names, cells, strict=False)))


def _plain(layout: Layout, rows: Cells) -> Report:
    """One header row, wherever it stands among the first; every other row behind it is an entry.

    Without a header all rows are. Rows that start with a text of `skip`, `opening` or `closing` are none, wherever they
    stand; the last filled cell of the latter two is the balance.
    """
    balances = tuple(_balance_of(label, rows) for label in (layout.opening, layout.closing))
    labels = tuple(label for label in (*layout.skip, layout.opening, layout.closing) if label)
    at = next((place for place, (_, cells) in enumerate(rows) if layout.fits(tuple(cells))), None)
    if at is None and layout.header:
        return Report()
    header, behind = (list(layout.columns), 0) if at is None else (column_names(rows[at][1]), at + 1)
    body = [
        (line, cells)
        for line, cells in rows[behind:]
        if len(cells) > 1 and not (labels and next(filter(None, cells), "").startswith(labels))
    ]
    for line, cells in body:
        if len(cells) > len(header) and any(cells[len(header) :]):
            raise StatementRefused(
                "cut-short", line, f"{len(cells)} cells, the header has {len(header)}: fetch it again"
            )
    found = Report(rows=[_named(header, line, cells) for line, cells in body])
    _take_totals(found, layout)
    if all(balances):
        found.balances = (balances[0], balances[1])
    return found


def _take_totals(report: Report, layout: Layout) -> None:
    """Rows that state the sum of a statement's entries and have no date are no entries: they prove the others."""
    if layout.total is None:
        return
    stated = [row for row in report.rows if row.get(layout.total) and not row.first(layout.date)]
    for row in stated:
        key, code = row.get(layout.statement), layout.currency_is or row.get(layout.currency)
        report.currencies[key] = code
        report.stated.append((key, code.upper(), "0", row.get(layout.total)))
    report.rows = [row for row in report.rows if row not in stated]


def _balance_of(label: str | None, rows: Cells) -> str:
    """The last filled cell of the row that starts with a label."""
    for _, cells in rows:
        filled = [cell for cell in cells if cell]
        if label and len(filled) > 1 and filled[0].startswith(label):
            return filled[-1]
    return ""


def _paypal(layout: Layout, rows: Cells) -> Report:
    """RH, FH, SH (account), CH (header), SB (row), SF/RF (sums of section and report), SC/RC (counts)."""
    report = Report()
    header: list[str] = []
    sums: dict[str, dict[str, tuple[str, str]]] = {"SF": {}, "RF": {}}
    for line, cells in rows:
        tag = cells[0].lstrip("\ufeff").strip('"')
        if tag == "SH" and len(cells) > 3:
            report.account = cells[3]
            report.id = cells[1][:10].replace("/", "-")
        elif tag == "CH":
            header = column_names([" ".join(cell.split()) for cell in cells[1:]])
        elif tag == "SB":
            report.rows.append(_named(header, line, cells[1:]))
        elif tag in sums and len(cells) > 9:
            sums[tag][cells[1]] = (_signed(cells[6], cells[7]), _signed(cells[8], cells[9]))
    for code, (opening, closing) in (sums["SF"] or sums["RF"]).items():
        report.stated.append(("", code, opening, closing))
    return report


def _signed(indicator: str, amount: str) -> str:
    return f"-{amount}" if indicator.upper() == "DR" else amount


def _dlocal(layout: Layout, rows: Cells) -> Report:
    """Two headers: of the transfer (its row states currency and net), then of the rows."""
    report = Report()
    header: list[str] = []
    for line, cells in rows:
        if cells[0] == "ROW_TYPE":
            header = column_names(cells)
        elif cells[0] == "HEADER":
            head = _named(header, line, cells)
            report.currency = head.get("SETTLEMENT_CURRENCY")
            report.id = head.get("TRANSFER_ID") or None
            report.stated.append(("", report.currency, "0", head.get("NET_TOTAL_AMOUNT")))
            count = head.get("NUMBER_OF_ITEMS")
            report.count = int(count) if count.isdigit() and len(count) < 10 else None
        else:
            report.rows.append(_named(header, line, cells))
    return report


def _trustly(layout: Layout, rows: Cells) -> Report:
    """H (report), I or T (row), F (funding: what is transferred), L (counts); the last row must be L."""
    report = Report()
    if rows[-1][1][0] != "L":
        raise StatementRefused("cut-short", rows[-1][0], "the report ends without its L row: fetch it again")
    for line, cells in rows:
        if cells[0] == "H" and len(cells) > 4:
            report.id = f"{cells[1]} {cells[3][:10]}"
        elif cells[0] in ("I", "T"):
            report.rows.append(_named(layout.columns, line, cells))
        elif cells[0] == "F" and len(cells) > 5:
            report.stated.append((cells[3], cells[4], "0", cells[5]))
        elif cells[0] == "L" and len(cells) > 1:
            report.count = int(cells[1]) if cells[1].isdigit() and len(cells[1]) < 10 else None
    return report
