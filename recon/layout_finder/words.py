"""What a column's name says, in the words of `words.yaml`.

Lives here: names to roles. Must not live here: the cells below a name.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

_LETTERS: Final = str.maketrans({"ł": "l", "ø": "o", "đ": "d", "æ": "ae", "ı": "i", "ß": "ss", "œ": "oe"})
_BRACKETED: Final = re.compile(r"\([^)]*\)|\[[^\]]*\]")
EXACT: Final = 100  # a name that is the word, whatever stands in brackets behind it


def plain(name: str) -> str:
    """A name without accents, marks, brackets and case: ``Währung (ISO)`` -> ``wahrung``."""
    bare = _BRACKETED.sub(" ", name) if _BRACKETED.sub("", name).strip() else name
    parts = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", bare)
    letters = unicodedata.normalize("NFKD", parts.translate(_LETTERS).casefold().translate(_LETTERS))
    bare = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return " ".join(re.sub(r"[^\w]|_", " ", bare).split())


@cache
def _file() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("words.yaml").read_text(encoding="utf-8"))
    return found


@cache
def _words() -> dict[str, tuple[str, ...]]:
    return {role: tuple({plain(word): None for word in known}) for role, known in _file()["columns"].items()}


@cache
def cells(kind: str) -> tuple[str, ...]:
    """Words that cells say: `debit`, `credit`, `unbooked`, `payout`, `opening`, `closing`, `sum`."""
    return tuple({plain(word) or word: None for word in _file()["cells"][kind]})


@cache
def says_foreign(name: str) -> bool:
    """Whether a name says another currency, or the amount before it was exchanged."""
    starts = tuple(_file()["foreign_starts"])
    return any(word in _file()["foreign"] or word.startswith(starts) for word in plain(name).split())


@cache
def says_own(name: str) -> bool:
    """Whether a name says that it is the account the report is about."""
    return any(word in plain(name) for word in _file()["own"])


@cache
def fit(name: str, role: str) -> int:
    """How well a name says a role: `EXACT` for the word itself, less where it only has the word in it, 0 not at all."""
    bare = plain(name)
    if not bare:
        return 0
    best = 0
    for word in _words()[role]:
        if bare == word:
            return EXACT
        if len(word) < 3:
            continue
        if bare.endswith(f" {word}") or bare.startswith(f"{word} "):
            best = max(best, min(40 + len(word), EXACT - 1))
        elif f" {word} " in f" {bare} ":
            best = max(best, min(10 + len(word), EXACT - 1))
        elif len(word) >= 5 and bare.endswith(word):  # words put together: Buchungsbetrag
            best = max(best, min(30 + len(word), EXACT - 1))
    return best


def is_known(name: str) -> bool:
    """Whether a name is exactly what some column is called."""
    bare = plain(name)
    return any(bare in words for words in _words().values())


def best(names: Iterable[str], role: str, *, at_least: int = 1) -> str | None:
    """The name that says a role best, the first of equals; None when none does."""
    found: tuple[int, str | None] = (at_least - 1, None)
    for name in names:
        if fit(name, role) > found[0]:
            found = (fit(name, role), name)
    return found[1]
