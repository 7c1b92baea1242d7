"""Which columns are the amount of a row, and what proves it.

Lives here: every way the columns could state an amount, the proof by a running balance, the equation of gross, fees
and net. Must not live here: days, texts, the layout as a whole (`finder`).

A running balance that follows from row to row proves columns, signs and order at once: a wrong choice breaks it.
Numbers are whole, in the smallest decimal place that any of the columns has.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, product
from typing import Final, Literal

from recon.formats.report_layout import Amount
from recon.formats.running import steps
from recon.layout_finder import words
from recon.layout_finder.table import Table
from recon.layout_finder.written import is_number, number, without_code

_COLUMNS_MAX: Final = 20  # amounts that are tried with each other
_FEES_MAX: Final = 5
NEVER: Final = -400  # the worth of a way that only a proof may choose
Numbers = Sequence[int | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """One way to read the amount of every row; `worth` is what the names say for it."""

    net: Amount | None
    parts: tuple[Amount, ...] = ()
    values: tuple[int, ...] = field(repr=False)
    said: str
    worth: int

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns with numbers that it reads."""
        amounts = [each for each in (self.net, *self.parts) if each is not None]
        named = [name for each in amounts for name in (each.column, each.credit, each.debit) if name]
        return tuple(dict.fromkeys(named))


Order = Literal["oldest first", "newest first"]
ORDERS: Final[tuple[Order, ...]] = ("oldest first", "newest first")


