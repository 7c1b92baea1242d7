"""How numbers and days are written in a column.

Lives here: texts to formats, decimal marks and exact numbers. Must not live here: what a column means.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from itertools import pairwise
from typing import Final

from recon.formats.report_layout import Layout
from recon.formats.report_reader import bare_number, day_of
from recon.formats.values import exponent_of

ISO: Final = "iso"  # 2026-11-20, 2026/11/20: no `date_format` in a layout
_FORMATS: Final = (
    "%d.%m.%Y", "%d.%m.%y", "%d/%m/%Y", "%m/%d/%Y", "%d/%m/%y", "%m/%d/%y", "%d-%m-%Y", "%m-%d-%Y", "%d-%m-%y",
    "%m-%d-%y", "%Y.%m.%d", "%Y.%m.%d.", "%d.%m.%Y.", "%Y%m%d", "%d%m%Y", "%d %b %Y", "%d-%b-%Y", "%d-%b-%y",
    "%d/%b/%Y", "%d %b %y", "%b %d, %Y", "%b %d %Y", "%d %B %Y", "%B %d, %Y", "%d. %m. %Y", "%d%b%Y", "%d.%b.%Y",
    "%Y年%m月%d日", "%d %b, %Y", "%d.%m. %Y", "%y%m%d", "%a %d %b %Y", "%A, %d %B %Y", "%m.%d.%Y",
)  # fmt: skip
_ANY_LAYOUT: Final = {name: Layout(name="any", date_format=None if name == ISO else name) for name in (ISO, *_FORMATS)}
# Between these days a report is about; 8 digits that say another year are a number.
_YEARS: Final = range(1995, 2076)
_NUMBER: Final = re.compile(r"[+\-\u2212(]?[0-9][0-9.,]*(?:[)+\-\u2212]|CR|DR)?|[+\-\u2212(]?[.,][0-9]+\)?")
_CODE: Final = re.compile(r"^([A-Z]{3})(?=[-+(\u2212]?[0-9])|(?<=[0-9)-])([A-Z]{3})$")
SYMBOLS: Final = {"€": "EUR", "£": "GBP", "₹": "INR", "₽": "RUB", "₺": "TRY", "₩": "KRW", "₪": "ILS", "₱": "PHP"}


@lru_cache(maxsize=65536)
def day(text: str, date_format: str) -> date | None:
    """The day that a text says in a format (or `ISO`), as the reader of reports reads it."""
    found = day_of(text, _ANY_LAYOUT[date_format])
    return found if found is not None and found.year in _YEARS else None


@lru_cache(maxsize=65536)
def is_day(text: str) -> bool:
    """Whether a text is a day in some format."""
    if not 6 <= len(text) <= 40 or not any(letter.isdigit() for letter in text):
        return False
    return any(day(text, name) is not None for name in (ISO, *_FORMATS))


def date_formats(texts: Sequence[str]) -> list[str]:
    """The formats in which every text that is not empty is a day."""
    distinct = {text for text in texts if text}
    if not distinct:
        return []
    return [name for name in (ISO, *_FORMATS) if all(day(text, name) is not None for text in distinct)]


def orderly(days: Sequence[date], step: int) -> bool:
    """Whether days never go back (`step` 1), or never forward (-1)."""
    return all((b - a).days * step >= 0 for a, b in pairwise(days))


def span(days: Sequence[date]) -> timedelta:
    """From the first to the last day."""
    return max(days) - min(days)


def without_code(text: str) -> tuple[str, str | None]:
    """A number without what stands in for its currency, and the currency's code where that says one."""
    symbol = next((code for sign, code in SYMBOLS.items() if sign in text), None)
    bare = bare_number(text, "")
    found = _CODE.search(bare)
    code = (found[1] or found[2]) if found else None
    if found and code and exponent_of(code) is not None:
        return _CODE.sub("", bare), code
    return bare, symbol


@lru_cache(maxsize=65536)
def is_number(text: str) -> bool:
    """Whether a text is a written number, whichever its decimal mark."""
    return len(text) <= 40 and _NUMBER.fullmatch(without_code(text)[0]) is not None


@dataclass(frozen=True, slots=True)
class Marks:
    """How many numbers show a decimal point, a decimal comma, or a mark that may be either (1.234)."""

    dots: int = 0
    commas: int = 0
    either: int = 0
    example: str = ""

    @property
    def decimal(self) -> str | None:
        """The mark that all numbers which show one agree on."""
        if (self.dots > 0) == (self.commas > 0):
            return None
        return "." if self.dots else ","


def marks(texts: Iterable[str]) -> Marks:
    """What numbers show of their decimal mark."""
    seen = {".": 0, ",": 0, "?": 0}
    examples: dict[str, str] = {}
    for text in texts:
        mark = _mark(without_code(text)[0])
        if mark:
            seen[mark] += 1
            examples.setdefault(mark, text)
    example = examples.get("." if seen["."] >= seen[","] else ",") or examples.get("?", "")
    return Marks(seen["."], seen[","], seen["?"], example)


def _mark(bare: str) -> str:
    """``.`` or ``,`` where a number shows it is the decimal mark, ``?`` where it may be, empty where there is none."""
    digits = bare.strip("+-\u2212()").removesuffix("CR").removesuffix("DR")
    found = [letter for letter in digits if letter in ".,"]
    if not found:
        return ""
    other = {".": ",", ",": "."}
    if len(set(found)) == 2:
        return found[-1]
    if len(found) > 1:
        return other[found[0]]
    before, _, behind = digits.partition(found[0])
    if len(behind) == 3 and 1 <= len(before) <= 3 and before != "0":
        return "?"
    return found[0]


def number(text: str, decimal: str) -> Decimal | None:
    """The exact number, signed; None where it is none with this decimal mark. An empty text is None."""
    bare = without_code(text)[0]
    negative = bare.startswith(("-", "\u2212", "(")) or bare.endswith(("-", "\u2212", "DR"))
    digits = bare.removesuffix("CR").removesuffix("DR").strip("+-\u2212()")
    digits = digits.replace("," if decimal == "." else ".", "").replace(",", ".")
    if not digits or (not digits[-1].isdigit() and not digits[0].isdigit()):
        return None
    try:
        found = Decimal(digits)
    except InvalidOperation:
        return None
    return -found if negative else found
