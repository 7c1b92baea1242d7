"""Workbooks (XLSX) as rows of text, as if each sheet had been saved as CSV in the way a layout expects.

Lives here: zip, shared strings, styles, cells. Must not live here: what a column means (`report_layout`).

A workbook keeps a number as the text of a binary fraction: 0.1 + 0.2 is written 0.30000000000000004. Spreadsheets
show and guarantee 15 significant digits, so a number is read as text, rounded to 15 digits as a decimal, and never
becomes a binary fraction here. Dates are numbers whose style is a date's. Formulas count by their last result.
"""

from __future__ import annotations

import datetime as dt
import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from typing import Any, Final

from recon.formats.report_layout import Layout
from recon.formats.rules import StatementRefused
from recon.formats.safe_xml import ByteSource, element_ends, open_bytes

# What `zipfile` raises for bytes that are no whole archive of a kind it can open (RuntimeError: encrypted, or a method
# or version it does not know; ValueError: a name that is not what its flag says).
ZIP_FAULTS: Final = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError, OSError)
_BOOK: Final = "xl/workbook.xml"
_LINKS: Final = "xl/_rels/workbook.xml.rels"
_SIGNIFICANT: Final = Context(prec=15, rounding=ROUND_HALF_EVEN)
_COLUMNS_MAX: Final = 16_384
_DATE_STYLES: Final = frozenset({*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)})
_QUOTED: Final = re.compile(r'"[^"]*"|\[[^\]]*\]|\\.|_.|\*.')
_ESCAPED: Final = re.compile(r"_x([0-9A-Fa-f]{4})_")
_EPOCHS: Final = {False: dt.datetime(1899, 12, 30), True: dt.datetime(1904, 1, 1)}  # noqa: DTZ001  a cell has no zone

Sheet = list[tuple[int, list[str]]]


def is_workbook(data: bytes) -> bool:
    """Whether these bytes are an XLSX file."""
    if not data.startswith(b"PK\x03\x04"):
        return False
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return _BOOK in archive.namelist()
    except ZIP_FAULTS:
        return False


def sheets(data: bytes, layout: Layout | None = None) -> Iterator[Sheet]:
    """Rows (number, texts of the cells) of each sheet that is not hidden, in the order of the workbook.

    Numbers have the layout's decimal mark, dates its format. Raises `StatementRefused` (archive-damaged or a fault
    of the XML). The caller has checked that the file unpacks to a bounded size.
    """
    decimal = "." if layout is None else layout.decimal
    day_format = None if layout is None else layout.date_format
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            book = _Book(archive, decimal, day_format)
            for part in book.visible_sheets():
                yield list(book.rows(part))
    except (*ZIP_FAULTS, KeyError) as fault:
        raise StatementRefused("archive-damaged", 1, f"the workbook cannot be read ({fault}): fetch it again") from None