@dataclass(frozen=True, slots=True, kw_only=True)
class RowFacts:
    """For each row what parts it into running balances and whether it is booked; the order of all, by their dates."""

    keys: Sequence[str]
    moves: Sequence[bool]
    order: Order | None

    def booked(self, values: Sequence[int]) -> list[int]:
        """The amounts of booked rows; 0 for those that inform."""
        return [value if each else 0 for value, each in zip(values, self.moves, strict=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceProof:
    """A running balance beside a movement: steps that hold, of how many; only steps that move anything count."""

    movement: Movement
    balance: str
    held: int
    of: int
    order: Order

    @property
    def is_whole(self) -> bool:
        """Whether every step holds, and there are as many as the choice needs: few when the names say the same."""
        named = self.movement.worth > 0 and words.fit(self.balance, "balance") > 0
        likely = self.movement.worth > NEVER
        return self.held == self.of >= (1 if named else 2 if likely else 3)


def numeric_columns(table: Table, days: Collection[str]) -> list[str]:
    """Columns whose filled cells are numbers, but for days and for numbers that name something (ids, accounts).

    An empty one counts where its name says credit, debit or amount: what this file lacks the next may have.
    """
    found = []
    for name in table.names:
        filled = [text for text in table.column(name) if text]
        if name in days or not all(map(is_number, filled)):
            continue
        if not filled and not max(words.fit(name, role) for role in ("credit", "debit", "amount")):
            continue
        if filled and _names_something(name, filled):
            continue
        found.append(name)
    return found[:_COLUMNS_MAX]


def _names_something(name: str, filled: Sequence[str]) -> bool:
    """Digits without decimals that are long, start with zero, or stand under the name of a number of something."""
    if any(set(text) & set(".,-+()") for text in filled):
        return False
    bare = [without_code(text)[0] for text in filled]
    if any(len(text) > 11 or (len(text) > 1 and text.startswith("0")) for text in bare):
        return True
    money = max(words.fit(name, role) for role in ("amount", "net", "gross", "credit", "debit", "balance", "fee"))
    other = max(words.fit(name, role) for role in ("account_servicer_ref", "end_to_end_id", "account", "party_account",
                                                   "statement", "structured_ref"))  # fmt: skip
    return money <= other


def whole_numbers(table: Table, names: Sequence[str], decimal: str) -> dict[str, list[int | None]]:
    """The numbers of columns as whole ones, in the smallest decimal place among them."""
    read = {name: [number(text, decimal) if text else None for text in table.column(name)] for name in names}
    places = 0
    for values in read.values():
        for value in values:
            if value is not None:
                exponent = value.as_tuple().exponent
                places = max(places, -exponent if isinstance(exponent, int) else 0)
    return {
        name: [None if value is None else int(value.scaleb(places)) for value in values]
        for name, values in read.items()
    }


def movements(table: Table, numbers: Mapping[str, Numbers], days: Collection[str]) -> list[Movement]:
    """Every way to read the rows' amounts that the cells do not contradict, the likeliest by name first."""
    found = [*_single(numbers), *_pairs(numbers), *_marked(table, numbers, days), *_one_of_many(numbers)]
    return sorted(found, key=lambda each: -each.worth)


def _single(numbers: Mapping[str, Numbers]) -> Iterator[Movement]:
    for name, values in numbers.items():
        if all(value is None for value in values):
            continue
        worth = max(words.fit(name, "amount"), words.fit(name, "net"), words.fit(name, "gross") - 60)
        worth -= _other_money(name)
        for sign in (1, -1):
            yield Movement(
                net=Amount(column=name) if sign == 1 else Amount(column=name, sign=-1),
                values=tuple(sign * (value or 0) for value in values),
                said=f"the column {name}" + ("" if sign == 1 else ", positive means out"),
                worth=worth if sign == 1 else worth + NEVER - 200,
            )


def _other_money(name: str) -> int:
    """How much a name says that it is money of another kind than the row's amount: `NEVER` when it says so outright."""
    others = max(words.fit(name, role) for role in ("balance", "fee", "tax", "reserve", "rate"))
    if others == words.EXACT or words.says_foreign(name):
        return -NEVER if others == words.EXACT else 40
    one_side = max(words.fit(name, "credit"), words.fit(name, "debit"))
    return max(others // 2, one_side if one_side == words.EXACT or one_side > words.fit(name, "amount") else 0)


def _pairs(numbers: Mapping[str, Numbers]) -> Iterator[Movement]:
    """A credit and a debit column: no row has both."""
    for credit, debit in product(numbers, repeat=2):
        ins, outs = numbers[credit], numbers[debit]
        if credit == debit or any(a and b for a, b in zip(ins, outs, strict=True)):
            continue
        filled = sum(a is not None or b is not None for a, b in zip(ins, outs, strict=True))
        named = min(words.fit(credit, "credit"), words.fit(debit, "debit"))
        against = words.fit(credit, "debit") > words.fit(credit, "credit")
        if filled * 10 < len(ins) * 8 or not (any(ins) or any(outs)) or (not named and not (any(ins) and any(outs))):
            continue
        if any((a or 0) < 0 for a in ins) and not named:
            continue
        has_minus = any((b or 0) < 0 for b in outs)
        for signed in (True, False) if has_minus else (None,):
            values = tuple(
                (a or 0) + (b or 0) if (b or 0) < 0 and signed else (a or 0) - (b or 0)
                for a, b in zip(ins, outs, strict=True)
            )
            always = has_minus and all((b or 0) <= 0 for b in outs)
            yield Movement(
                net=Amount(credit=credit, debit=debit, signed=signed),
                values=values,
                said=f"in by {credit}, out by {debit}",
                worth=(NEVER if against else named + 5 + _net_pair(credit, debit) if named else -300)
                - (50 if signed is not None and signed != always else 0),
            )


def _net_pair(credit: str, debit: str) -> int:
    return 20 if "net" in words.plain(credit).split() and "net" in words.plain(debit).split() else 0


def _one_of_many(numbers: Mapping[str, Numbers]) -> Iterator[Movement]:
    """Columns called amounts of which a row fills one at most: the row's amount is whichever it is."""
    names = [
        name for name in numbers if 0 < words.fit(name, "amount") < words.EXACT and not words.fit(name, "statement")
    ]
    rows = list(zip(*(numbers[name] for name in names), strict=True))
    if sum(any(numbers[name]) for name in names) < 2 or any(sum(map(bool, row)) > 1 for row in rows):
        return
    yield Movement(
        net=None,
        parts=tuple(Amount(column=name) for name in names),
        values=tuple(sum(value or 0 for value in row) for row in rows),
        said=f"whichever of {', '.join(names)} a row fills",
        worth=60,
    )


def _marked(table: Table, numbers: Mapping[str, Numbers], days: Collection[str]) -> Iterator[Movement]:
    """An amount and a column that says in or out; two words nobody knows are tried both ways."""
    for name in table.names:
        texts = [text.upper() for text in table.column(name)]
        said = sorted(set(texts))
        if (
            name in numbers
            or name in days
            or not 1 <= len(said) <= 2
            or any(len(text) > 24 for text in said)
            or "" in said
        ):
            continue
        debits = [text for text in said if _is_word(text, "debit")]
        credits = [text for text in said if _is_word(text, "credit")]
        is_known = len(debits) + len(credits) == len(said) and not set(debits) & set(credits)
        ways = [(debits, credits)] if is_known else [([a], [b]) for a, b in ((said[0], said[-1]), (said[-1], said[0]))]
        if len(said) < 2 and not (is_known and words.fit(name, "indicator") >= 40):
            continue  # one word alone says a side only where the column is one of sides
        if not is_known and min(map(texts.count, said)) < 2:
            continue  # the balance leaves the first row's side open
        for column, values in numbers.items():
            has_minus = any((value or 0) < 0 for value in values)
            if has_minus and not is_known:
                continue
            for outs, ins in ways:
                for signed in (True, False) if has_minus else (None,):
                    yield _one_marked(column, name, values, texts, (outs, ins), signed, is_known)


def _one_marked(
    column: str,
    name: str,
    values: Numbers,
    texts: Sequence[str],
    said: tuple[Sequence[str], Sequence[str]],
    signed: bool | None,
    is_known: bool,
) -> Movement:
    outs, ins = said
    read = tuple(
        -(value or 0) if text in outs and not ((value or 0) < 0 and signed) else (value or 0)
        for value, text in zip(values, texts, strict=True)
    )
    agrees = signed is not True or all(
        (value or 0) <= 0 for value, text in zip(values, texts, strict=True) if text in outs
    )
    worth = max(words.fit(column, "amount"), words.fit(column, "net")) + (6 if signed is None else -20)
    worth -= _other_money(column)
    return Movement(
        net=Amount(column=column, indicator=name, debits=tuple(outs), credits=tuple(ins), signed=signed),
        values=read,
        said=f"{column}; {name} says in ({', '.join(ins) or 'never'}) or out ({', '.join(outs) or 'never'})",
        worth=worth + (0 if is_known else NEVER - 200) - (0 if agrees else 100),
    )


def _is_word(text: str, kind: str) -> bool:
    return (words.plain(text) or text.strip()) in words.cells(kind)


def with_fees(movement: Movement, numbers: Mapping[str, Numbers]) -> list[Movement]:
    """The same amount with fee columns added or taken off: where the balance moves by both."""
    fees = [name for name in numbers if words.fit(name, "fee") and name not in movement.columns and any(numbers[name])]
    found = []
    for size in range(1, min(len(fees), 3) + 1):
        for chosen in combinations(fees, size):
            for sign in (-1, 1):
                values = tuple(
                    value + sign * sum(numbers[name][place] or 0 for name in chosen)
                    for place, value in enumerate(movement.values)
                )
                fee_parts = tuple(_part(name, sign) for name in chosen)
                found.append(
                    Movement(
                        net=None,
                        parts=((movement.net or Amount()), *fee_parts),
                        values=values,
                        said=f"{movement.said}, {'less' if sign < 0 else 'and'} {' and '.join(chosen)}",
                        worth=movement.worth - 5,
                    )
                )
    return found


def _part(name: str, sign: int) -> Amount:
    roles = {role: words.fit(name, role) for role in ("fee", "tax", "reserve")}
    role = max(roles, key=lambda each: roles[each])
    code = words.plain(name).replace(" ", "-")
    code = code if role in code else f"{code}-{role}"
    return Amount(column=name, code=code) if sign == 1 else Amount(column=name, sign=-1, code=code)


def prove(movement: Movement, balance: str, after: Numbers, rows: RowFacts, *, most: int | None = None) -> BalanceProof:
    """How many steps of a running balance this movement explains, in the better of the two orders.

    `most` looks at the first rows only. Where both orders explain as many, the one of the dates counts.
    """
    found = []
    for order in ORDERS:
        held = of = 0
        for key in dict.fromkeys(rows.keys[:most]):
            places = [place for place, each in enumerate(rows.keys[:most]) if each == key]
            places = places if order == "oldest first" else places[::-1]
            amounts = [movement.values[place] if rows.moves[place] else 0 for place in places]
            for stated, moved in steps(amounts, [after[place] for place in places]):
                of += 1 if stated or moved else 0
                held += 1 if stated == moved and moved else 0
        found.append(BalanceProof(movement=movement, balance=balance, held=held, of=of, order=order))
    return max(found, key=lambda each: (each.held, each.order == rows.order))


@dataclass(frozen=True, slots=True, kw_only=True)
class Equation:
    """net = gross and fees, row by row; `rows` of them have a fee."""

    gross: str | None
    parts: tuple[Amount, ...]
    rows: int


def equation(net: Movement, numbers: Mapping[str, Numbers]) -> Equation | None:
    """The columns that add up to the net in every row, at least one of them a fee that is not always empty."""
    if net.net is None:
        return None
    others = [name for name in numbers if name not in net.columns and any(numbers[name])]
    fees = [name for name in others if any(words.fit(name, role) for role in ("fee", "tax", "reserve"))][:_FEES_MAX]
    whole = [name for name in others if name not in fees and words.fit(name, "balance") != words.EXACT]
    for gross in sorted(whole, key=lambda name: -max(words.fit(name, "gross"), words.fit(name, "amount"))):
        rest = [value - (numbers[gross][place] or 0) for place, value in enumerate(net.values)]
        for size in range(1, len(fees) + 1):
            for chosen in combinations(fees, size):
                for signs in product((-1, 1), repeat=size):
                    if _adds_up(rest, [numbers[name] for name in chosen], signs):
                        parts = tuple(_part(name, sign) for name, sign in zip(chosen, signs, strict=True))
                        return Equation(
                            gross=gross,
                            parts=(Amount(column=gross), *parts),
                            rows=sum(value != 0 for value in rest),
                        )
    return None


def _adds_up(rest: Sequence[int], columns: Sequence[Numbers], signs: Sequence[int]) -> bool:
    return any(rest) and all(
        value == sum(sign * (column[place] or 0) for sign, column in zip(signs, columns, strict=True))
        for place, value in enumerate(rest)
    )
