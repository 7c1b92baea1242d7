"""What goes wrong on purpose: the kinds, how a number of them is spread over days, and the truth about them.

Lives here: the sixteen kinds with the break code each must become, the plan, and reading the truth. Must
not live here: choosing and bending concrete payments (`sandbox.injection`).
"""

from __future__ import annotations

import datetime as dt
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from sandbox.acquirers import Payout
from sandbox.bank_behaviour import BankBehaviour, BookingStyle
from sandbox.errors import SandboxError
from sandbox.setup_reader import BankSetup


class Kind(Enum):
    """An anomaly; the name is the break code that reconciliation must give it."""

    DUP_BANK = 1
    UNAUTHORISED_DEBIT = 2
    UNIDENTIFIED_RECEIPT = 3
    AMOUNT_MISMATCH = 4
    FEE_DIFF = 5
    MISSING_BANK = 6
    WRONG_ACCOUNT = 7
    DATE_OUT_OF_WINDOW = 8
    BATCH_RESIDUAL = 9
    BANK_ORIGINATED = 10
    MISSING_LEDGER = 11
    OVERPAYMENT = 12
    ROUNDING = 13
    PARTIAL = 14
    AMBIGUOUS = 15
    STATEMENT_DUP = 16


PAYMENT_KINDS = frozenset({Kind.DUP_BANK, Kind.AMOUNT_MISMATCH, Kind.MISSING_BANK, Kind.DATE_OUT_OF_WINDOW})
PAYOUT_KINDS = frozenset({Kind.FEE_DIFF, Kind.WRONG_ACCOUNT, Kind.MISSING_LEDGER, Kind.OVERPAYMENT, Kind.ROUNDING})
# Kinds that need nothing of the customer's: they stand in where another kind finds no victim.
STAND_INS = (Kind.BANK_ORIGINATED, Kind.UNAUTHORISED_DEBIT, Kind.UNIDENTIFIED_RECEIPT)


@dataclass(frozen=True, slots=True)
class PlannedAnomaly:
    """One anomaly to come: its kind, the day it is wanted and the last day on which it still counts."""

    kind: Kind
    day: dt.date
    last_day: dt.date


@dataclass(frozen=True, slots=True)
class AnomalyPlan:
    """All anomalies of a simulated period. Victims are chosen when their day comes."""

    days: tuple[dt.date, ...]
    items: tuple[PlannedAnomaly, ...]


@dataclass(frozen=True, slots=True)
class Truth:
    """One anomaly that really happened. `item_ref` and `code` are what reconciliation must report."""

    item_ref: str
    code: str
    bank_account: str
    date: dt.date
    kind_no: int


def plan(
    *,
    seed: int,
    count: int,
    days: Sequence[dt.date],
    setup: BankSetup,
    behaviour: BankBehaviour,
    payouts: Sequence[Payout] = (),
) -> AnomalyPlan:
    """Spread exactly `count` anomalies over the kinds in turn (12 give 12 different kinds when 12 can occur).

    `days` are the days on which the bank will be closed off, ascending; the last is the end of the period.
    Same arguments, same plan. Raises `SandboxError` for a negative count or no days.
    """
    if count < 0 or (count and not days):
        raise SandboxError(f"cannot plan {count} anomalies over {len(days)} days; give a count ≥ 0 and days.")
    ordered = tuple(sorted(days))
    rng = random.Random(f"plan/{seed}/{count}/{ordered}")
    kinds = list(Kind)
    rng.shuffle(kinds)
    room = _Room(ordered, setup, behaviour, payouts)
    slots = {kind: room.days_for(kind) for kind in kinds}
    items: list[PlannedAnomaly] = []
    while len(items) < count:
        for kind in kinds:
            if len(items) == count:
                break
            free = slots[kind]
            if not free:
                continue
            day = rng.choice(free)
            if kind not in STAND_INS:
                free.remove(day)
            items.append(PlannedAnomaly(kind, day, room.last_day(kind)))
    return AnomalyPlan(ordered, tuple(items))


class _Room:
    """On which days each kind can occur, and how often: a day is listed once for each time."""

    def __init__(
        self,
        days: tuple[dt.date, ...],
        setup: BankSetup,
        behaviour: BankBehaviour,
        payouts: Sequence[Payout],
    ) -> None:
        self._days = days
        styles = {
            account.code: behaviour.style(account.code, batch_booking=setup.bank(account.bank).batch_booking)
            for account in setup.accounts
        }
        self._accounts = len(setup.accounts)
        self._batch_accounts = sum(style is BookingStyle.BATCH for style in styles.values())
        self._visible_accounts = self._accounts - self._batch_accounts
        self._sla_days = max((bank.sla_days for bank in setup.banks), default=1)
        self._window_days = setup.window_days
        self._payouts = {day: sum(payout.payout_date == day for payout in payouts) for day in days}
        twins = {
            account.code
            for account in setup.accounts
            if sum(other.currency == account.currency for other in setup.accounts) > 1
        }
        self._movable = {
            day: sum(payout.payout_date == day and payout.bank_account in twins for payout in payouts) for day in days
        }

    def last_day(self, kind: Kind) -> dt.date:
        """The last day on which the kind may still be injected."""
        back = {Kind.MISSING_BANK: self._sla_days + 1, Kind.DATE_OUT_OF_WINDOW: self._window_days + 1}
        return self._days[max(0, len(self._days) - 1 - back.get(kind, 0))]

    def days_for(self, kind: Kind) -> list[dt.date]:
        days = self._days
        if kind in STAND_INS:
            return list(days)
        if kind is Kind.PARTIAL:
            return [days[-1]] * (self._payouts[days[-1]] // 4) if days else []
        if kind is Kind.STATEMENT_DUP:
            return list(days[1:]) * self._accounts
        if kind is Kind.BATCH_RESIDUAL:
            return list(days) * self._batch_accounts
        if kind is Kind.WRONG_ACCOUNT:
            return [day for day in days for _ in range(self._movable[day] // 4)]
        if kind in PAYOUT_KINDS:
            return [day for day in days for _ in range(self._payouts[day] // 8)]
        if not self._visible_accounts:
            return []
        if kind is Kind.MISSING_BANK:
            days = days[: max(0, len(days) - 1 - self._sla_days)]
        elif kind is Kind.DATE_OUT_OF_WINDOW:
            days = days[: max(0, len(days) - 1 - self._window_days)]
        return list(days) * 1000


def truth_path(home: Path) -> Path:
    """Where the truth is kept, apart from everything the product reads."""
    return home / "sandbox" / "truth" / "truth.jsonl"


def read_truth(home: Path) -> tuple[Truth, ...]:
    """Every anomaly that happened so far, in the order it happened; empty when there is none."""
    path = truth_path(home)
    if not path.exists():
        return ()
    rows = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    return tuple(
        Truth(
            item_ref=row["item_ref"],
            code=row["code"],
            bank_account=row["bank_account"],
            date=dt.date.fromisoformat(row["date"]),
            kind_no=row["kind_no"],
        )
        for row in rows
    )


def truth_text(truths: Sequence[Truth]) -> str:
    """The content of the truth file: one JSON object a line."""
    return "".join(
        json.dumps(
            {
                "item_ref": truth.item_ref,
                "code": truth.code,
                "bank_account": truth.bank_account,
                "date": truth.date.isoformat(),
                "kind_no": truth.kind_no,
            }
        )
        + "\n"
        for truth in truths
    )
