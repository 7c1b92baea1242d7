"""Which columns are days, and how they are written.

Lives here: the date columns, their format, day and month told apart. Must not live here: amounts, texts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Final

from recon.layout_finder import words
from recon.layout_finder.amounts import Order
from recon.layout_finder.findings import Findings, Strength
from recon.layout_finder.table import Table
from recon.layout_finder.written import ISO, date_formats, day, orderly, span

# Days that a report does not spread over unless day and month are swapped, and days that it then does.
_NEAR_DAYS, _FAR_DAYS = 62, 150
_DAY_FIRST: Final = "dates with dots are written day first"


def find_days(table: Table, moves: Sequence[bool], findings: Findings) -> list[str]:
    """Choose `date`, `value_date` and `date_format`; the columns of days, also those that were not chosen."""
    formats = {name: found for name in table.names if (found := _formats(table.column(name)))}
    chosen = _columns(table, moves, formats, findings)
    if not chosen:
        return list(formats)
    form = _format(table, chosen, formats, findings)
    if form is None:
        return list(formats)
    if form != ISO:
        _note_format(form, table, chosen, findings)
    elif "date_format" not in findings.said:
        seen = next(text for text in table.column(chosen[0]) if text)
        findings.choose("date_format", None, Strength.SEEN, f"every date is written like {seen}")
    _value_date(chosen, formats, form, findings)
    return list(formats)


def _formats(texts: Sequence[str]) -> list[str]:
    """Formats of a column of days; cells that are digits only must all be as long as a date is."""
    filled = [text for text in texts if text]
    if not filled or any(text.isdigit() and len(text) != 8 for text in filled):
        return []
    return date_formats(filled)


def _columns(table: Table, moves: Sequence[bool], formats: dict[str, list[str]], findings: Findings) -> list[str]:
    """The column that dates every row; where each of several lacks some, those that do it together."""
    if "date" in findings.said:
        findings.choose("date", None, Strength.SAID, "")
        said = findings.said["date"]
        names = [each for each in (said if isinstance(said, list) else [said]) if isinstance(each, str)]
        return [name for name in names if name in formats]
    ranked = sorted(formats, key=lambda name: (-_worth(name), table.names.index(name)))
    booked = {name: [text for text, each in zip(table.column(name), moves, strict=True) if each] for name in ranked}
    whole = [name for name in ranked if all(booked[name])]
    if whole:
        best = whole[0]
        others = [name for name in whole[1:] if _worth(name) == _worth(best)]
        if not all(table.column(best)) and (other := next((n for n in whole if all(table.column(n))), None)):
            findings.choose(
                "date", [best, other], Strength.NAMED, f"{best} dates every booked row; {other} those that inform only"
            )
            return [best, other]
        if words.fit(best, "date"):
            findings.choose("date", best, Strength.NAMED, "a date in every row, and its name says so")
            if others:
                findings.ask("date", (best, *others), "each is called a date and fills every row", blocks=False)
        elif len(whole) == 1:
            findings.choose("date", best, Strength.SEEN, "the only column with a date in every row")
        else:
            findings.choose(
                "date", best, Strength.ASSUMED, f"the first of {len(whole)} columns with a date in every row"
            )
        return [best]
    for name in ranked:
        for other in ranked:
            if other != name and all(a or b for a, b in zip(table.column(name), table.column(other), strict=True)):
                findings.choose(
                    "date",
                    [name, other],
                    Strength.SEEN,
                    "every row has one of the two; the first that is filled counts",
                )
                return [name, other]
    findings.ask("date", tuple(ranked), "no column, and no two together, has a date in every row")
    return []


def _worth(name: str) -> int:
    """How well a name says a booking date, and no value date."""
    named = words.fit(name, "date")
    return named if named >= words.fit(name, "value_date") else named // 4


def _format(table: Table, chosen: Sequence[str], formats: dict[str, list[str]], findings: Findings) -> str | None:
    """The one format of the chosen columns; None when several are left (asked) or they share none."""
    if isinstance(findings.said.get("date_format"), str):
        findings.choose("date_format", None, Strength.SAID, "")
        return str(findings.said["date_format"])
    left = [form for form in formats[chosen[0]] if all(form in formats[name] for name in chosen)]
    if not left:
        findings.ask("date", tuple(chosen), "these columns write their dates in different ways; name one")
        return None
    if len(left) == 1:
        return left[0]
    if ISO in left:
        return ISO
    return _told_apart(table, chosen, formats, left, findings)


def _told_apart(
    table: Table, chosen: Sequence[str], formats: dict[str, list[str]], left: list[str], findings: Findings
) -> str | None:
    """Of formats that all read every date, the one that something else speaks for."""
    if any("." in form for form in left):
        return next(form for form in left if form.startswith("%d."))
    votes: dict[str, list[str]] = {}
    for form, why in _votes(table, chosen, formats, left):
        votes.setdefault(form, []).append(why)
    if len(votes) == 1:
        form, reasons = next(iter(votes.items()))
        findings.choose("date_format", form, Strength.SEEN, "; ".join(dict.fromkeys(reasons)))
        return form
    against = "; what speaks for one way speaks against another" if votes else ""
    why = f"day or month first? every date reads both ways (like {_example(table, chosen)}){against}"
    findings.ask("date_format", tuple(left), why)
    return None


def _votes(
    table: Table, chosen: Sequence[str], formats: dict[str, list[str]], left: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """What speaks for a format: other dates that are none the other way, the order of the rows, the days they cover."""
    for name, others in formats.items():
        both = [form for form in left if form in others]
        if name not in chosen and len(both) == 1:
            yield both[0], f"{name} has dates that are none the other way"
    for word in (word for _, cells in table.head for cell in cells for word in cell.split()):
        both = [form for form in left if day(word, form)]
        if len(both) == 1:
            yield both[0], f"{word} before the header is none the other way"
    read = {form: _read(table.column(chosen[0]), form) for form in left}
    in_order = [form for form, days in read.items() if orderly(days, 1) or orderly(days, -1)]
    if len(in_order) == 1 and len(set(read[in_order[0]])) > 2:
        yield in_order[0], "only this way the rows are in the order of their dates"
    near = [form for form, days in read.items() if span(days).days <= _NEAR_DAYS]
    far = [form for form, days in read.items() if span(days).days > _FAR_DAYS]
    if len(near) == 1 and len(near) + len(far) == len(left) and len(set(read[near[0]])) > 2:
        covered, other = span(read[near[0]]).days, span(read[far[0]]).days
        yield near[0], f"this way the dates lie within {covered} days, else within {other}"


def order_of(table: Table, findings: Findings) -> Order | None:
    """Whether the dates of the rows never go back or never forward; None when neither shows, or the format is open."""
    name, form = findings.value("date"), findings.value("date_format")
    is_open = any(question.key in ("date", "date_format") and question.blocks for question in findings.questions)
    column = name if isinstance(name, str) else None
    if column not in table.names or column is None or is_open:
        return None
    days = _read(table.column(column), form if isinstance(form, str) else ISO)
    ascending, descending = (orderly(days, step) for step in (1, -1))
    return None if ascending == descending else "oldest first" if ascending else "newest first"


def _read(texts: Sequence[str], form: str) -> list[date]:
    return [found for text in texts if text and (found := day(text, form)) is not None]


def _example(table: Table, chosen: Sequence[str]) -> str:
    return next((text for name in chosen for text in table.column(name) if text), "")


def _note_format(form: str, table: Table, chosen: Sequence[str], findings: Findings) -> None:
    if findings.value("date_format") is not None:
        return
    texts = [text for name in chosen for text in table.column(name) if text]
    shows = next((text for text in texts if _says_which(text)), texts[0])
    if form.startswith("%d.") and day(shows, "%m.%d.%Y") is not None:
        findings.choose("date_format", form, Strength.SEEN, f"{_DAY_FIRST} (like {shows})")
    else:
        findings.choose(
            "date_format", form, Strength.SEEN, f"the only way to read all {len(texts)} dates (like {shows})"
        )


def _says_which(text: str) -> bool:
    """Whether one of the first two numbers of a date is no month."""
    return any(int(part) > 12 for part in re.split(r"[./-]", text)[:2] if part.isdigit() and len(part) < 3)


def _value_date(chosen: Sequence[str], formats: dict[str, list[str]], form: str, findings: Findings) -> None:
    fitting = [name for name, found in formats.items() if name not in chosen and form in found]
    best = words.best(fitting, "value_date")
    if best is not None:
        findings.choose("value_date", best, Strength.NAMED, "dates, and its name says so")
    elif "value_date" in findings.said:
        findings.choose("value_date", None, Strength.SAID, "")
