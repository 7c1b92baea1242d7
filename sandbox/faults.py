"""What goes wrong with the banks' files on their way: lost, late, twice, out of order, garbled.

Lives here: the kinds of faults with what each must become, how a number of each is spread over the files of a period,
and the log of what happened. A fault bends a file that was right; what the bank did is not touched, so its own book
stays the oracle. Must not live here: wrong bookings (`sandbox.anomalies`), how a text is bent (`sandbox.bending`).
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path

from sandbox.bending import ABSORBED, BENDS, Bend, join_statements
from sandbox.book import BankBook
from sandbox.errors import SandboxError
from sandbox.folders import Folders
from sandbox.setup_reader import BankProfile

_SPREAD = 3  # a fault strikes one of so many files that it could strike


class Fault(Enum):
    """A fault; the value is its name in plans, logs and on the command line."""

    REPORT_LOST = "report-lost"
    REPORT_LATE = "report-late"
    REPORT_TWICE = "report-twice"
    REPORT_OUT_OF_ORDER = "report-out-of-order"
    REPORT_TRUNCATED = "report-truncated"
    REPORT_OF_UNKNOWN_FILE = "report-of-unknown-file"
    REJECT_AFTER_EXECUTION = "reject-after-execution"
    EXECUTION_AFTER_REJECT = "execution-after-reject"
    DATE_CHANGED = "date-changed"
    RETURN_NOTICE_TWICE = "return-notice-twice"
    RETURN_NOTICE_LATE = "return-notice-late"
    RECALL_ANSWER_TWICE = "recall-answer-twice"
    RECALL_ANSWER_LATE = "recall-answer-late"
    STATEMENT_LATE = "statement-late"
    STATEMENT_LOST = "statement-lost"
    STATEMENT_TWICE = "statement-twice"
    TWO_DAYS_IN_ONE = "two-days-in-one"
    WRONG_OPENING = "wrong-opening"
    MISSING_SIDE = "missing-side"
    ZERO_ENTRY = "zero-entry"
    NAMESPACE_PREFIX = "namespace-prefix"
    BYTE_ORDER_MARK = "byte-order-mark"
    LATIN_1 = "latin-1"
    STATEMENT_TRUNCATED = "statement-truncated"
    EXTERNAL_ENTITY = "external-entity"
    BILLION_LAUGHS = "billion-laughs"
    REPORT_WRONG_COUNT = "report-wrong-count"
    RETURN_IN_BATCH = "return-in-batch"
    REVERSAL_MARK = "reversal-mark"

    @property
    def bend(self) -> Bend:
        """What it does to a file."""
        return BENDS[self.value]

    @property
    def outcome(self) -> str:
        """What the customer's side must make of it: ``absorbed``, or the name of the finding or break."""
        return self.bend.outcome


@dataclass(frozen=True, slots=True)
class FaultDone:
    """A fault that struck: which file of which bank, and what must become of it."""

    fault: Fault
    bank: str
    name: str
    outcome: str


@dataclass(frozen=True, slots=True)
class _Held:
    """A file that comes later, under its own name or inside the next one."""

    bank: str
    name: str
    text: str
    joins: bool


class FaultyFolders(Folders):
    """Folders on whose way to the customer the planned faults strike, each exactly as often as planned.

    Which files they strike, the seed decides. What is held back arrives with the next day's files.
    """

    def __init__(self, home: Path, book: BankBook, *, seed: int, counts: Mapping[Fault, int]) -> None:
        super().__init__(home)
        self._home = home
        self._book = book
        if any(count < 0 for count in counts.values()):
            raise SandboxError("a fault cannot strike less than 0 times; give a count ≥ 0.")
        if book.setting("faults") is None:
            with book.transaction():
                book.remember("faults", json.dumps(_turns(seed, counts)))

    def deliver(self, bank: BankProfile, name: str, content: str) -> Path:
        """Put a file into the inbox, unless a fault strikes it."""
        held = self._held()
        earlier = held.pop(_series(name), None)
        if earlier is not None:  # it joins this one
            self._hold(held)
            return super().deliver(bank, name, join_statements(content, earlier.text))
        struck = self._strikes(bank, name, content)
        if struck is None:
            return super().deliver(bank, name, content)
        bend = struck.bend
        for each, text in bend.arrive(name, content):
            self.put(bank, each, text)
        if bend.later is not None:
            key = _series(name) if bend.joins else name
            self._hold({**held, key: _Held(bank.code, bend.later(name), content, bend.joins)})
        self._log(FaultDone(struck, bank.code, name, struck.outcome))
        return self._home / bank.inbox / name

    def arrive_late(self, bank: BankProfile) -> None:
        """Deliver what was held back for a bank's customer, but for what waits to be joined."""
        held = self._held()
        for key, each in list(held.items()):
            if each.bank == bank.code and not each.joins:
                super().deliver(bank, each.name, each.text)
                del held[key]
        self._hold(held)

    def _strikes(self, bank: BankProfile, name: str, content: str) -> Fault | None:
        """The fault whose turn it is for this file; one fault a file."""
        turns: dict[str, list[int]] = json.loads(self._book.setting("faults") or "{}")
        found = None
        for fault in Fault:
            waiting = turns.get(fault.value)
            if not waiting or not fault.bend.fits(name, content):
                continue
            if waiting[0] > 0 or found is not None:
                waiting[0] = max(0, waiting[0] - 1)
                continue
            found = fault
            waiting.pop(0)
        self._book.remember("faults", json.dumps(turns))
        return found

    def _log(self, done: FaultDone) -> None:
        log = self._book.setting("fault_log") or ""
        row = {**asdict(done), "fault": done.fault.value}
        self._book.remember("fault_log", log + json.dumps(row) + "\n")

    def _held(self) -> dict[str, _Held]:
        rows = json.loads(self._book.setting("held_files") or "{}")
        return {key: _Held(**row) for key, row in rows.items()}

    def _hold(self, held: Mapping[str, _Held]) -> None:
        self._book.remember("held_files", json.dumps({key: asdict(each) for key, each in held.items()}))


def _turns(seed: int, counts: Mapping[Fault, int]) -> dict[str, list[int]]:
    """For each fault, how many files that it could strike it lets pass before each time it strikes."""
    drawn = random.Random(f"faults/{seed}")
    return {fault.value: [drawn.randrange(_SPREAD) for _ in range(counts[fault])] for fault in Fault if fault in counts}


def _series(name: str) -> str:
    """What the files of one account's statements share."""
    return "_".join(name.split("_")[:2])


def read_faults(book: BankBook) -> tuple[FaultDone, ...]:
    """Every fault that struck so far, in order."""
    rows = (json.loads(line) for line in (book.setting("fault_log") or "").splitlines())
    return tuple(FaultDone(Fault(row["fault"]), row["bank"], row["name"], row["outcome"]) for row in rows)


__all__ = ["ABSORBED", "Fault", "FaultDone", "FaultyFolders", "read_faults"]
