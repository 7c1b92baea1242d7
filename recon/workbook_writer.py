"""A table of texts as a workbook (XLSX) that spreadsheets open: one sheet, texts as texts.

Lives here: the five parts of the smallest workbook. Must not live here: what the cells mean; reading
(`recon.formats.workbook`). The same table gives the same bytes.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Sequence
from typing import Final
from xml.sax.saxutils import escape, quoteattr

_MAIN: Final = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OFFICE: Final = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE: Final = "http://schemas.openxmlformats.org/package/2006"
_TYPE: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_HEAD: Final = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_NOT_XML: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_ESCAPE: Final = re.compile(r"\r|_(?=x[0-9A-Fa-f]{4}_)")
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)


def write_workbook(sheet: str, table: Sequence[Sequence[str]]) -> bytes:
    """The workbook of a table; its first row is frozen. Every cell is text, so nothing is taken for a formula."""
    parts = {
        "[Content_Types].xml": (
            f'<Types xmlns="{_PACKAGE}/content-types">'
            '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
            '<Default Extension="xml" ContentType="application/xml"/>'
            f'<Override PartName="/xl/workbook.xml" ContentType="{_TYPE}.sheet.main+xml"/>'
            f'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{_TYPE}.worksheet+xml"/></Types>'
        ),
        "_rels/.rels": _links("officeDocument", "xl/workbook.xml"),
        "xl/workbook.xml": (
            f'<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}"><sheets>'
            f'<sheet name={quoteattr(sheet)} sheetId="1" r:id="rId1"/></sheets></workbook>'
        ),
        "xl/_rels/workbook.xml.rels": _links("worksheet", "worksheets/sheet1.xml"),
        "xl/worksheets/sheet1.xml": _sheet(table),
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), _HEAD + text, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def _links(kind: str, target: str) -> str:
    return (
        f'<Relationships xmlns="{_PACKAGE}/relationships">'
        f'<Relationship Id="rId1" Type="{_OFFICE}/{kind}" Target="{target}"/></Relationships>'
    )


def _sheet(table: Sequence[Sequence[str]]) -> str:
    rows = "".join(
        f'<row r="{number}">{"".join(_cell(cell, place, number) for place, cell in enumerate(line))}</row>'
        for number, line in enumerate(table, start=1)
    )
    frozen = '<pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/>'
    view = f'<sheetViews><sheetView workbookViewId="0">{frozen}</sheetView></sheetViews>'
    return f'<worksheet xmlns="{_MAIN}">{view}<sheetData>{rows}</sheetData></worksheet>'


def _cell(text: str, place: int, row: int) -> str:
    # What XML has no character for is left out; a carriage return, and what looks like an escape, are escaped.
    kept = _ESCAPE.sub(lambda found: f"_x{ord(found[0]):04X}_", _NOT_XML.sub("", text))
    return f'<c r="{_column(place)}{row}" t="inlineStr"><is><t xml:space="preserve">{escape(kept)}</t></is></c>'


def _column(place: int) -> str:
    """A, B, …, Z, AA, … of a position from 0."""
    name = ""
    place += 1
    while place:
        place, letter = divmod(place - 1, 26)
        name = chr(65 + letter) + name
    return name
