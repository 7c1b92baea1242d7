"""A company that pays from one account at one bank, for measurements.

Lives here: its setup and its payees. Must not live here: what it does, what is measured.
"""

from __future__ import annotations

COMPANY = """
book: {name: Benchmark, functional_currency: EUR}
accounts:
  - {code: "income:*", type: income}
  - {code: "liabilities:*", type: liability}
banks:
  nordbank:
    bic: NORDDEFFXXX
    timezone: Europe/Berlin
    holidays: all
    max_transactions: 999999
    rails: {SEPA: {cutoff: "20:00"}}
    transport: {kind: folder, outbox: out, inbox: in}
bank_accounts:
  - {code: eur, bank: nordbank, iban: DE89370400440532013000, currency: EUR, rail: SEPA,
     holder: {name: Benchmark GmbH, country: DE, town: Berlin}, opening: {date: 2026-11-01, balance: "1000000000"}}
"""


def payable(n: int) -> str:
    """The account of what payee `n` is owed."""
    return f"liabilities:payable:P{n:06}"


def payee(n: int, *, delay_days: int = 0) -> dict[str, object]:
    """Payee `n`, paid daily, T+`delay_days`; as `settlement.declare_payees` takes it."""
    return {
        "n": n,
        "code": f"P{n:06}",
        "account": payable(n),
        "name": f"Payee {n}",
        "iban": "NL91ABNA0417164300",
        "country": "NL",
        "town": "Amsterdam",
        "pay_from": "eur",
        "minimum_minor": 0,
        "delay_days": delay_days,
        "hold": False,
        "schedule": "daily",
        "reserve_bps": 0,
        "reserve_days": 0,
        "reserve_fixed_minor": 0,
        "negative": "carry",
    }
