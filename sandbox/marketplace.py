"""The marketplace's set-up: its banks, bank accounts, acquirers and payees as `nostro setup` takes them.

Lives here: the invented banks and the writing of `setup.yaml` and `payees.csv`. Must not live here: trade.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
from collections.abc import Sequence

import yaml

from sandbox.calendars import BankCalendar
from sandbox.ibans import iban
from sandbox.people import Payee
from sandbox.setup_reader import Acquirer
from sandbox.trading import PRICE_SCALE, cents

ACQUIRERS = (
    Acquirer("cardia", "Cardia Acquiring SE", iban("DE", "99070070", 44)),
    Acquirer("orbanet", "Orbanet Merchant Services B.V.", iban("NL", "ORBN", 1_234_567)),
    Acquirer("tillwise", "Tillwise Payments UAB", iban("LT", "99011", 700_100)),
    Acquirer("zettara", "Zettara Pay DAC", iban("IE", "ZETT990010", 5_551)),
)
PAYOUT_ACCOUNT = {"EUR": "eur-payouts", "GBP": "gbp-main", "CZK": "czk-main"}
COLLECT_ACCOUNT = {"EUR": "eur-collect", "GBP": "gbp-main", "CZK": "czk-main"}
_BANK_OF = {"EUR": "nordbank", "GBP": "albion", "CZK": "vltava"}
_LARGEST_SALE = 1_505_00
_MILLION = 1_000_000_00
_ACCOUNTS = (
    {"code": "liabilities:payable:*", "type": "liability", "settleable": True},
    {"code": "liabilities:reserve:*", "type": "liability"},
    {"code": "liabilities:suspense:*", "type": "liability"},
    {"code": "assets:receivable:*", "type": "asset"},
    {"code": "income:*", "type": "income"},
    {"code": "expenses:*", "type": "expense"},
    {"code": "equity:*", "type": "equity"},
)
_PAYEE_COLUMNS = (
    *("payee_id", "name", "account", "currency", "iban", "bic", "country", "town", "street", "postcode"),
    *("pay_from", "minimum", "maximum", "delay_days", "hold"),
)
_HOLDER = {
    "name": "Marktplatz Zahlungen GmbH",
    "country": "DE",
    "town": "Berlin",
    "street": "Ritterstraße 12",
    "postcode": "10969",
}


def _bank(
    code: str,
    *,
    bic: str,
    holidays: str,
    timezone: str,
    charset: str,
    batch_booking: bool,
    rails: dict[str, dict[str, object]],
    tariff: list[dict[str, str]],
) -> dict[str, object]:
    return {
        "bic": bic,
        "timezone": timezone,
        "holidays": holidays,
        "message": "pain.001.001.09",
        "charset": charset,
        "address": "structured",
        "batch_booking": batch_booking,
        "uetr": True,
        "max_transactions": 10000,
        "rails": rails,
        "refuses_duplicates": True,
        "tariff": tariff,
        "transport": {"kind": "folder", "outbox": f"bank/{code}/outbox", "inbox": f"bank/{code}/inbox"},
    }


_BANKS = {
    "nordbank": _bank(
        "nordbank",
        bic="NORDDEFFXXX",
        holidays="ECB",
        timezone="Europe/Berlin",
        charset="sepa",
        batch_booking=True,
        rails={"SEPA": {"cutoff": "20:00", "sla_days": 1, "minimum": "0.01", "maximum": "999999999.99"}},
        tariff=[
            {"code": "PMNT/ICDT/CHRG", "amount": "2.50", "currency": "EUR"},
            {"code": "PMNT/RCDT/CHRG", "amount": "0.90", "currency": "EUR"},
        ],
    ),
    "albion": _bank(
        "albion",
        bic="ALBNGB2LXXX",
        holidays="GB",
        timezone="Europe/London",
        charset="latin",
        batch_booking=False,
        rails={"DOMESTIC": {"cutoff": "20:00", "sla_days": 1, "minimum": "0.01", "maximum": "20000000.00"}},
        tariff=[
            {"code": "PMNT/ICDT/CHRG", "amount": "3.20", "currency": "GBP"},
            {"code": "PMNT/RCDT/CHRG", "amount": "1.10", "currency": "GBP"},
        ],
    ),
    "vltava": _bank(
        "vltava",
        bic="VLTACZPPXXX",
        holidays="CZ",
        timezone="Europe/Prague",
        charset="latin",
        batch_booking=True,
        rails={"DOMESTIC": {"cutoff": "20:00", "sla_days": 1, "minimum": "0.01", "maximum": "500000000.00"}},
        tariff=[
            {"code": "PMNT/ICDT/CHRG", "amount": "45.00", "currency": "CZK"},
            {"code": "PMNT/RCDT/CHRG", "amount": "12.00", "currency": "CZK"},
        ],
    ),
}
_BANK_ACCOUNTS = (
    ("eur-payouts", "EUR", "SEPA", iban("DE", "99020020", 4_711_001)),
    ("eur-collect", "EUR", "SEPA", iban("DE", "99020020", 4_711_002)),
    ("gbp-main", "GBP", "DOMESTIC", iban("GB", "ALBN990002", 20_304_050)),
    ("czk-main", "CZK", "DOMESTIC", iban("CZ", "9910", 812)),
)


def bank_calendars(currencies: Sequence[str]) -> dict[str, BankCalendar]:
    """The calendar that decides when an acquirer's payout arrives, by currency."""
    return {code: BankCalendar(str(_BANKS[_BANK_OF[code]]["holidays"])) for code in currencies}


