"""Columns of texts: currency, accounts, references, kinds, states.

Lives here: what names and contents say. Must not live here: days, amounts.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Final

from recon.formats.values import exponent_of, iban_in
from recon.layout_finder import words
from recon.layout_finder.findings import Findings, Strength, Value
from recon.layout_finder.table import Table
from recon.layout_finder.written import without_code

_CODE: Final = re.compile(r"(?<![A-Za-z])[A-Z]{3}(?![A-Za-z])")
_REFERENCES: Final = (
    "end_to_end_id", "structured_ref", "mandate_id", "party_account", "party_name", "remittance",
    "account_servicer_ref",
)  # fmt: skip
_KINDS_MAX: Final = 40
_DOLLARS: Final = ("USD", "CAD", "AUD", "NZD", "SGD", "HKD", "MXN")


def find_currency(table: Table, amount_columns: Sequence[str], findings: Findings) -> None:
    """Choose `currency` (a column) or `currency_is` (one for the file)."""
    if "currency" in findings.said or "currency_is" in findings.said:
        for key in ("currency", "currency_is"):
            if key in findings.said:
                findings.choose(key, None, Strength.SAID, "")
        return
    named = {code for name in amount_columns for code in _codes(name)}
    if len(named) == 1:
        findings.choose("currency_is", named.pop(), Strength.SEEN, "it stands in the name of the amount's column")
        return
    columns = [name for name in table.names if _are_codes(table.column(name))]
    named_so = [name for name in columns if words.fit(name, "currency") or words.says_foreign(name)]
    if named_so or (columns and table.header_line is None):
        columns = named_so or columns
        _of_columns(table, columns, amount_columns, findings)
        return
    beside = {without_code(text)[1] for name in amount_columns for text in table.column(name) if text} - {None}
    if len(beside) == 1:
        findings.choose("currency_is", next(iter(beside)), Strength.SEEN, "it stands beside the amounts")
        return
    _of_head(table, amount_columns, findings)


def _are_codes(texts: Sequence[str]) -> bool:
    filled = [text for text in texts if text]
    return (
        len(filled) * 10 >= len(texts) * 9
        and bool(filled)
        and all(len(text) == 3 and text.isalpha() and exponent_of(text.upper()) is not None for text in filled)
    )


def _codes(text: str) -> list[str]:
    """Currency codes in a text; a word in capitals that is a currency by chance needs a mark around it."""
    return [code for code in _CODE.findall(text) if exponent_of(code) is not None and text.strip() != code] or (
        [text.strip()] if len(text.strip()) == 3 and exponent_of(text.strip()) is not None else []
    )


def _of_columns(table: Table, columns: list[str], amounts: Sequence[str], findings: Findings) -> None:
    if len(columns) == 1 and not (words.says_foreign(columns[0]) and amounts):
        codes = ", ".join(sorted(set(filter(None, table.column(columns[0]))))[:4])
        findings.choose("currency", columns[0], Strength.SEEN, f"the only column of currency codes ({codes})")
        return
    near = _nearest(table, columns, amounts)
    if len(near) == 1 and not words.says_foreign(near[0]):
        other = ", ".join(name for name in columns if name != near[0])
        findings.choose(
            "currency", near[0], Strength.NAMED, f"by its name and its place beside the amount; not {other}"
        )
    elif all(table.column(name) == table.column(columns[0]) for name in columns) and len(columns) > 1:
        best = words.best(columns, "currency") or columns[0]
        findings.choose("currency", best, Strength.SEEN, f"{len(columns)} columns of codes, the same in every row")
    else:
        findings.ask("currency", tuple(columns), "no column of currency codes is clearly the amount's")


def _nearest(table: Table, columns: Sequence[str], amounts: Sequence[str]) -> list[str]:
    """The columns that share most of their name with the amount's, of those the nearest, of those the one behind it."""
    own = [name for name in columns if not words.says_foreign(name)] or list(columns)
    shared = {name: _shared(name, amounts) for name in own}
    near = [name for name in own if shared[name] == max(shared.values())]
    places = [table.names.index(name) for name in amounts if name in table.names]
    if len(near) > 1 and places:
        steps = {name: min(abs(table.names.index(name) - place) for place in places) for name in near}
        near = [name for name in near if steps[name] == min(steps.values())]
        after = [name for name in near if table.names.index(name) > min(places)]
        near = after if len(near) > 1 and len(after) == 1 else near
    return near


def _shared(name: str, amounts: Sequence[str]) -> int:
    own = _name_words(name)
    return max((len(own & _name_words(each)) for each in amounts), default=0)


def _name_words(name: str) -> set[str]:
    """Words of a name, those in brackets too; of words put together their first half (Buchungsbetrag)."""
    bare = set(words.plain(re.sub(r"[()]", " ", name)).split()) - {"currency", "code"}
    return bare | {f"{word[:6]}-" for word in bare if len(word) > 9}


def _of_head(table: Table, amounts: Sequence[str], findings: Findings) -> None:
    texts = [cell for _, cells in table.head for cell in cells if cell]
    found = {code for text in texts for code in _codes(text)}
    if len(found) == 1:
        findings.choose("currency_is", found.pop(), Strength.SEEN, "it stands before the header")
        return
    others = {code for name in table.names for code in _codes(name)}
    if len(others) == 1:
        findings.choose("currency_is", others.pop(), Strength.SEEN, "it stands in a column's name")
        return
    signs = "".join(text for name in amounts for text in table.column(name))
    if "$" in signs:
        findings.ask("currency_is", _DOLLARS, "amounts have a $ and no code: whose dollar?")
        return
    findings.ask("currency_is", tuple(sorted(found)), "no column, name or head row says one currency")


