"""Money: ISO 4217 currencies and exact minor units.

Lives here: the currency table, and the only conversions between text or `Decimal` and integer minor
units. Must not live here: arithmetic on anything but integers, rates, rounding policies.

Source of exponents: ISO 4217 list one (published by SIX), as of 2026.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

from ledger.errors import AmountError, UnknownCurrencyError

INT64_MAX = 2**63 - 1

# Exponents other than 2, by code; every other active code has two decimals.
_EXPONENT_0 = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_EXPONENT_3 = "BHD IQD JOD KWD LYD OMR TND"
_EXPONENT_4 = "CLF UYW"
_NUMERIC = """
AED784 AFN971 ALL008 AMD051 AOA973 ARS032 AUD036 AWG533 AZN944 BAM977 BBD052 BDT050 BGN975 BHD048 BIF108
BMD060 BND096 BOB068 BOV984 BRL986 BSD044 BTN064 BWP072 BYN933 BZD084 CAD124 CDF976 CHE947 CHF756 CHW948
CLF990 CLP152 CNY156 COP170 COU970 CRC188 CUP192 CVE132 CZK203 DJF262 DKK208 DOP214 DZD012 EGP818 ERN232
ETB230 EUR978 FJD242 FKP238 GBP826 GEL981 GHS936 GIP292 GMD270 GNF324 GTQ320 GYD328 HKD344 HNL340 HTG332
HUF348 IDR360 ILS376 INR356 IQD368 IRR364 ISK352 JMD388 JOD400 JPY392 KES404 KGS417 KHR116 KMF174 KPW408
KRW410 KWD414 KYD136 KZT398 LAK418 LBP422 LKR144 LRD430 LSL426 LYD434 MAD504 MDL498 MGA969 MKD807 MMK104
MNT496 MOP446 MRU929 MUR480 MVR462 MWK454 MXN484 MXV979 MYR458 MZN943 NAD516 NGN566 NIO558 NOK578 NPR524
NZD554 OMR512 PAB590 PEN604 PGK598 PHP608 PKR586 PLN985 PYG600 QAR634 RON946 RSD941 RUB643 RWF646 SAR682
SBD090 SCR690 SDG938 SEK752 SGD702 SHP654 SLE925 SOS706 SRD968 SSP728 STN930 SVC222 SYP760 SZL748 THB764
TJS972 TMT934 TND788 TOP776 TRY949 TTD780 TWD901 TZS834 UAH980 UGX800 USD840 USN997 UYI940 UYU858 UYW927
UZS860 VED926 VES928 VND704 VUV548 WST882 XAF950 XCD951 XCG532 XOF952 XPF953 YER886 ZAR710 ZMW967 ZWG924
"""
# Withdrawn codes that journals and statements from before their withdrawal still carry.
_WITHDRAWN = """
ATS040 BEF056 CYP196 DEM276 EEK233 ESP724 FIM246 FRF250 GRD300 HRK191 IEP372 ITL380 LTL440 LUF442 LVL428
MTL470 NLG528 PTE620 ROL642 SIT705 SKK703 TRL792 CUC931 SLL694 ZWL932
"""
_WITHDRAWN_EXPONENT_0 = "ESP ITL BEF LUF PTE GRD TRL"


@dataclass(frozen=True, slots=True)
class Currency:
    """A currency with its decimals. `numeric` is the key in Postgres: ISO's number, or above 999 if defined here."""

    code: str
    exponent: int
    numeric: int


def _table() -> dict[str, Currency]:
    exponents = dict.fromkeys((_EXPONENT_0 + " " + _WITHDRAWN_EXPONENT_0).split(), 0)
    exponents |= dict.fromkeys(_EXPONENT_3.split(), 3) | dict.fromkeys(_EXPONENT_4.split(), 4)
    return {
        word[:3]: Currency(word[:3], exponents.get(word[:3], 2), int(word[3:]))
        for word in (_WITHDRAWN + _NUMERIC).split()
    }


CURRENCIES: dict[str, Currency] = _table()


def currency(code: str) -> Currency:
    """The currency with this ISO 4217 code.

    Raises `UnknownCurrencyError`.
    """
    try:
        return CURRENCIES[code]
    except KeyError:
        raise UnknownCurrencyError(f"currency {code!r} is not an ISO 4217 code") from None


_AMOUNT = re.compile(r"([+-]?)([0-9]+)(?:\.([0-9]*))?")


def parse_amount_minor(text: str, exponent: int) -> int:
    """Exact minor units of a decimal text such as ``-12.50``; trailing zeros past the exponent are allowed.

    Raises `AmountError` on anything that is not a plain decimal number, on digits the currency does not
    have, and on amounts outside a signed 64-bit integer.
    """
    found = _AMOUNT.fullmatch(text)
    if found is None:
        raise AmountError(f"amount {text!r} is not a plain decimal number")
    sign, whole, fraction = found.group(1), found.group(2), found.group(3) or ""
    if fraction[exponent:].strip("0"):
        raise AmountError(f"amount {text!r} has more than {exponent} decimals")
    digits = whole.lstrip("0") + fraction[:exponent].ljust(exponent, "0")
    minor = int(digits or "0") if len(digits) <= len(str(INT64_MAX)) else INT64_MAX + 1
    if minor > INT64_MAX:
        largest = format_amount(INT64_MAX, exponent)
        raise AmountError(
            f"amount {text!r} does not fit in 64 bits of minor units; with {exponent} decimals the largest is {largest}"
        )
    return -minor if sign == "-" else minor


def format_amount(amount_minor: int, exponent: int) -> str:
    """Minor units as decimal text without grouping: ``format_amount(-1250, 2) == '-12.50'``."""
    if exponent == 0:
        return str(amount_minor)
    sign = "-" if amount_minor < 0 else ""
    digits = str(abs(amount_minor)).rjust(exponent + 1, "0")
    return f"{sign}{digits[:-exponent]}.{digits[-exponent:]}"


@dataclass(frozen=True, slots=True)
class Money:
    """An exact amount: integer minor units of one currency."""

    amount_minor: int
    currency: Currency

    def __str__(self) -> str:
        return f"{format_amount(self.amount_minor, self.currency.exponent)} {self.currency.code}"

    def decimal(self) -> Decimal:
        """The amount as a `Decimal` with exactly the currency's decimals (for file and screen edges)."""
        return Decimal(self.amount_minor).scaleb(-self.currency.exponent)
