"""Texts of a bank file turned into exact values, or into the name of the rule they break.

Lives here: dates, amounts, counts and references, each a pure function of a text. Must not live here:
anything that knows where in a document a text stood.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from typing import Final

from ledger import AmountError, UnknownCurrencyError, currency, parse_amount_minor

# XML Schema: 18 digits at most in any version; far above that only to say "too large" and not "garbled".
_AMOUNT_CHARACTERS_MAX: Final = 60
_DECIMAL: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)")
# xs:date or xs:dateTime; what follows the day (time, zone) is checked only for shape.
_DAY: Final = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})(?:T[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:[.:][0-9]*)?)?)?(?:Z|[+-][0-9]{2}:?[0-9]{2})?"
)
_IBAN: Final = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}")
_SEPARATORS: Final = re.compile(r"[\s.-]")
# CdtDbtInd; credit is positive: the account holder's view.
SIGNS: Final = {"CRDT": 1, "DBIT": -1}
NOT_PROVIDED: Final = frozenset({"NOTPROVIDED", "NOT PROVIDED", "NOT-PROVIDED", "NOT_PROVIDED"})


@dataclass(frozen=True, slots=True)
class Fault:
    """Last part of a rule's name (`garbled`, `decimals`, …) and the sentence for people."""

    rule: str
    message: str


def clean(text: str | None) -> str | None:
    """The text without surrounding white space; None when nothing is left."""
    if text is None:
        return None
    return text.strip() or None


def reference(text: str | None) -> str | None:
    """A reference of the payment chain; NOTPROVIDED is the standard's way to say there is none."""
    if text is None:
        return None
    found = text.strip()
    if 11 <= len(found) <= 12 and found.upper() in NOT_PROVIDED:
        return None
    return found or None


def iban_in(account: str) -> str | None:
    """The IBAN in a bank's way to name an account: with blanks, a bank's code before it or a currency behind it.

    ``COBADEFFXXX/DE89…``, ``/RO19…``, ``NL47INGB0001212121EUR``. The check digits say where it ends; when they are
    wrong (banks change numbers to make a file anonymous), it is all that stands there.
    """
    last = without_currency(account.rpartition("/")[2])
    compact = _SEPARATORS.sub("", last).upper()
    for form in (compact[:-3], compact):
        if _IBAN.fullmatch(form) and int("".join(str(int(sign, 36)) for sign in form[4:] + form[:4])) % 97 == 1:
            return form
    return compact if _IBAN.fullmatch(compact) else None


def without_currency(account: str) -> str:
    """An account without the currency that some banks write behind it: ``1291.99.348EUR``, ``NL50RABO0156750961 EUR``.

    Letters may belong to an IBAN, so they are only cut from digits, or behind a blank.
    """
    found = re.fullmatch(r"(?:([0-9./-]+)|(.*[^\s/]))[\s/]*([A-Z]{3})", account.strip())
    if found is None or exponent_of(found.group(3)) is None:
        return account.strip()
    if found.group(2) is not None and not account.strip()[:-3].endswith((" ", "/")):
        return account.strip()
    return found.group(1) or found.group(2)


def shown(text: str) -> str:
    """A text of the bank quoted for a message, never longer than a line."""
    return repr(text if len(text) <= 40 else text[:37] + "...")


def parse_day(text: str) -> date | None:
    """The calendar day of an xs:date or xs:dateTime, as the bank wrote it (no change of time zone)."""
    return _parse_day(text) if len(text) <= 60 else None


@lru_cache(maxsize=4096)
def _parse_day(text: str) -> date | None:
    found = _DAY.fullmatch(text.strip())
    if found is None:
        return None
    try:
        return date(int(found.group(1)), int(found.group(2)), int(found.group(3)))
    except ValueError:
        return None


def parse_moment(text: str | None) -> datetime | None:
    """An xs:dateTime; naive when the bank gave no offset; None when absent or not a date-time."""
    try:
        return datetime.fromisoformat((text or "").strip())
    except ValueError:
        return None


def parse_count(text: str | None) -> int | None:
    """A whole number such as ``0070`` or ``1000.00`` that fits in 32 bits; None for anything else."""
    found = re.fullmatch(r"([0-9]{1,18})(?:\.0*)?", (text or "").strip())
    if found is None or int(found.group(1)) >= 2**31:
        return None
    return int(found.group(1))


def parse_sequence(text: str | None) -> int | None:
    """A sequence number (at most 18 digits); None for anything else."""
    found = re.fullmatch(r"([0-9]{1,18})(?:\.0*)?", (text or "").strip())
    return int(found.group(1)) if found else None


@lru_cache(maxsize=512)
def exponent_of(code: str) -> int | None:
    """Decimals of a currency; None when the code is not ISO 4217."""
    try:
        return currency(code).exponent
    except UnknownCurrencyError:
        return None


def parse_money(text: str | None, code: str | None) -> int | Fault:
    """Minor units of an unsigned amount of a currency, or the fault.

    The sign of an amount in these messages is CdtDbtInd alone, so a minus is a fault.
    """
    if text is None or not (digits := text.strip()):
        return Fault("amount-missing", "the amount is missing")
    if code is None:
        return Fault("currency-missing", f"the amount {shown(digits)} has no currency")
    exponent = exponent_of(code)
    if exponent is None:
        return Fault("currency-unknown", f"currency {shown(code)} is not an ISO 4217 code")
    if digits[0] != "-" and len(digits) <= _AMOUNT_CHARACTERS_MAX:
        try:
            return parse_amount_minor(digits, exponent)
        except AmountError:
            pass
    return _unusual(digits, code, exponent)


def _unusual(text: str, code: str, exponent: int) -> int | Fault:
    """An amount that is not written in the usual way: allowed by XML Schema (`.50`), or which fault it has."""
    if _DECIMAL.fullmatch(text) is None:
        return Fault("amount-garbled", f"amount {shown(text)} is not a plain decimal number")
    if text[0] == "-":
        return Fault("amount-negative", f"amount {shown(text)} has a sign of its own besides CdtDbtInd")
    if len(text) > _AMOUNT_CHARACTERS_MAX:
        return Fault("amount-too-large", f"amount {shown(text)} does not fit in 64 bits of minor units")
    try:
        return parse_amount_minor(f"0{text.lstrip('+')}", exponent)
    except AmountError:
        whole, _, fraction = text.partition(".")
        if fraction[exponent:].strip("0"):
            return Fault("amount-decimals", f"amount {shown(text)} has more than the {exponent} decimals of {code}")
        return Fault("amount-too-large", f"amount {shown(whole)} {code} does not fit in 64 bits of minor units")
