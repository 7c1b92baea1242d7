"""Templates of adjusting entries: which account takes what a break leaves open, by code and sign.

Lives here: the typed templates and the compiler from open items to balanced legs. Must not live here: who may
post them (Postgres), whether one closes the break (`recon.deciding` tells).

An entry closes every cash-in-transit account by itself; what that leaves goes to the template's account of each
currency, so an entry balances in every currency it touches.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from recon.codes import BreakCode

TRANSIT = "assets:transit:"


@dataclass(frozen=True, slots=True)
class Template:
    """One way to book a difference: a name, the account without its currency, and when it is right.

    `waits`: what is there is nobody's for good; somebody has to take it on (`recon.suspense`).
    """

    name: str
    account_prefix: str
    meaning: str
    waits: bool = False

    def account(self, currency: str) -> str:
        return f"{self.account_prefix}:{currency.lower()}"


@dataclass(frozen=True, slots=True)
class EntryLeg:
    """One leg of an adjusting entry: account code, its currency, minor units (debit +)."""

    account: str
    currency: str
    amount_minor: int


class OpenAmount(Protocol):
    """What the compiler needs of an open item: bank account, currency, amount on T (debit +)."""

    @property
    def account(self) -> str: ...
    @property
    def currency(self) -> str: ...
    @property
    def amount_minor(self) -> int: ...


TEMPLATES: Mapping[str, Template] = {
    template.name: template
    for template in (
        Template("bank-fee", "expenses:bank-fees", "a charge of the bank that is right"),
        Template("interest", "income:interest", "interest that the bank credited"),
        Template("rounding", "expenses:rounding", "a rounding difference"),
        Template("exchange", "income:realised-fx", "a gain or loss of the bank's exchange rate against ours"),
        Template("psp-reserve", "assets:psp-reserve", "what a payment provider keeps for a while", waits=True),
        Template("dispute", "assets:disputes", "payments that their payers dispute", waits=True),
        Template("claim", "assets:claims", "money that the bank or somebody else owes us back", waits=True),
        Template(
            "unallocated", "liabilities:unallocated", "money that is somebody's; whose is not known yet", waits=True
        ),
        Template("suspense", "assets:suspense", "a difference to be cleared up", waits=True),
        Template("write-off", "expenses:write-offs", "a loss that nobody will pay back"),
        Template("write-back", "income:write-backs", "a gain that nobody will claim"),
    )
}

# For what is left on T (debit: money gone or not come; credit: money too much): the first is proposed.
_BY_CODE: Mapping[BreakCode, tuple[tuple[str, ...], tuple[str, ...]]] = {
    BreakCode.DUP_BANK: (("claim", "suspense"), ("claim", "unallocated", "suspense")),
    BreakCode.FX_DIFF: (("exchange", "suspense"), ("exchange", "suspense")),
    BreakCode.RESERVE_HELD: (("psp-reserve", "suspense"), ("psp-reserve", "suspense")),
    BreakCode.CHARGEBACK: (("dispute", "write-off"), ("dispute", "suspense")),
    BreakCode.FEE_DIFF: (("bank-fee", "claim"), ("bank-fee", "unallocated")),
    BreakCode.ROUNDING: (("rounding",), ("rounding",)),
    BreakCode.PARTIAL: (("suspense", "write-off"), ("suspense",)),
    BreakCode.OVERPAYMENT: (("unallocated", "claim"), ("unallocated", "suspense")),
    BreakCode.AMOUNT_MISMATCH: (("suspense", "claim", "write-off"), ("suspense", "unallocated", "write-back")),
    BreakCode.WRONG_ACCOUNT: (("suspense",), ("suspense",)),
    BreakCode.CURRENCY_MISMATCH: (("suspense",), ("suspense",)),
    BreakCode.AMBIGUOUS: (("suspense",), ("suspense",)),
    BreakCode.BATCH_RESIDUAL: (("suspense", "claim"), ("suspense", "unallocated")),
    BreakCode.RETURN: (("unallocated", "claim"), ("unallocated", "suspense")),
    BreakCode.REVERSAL: (("suspense", "claim"), ("suspense", "unallocated")),
    BreakCode.BANK_ORIGINATED: (("bank-fee", "claim"), ("interest", "unallocated")),
    BreakCode.MISSING_LEDGER: (("unallocated", "suspense"), ("unallocated", "suspense")),
    BreakCode.UNIDENTIFIED_RECEIPT: (("unallocated", "suspense"), ("unallocated", "suspense")),
    BreakCode.UNAUTHORISED_DEBIT: (("claim", "suspense", "write-off"), ("claim", "suspense")),
    BreakCode.MISSING_BANK: (("suspense", "write-off"), ("suspense", "write-back")),
}


def templates_for(code: BreakCode, residual_minor: int) -> tuple[Template, ...]:
    """The templates that fit a break of this code with this residual on T; the first is the usual one.

    Codes of whole statements, and what only time or a match closes, have none.
    """
    debit, credit = _BY_CODE.get(code, ((), ()))
    return tuple(TEMPLATES[name] for name in (credit if residual_minor < 0 else debit))


def compile_entry(items: Iterable[OpenAmount], template: Template) -> tuple[EntryLeg, ...]:
    """The entry that takes everything these items leave on T to the template's accounts; () when they leave nothing."""
    legs = transit_legs(items)
    rest: dict[str, int] = {}
    for leg in legs:
        rest[leg.currency] = rest.get(leg.currency, 0) - leg.amount_minor
    other = [EntryLeg(template.account(code), code, amount) for code, amount in sorted(rest.items()) if amount]
    return (*legs, *other)


def transit_legs(items: Iterable[OpenAmount]) -> tuple[EntryLeg, ...]:
    """The legs that bring every cash-in-transit account of these items to zero."""
    totals: dict[tuple[str, str], int] = {}
    for item in items:
        key = item.account, item.currency
        totals[key] = totals.get(key, 0) + item.amount_minor
    return tuple(EntryLeg(TRANSIT + code, ccy, -total) for (code, ccy), total in sorted(totals.items()) if total)


def off_balance(legs: Sequence[EntryLeg]) -> dict[str, int]:
    """What these legs are off balance by, in minor units, in each currency where they are."""
    sums: dict[str, int] = {}
    for leg in legs:
        sums[leg.currency] = sums.get(leg.currency, 0) + leg.amount_minor
    return {code: total for code, total in sorted(sums.items()) if total}
