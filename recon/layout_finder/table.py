"""The table in a file: delimiter, encoding, the header row, the rows that are entries, and the others.

Lives here: bytes to rows. Must not live here: what a column means (`amounts`, `finder`).

An entry is a row with a day in a column of days and with a number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from recon.formats.mt940 import decoded
from recon.formats.report_reader import first_rows, whole_lines
from recon.formats.report_sections import Cells, column_names
from recon.formats.rules import StatementRefused
from recon.formats.workbook import is_workbook, sheets
from recon.layout_finder import words
from recon.layout_finder.written import is_day, is_number

_DELIMITERS: Final = ";\t,|"
_HEAD_ROWS: Final = 30  # the reader of reports looks for a header in as many
ROWS_MAX: Final = 5_000  # what is looked at; the trial reads the whole file
_BYTES_MAX: Final = 4_000_000
# Of one byte a letter, so the structure is the same in each; then those of two.
_ENCODINGS: Final = (
    "cp1252", "cp1250", "cp1251", "iso8859-2", "cp1253", "cp1254", "cp1257", "cp850", "cp852", "mac-roman", "koi8-r",
    "shift_jis", "gb18030", "big5", "euc-kr",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of a file. `names` are what a layout calls the columns; `header_line` is None when there is no header.

    `others` are the rows behind the header that are no entries, `head` the rows before it.
    """

    is_workbook: bool
    encoding: str | None
    encodings: tuple[str, ...]
    delimiter: str
    header_line: int | None
    header: tuple[str, ...]
    names: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]
    others: tuple[tuple[int, tuple[str, ...]], ...]
    head: tuple[tuple[int, tuple[str, ...]], ...]
    is_whole: bool

    def column(self, name: str) -> list[str]:
        """The cells of a column, entries only."""
        place = self.names.index(name)
        return [cells[place] if place < len(cells) else "" for _, cells in self.rows]


def table_of(data: bytes) -> Table:
    """The table of a file. Raises `StatementRefused` (layout-unknown) when nothing in it looks like entries."""
    if is_workbook(data):
        found = [_in_rows(sheet[:ROWS_MAX], delimiter=",", whole=len(sheet) <= ROWS_MAX) for sheet in sheets(data)]
        return replace(_best([each for each in found if each is not None]), is_workbook=True)
    text, encoding = decoded(whole_lines(data, _BYTES_MAX))
    candidates = [_delimited(text, mark, len(data) <= _BYTES_MAX) for mark in _DELIMITERS]
    table = _best([each for each in candidates if each is not None])
    return table if encoding == "utf-8" else _encoded(data, table)


def without_totals(table: Table) -> Table:
    """The same table; rows that fill only a column of totals, where all others leave it empty, are no entries of it."""
    for name in table.names:
        filled = [bool(text) for text in table.column(name)]
        if "total" not in words.plain(name).split() or not any(filled) or all(filled):
            continue
        amounts = [each for each in table.names if each != name and words.fit(each, "amount") >= 40]
        if any(text for each in amounts for text, total in zip(table.column(each), filled, strict=True) if total):
            continue
        rows = list(zip(table.rows, filled, strict=True))
        stated = tuple(row for row, total in rows if total)
        return replace(table, rows=tuple(row for row, total in rows if not total), others=(*stated, *table.others))
    return table


def _best(found: Sequence[Table]) -> Table:
    if not found:
        raise StatementRefused(
            "layout-unknown",
            1,
            "no rows with a day and a number in columns of their own: this is no report of entries that could be read",
        )
    return max(found, key=lambda table: (len(table.rows), len(table.names)))


def _delimited(text: str, delimiter: str, whole: bool) -> Table | None:
    rows = first_rows(text, delimiter, most=ROWS_MAX)
    stripped = [(line, [cell.strip() for cell in cells]) for line, cells in rows if any(map(str.strip, cells))]
    return _in_rows(stripped, delimiter=delimiter, whole=whole and len(rows) < ROWS_MAX)


def _in_rows(rows: Cells, *, delimiter: str, whole: bool) -> Table | None:
    """The table in rows of cells; None when no row is an entry."""
    widths = Counter(len(cells) for _, cells in rows if len(cells) > 2)
    if not widths:
        return None
    wide = max(3, min(width for width, count in widths.items() if count == max(widths.values())) * 3 // 5)
    likely = [cells for _, cells in rows if len(cells) >= wide and _has_number(cells)]
    days = Counter(place for cells in likely for place, cell in enumerate(cells) if is_day(cell))
    columns = {place for place, count in days.items() if count * 2 >= max(days.values())}
    is_entry = [
        len(cells) >= wide
        and _has_number(cells)
        and any(place in columns and is_day(cell) for place, cell in enumerate(cells))
        for _, cells in rows
    ]
    if not any(is_entry):
        return None
    first = is_entry.index(True)
    at = _header_at([cells for _, cells in rows[:first]], len(rows[first][1]))
    usual = Counter(len(cells) for (_, cells), entry in zip(rows, is_entry, strict=True) if entry).most_common(1)[0][0]
    header = () if at is None else tuple(rows[at][1])
    names = tuple(column_names(header)) if header else tuple(f"c{place}" for place in range(1, usual + 1))
    behind = 0 if at is None else at + 1
    numbered = [(line, tuple(cells)) for line, cells in rows]
    return Table(
        is_workbook=False,
        encoding=None,
        encodings=(),
        delimiter=delimiter,
        header_line=None if at is None else rows[at][0],
        header=header,
        names=names,
        rows=tuple(row for row, entry in zip(numbered, is_entry, strict=True) if entry),
        others=tuple(row for row, entry in list(zip(numbered, is_entry, strict=True))[behind:] if not entry),
        head=tuple(numbered[: max(behind - 1, 0)]),
        is_whole=whole,
    )


def _has_number(cells: Sequence[str]) -> bool:
    return any(is_number(cell) and not is_day(cell) for cell in cells) or sum(map(is_number, cells)) > 1


def _header_at(before: Sequence[Sequence[str]], width: int) -> int | None:
    """Of the rows before the first entry, the one that names its columns; None when none does."""
    found: tuple[tuple[int, int, int], int] | None = None
    for place, cells in enumerate(before[:_HEAD_ROWS]):
        filled = [cell for cell in cells if cell]
        if len(filled) * 5 < width * 3 or any(is_number(cell) or is_day(cell) for cell in filled):
            continue
        worth = (sum(map(words.is_known, filled)), len(filled), place)
        if found is None or worth > found[0]:
            found = (worth, place)
    return None if found is None else found[1]


def _encoded(data: bytes, table: Table) -> Table:
    """The same table in the encoding in which most of its column names are words; several where that does not tell."""
    known: dict[str, int] = {}
    for encoding in _ENCODINGS:
        try:
            text = whole_lines(data, _BYTES_MAX).decode(encoding)
        except UnicodeDecodeError:
            continue
        found = _delimited(text, table.delimiter, table.is_whole)
        if found is not None and len(found.rows) >= len(table.rows):
            known[encoding] = sum(map(words.is_known, found.header))
    if not known:
        return table
    best = [encoding for encoding, count in known.items() if count == max(known.values())]
    chosen = best[0]
    text = whole_lines(data, _BYTES_MAX).decode(chosen)
    again = _delimited(text, table.delimiter, table.is_whole)
    if again is None:
        raise AssertionError("the table was there a moment ago")
    return replace(again, encoding=chosen, encodings=tuple(best))