def setup_yaml(*, currencies: Sequence[str], start: dt.date, sales: int) -> str:
    """The whole set-up. Opening balances cover the payouts of `sales` card sales at the largest price."""
    used = {_BANK_OF[code] for code in currencies}
    document = {
        "book": {"name": "Marktplatz", "functional_currency": "EUR"},
        "accounts": list(_ACCOUNTS),
        "banks": {code: bank for code, bank in _BANKS.items() if code in used},
        "bank_accounts": [
            _bank_account(code, currency, rail, number, start, sales)
            for code, currency, rail, number in _BANK_ACCOUNTS
            if currency in currencies
        ],
        "payees_file": "payees.csv",
        "policies": {
            "returns": "auto",
            "tariffed_charges": "auto",
            "interest": "auto",
            "acquirer_fees": "auto",
        },
        "acquirers": [
            {
                "code": acquirer.code,
                "name": acquirer.name,
                "iban": acquirer.iban,
                "receivable": f"assets:receivable:{acquirer.code}:*",
            }
            for acquirer in ACQUIRERS
        ],
        "tolerances": {"window_days": 1, "rounding_minor": 1},
    }
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=110)


def _bank_account(code: str, currency: str, rail: str, number: str, start: dt.date, sales: int) -> dict[str, object]:
    ample = sales * _LARGEST_SALE * PRICE_SCALE[currency] // 8 // _MILLION * _MILLION + _MILLION
    return {
        "code": code,
        "bank": _BANK_OF[currency],
        "iban": number,
        "currency": currency,
        "rail": rail,
        "holder": dict(_HOLDER),
        "opening": {
            "date": start - dt.timedelta(days=1),
            "balance": cents(_MILLION if code == "eur-collect" else ample),
        },
        "overdraft": "0.00",
    }


def payees_csv(payees: Sequence[Payee]) -> str:
    """The payees file: header and one row a payee, paid from the payout account of its currency."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_PAYEE_COLUMNS)
    for payee in payees:
        writer.writerow(
            [
                payee.payee_id,
                payee.name,
                payee.account,
                payee.currency,
                payee.iban,
                payee.bic,
                payee.country,
                payee.town,
                payee.street,
                payee.postcode,
                PAYOUT_ACCOUNT[payee.currency],
                payee.minimum,
                "",
                str(payee.delay_days),
                "",
            ]
        )
    return out.getvalue()