def find_account(table: Table, free: Collection[str], findings: Findings) -> str | None:
    """Choose `account` or `account_is`; the column, when it is one."""
    if "account_is" in findings.said:
        findings.choose("account_is", None, Strength.SAID, "")
        return None
    named = [
        name
        for name in table.names
        if name in free and all(table.column(name)) and not _is_others(name) and _is_one_of_few(table.column(name))
    ]
    ranked = sorted(named, key=lambda name: -words.fit(name, "account"))
    known = [name for name in ranked if words.fit(name, "account") == words.EXACT]
    with_iban = [name for name in ranked if all(iban_in(text) and len(text) > 14 for text in table.column(name))]
    own = [name for name in known if words.says_own(name)]
    words_of_head = (word for _, cells in table.head for cell in cells for word in (cell, *cell.split()))
    heads = {iban for word in words_of_head if (iban := _iban(word))}
    if len(heads) == 1 and not own:
        findings.choose("account_is", heads.pop(), Strength.SEEN, "an IBAN before the header")
        return None
    chosen = next(iter([*own, *with_iban, *known]), None)
    if chosen is None:
        findings.ask("account_is", tuple(sorted(heads)), "nothing in the file says whose account it is", blocks=False)
        return None
    count = len(set(table.column(chosen)))
    kind = "IBAN" if chosen in with_iban else "account"
    strength = Strength.SEEN if chosen in with_iban and len(table.rows) > 2 else Strength.NAMED
    findings.choose("account", chosen, strength, f"{count} {kind} in {len(table.rows)} rows")
    return chosen


def _is_others(name: str) -> bool:
    others = words.fit(name, "party_account")
    return others > words.fit(name, "account") or others == words.EXACT


def _is_one_of_few(texts: Sequence[str]) -> bool:
    return len(set(texts)) * 3 <= len(texts) + 2


def _iban(text: str) -> str | None:
    compact = re.sub(r"\s", "", text)
    if not re.fullmatch(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}", compact):
        return None
    return iban_in(compact)


def find_state(table: Table, free: Collection[str], findings: Findings) -> list[bool]:
    """Choose `status`; for each row whether it is booked."""
    name = words.best(
        [name for name in table.names if name in free and _few(table.column(name))], "status", at_least=40
    )
    if name is None:
        return [True] * len(table.rows)
    texts = table.column(name)
    informs = sorted({text for text in texts if words.plain(text) in words.cells("unbooked")})
    if informs and words.fit(name, "status") < words.EXACT:
        why = f"all rows are read as booked, though {name} says {', '.join(informs)}"
        findings.ask("status", tuple(informs), why, blocks=False)
        return [True] * len(texts)
    if informs:
        value: Value = {"column": name, "informs": list(informs)}
        findings.choose("status", value, Strength.NAMED, f"these words of {name} say that nothing was booked")
    elif len(set(texts)) > 1:
        seen = tuple(sorted(set(texts)))
        findings.ask("status", seen, f"all rows are read as booked, whatever {name} says", blocks=False)
    return [text not in informs for text in texts]


def _few(texts: Sequence[str]) -> bool:
    distinct = set(texts)
    return 1 <= len(distinct) <= _KINDS_MAX and (len(distinct) < len(texts) or len(texts) < 10) and all(
        len(text) <= 60 for text in distinct
    )  # fmt: skip


def kind_column(table: Table, free: Collection[str]) -> str | None:
    """The column with the kind of a row."""
    return words.best([name for name in table.names if name in free and _few(table.column(name))], "type", at_least=40)


def find_references(table: Table, free: Collection[str], findings: Findings) -> None:
    """Choose `references`: names first, then contents."""
    left = [name for name in table.names if name in free]
    found: dict[str, str] = {}
    why: list[str] = []
    for role in _REFERENCES:
        usable = [name for name in left if _may_be(role, table.column(name))]
        best = words.best(usable, role, at_least=40)
        if best is None and role == "party_account":
            best = next((name for name in left if _has_ibans(table.column(name))), None)
            why += [f"{best} has IBANs of others"] if best else []
        if best is not None and not _better_elsewhere(best, role):
            found[role] = best
            left.remove(best)
    longest = max(left, key=lambda name: _mean(table.column(name)), default=None)
    if "remittance" not in found and longest is not None and _mean(table.column(longest)) >= 8:
        found["remittance"] = longest
        why.append(f"{longest} has the longest texts")
    if found:
        said = "; ".join(["by the names of the columns", *why])
        strength = Strength.ASSUMED if any("longest" in each for each in why) else Strength.NAMED
        findings.choose("references", dict(found), strength, said)
    elif "references" in findings.said:
        findings.choose("references", None, Strength.SAID, "")


def _better_elsewhere(name: str, role: str) -> bool:
    others = [each for each in _REFERENCES if each != role]
    return max(words.fit(name, each) for each in others) > words.fit(name, role) > 0


def _may_be(role: str, texts: Sequence[str]) -> bool:
    filled = [text for text in texts if text]
    if not filled:
        return True
    if role in ("account_servicer_ref", "end_to_end_id", "structured_ref"):
        return len(set(filled)) > 1 or len(filled) < 3
    if role in ("party_name", "remittance"):
        return any(letter.isalpha() for text in filled for letter in text) and not all(map(_iban, filled))
    return True


def _has_ibans(texts: Sequence[str]) -> bool:
    filled = [text for text in texts if text]
    return len(set(filled)) > 1 and sum(_iban(text) is not None for text in filled) * 2 > len(filled)


def _mean(texts: Sequence[str]) -> int:
    filled = [text for text in texts if any(letter.isalpha() for letter in text)]
    return sum(map(len, filled)) // len(texts) if texts else 0
