"""The amount of a row: which way to read it is chosen, and by what.

Lives here: choosing among `amounts`' ways by proof, then by name; gross and fees; decimals. Must not live here: the
ways themselves (`amounts`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from recon.formats.report_layout import Amount
from recon.formats.values import exponent_of
from recon.layout_finder import words
from recon.layout_finder.amounts import (
    NEVER,
    BalanceProof,
    Movement,
    Numbers,
    RowFacts,
    equation,
    movements,
    numeric_columns,
    prove,
    whole_numbers,
    with_fees,
)
from recon.layout_finder.findings import Findings, Strength, Value
from recon.layout_finder.frame import StatedEnds, StatedTotals
from recon.layout_finder.table import Table
from recon.layout_finder.written import Marks, marks, without_code

_SCREENED = 60  # rows by which most ways are ruled out


@dataclass(frozen=True, slots=True, kw_only=True)
class Money:
    """The movement that was chosen and the numbers of all columns."""

    movement: Movement
    numbers: Mapping[str, Numbers]
    balance: str | None


def find_decimal(table: Table, days: Sequence[str], findings: Findings) -> tuple[list[str], str]:
    """Choose `decimal`; the columns of numbers, and the mark to go on with when it is asked."""
    names = numeric_columns(table, days)
    money = [
        name for name in names
        if max(words.fit(name, role) for role in ("amount", "net", "gross", "credit", "debit", "balance"))
    ] or names  # fmt: skip
    seen = marks(text for name in money for text in table.column(name) if text)
    if seen.decimal is None and not (seen.dots or seen.commas):
        seen = marks(text for name in names for text in table.column(name) if text)
    if "decimal" in findings.said:
        findings.choose("decimal", None, Strength.SAID, "")
        return names, str(findings.said["decimal"])
    if seen.decimal is not None:
        findings.choose("decimal", seen.decimal, Strength.SEEN, _shown(seen))
        return names, seen.decimal
    if seen.dots and seen.commas:
        findings.ask("decimal", (".", ","), f"{seen.dots} numbers have a decimal point, {seen.commas} a comma")
        return names, "." if seen.dots > seen.commas else ","
    if seen.either:
        findings.ask("decimal", (".", ","), f"all marks stand before three digits (like {seen.example})")
        return names, "."
    findings.choose("decimal", ".", Strength.SEEN, "no number has decimals")
    return names, "."


def _shown(seen: Marks) -> str:
    count = seen.dots or seen.commas
    open_ = f"; {seen.either} could be read either way alone" if seen.either else ""
    return f"{count} numbers show it (like {seen.example}){open_}"


def find_money(
    table: Table,
    days: Sequence[str],
    findings: Findings,
    rows: RowFacts,
    stated: StatedEnds | None,
    totals: StatedTotals | None,
) -> Money | None:
    """Choose `net` (or `parts`) and `balance`; None when it is asked."""
    names, decimal = find_decimal(table, days, findings)
    numbers = whole_numbers(table, names, decimal)
    ways = movements(table, numbers, days)
    if "net" in findings.said or "parts" in findings.said:
        return _said(findings, ways, numbers)
    if not ways:
        findings.ask("net", (), "no column has numbers in every row that could be an amount")
        return None
    proofs = _all_proofs(ways, numbers, rows)
    unbroken = [proof for proof in proofs if proof.held == proof.of]
    whole = [proof for proof in unbroken if proof.is_whole]
    if whole:
        return _proven(whole, unbroken, numbers, rows, findings)
    if totals is not None:
        names_ = list(numbers)
        by_total = next((way for way in ways if totals.hold(rows.booked(way.values), table, decimal, names_)), None)
        if by_total is not None:
            return _totalled(by_total, totals, numbers, findings)
    by_ends = _by_ends(ways, stated, decimal, numbers, table, rows)
    against = next((proof for proof in unbroken if words.fit(proof.balance, "balance") >= 40), None)
    if by_ends is None and against is not None:
        candidates = (_shape(ways[0]), _shape(against.movement))
        why = f"the names say the first; {against.balance} follows by the second, in {against.of} steps only"
        findings.ask("net", candidates, why)
        return None
    movement = by_ends or _by_name(ways, numbers, findings)
    if movement is None:
        return None
    if by_ends is not None:
        findings.choose(
            "net", _plain(by_ends.net), Strength.PROVEN, f"{by_ends.said}: opening and rows give the closing"
        )
    balance = _half_proof(movement, proofs, numbers, rows, findings)
    return Money(movement=movement, numbers=numbers, balance=balance)


def _said(findings: Findings, ways: Sequence[Movement], numbers: Mapping[str, Numbers]) -> Money | None:
    for key in ("net", "parts", "balance"):
        if key in findings.said:
            findings.choose(key, None, Strength.SAID, "")
    same = [way for way in ways if _plain(way.net) == findings.said.get("net")]
    return Money(movement=same[0], numbers=numbers, balance=None) if same else None


def _all_proofs(ways: Sequence[Movement], numbers: Mapping[str, Numbers], rows: RowFacts) -> list[BalanceProof]:
    """The ways that explain some steps of a running balance, the best first; fees are added where none explains all."""
    balances = sorted(numbers, key=lambda name: -words.fit(name, "balance"))
    found = _proofs(ways, balances, numbers, rows)
    if not any(proof.is_whole for proof in found):
        likely = [way for way in ways if way.worth > 0][:4]
        found += _proofs([each for way in likely for each in with_fees(way, numbers)], balances, numbers, rows)
    return sorted(found, key=_proof_worth, reverse=True)


def _proof_worth(proof: BalanceProof) -> tuple[bool, int, int]:
    return (proof.is_whole, proof.held, proof.movement.worth + words.fit(proof.balance, "balance"))


def _proofs(
    ways: Sequence[Movement],
    balances: Sequence[str],
    numbers: Mapping[str, Numbers],
    rows: RowFacts,
) -> list[BalanceProof]:
    found = []
    for way in ways:
        for name in balances:
            after = numbers[name]
            if name in way.columns or not any(after) or (words.fit(name, "balance") == 0 and words.fit(name, "fee")):
                continue
            if len(rows.keys) > _SCREENED:
                head = prove(way, name, after, rows, most=_SCREENED)
                if head.held * 2 < head.of:
                    continue
            proof = prove(way, name, after, rows)
            if proof.held:
                found.append(proof)
    return found


def _proven(
    whole: Sequence[BalanceProof],
    unbroken: Sequence[BalanceProof],
    numbers: Mapping[str, Numbers],
    rows: RowFacts,
    findings: Findings,
) -> Money | None:
    """The proof in the order of the dates; asked when the balance explains another reading as well, turned round."""
    proof = next((each for each in whole if rows.order in (None, each.order)), whole[0])
    movement = proof.movement
    turned = tuple(-value for value in movement.values)
    others = [each for each in unbroken if each.balance == proof.balance and each.movement.values == turned]
    if proof.order == rows.order:
        others = [each for each in others if each.order == rows.order]
    if others:
        shapes = {str(_shape(each.movement)): _shape(each.movement) for each in (proof, *others)}
        why = f"the running balance {proof.balance} explains the amounts both ways round, each in its own order"
        findings.ask("net", tuple(shapes.values()), why)
        return None
    strength = Strength.PROVEN if proof.of > 1 else Strength.SEEN
    said = f"{movement.said}: the running balance {proof.balance} follows in {proof.held} of {proof.of} steps"
    _choose(movement, strength, said, findings)
    findings.choose("balance", proof.balance, strength, f"{proof.order}; each balance is the one before it and the row")
    return Money(movement=movement, numbers=numbers, balance=proof.balance)


def _totalled(movement: Movement, totals: StatedTotals, numbers: Mapping[str, Numbers], findings: Findings) -> Money:
    said = f"{movement.said}: the entries add up to {totals.column}"
    _choose(movement, Strength.PROVEN, said, findings)
    findings.choose(
        "total", totals.column, Strength.PROVEN, "rows without a date state it, and the entries add up to it"
    )
    if totals.statement is not None:
        findings.choose(
            "statement", totals.statement, Strength.PROVEN, f"the entries of each add up to its {totals.column}"
        )
    if totals.currency is not None:
        findings.choose("currency", totals.currency, Strength.SEEN, "stands in the row that states the total")
    return Money(movement=movement, numbers=numbers, balance=None)


def _choose(movement: Movement, strength: Strength, said: str, findings: Findings) -> None:
    if movement.net is not None:
        findings.choose("net", _plain(movement.net), strength, said)
    else:
        findings.choose("parts", [_plain(part) for part in movement.parts], strength, said)


def _by_ends(
    ways: Sequence[Movement],
    stated: StatedEnds | None,
    decimal: str,
    numbers: Mapping[str, Numbers],
    table: Table,
    rows: RowFacts,
) -> Movement | None:
    """The likeliest way whose sum leads from the stated opening to the stated closing balance."""
    if stated is None or (moved := stated.moved(decimal, table, list(numbers))) is None or moved == 0:
        return None
    return next((way for way in ways if sum(rows.booked(way.values)) == moved), None)


def _linked_net(ways: Sequence[Movement], numbers: Mapping[str, Numbers]) -> Movement | None:
    """The way by a column called net to which another amount and the fees beside it add up in every row.

    The equation can be read from either end, so the column must say which end it is.
    """
    named = [way for way in ways if any("net" in words.plain(name).split() for name in way.columns)]
    return next((way for way in named if way.worth > 0 and equation(way, numbers) is not None), None)


def _by_name(ways: Sequence[Movement], numbers: Mapping[str, Numbers], findings: Findings) -> Movement | None:
    """The way that the names speak for; asked when they speak for several that differ, or for none of several."""
    best = ways[0]
    usable = [way for way in ways if way.worth > NEVER]
    # The word itself is enough; a name that only has the word in it must be the only one.
    near = best.worth if best.worth >= words.EXACT - 5 else 1
    rivals = [way for way in usable[1:] if way.worth >= near and way.values != best.values]
    linked = _linked_net(usable, numbers)
    if linked is not None:
        said = f"{linked.said}: another amount and the fees beside it add up to it in every row"
        _choose(linked, Strength.PROVEN, said, findings)
        return linked
    if not usable or rivals or (best.worth <= 0 and len({way.values for way in usable}) > 1):
        listed = {str(_shape(way)): _shape(way) for way in ([best, *rivals] if rivals else usable[:6])}
        findings.ask("net", tuple(listed.values()), "several ways to read the amount, and nothing proves one")
        return None
    if best.worth <= 6:
        _choose(best, Strength.ASSUMED, f"{best.said}: the only numbers that can be amounts", findings)
    else:
        _choose(best, Strength.NAMED, f"{best.said}: by name; no running balance proves it", findings)
    signs = {(value > 0) - (value < 0) for value in best.values} - {0}
    if best.net is not None and best.net.column and not best.net.indicator and len(signs) == 1:
        which = "negative" if signs == {-1} else "positive"
        why = f"every amount is {which}: nothing shows how the other side is written"
        findings.ask("net.sign", (1, -1), why, blocks=False)
    return best


def _half_proof(
    movement: Movement,
    proofs: Sequence[BalanceProof],
    numbers: Mapping[str, Numbers],
    rows: RowFacts,
    findings: Findings,
) -> str | None:
    """A column called balance that the rows do not explain: said, and not used."""
    named = [name for name in numbers if words.fit(name, "balance") >= 40 and name not in movement.columns]
    named = [name for name in named if any(numbers[name])]
    for name in named:
        shown = prove(movement, name, numbers[name], rows)
        if shown.of:
            findings.ask(
                "balance",
                (name,),
                f"{name} does not follow from the rows ({shown.held} of {shown.of} steps): rows are missing, in another"
                " order, or it is another balance",
                blocks=False,
            )
    proof = next(iter(proofs), None)
    if proof is not None and proof.held * 10 >= proof.of * 9 and proof.of > 9:
        findings.ask(
            "net",
            (_plain(proof.movement.net),),
            f"{proof.movement.said} explains {proof.held} of {proof.of} steps of {proof.balance}, not all",
            blocks=False,
        )
    return None


def find_parts(money: Money, findings: Findings) -> None:
    """Choose `parts`: gross and fees that add up to the net in every row."""
    if "parts" in findings.said or findings.value("parts") is not None:
        return
    found = equation(money.movement, money.numbers)
    if found is not None:
        names = ", ".join(f"{'less ' if part.sign < 0 else ''}{part.column}" for part in found.parts)
        plain: list[Value] = [_plain(part) for part in found.parts]
        said = f"{names} add up to the net in every row, {found.rows} of them with a fee"
        findings.choose("parts", plain, Strength.PROVEN, said)
        return
    fees = [
        name for name in money.numbers
        if words.fit(name, "fee") >= 40 and name not in money.movement.columns and any(money.numbers[name])
    ]  # fmt: skip
    if fees and money.balance is None:
        findings.ask(
            "parts", tuple(fees), "whether the amount is before or after these fees: no columns add up", blocks=False
        )


def find_decimals(table: Table, money: Money, codes: Sequence[str], findings: Findings) -> None:
    """Whether amounts have more decimals than their currency (`rounds`), or none at all (`minor_units`, asked)."""
    columns = [name for name in money.movement.columns if name in money.numbers]
    texts = [without_code(text)[0] for name in columns for text in table.column(name) if text]
    exponents = [exponent for code in set(codes) if (exponent := exponent_of(code)) is not None]
    if not exponents or not texts:
        return
    mark = str(findings.value("decimal") or ".")
    behind = [_decimals(text, mark) for text in texts]
    money_columns = [name for name in money.numbers if not words.fit(name, "rate")]
    others = [_decimals(without_code(text)[0], mark) for name in money_columns for text in table.column(name) if text]
    if max(len(each.rstrip("0")) for each in behind) > max(exponents):
        said = f"amounts have up to {max(map(len, behind))} decimals, the currency {max(exponents)}"
        findings.choose("rounds", True, Strength.ASSUMED, said)
    elif not any(others) and max(exponents) > 0 and not table.is_workbook:
        findings.ask("minor_units", (False, True), "no amount has decimals: whole units or minor units?")


def _decimals(bare: str, mark: str) -> str:
    digits = bare.removesuffix("CR").removesuffix("DR").strip("+-\u2212()")
    return digits.rpartition(mark)[2] if mark in digits else ""


def _shape(movement: Movement) -> Value:
    return _plain(movement.net) if movement.net is not None else [_plain(part) for part in movement.parts]


def _plain(amount: Amount | None) -> Value:
    if amount is None:
        return None
    said = amount.model_dump(exclude_defaults=True)
    return {key: list(value) if isinstance(value, tuple) else value for key, value in said.items()}
