"""What stands around the entries: stated balances, totals, payouts that rows belong to.

Lives here: `opening`, `closing`, `skip`, `statement`, `payout`. Must not live here: the columns of an entry.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from recon.formats.values import exponent_of
from recon.layout_finder import words
from recon.layout_finder.findings import Findings, Strength
from recon.layout_finder.table import Table
from recon.layout_finder.written import is_number, number

_LABEL_MAX = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedEnds:
    """Rows that state the opening and the closing balance: how they start, and the amounts as they are written."""

    opening: str
    closing: str
    amounts: tuple[str, str]

    def moved(self, decimal: str, table: Table, columns: Sequence[str]) -> int | None:
        """Closing less opening, in the smallest decimal place of these columns; None when it has more places."""
        opening, closing = (number(text, decimal) for text in self.amounts)
        if opening is None or closing is None:
            return None
        moved = (closing - opening).scaleb(decimal_places(decimal, table, columns))
        return int(moved) if moved == moved.to_integral_value() else None


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedTotals:
    """Rows without a date that state the sum of a statement: the column, the statement's column, each key's amount."""

    column: str
    statement: str | None
    amounts: tuple[tuple[str, str], ...]
    currency: str | None

    def hold(self, values: Sequence[int], table: Table, decimal: str, columns: Sequence[str]) -> bool:
        """Whether the entries of each statement add up to what its row states."""
        keys = table.column(self.statement) if self.statement else [""] * len(values)
        sums: dict[str, int] = {}
        for key, value in zip(keys, values, strict=True):
            sums[key] = sums.get(key, 0) + value
        places = decimal_places(decimal, table, columns)
        stated = {key: number(text, decimal) for key, text in self.amounts}
        return bool(stated) and all(
            amount is not None and amount.scaleb(places) == sums.get(key, 0) for key, amount in stated.items()
        )


def stated_totals(table: Table) -> StatedTotals | None:
    """The rows of totals among those that are no entries; None when there is no column for them."""
    keys = [name for name in table.names if _may_be_key(name) and all(table.column(name))]
    statement = max(keys, key=lambda name: words.fit(name, "statement"), default=None)
    for name in table.names:
        place = table.names.index(name)
        filled = [cells for _, cells in table.others if len(cells) > place and is_number(cells[place])]
        if any(table.column(name)) or not filled or words.fit(name, "amount") < 40:
            continue
        at = None if statement is None else table.names.index(statement)
        amounts = tuple((cells[at] if at is not None else "", cells[place]) for cells in filled)
        code = next(
            (
                each
                for each in table.names
                if not any(table.column(each)) and all(_is_code(cells, table.names.index(each)) for cells in filled)
            ),
            None,
        )
        return StatedTotals(column=name, statement=statement, amounts=amounts, currency=code)
    return None


def _may_be_key(name: str) -> bool:
    return words.fit(name, "statement") >= 40 and not any(
        words.fit(name, role) for role in ("status", "date", "amount")
    )


def _is_code(cells: Sequence[str], place: int) -> bool:
    text = cells[place] if place < len(cells) else ""
    return len(text) == 3 and text.isalpha() and exponent_of(text.upper()) is not None


def decimal_places(decimal: str, table: Table, columns: Sequence[str]) -> int:
    """The most decimals that any of these columns has."""
    places = 0
    for name in columns:
        for text in table.column(name):
            value = number(text, decimal) if text else None
            exponent = 0 if value is None else value.as_tuple().exponent
            places = max(places, -exponent if isinstance(exponent, int) else 0)
    return places


def stated_ends(table: Table) -> StatedEnds | None:
    """The rows before or behind the entries that state both balances; None when there are not both."""
    found: dict[str, tuple[str, str]] = {}
    for _, cells in (*table.head, *table.others):
        filled = [cell for cell in cells if cell]
        if len(filled) < 2 or not is_number(filled[-1]):
            continue
        said = words.plain(filled[0])
        for key, known in (("opening", words.cells("opening")), ("closing", words.cells("closing"))):
            if key not in found and any(said.startswith(word) for word in known):
                found[key] = (_label(filled[0]), filled[-1])
                break
    if len(found) < 2 or found["opening"][0] == found["closing"][0]:
        return None
    return StatedEnds(
        opening=found["opening"][0],
        closing=found["closing"][0],
        amounts=(found["opening"][1], found["closing"][1]),
    )


def _label(text: str) -> str:
    """How a row starts, without the date or number behind its words."""
    cut = next((place for place, letter in enumerate(text) if letter.isdigit()), len(text))
    return text[: min(cut, _LABEL_MAX)].rstrip(" :") or text[:_LABEL_MAX]


def find_ends(stated: StatedEnds | None, ties: bool, has_balance: bool, findings: Findings) -> None:
    """Choose `opening` and `closing` where they tie with the rows; asked where they do not."""
    if stated is None or has_balance:
        return
    if ties:
        said = f"{stated.amounts[0]}, the rows, and {stated.amounts[1]} tie"
        findings.choose("opening", stated.opening, Strength.PROVEN, said)
        findings.choose("closing", stated.closing, Strength.PROVEN, said)
    else:
        said = (
            f"the file states {stated.amounts[0]} and {stated.amounts[1]}; the rows do not lead from one to the other"
        )
        findings.ask("opening", (stated.opening,), said, blocks=False)


def refuse_sums(table: Table, free: Sequence[str], findings: Findings) -> None:
    """Ask about entries that call themselves a balance or a sum: they would be booked as money that moved."""
    known = (*words.cells("opening"), *words.cells("closing"), *words.cells("sum"))
    found: dict[str, int] = {}
    for line, cells in table.rows:
        for name, cell in zip(table.names, cells, strict=False):
            said = words.plain(cell) if name in free and len(cell) <= _LABEL_MAX else ""
            if any(said == word or (said.startswith(f"{word} ") and len(word) > 8) for word in known):
                found.setdefault(cell, line)
    if found and "informs" not in findings.said:
        lines = ", ".join(f"row {line} says {text!r}" for text, line in list(found.items())[:4])
        why = f"{lines}: no money that moved? name `type` and the kinds that move none, or `informs: []`"
        findings.ask("informs", (), why)


def find_skips(table: Table, findings: Findings) -> None:
    """Choose `skip`: how the other rows behind the header start; asked where an entry starts the same way."""
    known = tuple(str(label) for key in ("opening", "closing") if (label := findings.value(key)))
    named = findings.value("total")
    total = table.names.index(named) if isinstance(named, str) and named in table.names else None
    starts = [next((cell for cell in cells if cell), "") for _, cells in table.rows]
    labels: dict[str, int] = {}
    for line, cells in table.others:
        filled = [cell for cell in cells if cell]
        is_total = total is not None and len(cells) > total and cells[total]
        if len(cells) < 2 or not filled or is_total or (known and filled[0].startswith(known)):
            continue
        label = _label(filled[0])
        if not label or any(start.startswith(label) for start in starts):
            findings.ask("skip", (filled[0],), f"row {line} is no entry and starts as entries do", blocks=False)
            continue
        if is_number(filled[0]) and label not in labels:
            why = f"row {line} starts with {filled[0]}: the next file's will start otherwise"
            findings.ask("skip", (filled[0],), why, blocks=False)
        labels.setdefault(label, line)
    if labels:
        lines = ", ".join(str(line) for line in list(labels.values())[:4])
        findings.choose("skip", list(labels), Strength.SEEN, f"rows without a date (first: {lines})")
    elif "skip" in findings.said:
        findings.choose("skip", None, Strength.SAID, "")


def find_payouts(
    table: Table, kind: str | None, free: Sequence[str], values: Sequence[int], codes: Sequence[str], findings: Findings
) -> None:
    """Choose `statement` and `payout`: rows of a payout and its transfer to the bank add up to zero."""
    kinds = table.column(kind) if kind else [""] * len(table.rows)
    payouts = sorted({text for text in kinds if any(word in words.plain(text) for word in words.cells("payout"))})
    keys = [name for name in free if _may_be_key(name) and all(table.column(name))]
    candidates = sorted(keys, key=lambda name: -words.fit(name, "statement"))
    for name in candidates:
        sums: dict[tuple[str, str], int] = {}
        paid: set[tuple[str, str]] = set()
        for key, value, text in zip(zip(table.column(name), codes, strict=True), values, kinds, strict=True):
            sums[key] = sums.get(key, 0) + value
            paid |= {key} if text in payouts else set()
        if paid and all(sums[key] == 0 for key in paid):
            said = f"the rows of {len(paid)} payouts add up to zero with their transfer"
            findings.choose("statement", name, Strength.PROVEN, said)
            findings.choose("payout", list(payouts), Strength.PROVEN, said)
            return
    if candidates and len(set(table.column(candidates[0]))) * 2 <= len(table.rows) + 1:
        name = candidates[0]
        said = f"its name; {len(set(table.column(name)))} in {len(table.rows)} rows"
        findings.choose("statement", name, Strength.NAMED, said)
    if payouts:
        why = f"{kind} says {', '.join(payouts)}, and no rows add up to zero with them"
        findings.ask("payout", tuple(payouts), why, blocks=False)
