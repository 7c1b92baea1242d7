"""Account and bank identifiers: is an IBAN or a BIC well formed.

Lives here: ISO 13616 and ISO 9362 checks and those of LEIs, references, creditor ids, national bank codes, each fault
as one phrase.
Must not live here: whether a bank or an account exists; bank codes are not looked up, so that test banks pass.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from schwifty import exceptions, registry
from schwifty.domain import IBANSpec

_IBAN = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{1,30}")
_BIC = re.compile(r"[A-Z0-9]{4}[A-Z]{2}[A-Z0-9]{2}(?:[A-Z0-9]{3})?")  # ISO 20022 BICFIDec2014Identifier
# Joined in 2024 and 2025 (EPC409-09, list of SEPA scheme countries); schwifty's registry does not say so yet.
_SEPA_SINCE_2024 = frozenset({"AL", "MD", "ME", "MK", "RS"})
_DIGITS = str.maketrans({chr(65 + i): str(10 + i) for i in range(26)})


@lru_cache(maxsize=512)
def _spec(country: str) -> IBANSpec | None:
    try:
        return registry.get_iban_spec(country)
    except exceptions.InvalidCountryCode:
        return None


def iban_fault(iban: str) -> str | None:
    """What is wrong with an IBAN in electronic form (no spaces, capitals), or None.

    Checks the country's length and structure (SWIFT IBAN registry, as shipped by schwifty) and the check
    digits (ISO 7064 mod 97-10, in the range 02 to 98). National check digits are not checked.
    """
    if _iban_holds(iban):
        return None
    if _IBAN.fullmatch(iban) is None:
        return "must be two letters, two digits and up to 30 capitals or digits, without spaces"
    spec = _spec(iban[:2])
    if spec is None:
        return f"country {iban[:2]} has no IBANs"
    if len(iban) != spec.iban_length:
        return f"has {len(iban)} characters, {iban[:2]} has {spec.iban_length}"
    if spec.regex.fullmatch(iban[4:]) is None:
        return f"does not have the structure of {iban[:2]} ({spec.bban_spec})"
    return "has wrong check digits"


@lru_cache(maxsize=512)
def _bban_shape(country: str) -> re.Pattern[str] | None:
    """Check digits and the structure of a country's accounts, as one pattern of ASCII characters."""
    spec = _spec(country)
    if spec is None:
        return None
    structure = spec.regex.pattern.removeprefix("^").removesuffix("$")
    return re.compile(rf"[0-9]{{2}}(?=[A-Z0-9]{{{spec.iban_length - 4}}}\Z){structure}", re.ASCII)


def _iban_holds(iban: str) -> bool:
    """All of the rules at once, in the shortest way: most IBANs of a file are right."""
    shape = _bban_shape(iban[:2])
    if shape is None or shape.fullmatch(iban, 2) is None or not "02" <= iban[2:4] <= "98":
        return False
    account = iban[4:]
    if account.isdecimal():
        return int(f"{account}{_country_digits(iban[:2])}{iban[2:4]}") % 97 == 1
    return int((account + iban[:4]).translate(_DIGITS)) % 97 == 1


@lru_cache(maxsize=512)
def _country_digits(country: str) -> str:
    return country.translate(_DIGITS)


def iban_in_sepa(iban: str) -> bool:
    """Whether the IBAN's country is in the SEPA zone."""
    spec = _spec(iban[:2])
    return spec is not None and (spec.in_sepa_zone or spec.country in _SEPA_SINCE_2024)


def bic_fault(bic: str) -> str | None:
    """What is wrong with the shape of a BIC, or None."""
    if _BIC.fullmatch(bic) is None:
        return "must be 8 or 11 characters: 4 for the bank, 2 letters for the country, 2 or 5 more"
    return None


def _mod_97(text: str) -> int:
    """ISO 7064 mod 97-10 of letters (A = 10) and digits."""
    return int(text.translate(_DIGITS)) % 97


def lei_fault(lei: str) -> str | None:
    """What is wrong with a Legal Entity Identifier (ISO 17442), or None."""
    if re.fullmatch(r"[A-Z0-9]{18}[0-9]{2}", lei) is None:
        return "must be 18 capitals or digits and two digits"
    return None if _mod_97(lei) == 1 else "has wrong check digits"


def creditor_reference_fault(reference: str) -> str | None:
    """What is wrong with a creditor reference (ISO 11649), or None."""
    if re.fullmatch(r"RF[0-9]{2}[A-Z0-9]{1,21}", reference) is None:
        return "must be RF, two digits and up to 21 capitals or digits"
    return None if _mod_97(reference[4:] + reference[:4]) == 1 else "has wrong check digits"


_QR_TABLE = (0, 9, 4, 6, 8, 2, 7, 1, 3, 5)


def qr_reference_fault(reference: str) -> str | None:
    """What is wrong with a Swiss QR reference (27 digits, the last by recursive modulo 10), or None."""
    if re.fullmatch(r"[0-9]{27}", reference) is None:
        return "must be 27 digits"
    carry = 0
    for digit in reference[:-1]:
        carry = _QR_TABLE[(carry + int(digit)) % 10]
    return None if (10 - carry) % 10 == int(reference[-1]) else "has a wrong check digit"


def creditor_id_fault(identifier: str) -> str | None:
    """What is wrong with a SEPA creditor identifier (EPC262-08), or None: its business code is not in the check."""
    if re.fullmatch(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{3}[A-Z0-9]{1,28}", identifier) is None:
        return "must be a country, two digits, a business code of three and the national part"
    return None if _mod_97(identifier[7:] + identifier[:4]) == 1 else "has wrong check digits"


def member_fault(system: str, member: str) -> str | None:
    """What is wrong with a bank's member id in a clearing system [ClrSysMmbId], or None."""
    if system == "USABA":
        if re.fullmatch(r"[0-9]{9}", member) is None:
            return "must be nine digits"
        weighed = sum(int(digit) * weight for digit, weight in zip(member, (3, 7, 1) * 3, strict=True))
        return "has a wrong check digit" if weighed % 10 else None
    if system == "GBDSC":
        return None if re.fullmatch(r"[0-9]{6}", member) else "must be six digits"
    return f"is of clearing system {system}, which is not known"


def national_account_fault(system: str, account: str) -> str | None:
    """What is wrong with an account number at a member of a clearing system, or None."""
    shape = {"USABA": r"[A-Z0-9]{4,17}", "GBDSC": r"[0-9]{8}"}.get(system, r"[A-Z0-9]{1,34}")
    return None if re.fullmatch(shape, account) else "is not shaped as an account number there"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountAddress:
    """An account as a payer names it: an IBAN, or a number at a member of a clearing system."""

    iban: str | None = None
    clearing_system: str | None = None
    member_id: str | None = None
    number: str | None = None


def account_address(text: str) -> AccountAddress:
    """Read ``DE89…`` or ``USABA:021000021:1234567890`` (clearing system, bank code, account number)."""
    system, colon, rest = text.partition(":")
    if not colon:
        return AccountAddress(iban=text)
    member, _, number = rest.partition(":")
    return AccountAddress(clearing_system=system, member_id=member, number=number)


def account_fault(text: str) -> str | None:
    """What is wrong with an account as `account_address` reads it, or None."""
    account = account_address(text)
    if account.iban is not None:
        return iban_fault(account.iban)
    system, member, number = account.clearing_system or "", account.member_id or "", account.number or ""
    if fault := member_fault(system, member):
        return f"names bank {member!r}, which {fault}"
    if fault := national_account_fault(system, number):
        return f"has number {number!r}, which {fault}"
    return None
