"""Valid IBANs for invented accounts.

Lives here: national account structures (SWIFT IBAN registry) with national check digits where a bank would
refuse without them, and the ISO 7064 mod 97-10 check digits. Must not live here: reading IBANs.
"""

from __future__ import annotations

from collections.abc import Callable


def iban(country: str, bank: str, number: int) -> str:
    """The IBAN of account `number` at `bank` (national bank code) in `country`.

    Distinct numbers give distinct IBANs. Raises KeyError for a country without a structure here.
    """
    bban = _STRUCTURES[country](bank, number)
    digits = "".join(str(int(sign, 36)) for sign in f"{bban}{country}00")
    return f"{country}{98 - int(digits) % 97:02d}{bban}"


def _de(bank: str, number: int) -> str:
    return f"{bank}{number:010d}"


def _at(bank: str, number: int) -> str:
    return f"{bank}{number:011d}"


def _nl(bank: str, number: int) -> str:
    return f"{bank}{number:010d}"


def _lt(bank: str, number: int) -> str:
    return f"{bank}{number:011d}"


def _gb(bank: str, number: int) -> str:
    """`bank` is the four-letter code and the sort code; the account has eight digits."""
    return f"{bank}{number:08d}"


def _ie(bank: str, number: int) -> str:
    return f"{bank}{number:08d}"


def _be(bank: str, number: int) -> str:
    body = f"{bank}{number:07d}"
    return f"{body}{int(body) % 97 or 97:02d}"


def _fr(bank: str, number: int) -> str:
    """`bank` is five digits of bank and five of branch; the clé RIB follows the account."""
    key = 97 - (89 * int(bank[:5]) + 15 * int(bank[5:]) + 3 * number) % 97
    return f"{bank}{number:011d}{key:02d}"


def _es(bank: str, number: int) -> str:
    """`bank` is four digits of bank and four of branch; two check digits precede the account."""

    def check(digits: str) -> int:
        weights = (1, 2, 4, 8, 5, 10, 9, 7, 3, 6)
        value = 11 - sum(int(d) * w for d, w in zip(digits, weights, strict=True)) % 11
        return {10: 1, 11: 0}.get(value, value)

    return f"{bank}{check('00' + bank)}{check(f'{number:010d}')}{number:010d}"


def _cz(bank: str, number: int) -> str:
    """No prefix; the account number satisfies the Czech National Bank's mod 11 rule.

    One number in every twenty is taken, so the search below never meets another account's number.
    """
    weights = (6, 3, 7, 9, 10, 5, 8, 4, 2, 1)
    for candidate in range(20 * number, 20 * number + 20):
        text = f"{candidate:010d}"
        if sum(int(d) * w for d, w in zip(text, weights, strict=True)) % 11 == 0:
            return f"{bank}000000{text}"
    raise AssertionError(f"no mod 11 number between {20 * number} and {20 * number + 19}")


_STRUCTURES: dict[str, Callable[[str, int], str]] = {
    "AT": _at,
    "BE": _be,
    "CZ": _cz,
    "DE": _de,
    "ES": _es,
    "FR": _fr,
    "GB": _gb,
    "IE": _ie,
    "LT": _lt,
    "NL": _nl,
}
