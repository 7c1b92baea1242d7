"""Character sets of payment files, and writing names in them.

Lives here: which characters a bank takes, and one clear table of what is written instead of the others.
Must not live here: lengths and other rules of fields (`validate`), XML escaping (`pain001`).

Nothing is lost in silence: every replaced or dropped character is a `Change`, the original text stays beside
the written one, and text is never cut. Two sets:

``sepa``   the Latin set every SEPA bank takes: ``a-z A-Z 0-9 / - ? : ( ) . , ' +`` and space (EPC217-08).
``latin``  printable ASCII, Latin-1 and Latin Extended-A letters and signs, Ș ș Ț ț and € (as in Switzerland).

Umlauts are written ae, oe, ue, or a, o, u where a bank wants that (`Umlauts`); other Latin letters lose their
accents; Greek follows ELOT 743 letter by letter, Cyrillic the Bulgarian law with the Ukrainian, Serbian and
Macedonian letters added; a character without any counterpart becomes a full stop, as the EPC recommends. Every
change names the rule that made it (`Rule`); the full stop's is ``unknown``.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, replace
from enum import StrEnum

SEPA_CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/-?:().,'+ "
# No-break space and soft hyphen are in Latin-1 but invisible; they are written as a space and dropped.
LATIN_RANGES = ((0x20, 0x7E), (0xA1, 0xAC), (0xAE, 0xFF), (0x100, 0x17F), (0x218, 0x21B), (0x20AC, 0x20AC))
UNKNOWN = "."


class Charset(StrEnum):
    """A bank profile's character set."""

    SEPA = "sepa"
    LATIN = "latin"


class Umlauts(StrEnum):
    """How a bank wants ä, ö, ü and å, æ, ø written: as two letters, or as one without its marks."""

    TWO_LETTERS = "ae"
    ONE_LETTER = "a"


class Rule(StrEnum):
    """Why a piece is written differently."""

    LETTER = "letter"
    ACCENT = "accent"
    SIGN = "sign"
    SPACE = "space"
    INVISIBLE = "invisible"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Change:
    """One replaced piece: where in the original (from 0), what stood there, what is written instead, by which rule."""

    position: int
    original: str
    written: str
    rule: Rule

    @property
    def known(self) -> bool:
        """False for a character without counterpart."""
        return self.rule is not Rule.UNKNOWN


@dataclass(frozen=True, slots=True)
class Transliteration:
    """A text, how it is written in a character set, and every difference between the two."""

    original: str
    written: str
    changes: tuple[Change, ...]

    @property
    def complete(self) -> bool:
        """False when some character has no counterpart and stands as a full stop."""
        return all(change.known for change in self.changes)


_ALLOWED: dict[Charset, frozenset[str]] = {
    Charset.SEPA: frozenset(SEPA_CHARACTERS),
    Charset.LATIN: frozenset(chr(code) for low, high in LATIN_RANGES for code in range(low, high + 1)),
}


def _pairs(text: str) -> dict[str, str]:
    words = text.split()
    return dict(zip(words[::2], words[1::2], strict=True))


_LATIN = _pairs("ä ae ö oe ü ue ß ss æ ae œ oe ø oe đ d ð d þ th ł l ħ h ı i ŋ ng ŧ t ĸ k ŀ l ʼn n ſ s ə e")
_GREEK = _pairs(
    "α a β v γ g δ d ε e ζ z η i θ th ι i κ k λ l μ m ν n ξ x ο o π p ρ r σ s ς s τ t υ y φ f χ ch ψ ps ω o"
)
_CYRILLIC = _pairs(
    "а a б b в v г g д d е e ж zh з z и i й y к k л l м m н n о o п p р r с s т t у u ф f х h ц ts ч ch ш sh "
    "щ sht ъ a ы y ь y э e ю yu я ya ё e і i ї yi є ye ґ g ў u ђ dj ј j љ lj њ nj ћ c џ dz ѓ gj ќ kj ѕ dz"
)
_LETTERS = _LATIN | _GREEK | _CYRILLIC
_SIGNS = _pairs(
    "& + @ (at) _ - ; , \" ' ` ' ´ ' ‘ ' ’ ' ‚ ' ‛ ' “ ' ” ' „ ' « ' » ' ‹ ' › ' ′ ' ″ ' ʼ ' "
    "‐ - ‑ - ‒ - – - — - ― - − - ~ - = - · . • . … ... ! . # . $ . % . * . ^ . ¡ . § . ¿ ? ⁄ / "
    "[ ( { ( < ( ] ) } ) > ) \\ / | / ¦ / € EUR £ GBP ¥ JPY № No × x ÷ : º o ª a ° . © (c) ® (R) ™ (TM)"
)
_SPACES = frozenset("\t\n\r\v\f")


def outside(text: str, charset: Charset) -> str:
    """The characters of the text that are not in the set, each once, in order of appearance."""
    allowed = _ALLOWED[charset]
    return "".join(dict.fromkeys(character for character in text if character not in allowed))


