"""How alike two spellings are: references with a letter wrong, names as banks send them.

Lives here: what counts as an error of writing and what is another number or another name. Must not live here: points
for evidence, pairs, SQL. Pure functions of texts; references and texts are capitals and figures without marks.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from rapidfuzz import fuzz, process
from rapidfuzz.distance import Indel

ALIKE: Final = 92  # of 100: what a reference and a piece of text must have in common
_CUT_NAME_MIN: Final = 15
END_MIN: Final = 5  # figures of the end of a reference
CUT_MIN: Final = 13  # characters of a reference that was cut
_WORTH_A_LOOK: Final = 75  # names less alike than this are two names
# Characters that people and scanners take for each other. One figure for another figure is no such error: it is what
# tells one invoice from the next.
_LOOK_ALIKE: Final = frozenset(
    frozenset(pair) for pair in ("0O", "0Q", "0D", "1I", "1L", "IL", "5S", "8B", "2Z", "6G", "UV", "VW")
)


def misspelt(references: Sequence[str], texts: Sequence[str]) -> list[int]:
    """For each pair how much of the reference the text has, from 92 to 100, or 0 when it is not a misspelling of it.

    Neighbours changed places, a character was lost or doubled, or was taken for one that looks like it. Another
    figure makes another reference, and so do more figures before or after it.
    """
    ratios = process.cpdist(references, texts, scorer=fuzz.partial_ratio, workers=1)
    return [
        int(ratio) if ratio >= ALIKE and (_is_misspelling(reference, text) or is_swapped(reference, text)) else 0
        for ratio, reference, text in zip(ratios, references, texts, strict=True)
    ]


def stands_free(reference: str, text: str) -> bool:
    """Whether the text has the reference otherwise than as a part of a longer number. Zeros before it may lead it."""
    at = text.find(reference)
    while at >= 0:
        if not _goes_on(reference, text, at, at + len(reference)):
            return True
        at = text.find(reference, at + 1)
    return False


def stands_in_word(reference: str, words: str) -> bool:
    """Whether one word of the text, with its marks, has the reference so: letters may be glued to it."""
    return any(stands_free(reference, re.sub(r"[^A-Z0-9]", "", part)) for part in words.split())


def ends_early(reference: str, words: str) -> bool:
    """Whether a word of the text, with its marks, is the beginning of the reference and stops there: it was cut.

    A word that begins like the reference and goes on otherwise is another reference: invoices of one year begin alike.
    """
    return any(
        len(word) >= CUT_MIN and reference.startswith(word)
        for word in (re.sub(r"[^A-Z0-9]", "", part) for part in _WORD_ENDS.split(words))
    )


def is_end_of(reference: str, words: str) -> bool:
    """Whether a word of the text is the end of the reference: people leave out what all their numbers begin with."""
    return any(
        reference.endswith(word) and len(re.findall("[0-9]", word)) >= END_MIN
        for word in (re.sub(r"[^A-Z0-9]", "", part) for part in _WORD_ENDS.split(words))
    )


def is_swapped(reference: str, text: str) -> bool:
    """Whether the text has the reference with two neighbours swapped, wherever in it they stand."""
    return any(
        stands_free(reference[:at] + reference[at + 1] + reference[at] + reference[at + 2 :], text)
        for at in range(len(reference) - 1)
        if reference[at] != reference[at + 1]
    )


def _goes_on(reference: str, text: str, start: int, stop: int) -> bool:
    """Whether figures before or after make the piece of text a part of a longer number."""
    before, after = text[:start].rstrip("0")[-1:], text[stop : stop + 1]
    return (reference[0].isdigit() and before.isdigit()) or (reference[-1].isdigit() and after.isdigit())


def _is_misspelling(reference: str, text: str) -> bool:
    start, stop = _window(reference, text)
    piece = text[start:stop]
    lost, gained = "", ""
    lost_end = False
    for change in Indel.opcodes(reference, piece):
        if change.tag == "delete":
            lost += reference[change.src_start : change.src_end]
            lost_end |= (change.src_start == 0 and start > 0) or change.src_end == len(reference)
        elif change.tag == "insert" and change.dest_start == 0:
            start += change.dest_end  # what stands before it, or follows, is no part of it
        elif change.tag == "insert" and change.dest_end == len(piece):
            stop -= change.dest_end - change.dest_start
        elif change.tag == "insert":
            gained += piece[change.dest_start : change.dest_end]
    lost_end |= reference.startswith(text[start:stop]) or reference.endswith(text[start:stop])  # one of two alike
    if lost_end and not gained and (start > 0 or stop < len(text)):
        return False  # another character stands where its first or last one was
    return not _goes_on(reference, text, start, stop) and _is_error(lost, gained)


def _window(reference: str, text: str) -> tuple[int, int]:
    """Where in the text the reference could stand: the piece most like it, and a character more on either side."""
    found = fuzz.partial_ratio_alignment(reference, text)
    if found is None or len(text) <= len(reference):
        return 0, len(text)
    return max(found.dest_start - 1, 0), min(found.dest_end + 1, len(text))


def _is_error(lost: str, gained: str) -> bool:
    """One character lost or gained, two that changed places, or one or two taken for others that look like them."""
    if not lost or not gained:
        return len(lost) + len(gained) == 1
    if lost == gained:
        return len(lost) == 1
    return len(lost) == len(gained) <= 2 and all(
        frozenset(pair) in _LOOK_ALIKE for pair in zip(lost, gained, strict=True)
    )


def plain_name(name: str) -> str:
    """A name without accents, marks and legal form, in capitals; umlauts as banks spell them (AE becomes A)."""
    return re.sub(r"\s+", " ", _LEGAL.sub("", _bare(name))).strip()


def name_likeness(ours: Sequence[str], theirs: Sequence[str]) -> list[int]:
    """For each pair of names how alike they are: 100 for one name, 0 for the names of two parties.

    Another legal form or another number in it makes another company, however alike the rest is; a name that was cut
    within a word is the longer one.
    """
    left, right = [plain_name(name) for name in ours], [plain_name(name) for name in theirs]
    ratios = process.cpdist(left, right, scorer=fuzz.token_sort_ratio, workers=1)
    return [_judged(int(ratio), *pair) for ratio, *pair in zip(ratios, ours, theirs, left, right, strict=True)]


def _judged(ratio: int, one: str, other: str, plain_one: str, plain_other: str) -> int:
    is_beginning = min(len(plain_one), len(plain_other)) >= _CUT_NAME_MIN and (
        plain_one.startswith(plain_other) or plain_other.startswith(plain_one)
    )
    if _was_cut(one, other):
        return 100
    if ratio < _WORTH_A_LOOK and not is_beginning:
        return ratio
    numbers = [sorted(re.findall(r"[A-Z]*[0-9][A-Z0-9]*", text)) for text in (plain_one, plain_other)]
    if not are_one_company(one, other) or (numbers[0] != numbers[1] and not is_beginning):
        return 0
    return min(ratio, _WORTH_A_LOOK) if numbers[0] != numbers[1] else ratio


def are_one_name(one: str, other: str) -> bool:
    """Whether two names are the same words, in any order, or one is the other, cut within a word."""
    same_words = sorted(plain_name(one).split()) == sorted(plain_name(other).split())
    return (same_words and are_one_company(one, other)) or _was_cut(one, other)


def name_marks(name: str) -> tuple[str, ...]:
    """Texts, one of which two names that are one (`are_one_name`) share: its words, and its beginning.

    And the words before those that may be the beginning of a legal form, or words of the name.
    """
    spaced = _spaced(name)
    begun = [_LEGAL.sub("", spaced[: found.start()]) for found in _FORM_BEGUN.finditer(spaced)]
    marks = [plain_name(name), *begun]
    return (*dict.fromkeys(" ".join(sorted(mark.split())) for mark in marks), spaced[:_CUT_NAME_MIN])


def _was_cut(one: str, other: str) -> bool:
    """Whether one name is the other, cut within a word or within its legal form.

    Cut between other words it could be another company's whole name.
    """
    short, long = sorted((_spaced(one), _spaced(other)), key=len)
    if len(short) >= _CUT_NAME_MIN and long.startswith(short) and long[len(short) :][:1].isalpha():
        return True
    return _stops_in_form(short, long) or _stops_in_form(long, short)


def _stops_in_form(cut: str, whole: str) -> bool:
    """Whether a name is the other one as far as into its legal form, however that is spelt there."""
    form = _FORM_AT_END.search(whole)
    if form is None or not cut.startswith(whole[: form.start()] + " "):
        return False
    begun = cut[form.start() + 1 :]
    if begun in _FORMS or (len(begun) < 2 and len(cut) < _CUT_NAME_MIN):
        return False
    spellings = (form[1], *(said for said, short in _SHORT.items() if short == _SHORT.get(form[1], form[1])))
    return any(len(begun) < len(spelling) and spelling.startswith(begun) for spelling in spellings)


def are_one_company(one: str, other: str) -> bool:
    """Whether the legal forms in two names do not contradict each other; a name may leave its form out."""
    left, right = (frozenset(_SHORT.get(form, form) for form in _LEGAL.findall(_bare(name))) for name in (one, other))
    return left <= right or right <= left


def _spaced(name: str) -> str:
    return re.sub(r"\s+", " ", _bare(name)).strip()


@lru_cache(maxsize=100_000)
def _bare(name: str) -> str:
    bare = unicodedata.normalize("NFKD", name.translate(_SPECIAL)).encode("ascii", "ignore").decode().upper()
    bare = re.sub(r"[^A-Z0-9 ]", "", bare)
    return re.sub(r"AE", "A", re.sub(r"OE", "O", re.sub(r"UE", "U", bare)))


_SHORT: Final = {
    "LIMITED": "LTD",
    "INCORPORATED": "INC",
    "GESELLSCHAFT MIT BESCHRANKTER HAFTUNG": "GMBH",
    "AKTIENGESELLSCHAFT": "AG",
    "AKTIEBOLAG": "AB",
    "SOCIETE ANONYME": "SA",
    "BESLOTEN VENNOOTSCHAP": "BV",
    "SP Z OO": "SPZOO",
    "SP ZOO": "SPZOO",
}
_FORMS: Final = (
    *("GMBH", "AG", "LTD", "INC", "SA", "BV", "AB", "SRL", "SPA", "OY", "AS", "APS", "KG", "SARL", "LLC", "PLC", "NV"),
    *("SPZOO", *sorted(_SHORT)),
)
_LEGAL: Final = re.compile(rf"\b({'|'.join(_FORMS)})\b")
_FORM_AT_END: Final = re.compile(rf" ({'|'.join(sorted(_FORMS, key=len, reverse=True))})$")
# The beginning of a form at the end of a name: "MULLER GM", "STOLARNIA SP Z".
_BEGINNINGS: Final = {form[:length].strip() for form in _FORMS for length in range(1, len(form))}
_FORM_BEGUN: Final = re.compile(rf" (?:{'|'.join(sorted(_BEGINNINGS, key=len, reverse=True))})$")
_WORD_ENDS: Final = re.compile(r"[\s;,+*<>()\[\]{}|\"'=?!]+|//|^/?[A-Z]{3,4}/|(?<=\s)[A-Z]{2,6}:|^[A-Z]{2,6}:")
_SPECIAL: Final = str.maketrans(
    {"ß": "ss", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "æ": "ae", "Æ": "AE", "ı": "i", "đ": "d", "Đ": "D", "ð": "d"}
)
