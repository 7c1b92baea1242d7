"""The verifier's own reading of MT940 and BAI2 files: opening, closing and lines of one statement.

Lives here: the least of each grammar that proves a statement, written apart from `recon.formats`. Must not live
here: references, texts, anything a proof does not need.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from recon.errors import ReconCheckError

# Entries that are only expected: no money yet.
_FIELD = re.compile(r"[ \t]*:(20|21|25P?|28C?|13D?|34F|60[FM]?|61|86|62[FM]?|6[45]F?|90[CD]|NS):(.*)")
_NO_FIELD = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]|\{[1-5]:(?:[^{}]|\{[^{}]*\})*\}|^\s*[{äæ]4:")
_BALANCE = re.compile(r"\s*([CD])[0-9]{6}(?:[A-Z]{3})?\s*([0-9.,]+)\s*")
_EXPECTED = re.compile(r"\s*[0-9]{6}(?:[0-9]{4})? *E[CD]")


@dataclass(frozen=True, slots=True)
class RawStatement:
    """One statement by itself, minor units, credit +."""

    stmt_id: str
    opening_minor: int
    closing_minor: int
    lines_minor: int
    booked_count: int


def _plain(content: bytes) -> str:
    """The text with one kind of line end. Only figures are read, so any single-byte alphabet is as good as another."""
    marked = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    text = content.decode("utf-16" if marked else "latin-1", "replace").removeprefix("\xef\xbb\xbf")
    text = re.sub(r"\r\n|\r", "\n", text)
    return text.replace("@@", "\n") if "@@:20:" in text else text


def read_raw_mt940(content: bytes, *, ordinal: int, exponent: int) -> RawStatement:
    """The `ordinal`-th statement of an MT940 file; pages that follow each other are one.

    Of several balances the first opening and the last closing count: between them every line must add up. Raises
    `ReconCheckError` when it has no opening or no closing.
    """
    statements: list[list[tuple[str, str]]] = []
    for page in _mt_pages(_plain(content)):
        before = statements[-1] if statements else []
        ends, starts = _balance_texts(before, "62M"), _balance_texts(page, "60M")
        is_whole = len(ends) == 1 and bool(_balance_texts(before, "60"))  # a page that cannot be read has no next one
        if is_whole and ends == starts and _head(before) == _head(page):
            statements[-1] = [each for each in before if each[0] != "62M"] + [each for each in page if each[0] != "60M"]
        else:
            statements.append(page)
    if not 0 < ordinal <= len(statements):
        raise ReconCheckError(f"the file has no statement {ordinal}.")
    found = statements[ordinal - 1]
    openings, closings = (_balance_texts(found, tag) for tag in ("60", "62"))
    if not openings or not closings:
        raise ReconCheckError(f"statement {ordinal} of the file has no opening and closing balance.")
    lines = [_mt_line(text, exponent) for tag, text in found if tag == "61" and not _EXPECTED.match(text)]
    opening, closing = _signed_minor(*openings[0], exponent), _signed_minor(*closings[-1], exponent)
    return RawStatement("", opening, closing, sum(lines), len(lines))


def _mt_pages(text: str) -> Iterator[list[tuple[str, str]]]:
    """Tag and text of each field, message by message: :20: begins one, and any head field behind an end."""
    page: list[tuple[str, str]] = []
    is_over = is_closed = False
    for line in text.split("\n"):
        bare = _NO_FIELD.sub("", line)
        found = _FIELD.match(bare)
        if found is None:
            is_over |= re.fullmatch(r"-(?:[}åü].*|XXX)?\s*", bare) is not None
            if page and not is_over:
                page[-1] = (page[-1][0], f"{page[-1][1]}\n{bare}")
            continue
        tag = found.group(1)
        if tag == "20" or (tag[:2] in ("25", "28", "34", "60") and (is_over or is_closed or not page)):
            if page:
                yield page
            page, is_closed = [], False
        if page or tag[:2] in ("20", "25", "28", "34", "60"):
            page.append((tag, found.group(2)))
        is_over, is_closed = False, is_closed or tag[:2] == "62"
    if page:
        yield page


def _head(page: list[tuple[str, str]]) -> tuple[str | None, str | None]:
    """Account and number of the statement, without its page; what stands behind the first line is no head."""
    account = number = None
    for tag, text in page:
        if tag == "61":
            break
        if tag[:2] == "25":
            account = text.strip().split("\n")[0].strip()
        elif tag[:2] == "28":
            found = re.fullmatch(r"\s*0*([0-9]+)(?:\s*/\s*[0-9]+)?\s*", text)
            number = found.group(1).lstrip("0") or None if found else number
    return account, number


def _balance_texts(page: list[tuple[str, str]], tag: str) -> list[tuple[str, str]]:
    """Sign and figures of the balances whose tag begins so and that are whole."""
    fields = (_BALANCE.fullmatch(text.strip().split("\n")[0]) for name, text in page if name.startswith(tag))
    return [(found.group(1), found.group(2)) for found in fields if found]


def _signed_minor(sign: str, figures: str, exponent: int) -> int:
    return _minor(figures, exponent) * (1 if sign == "C" else -1)


def _mt_line(text: str, exponent: int) -> int:
    found = re.match(r"\s*[0-9]{6}(?:[0-9]{4})? *(R?)([CD])[A-Z]? ?([0-9,.]+)", text)
    if found is None:
        raise ReconCheckError("a :61: line cannot be read.")
    sign = (1 if found.group(2) == "C" else -1) * (-1 if found.group(1) else 1)
    return sign * _minor(found.group(3), exponent)


def _minor(text: str, exponent: int) -> int:
    if len(re.findall("[.,]", text)) > 1:
        raise ReconCheckError(f"{text} is not an amount.")
    minor = Decimal("0" + text.replace(",", ".").rstrip(".")).scaleb(exponent)
    if minor != minor.to_integral_value():
        raise ReconCheckError(f"amount {text} has more decimals than the currency has.")
    return int(minor)


def read_raw_bai2(content: bytes, *, ordinal: int, exponent: int) -> RawStatement:
    """The `ordinal`-th account of a BAI2 file. Amounts are minor units already.

    Raises `ReconCheckError` when it has no single opening and closing ledger balance.
    """
    accounts = 0
    lines: list[int] = []
    balances: dict[str, list[int]] = {"010": [], "015": []}
    for code, fields in _bai_records(_plain(content)):
        accounts += code == "03"
        if accounts != ordinal:
            continue
        if code == "03":
            for name, amount in _bai_balances(fields[2:]):
                if name in balances and amount:
                    balances[name].append(int(amount))
        elif code == "16":
            kind = int(fields[0])
            lines.append(int(fields[1]) * (1 if kind < 400 or 920 <= kind < 960 else -1))
        else:
            break
    if len(balances["010"]) != 1 or len(balances["015"]) != 1:
        raise ReconCheckError(f"account {ordinal} of the file has no single opening and closing balance.")
    return RawStatement("", balances["010"][0], balances["015"][0], sum(lines), len(lines))


def _bai_balances(fields: list[str]) -> Iterator[tuple[str, str]]:
    """Type code and amount of each balance: a type code, an amount, a count, a funds type and its own fields."""
    rest = list(fields)
    while rest:
        name = rest.pop(0)
        if not name:
            continue
        amount, _, funds = [*rest[:3], "", "", ""][:3]
        yield name, amount
        known = re.fullmatch("[012SVDZ]?", funds) is not None
        days = int(rest[3]) if funds == "D" and rest[3:4] and rest[3].isdigit() else 0
        more = {"S": 3, "V": 2, "D": 1 + 2 * days}.get(funds, 0)
        del rest[: (3 if known else 2) + more]


def _bai_records(text: str) -> Iterator[tuple[str, list[str]]]:
    """Code and fields of each record, 88 records added to theirs."""
    code, fields = "", list[str]()
    marked = re.sub(r"/[ \t]+(?=(?:02|03|16|49|88|98),)", "/\n", text)
    for found in re.finditer(r"^\s*([0-9]{2}),(.*)$", marked, re.MULTILINE):
        parts = [part.strip() for part in found.group(2).strip().rstrip("/").split(",")]
        if found.group(1) == "88":
            fields += parts
            continue
        if code:
            yield code, fields
        code, fields = found.group(1), parts
    if code:
        yield code, fields
