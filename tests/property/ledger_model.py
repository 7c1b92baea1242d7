"""The books as a few dictionaries: what the stateful test compares Postgres with. No SQL, no shared code."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date

from ledger import (
    AccessError,
    ClosedPeriodError,
    FloorError,
    IdempotencyConflictError,
    NewEntry,
    NostroError,
    NotCertifiedError,
    RefusedError,
    UnbalancedEntryError,
    UnknownAccountError,
)

Leg = tuple[str, int]


@dataclass(frozen=True, slots=True)
class ModelAccount:
    """Type decides the normal side; floor in minor units on that side."""

    type: str
    currency: str
    floor_minor: int | None

    @property
    def side(self) -> int:
        return 1 if self.type in {"asset", "expense"} else -1


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """Content that a retry must repeat."""

    day: date
    legs: tuple[Leg, ...]
    description: str | None = None
    reference: str | None = None
    reverses: str | None = None

    def same(self, other: ModelEntry) -> bool:
        return (self.day, sorted(self.legs), self.description, self.reference, self.reverses) == (
            other.day,
            sorted(other.legs),
            other.description,
            other.reference,
            other.reverses,
        )


class Refusal(Exception):
    """The model refuses; `classes` are the errors the books may answer with."""

    def __init__(self, *classes: type[NostroError]) -> None:
        super().__init__(classes)
        self.classes = classes


@dataclass(slots=True)
class Model:
    """One book."""

    accounts: dict[str, ModelAccount] = field(default_factory=dict)
    entries: dict[str, ModelEntry] = field(default_factory=dict)
    closed: date | None = None
    overrides: dict[date, str] = field(default_factory=dict)
    published: list[tuple[int, int]] = field(default_factory=list)  # (seq, entries known then)

    def open(self, code: str, account: ModelAccount) -> None:
        known = self.accounts.get(code)
        if known is not None and known != account:
            raise Refusal(IdempotencyConflictError)
        if known is None and account.floor_minor is not None and account.floor_minor > 0:
            raise Refusal(FloorError)
        self.accounts[code] = account

    def balance(self, code: str, *, as_of: date | None = None, first: int | None = None) -> int:
        """Debit-positive sum of an account's postings up to a date, among the first so many entries."""
        chosen = list(self.entries.values())[:first]
        return sum(
            amount
            for entry in chosen
            if as_of is None or entry.day <= as_of
            for account, amount in entry.legs
            if account == code
        )

    def post(self, batch: list[NewEntry]) -> list[bool]:
        """All or nothing; returns which are new."""
        return self._post(
            [
                (
                    one.key,
                    ModelEntry(
                        one.effective_date,
                        tuple((leg.account, leg.amount_minor) for leg in one.postings),
                        one.description,
                        one.reference,
                    ),
                )
                for one in batch
            ]
        )

    def _post(self, batch: list[tuple[str, ModelEntry]]) -> list[bool]:
        faults: list[type[NostroError]] = []
        trial = dict(self.entries)
        new: list[bool] = []
        for key, entry in batch:
            if any(code not in self.accounts for code, _ in entry.legs):
                raise Refusal(UnknownAccountError)
            known = trial.get(key)
            new.append(known is None)
            if known is not None:
                if not known.same(entry):
                    faults.append(IdempotencyConflictError)
                    if len(entry.legs) < 2:  # a row too few is seen before the key is
                        faults.append(UnbalancedEntryError)
                continue
            trial[key] = entry
            faults += self._entry_faults(entry)
        faults += self._floor_faults(trial)
        if faults:
            raise Refusal(*faults)
        self.entries = trial
        return new

    def _entry_faults(self, entry: ModelEntry) -> list[type[NostroError]]:
        faults: list[type[NostroError]] = []
        sums: dict[str, int] = {}
        for code, amount in entry.legs:
            currency = self.accounts[code].currency
            sums[currency] = sums.get(currency, 0) + amount
        if len(entry.legs) < 2 or any(sums.values()) or any(amount == 0 for _, amount in entry.legs):
            faults.append(UnbalancedEntryError)
        if self.closed is not None and entry.day <= self.closed:
            faults.append(ClosedPeriodError)
        return faults

    def _floor_faults(self, trial: dict[str, ModelEntry]) -> list[type[NostroError]]:
        for code, account in self.accounts.items():
            if account.floor_minor is None:
                continue
            total = sum(amount for entry in trial.values() for leg, amount in entry.legs if leg == code)
            if account.side * total < account.floor_minor:
                return [FloorError]
        return []

    def reverse(self, key: str, day: date, reason: str) -> None:
        original = self.entries.get(key)
        if original is None:
            raise Refusal(RefusedError)
        legs = tuple((code, -amount) for code, amount in original.legs)
        self._post([(f"reverse:{key}", ModelEntry(day, legs, reason, key, reverses=key))])

    def request_override(self, through: date, person: str) -> None:
        self.overrides.setdefault(through, person)

    def close(self, through: date, person: str, *, certified: bool) -> None:
        if self.closed is not None and self.closed >= through:
            if self.closed == through:
                return
            raise Refusal(ClosedPeriodError)
        if not certified:
            if through not in self.overrides:
                raise Refusal(NotCertifiedError)
            if self.overrides[through] == person:
                raise Refusal(AccessError)
        self.closed = through

    def publish(self, seq: int) -> None:
        self.published.append((seq, len(self.entries)))