class _Book:
    """The parts of a workbook that its cells refer to."""

    def __init__(self, archive: zipfile.ZipFile, decimal: str, day_format: str | None) -> None:
        self._archive = archive
        self._names = frozenset(archive.namelist())
        self._decimal, self._day_format = decimal, day_format
        self._epoch = _EPOCHS[False]
        self._texts = [_text_of(item) for item in self._elements("xl/sharedStrings.xml", "si")]
        self._date_styles = self._styles()

    def _elements(self, part: str, *names: str) -> Iterator[Any]:
        """Elements of a part, each gone again when the next one is asked for."""
        if part not in self._names:
            return
        source = ByteSource(open_bytes(self._archive.read(part)))
        for element in element_ends(source, names):
            yield element
            element.clear()
            while element.getprevious() is not None:
                del element.getparent()[0]
            source.silent_bytes = 0

    def _styles(self) -> frozenset[int]:
        """Places of the cell styles that show a number as a date."""
        custom: set[int] = set()
        found: set[int] = set()
        for element in self._elements("xl/styles.xml", "numFmt", "cellXfs"):
            if _local(element) == "numFmt":
                shown = _QUOTED.sub("", element.get("formatCode", "")).lower()
                if "y" in shown or "d" in shown:
                    custom.add(int(element.get("numFmtId", "0")))
                continue
            for place, style in enumerate(child for child in element if _local(child) == "xf"):
                if int(style.get("numFmtId", "0")) in _DATE_STYLES | custom:
                    found.add(place)
        return frozenset(found)

    def visible_sheets(self) -> list[str]:
        """Names of the parts, and the epoch of the dates on the way."""
        targets = {link.get("Id"): link.get("Target", "") for link in self._elements(_LINKS, "Relationship")}
        parts = []
        for element in self._elements(_BOOK, "workbookPr", "sheet"):
            if _local(element) == "workbookPr":
                self._epoch = _EPOCHS[element.get("date1904", "0") in ("1", "true")]
            elif element.get("state", "visible") == "visible":
                link = next((value for name, value in element.attrib.items() if name.endswith("}id")), None)
                target = targets.get(link, "")
                parts.append(target.lstrip("/") if target.startswith("/") else f"xl/{target}")
        return [part for part in parts if part in self._names]

    def rows(self, part: str) -> Iterator[tuple[int, list[str]]]:
        """Rows with any text; numbers count from 1 where the file gives none."""
        number = 0
        for row in self._elements(part, "row"):
            number = int(row.get("r", number + 1))
            cells: list[str] = []
            for cell in row:
                if _local(cell) != "c":
                    continue
                column = _column(cell.get("r", ""), len(cells))
                if column >= _COLUMNS_MAX:
                    raise StatementRefused("archive-unsafe", number, "a row with more columns than a sheet can have")
                cells.extend([""] * (column + 1 - len(cells)))
                cells[column] = self._cell(cell).strip()
            if any(cells):
                yield number, cells

    def _cell(self, cell: Any) -> str:
        kind = cell.get("t", "n")
        if kind == "inlineStr":
            return next((_text_of(child) for child in cell if _local(child) == "is"), "")
        value = next((child.text or "" for child in cell if _local(child) == "v"), "")
        if kind == "s":
            place = int(value) if value.isdigit() else -1
            return self._texts[place] if 0 <= place < len(self._texts) else ""
        if kind == "d":
            return self._day(dt.datetime.fromisoformat(value))
        if kind != "n" or not value:
            return value
        return self._number(value, int(cell.get("s", "0")))

    def _number(self, value: str, style: int) -> str:
        try:
            number = _SIGNIFICANT.create_decimal(value)
        except InvalidOperation:
            return value
        if not number.is_finite() or number.adjusted() > 400:
            return value
        if style in self._date_styles and 1 <= number < 2_958_466:
            return self._day(self._epoch + _since(number))
        plain = f"{number:f}"
        if "." in plain:
            plain = plain.rstrip("0").rstrip(".")
        return plain.replace(".", self._decimal)

    def _day(self, moment: dt.datetime) -> str:
        if self._day_format is not None:
            return moment.strftime(self._day_format)
        return moment.date().isoformat() if moment.time() == dt.time() else moment.isoformat(sep=" ")


def _since(days: Decimal) -> dt.timedelta:
    whole = int(days)
    seconds = ((days - whole) * 86_400).quantize(Decimal(1), ROUND_HALF_EVEN)
    return dt.timedelta(days=whole, seconds=int(seconds))


def _column(place: str, otherwise: int) -> int:
    """Column from 0 of a place like ``BC12``."""
    letters = "".join(letter for letter in place if letter.isalpha()).upper()
    if not letters or not letters.isascii():
        return otherwise
    column = 0
    for letter in letters:
        column = column * 26 + ord(letter) - 64
    return column - 1


def _text_of(element: Any) -> str:
    """Text of a string item; how it is to be pronounced (``rPh``) is not part of it. ``_x000D_`` is one character."""
    parts = []
    for child in element.iter():
        if _local(child) == "t" and _local(child.getparent()) != "rPh":
            parts.append(child.text or "")
    return _ESCAPED.sub(_escaped, "".join(parts))


def _escaped(found: re.Match[str]) -> str:
    """The character that is meant; what no text holds (controls, halves of a pair) stays as it is written."""
    code = int(found[1], 16)
    return chr(code) if code in (9, 10, 13) or 32 <= code < 0xD800 or 0xDFFF < code < 0xFFFE else found[0]


def _local(element: Any) -> str:
    return str(element.tag).rpartition("}")[2]
