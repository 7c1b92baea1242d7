"""The books as a few dictionaries: what the stateful test compares Postgres with. No SQL, no code of the books.

A method answers, or raises `Refusal` with the names of the broken rules: constraints, or classes of Python's errors.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta


@dataclass(frozen=True, slots=True)
class ModelAccount:
    """Type decides the normal side; limits in minor units on that side."""

    type: str
    currency: str = "EUR"
    floor: int | None = None
    ceiling: int | None = None

    @property
    def side(self) -> int:
        return 1 if self.type in {"asset", "expense"} else -1


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """Content that a retry must repeat; the order of legs does not matter."""

    day: date
    legs: tuple[tuple[str, int], ...]
    description: str | None = None
    reference: str | None = None
    reverses: str | None = None

    def same(self, other: ModelEntry) -> bool:
        return replace(self, legs=tuple(sorted(self.legs))) == replace(other, legs=tuple(sorted(other.legs)))

    def moves(self, code: str) -> int:
        return sum(amount for account, amount in self.legs if account == code)


@dataclass(frozen=True, slots=True)
class ModelHold:
    """Content that a retry must repeat, and how it ended: kind, posted amount, entry key."""

    account: str
    amount: int
    expires: datetime | None = None
    ended: tuple[str, int, str | None] | None = None


class Refusal(Exception):
    """The model refuses; the books may answer with any of these names."""

    def __init__(self, *names: str) -> None:
        super().__init__(names)
        self.names = frozenset(names)


def refuse(*names: str) -> None:
    if names:
        raise Refusal(*names)


@dataclass(slots=True)
class Model:
    """One book. Dictionaries keep the order in which things came."""

    accounts: dict[str, ModelAccount] = field(default_factory=dict)
    entries: dict[str, ModelEntry] = field(default_factory=dict)
    holds: dict[str, ModelHold] = field(default_factory=dict)
    modes: dict[str, str] = field(default_factory=dict)
    closed: date = date.min
    soft: date = date.min
    certified: date = date.min
    overrides: dict[date, str] = field(default_factory=dict)
    requests: dict[date, str] = field(default_factory=dict)

    def fork(self) -> Model:
        kept = ("accounts", "entries", "holds", "modes", "overrides", "requests")
        return replace(self, **{name: dict(getattr(self, name)) for name in kept})

    def open(self, code: str, account: ModelAccount) -> None:
        low, high = account.floor, account.ceiling
        if code in self.accounts:
            refuse(*["account_same"] * (self.accounts[code] != account))
        else:
            refuse(*["account_limits"] * (low is not None and high is not None and high < low),
                   *["balance_floor"] * (low is not None and low > 0),
                   *["balance_ceiling"] * (high is not None and high < 0))  # fmt: skip
        self.accounts[code] = account

    def set_mode(self, code: str, mode: str) -> int:
        """Whether it changed; where posts write changes nothing that they say."""
        account, before = self.accounts[code], self.modes.get(code, "strict")
        refuse(*["balance_hot_unconstrained"] * (mode != "strict" and (account.floor, account.ceiling) != (None, None)))
        self.modes[code] = mode
        return int(before != mode)

    def balance(self, code: str, *, as_of: date = date.max, first: int | None = None) -> int:
        """Debit-positive sum of an account's postings up to a date, among the first so many entries."""
        return sum(entry.moves(code) for entry in list(self.entries.values())[:first] if entry.day <= as_of)

    def held(self, code: str) -> int:
        return sum(hold.amount for hold in self.holds.values() if hold.account == code and hold.ended is None)

    def _limits(self) -> Iterable[str]:
        for code, account in self.accounts.items():
            if account.floor is not None and account.side * self.balance(code) - self.held(code) < account.floor:
                yield "balance_floor"
            if account.ceiling is not None and account.side * self.balance(code) > account.ceiling:
                yield "balance_ceiling"

    def _faults(self, key: str, entry: ModelEntry, approver: bool) -> list[str]:
        """What is wrong with an entry whatever the balances, in the order in which it is said."""
        if key in self.entries:
            return ["idempotency_conflict"] * (not self.entries[key].same(entry))
        sums: dict[str, int] = {}
        for code, amount in entry.legs:
            currency = self.accounts[code].currency if code in self.accounts else code
            sums[currency] = sums.get(currency, 0) + amount
        rules = {
            "entry_posting_count": len(entry.legs) < 2,
            "posting_account": any(code not in self.accounts for code, _ in entry.legs),
            "posting_amount_not_zero": any(amount == 0 for _, amount in entry.legs),
            "posting_balances": any(sums.values()),
            "entry_period_open": entry.day <= self.closed,
            "entry_period_soft_closed": self.closed < entry.day <= self.soft and not approver,
        }
        return [name for name, broken in rules.items() if broken]

    def post(self, batch: Sequence[tuple[str, ModelEntry]], approver: bool) -> list[bool]:
        """All or nothing; returns which are new."""
        trial, faults = self.fork(), set[str]()
        refuse(*["UnknownAccountError" for _, entry in batch for code, _ in entry.legs if code not in self.accounts])
        for key, entry in batch:
            faults.update(trial._faults(key, entry, approver))
            if len(entry.legs) < 2 and faults:  # a row too few is seen before its key is
                faults.add("entry_posting_count")
            if any(amount == 0 for _, amount in entry.legs) and faults:  # and so is a row of nothing
                faults.add("posting_amount_not_zero")
            trial.entries.setdefault(key, entry)
        refuse(*faults, *trial._limits())
        new = [key not in self.entries and key not in [k for k, _ in batch[:n]] for n, (key, _) in enumerate(batch)]
        self.entries = trial.entries
        return new

    def post_each(self, batch: Sequence[tuple[str, ModelEntry]], approver: bool) -> list[tuple[str, ...]]:
        """Each for itself, in order: posted, replayed, or the rules it breaks. A key is judged where it comes first."""
        first: dict[str, tuple[str, ...]] = {}
        said = []
        for key, entry in batch:
            new, faults = key not in self.entries, self._faults(key, entry, approver)
            if key in first and new:  # refused where it came first
                said.append(first[key])
                continue
            if new:
                self.entries[key] = entry
                faults += self._limits()
                if faults:
                    del self.entries[key]
            said.append(tuple(faults) or (("posted",) if new else ("replayed",)))
            first.setdefault(key, said[-1])
        return said

    def reverse(self, key: str, day: date, reason: str, approver: bool) -> list[bool]:
        refuse(*["entry_known"] * (key not in self.entries))
        legs = tuple((code, -amount) for code, amount in self.entries[key].legs)
        return self.post([(f"reverse:{key}", ModelEntry(day, legs, reason, key, reverses=key))], approver)

    def place(self, batch: Sequence[tuple[str, ModelHold]]) -> list[bool]:
        refuse(*["UnknownAccountError" for _, hold in batch if hold.account not in self.accounts])
        trial, faults = self.fork(), set[str]()
        for key, hold in batch:
            if replace(trial.holds.setdefault(key, hold), ended=None) != hold:
                faults.add("hold_conflict")
        refuse(*faults, *trial._limits())
        new = [key not in self.holds for key, _ in batch]
        self.holds = trial.holds
        return new

    def post_holds(
        self, draws: dict[str, int | None], key: str, entry: ModelEntry, at: datetime, approver: bool
    ) -> list[bool]:
        """Post holds (of each an amount; None: all) by one entry."""
        refuse(*["UnknownAccountError" for code, _ in entry.legs if code not in self.accounts])
        refuse(*["hold_exists" for name in draws if name not in self.holds])
        trial, faults = self.fork(), set[str]()
        for name, amount in draws.items():
            hold = self.holds[name]
            end = ("posted", hold.amount if amount is None else amount, key)
            refuse(*["hold_resolved_once"] * (hold.ended not in {None, end}))
            trial.holds[name] = replace(hold, ended=end)
            if hold.ended is None and not 0 < end[1] <= hold.amount:
                faults.update({"hold_posted_within", "hold_posted_by_entry"})
            if hold.ended is None and hold.expires is not None and at >= hold.expires:
                faults.add("hold_expired")
            if hold.ended is None and key in self.entries:
                faults.add("hold_posting")
        for account in {self.holds[name].account for name in draws}:
            ends = [h.ended for h in trial.holds.values() if h.account == account and h.ended is not None]
            if sum(end[1] for end in ends if end[2] == key) != -self.accounts[account].side * entry.moves(account):
                faults.add("hold_posting")
        try:
            new = trial.post([(key, entry)], approver)
        except Refusal as refusal:
            refuse(*refusal.names, *faults)
        refuse(*faults)
        self.holds, self.entries = trial.holds, trial.entries
        return new

    def void(self, keys: Iterable[str]) -> int:
        refuse(*["hold_exists" for key in keys if key not in self.holds])
        refuse(*["hold_resolved_once" for key in keys if (self.holds[key].ended or ("voided",))[0] != "voided"])
        opened = {key for key in keys if self.holds[key].ended is None}
        self._end(opened, "voided")
        return len(opened)

    def expire(self, now: datetime, at_most: set[str] | None = None) -> set[str]:
        due = {key for key, h in self.holds.items() if h.ended is None and h.expires is not None and h.expires <= now}
        due = due if at_most is None else due & at_most
        self._end(due, "expired")
        return due

    def _end(self, keys: set[str], kind: str) -> None:
        self.holds |= {key: replace(self.holds[key], ended=(kind, 0, None)) for key in keys}

    def request_override(self, through: date, person: str) -> None:
        self.overrides.setdefault(through, person)

    def close(self, through: date, person: str) -> None:
        if self.closed == through:
            return
        refuse(*["period_order"] * (self.closed > through))
        if self.certified < through:
            refuse(*["period_certified"] * (through not in self.overrides))
            refuse(*["period_second_person"] * (self.overrides[through] == person))
        self.closed = through

    def soft_close(self, through: date) -> None:
        refuse(*["period_order"] * (max(self.soft, self.closed) >= through != self.soft))
        self.soft = through

    def request_reopen(self, start: date, person: str) -> None:
        self.requests[start] = person

    def reopen(self, start: date, person: str, approver: bool) -> None:
        refuse(*["AccessError"] * (not approver))
        refuse(*["period_reopen_requested"] * (start not in self.requests))
        refuse(*["period_second_person"] * (self.requests[start] == person))
        refuse(*["period_is_closed"] * (start > max(self.closed, self.soft)))
        eve = start - timedelta(days=1)
        self.closed, self.soft, self.overrides, self.requests = min(self.closed, eve), min(self.soft, eve), {}, {}
