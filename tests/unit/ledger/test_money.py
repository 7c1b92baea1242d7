"""Currencies against ISO's own list, and text ↔ minor units without loss."""

from __future__ import annotations

from decimal import Decimal

import pycountry
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ledger import CURRENCIES, AmountError, Money, UnknownCurrencyError, currency, format_amount, parse_amount_minor

EXPONENTS = st.integers(0, 4)
INT64 = st.integers(-(2**63) + 1, 2**63 - 1)
# In ISO 4217 without a minor unit: metals, funds codes and the like; nobody keeps a payable in them.
NO_MINOR_UNIT = {"XAG", "XAU", "XBA", "XBB", "XBC", "XBD", "XDR", "XPD", "XPT", "XSU", "XTS", "XUA", "XXX"}
# pycountry follows ISO amendments with a delay.
NEWER_THAN_PYCOUNTRY = {"XAD"}


def test_every_active_currency_has_isos_number() -> None:
    iso = {item.alpha_3: int(item.numeric) for item in pycountry.currencies}
    ours = {code: known.numeric for code, known in CURRENCIES.items()}
    shared = iso.keys() & ours.keys()
    assert len(shared) >= 150
    assert {code: ours[code] for code in shared} == {code: iso[code] for code in shared}
    assert iso.keys() - ours.keys() <= NO_MINOR_UNIT | NEWER_THAN_PYCOUNTRY


def test_numbers_are_unique() -> None:
    numbers = [known.numeric for known in CURRENCIES.values()]
    assert len(numbers) == len(set(numbers))


@pytest.mark.parametrize(
    ("code", "exponent"),
    [
        ("EUR", 2),
        ("JPY", 0),
        ("KWD", 3),
        ("CLF", 4),
        ("UYW", 4),
        ("ISK", 0),
        ("HUF", 2),
        ("CZK", 2),
        ("MRU", 2),
        ("TND", 3),
    ],
)
def test_exponents(code: str, exponent: int) -> None:
    assert currency(code).exponent == exponent


@pytest.mark.parametrize("code", ["", "eur", "EURO", "XXY", "€"])
def test_unknown_currency(code: str) -> None:
    with pytest.raises(UnknownCurrencyError, match="ISO 4217"):
        currency(code)


@given(INT64, EXPONENTS)
def test_what_is_formatted_parses_back(amount_minor: int, exponent: int) -> None:
    text = format_amount(amount_minor, exponent)
    assert parse_amount_minor(text, exponent) == amount_minor
    assert Decimal(text) == Decimal(amount_minor).scaleb(-exponent)


@given(st.decimals(min_value=-(10**12), max_value=10**12, places=4, allow_nan=False), EXPONENTS)
@example(Decimal("0.0000"), 0)
@example(Decimal("-0.0100"), 2)
def test_a_decimal_is_exact_or_refused(number: Decimal, exponent: int) -> None:
    text = format(number, "f")
    scaled = number.scaleb(exponent)
    if scaled == scaled.to_integral_value():
        assert parse_amount_minor(text, exponent) == int(scaled)
    else:
        with pytest.raises(AmountError, match="decimals"):
            parse_amount_minor(text, exponent)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " 1",
        "1 ",
        "1,00",
        "1e5",
        "1E5",
        "0x10",
        "½",
        "١٢",
        ".5",
        "--1",
        "+-1",
        "NaN",
        "inf",
        "1_000",
        "1.0.0",
        "\n1",
    ],
)
def test_not_a_plain_decimal(text: str) -> None:
    with pytest.raises(AmountError, match="plain decimal"):
        parse_amount_minor(text, 2)


@pytest.mark.parametrize(
    ("text", "minor"), [("1", 100), ("1.", 100), ("1.5", 150), ("+1.50", 150), ("1.500", 150), ("-0", 0)]
)
def test_accepted_forms(text: str, minor: int) -> None:
    assert parse_amount_minor(text, 2) == minor


def test_sixty_four_bits() -> None:
    assert parse_amount_minor("92233720368547758.07", 2) == 2**63 - 1
    for text in ("92233720368547758.08", "-92233720368547758.08", "9" * 400):
        with pytest.raises(AmountError, match="64 bits"):
            parse_amount_minor(text, 2)


def test_money_shows_its_currency() -> None:
    price = Money(-123450, currency("EUR"))
    assert str(price) == "-1234.50 EUR"
    assert price.decimal() == Decimal("-1234.50") and str(price.decimal()) == "-1234.50"
    assert str(Money(7, currency("JPY"))) == "7 JPY"