def plain_ascii(charset: Charset) -> bytes:
    """The ASCII characters of the set that need no escape in XML (for tight loops)."""
    return "".join(c for c in sorted(_ALLOWED[charset]) if c.isascii() and c not in "&<>").encode()


def _compile_outside(allowed: frozenset[str]) -> re.Pattern[str]:
    return re.compile(f"[^{''.join(re.escape(character) for character in sorted(allowed))}]")


_OUTSIDE = {charset: _compile_outside(allowed) for charset, allowed in _ALLOWED.items()}


def reference_fault(text: str) -> str | None:
    """Why a reference breaks the EPC's slash rules, or None: no ``/`` at either end, no ``//``."""
    if text.startswith("/"):
        return "starts with '/'"
    if text.endswith("/"):
        return "ends with '/'"
    return "contains '//'" if "//" in text else None


def transliterate(text: str, charset: Charset, umlauts: Umlauts = Umlauts.TWO_LETTERS) -> Transliteration:
    """Write a text in a character set; spaces are also stripped and runs of them joined, and logged.

    Does nothing to a text that is written already; never raises, never cuts.
    """
    if _is_written(text, charset):
        return Transliteration(text, text, ())
    clusters = _clusters(text)
    followers = [cluster for _, cluster in clusters[1:]] + [""]
    pieces = [
        Change(position, cluster, *_write(cluster, following, _ALLOWED[charset], umlauts))
        for (position, cluster), following in zip(clusters, followers, strict=True)
    ]
    pieces = _join_spaces(pieces)
    written = "".join(piece.written for piece in pieces)
    return Transliteration(text, written, tuple(p for p in pieces if p.written != p.original))


def _is_written(text: str, charset: Charset) -> bool:
    return _OUTSIDE[charset].search(text) is None and text == text.strip(" ") and "  " not in text


def _join_spaces(pieces: list[Change]) -> list[Change]:
    """Write leading and trailing spaces, and all but the first of a run, as nothing."""
    joined: list[Change] = []
    last_kept: int | None = None
    for piece in pieces:
        if piece.written == " " and (last_kept is None or joined[last_kept].written == " "):
            piece = replace(piece, written="", rule=Rule.SPACE)
        joined.append(piece)
        if piece.written:
            last_kept = len(joined) - 1
    if last_kept is not None and joined[last_kept].written == " ":
        joined[last_kept] = replace(joined[last_kept], written="", rule=Rule.SPACE)
    return joined


def _clusters(text: str) -> list[tuple[int, str]]:
    """Base characters with the combining marks that follow them, and their positions."""
    clusters: list[tuple[int, str]] = []
    for position, character in enumerate(text):
        if clusters and unicodedata.combining(character):
            start, cluster = clusters[-1]
            clusters[-1] = (start, cluster + character)
        else:
            clusters.append((position, character))
    return clusters


def _write(cluster: str, following: str, allowed: frozenset[str], umlauts: Umlauts) -> tuple[str, Rule]:
    """What is written for one cluster, and by which rule."""
    composed = unicodedata.normalize("NFC", cluster)
    if composed in allowed:
        return composed, Rule.ACCENT
    if composed in _SPACES or unicodedata.category(composed[0]) in {"Zs", "Zl", "Zp"}:
        return " ", Rule.SPACE
    if all(unicodedata.category(character) in {"Cc", "Cf"} for character in composed):
        return "", Rule.INVISIBLE
    for form in (composed, unicodedata.normalize("NFKD", composed)):
        letters = [character for character in form if not unicodedata.combining(character)]
        parts = [_counterpart(character, following, allowed, umlauts) for character in letters]
        if parts and all(text for text, _ in parts):
            marks_only = form is not composed and all(rule is None for _, rule in parts)
            rule = Rule.ACCENT if marks_only else next((rule for _, rule in parts if rule is not None), Rule.SIGN)
            return "".join(text for text, _ in parts), rule
    return UNKNOWN, Rule.UNKNOWN


_ONE_LETTER = _pairs("ä a ö o ü u å a æ a ø o")


def _counterpart(character: str, following: str, allowed: frozenset[str], umlauts: Umlauts) -> tuple[str, Rule | None]:
    """The table's text for one character ('' when it has none) and its rule (None when nothing was changed)."""
    if character in allowed:
        return character, None
    if character in _SIGNS:
        return _SIGNS[character], Rule.SIGN
    lower = character.lower()
    text = _LETTERS.get(lower, "")
    if umlauts is Umlauts.ONE_LETTER:
        text = _ONE_LETTER.get(lower, text)
    if not text or character == lower:
        return text, Rule.LETTER
    # ÄRZTE gives AERZTE, Ärzte gives Aerzte.
    return (text.upper() if following[:1].isupper() else text[0].upper() + text[1:]), Rule.LETTER
