"""Cells of sheets that people open: no text that a bank, a payer or a colleague wrote becomes a formula, or is lost.

Lives here: what a cell may hold on its way out, and how it reads on its way back. Must not live here: files, columns.

A spreadsheet takes a cell that begins like a formula for one. In a country whose lists are parted by ``;`` it parts a
line of a comma's file at every ``;`` and line end, quoted or not, so each such piece begins a cell of its own.
"""

from __future__ import annotations

import re
from typing import Final

_STARTS: Final = "=+\\-@\t\r\n＝＋－＠"
_NUMBER: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?")
# A place where a cell may begin, blanks, and what a spreadsheet would take for the start of a formula.
_PIECE: Final = re.compile(rf"(?:^|(?<=[;\t\r\n]))(?=[ \"']*[{_STARTS}])|^(?=')")
_GUARD: Final = re.compile(rf"^'(?=[ \"']*[{_STARTS}]|')")

CELL_MAX: Final = 32_767  # characters of a cell, in every spreadsheet
_ROOM: Final = 200


def guarded(cell: str) -> str:
    """The cell as text to whatever opens it: an apostrophe before what begins like a formula. Numbers stay."""
    if _NUMBER.fullmatch(cell):
        return cell
    return _PIECE.sub("'", cell)


def unguarded(cell: str) -> str:
    """The cell without the apostrophe that `guarded` put in front; one that a person wrote stays."""
    return _GUARD.sub("", cell)


def fitting(cell: str) -> str:
    """The cell, or as much of it as a sheet can hold and how much was left out."""
    if len(cell) <= CELL_MAX - _ROOM:
        return cell
    kept = CELL_MAX - 2 * _ROOM
    return f"{cell[:kept]}… ({len(cell) - kept:,} more characters; `nostro breaks show` has all)"


__all__ = ["CELL_MAX", "fitting", "guarded", "unguarded"]
