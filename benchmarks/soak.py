"""The ledger under everything at once, for as long as you like: what must hold, holds, or it is named.

Lives here: the callers, what they are told, and the comparison with the books afterwards. Must not live here:
printing. A throw-away server; callers in threads, each with a connection of its own, that:

- post batches over few accounts in every order, whole or each entry for itself, repeat them, reverse them, and post
  the same keys in both ways at one moment;
- drain one account with a floor, all together, round after round, by draws and holds;
- hold, post in part, give up, expire; soft-close, close and re-open periods; publish, seal and read events;
- and one who keeps terminating the backends of the others. Whoever loses a connection asks again with the same keys.

Every answer is remembered. At the end: no deadlock in the server's own count, no floor crossed and each round's answers
in some serial order, every acknowledged entry in the books and nothing else, balances as the answers add up, every
event once, and verification finds nothing.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import count
from typing import TypeVar

import psycopg

from benchmarks.history import History, differences, serial_order
from benchmarks.soak_races import race
from ledger import (
    CeilingError,
    ClosedPeriodError,
    Connection,
    EntryStatus,
    FloorError,
    HoldError,
    HoldPosting,
    NewEntry,
    NewHold,
    NewPosting,
    OutcomeUnknownError,
    RefusedError,
    UnavailableError,
    close_period,
    expire_due,
    place_holds,
    post_batch,
    post_holds,
    post_independent,
    publish,
    reopen_period,
    request_reopen,
    reverse,
    seal,
    soft_close_period,
    take_events,
    transaction,
    translate_errors,
    trial_balance,
    verify,
    verify_seals,
    void_holds,
)
from nostro.database import Database, initialise
from nostro.postgres import throw_away_server
from nostro.users import add_user

T = TypeVar("T")
_DAY = date(2026, 11, 2)
_NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
_CASH = "assets:cash"
_REASON = "an invoice came late"
_VICTIM = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
 WHERE datname = %s AND backend_type = 'client backend' ORDER BY random() LIMIT 1
"""
_EVENTS = """
SELECT count(*), count(DISTINCT idempotency_key), max(seq) FROM ledger.event_page(0, %s, %s)
"""
_PLAIN = [f"assets:pair:{n}" for n in range(6)]
_LIMITED = [("liabilities:floored:0", 0, None), ("liabilities:floored:1", 0, None), ("assets:box", None, 2_000)]
_MIXED_CALLERS, _POSTERS, _HOLDERS = 8, 12, 3


@dataclass(frozen=True, slots=True)
class SoakResult:
    """What was done, and what did not hold (nothing, if all is well)."""

    seconds: float
    figures: dict[str, int]
    findings: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """The object to print."""
        return {
            "soak": "ledger",
            "seconds": round(self.seconds, 1),
            **dict(sorted(self.figures.items())),
            "findings": list(self.findings),
        }


def run(
    *, seconds: float, drainers: int = 64, seed: int = 1, on_progress: Callable[[int, int], None] | None = None
) -> SoakResult:
    """Soak a throw-away server for so many seconds; ``drainers`` callers share each drained account."""
    with throw_away_server("nostro-soak-") as (_, server):
        database = Database(admin_conninfo=server, name="nostro_soak", role_prefix="nostro_soak")
        initialise(database)
        add_user(database, "alice", "preparer")
        add_user(database, "bob", "approver")
        return Soak(database, drainers=drainers, seed=seed).run(seconds, on_progress)


class Caller:
    """One who asks until answered: a lost connection is opened again, and the same thing asked again."""

    def __init__(self, soak: Soak, login: str = "service") -> None:
        self._soak, self._login = soak, login
        self._conn: Connection | None = None
        soak.callers.append(self)

    def ask(self, work: Callable[[Connection], T]) -> T:
        """The answer; safe because everything that is asked carries its key."""
        while True:
            try:
                if self._conn is None:
                    self._conn = self._soak.database.login(self._login)
                with translate_errors():
                    return work(self._conn)
            except (UnavailableError, OutcomeUnknownError) as error:
                self._soak.count("outcomes_unknown" if isinstance(error, OutcomeUnknownError) else "asked_again")
                if isinstance(met := error.__cause__, psycopg.errors.DeadlockDetected):
                    self._soak.findings.append(f"deadlock: {met.diag.message_detail} {met.diag.context}")
                self.close()

    def close(self) -> None:
        """Give the connection back."""
        if self._conn is not None:
            with suppress(psycopg.Error):
                self._conn.close()
        self._conn = None


class Soak:
    """One book, its callers, and what they were told."""

    def __init__(self, database: Database, *, drainers: int, seed: int) -> None:
        self.database = database
        self.findings: list[str] = []
        self.figures: Counter[str] = Counter()
        self.callers: list[Caller] = []
        self._drainers, self._seed = drainers, seed
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._acknowledged: set[str] = set()
        self._balances: Counter[str] = Counter()
        self._numbers = count()
        self._closed = _DAY - timedelta(days=400)
        with database.app() as conn:
            row = conn.execute("SELECT ledger.define_book('Soak', 'EUR')").fetchone()
            assert row is not None
            self.book = int(str(row[0]))
            conn.commit()
            self.open(conn, [(_CASH, None, None), *((code, None, None) for code in _PLAIN), *_LIMITED])
            for code in ("liabilities:floored:0", "liabilities:floored:1"):
                self.post(conn, [self.entry(f"fund {code}", _CASH, code, 20_000)])

    # --- what callers share ----------------------------------------------------------------------------------------

    def open(self, conn: Connection, accounts: Sequence[tuple[str, int | None, int | None]]) -> None:
        """Open accounts (code, floor, ceiling)."""
        codes, floors, ceilings = (list(column) for column in zip(*accounts, strict=True))
        types = ["asset" if str(code).startswith("assets") else "liability" for code in codes]
        size = len(codes)
        with transaction(conn):
            conn.execute(
                "SELECT ledger.open_accounts(%s, %s, %s, %s, %s, %s::text[], %s::bigint[], %s::bigint[])",
                (self.book, codes, types, ["EUR"] * size, [False] * size, [None] * size, floors, ceilings),
            )

    def entry(self, key: str, debit: str, credit: str, amount: int, *, day: date = _DAY) -> NewEntry:
        """A two-leg entry."""
        return NewEntry(key, day, (NewPosting(debit, amount), NewPosting(credit, -amount)))

    def count(self, what: str, times: int = 1) -> None:
        """Add to a figure."""
        with self._lock:
            self.figures[what] += times

    def acknowledge(self, entries: Sequence[NewEntry]) -> None:
        """The books have said that they have these."""
        with self._lock:
            for one in entries:
                if one.key not in self._acknowledged:
                    self._acknowledged.add(one.key)
                    for posting in one.postings:
                        self._balances[posting.account] += posting.amount_minor

    def post(self, conn: Connection, entries: Sequence[NewEntry]) -> bool:
        """Post whole; false when a limit or a period refuses."""
        try:
            post_batch(conn, book_id=self.book, entries=entries)
        except (FloorError, CeilingError, ClosedPeriodError) as refusal:
            self.count(f"refused_{refusal.constraint}")
            return False
        self.acknowledge(entries)
        self.count("batches")
        return True

    def post_each(self, conn: Connection, entries: Sequence[NewEntry]) -> bool:
        """Post each for itself; false when any is refused."""
        outcomes = post_independent(conn, book_id=self.book, entries=entries)
        self.acknowledge([e for e, o in zip(entries, outcomes, strict=True) if o.status is not EntryStatus.REFUSED])
        refused = [o.constraint or "" for o in outcomes if o.status is EntryStatus.REFUSED]
        for name in refused:
            self.count(f"refused_{name}")
            if name not in {"balance_floor", "balance_ceiling", "entry_period_open", "entry_period_soft_closed"}:
                self.findings.append(f"an entry that breaks no rule was refused by {name}")
        self.count("batches")
        return not refused

    # --- the callers -----------------------------------------------------------------------------------------------

    def posters(self, dice: random.Random) -> None:
        """Batches over few accounts in every order; repeats and reversals."""
        caller, number = Caller(self), next(self._numbers)
        codes = [*_PLAIN, *(code for code, _, _ in _LIMITED)]
        for n in count():
            if self._stop.is_set():
                break
            pairs = [dice.sample(codes, 2) for _ in range(dice.randint(1, 12))]
            if n % 2:
                pairs = [pair[::-1] for pair in sorted(pairs)]
            batch = [
                self.entry(f"p{number}-{n}-{m}", debit, credit, dice.randint(1, 60), day=self._any_day(dice))
                for m, (debit, credit) in enumerate(pairs)
            ]
            way = self.post if dice.random() < 0.5 else self.post_each
            if caller.ask(lambda conn, way=way, batch=batch: way(conn, batch)) and dice.random() < 0.2:  # type: ignore[misc]
                if dice.random() < 0.5:
                    if not caller.ask(lambda conn, way=way, batch=batch: way(conn, batch)):  # type: ignore[misc]
                        self.findings.append(f"batch of {batch[0].key} was accepted, then refused when repeated")
                    self.count("repeats")
                else:
                    self._reverse(caller, batch[0])

    def _any_day(self, dice: random.Random) -> date:
        return self._closed + timedelta(days=dice.randint(1, 30)) if dice.random() < 0.9 else self._closed

    def _reverse(self, caller: Caller, entry: NewEntry) -> None:
        legs = tuple(NewPosting(p.account, -p.amount_minor) for p in entry.postings)
        try:
            caller.ask(
                lambda conn: reverse(conn, book_id=self.book, key=entry.key, effective_date=_DAY, reason="a mistake")
            )
        except (FloorError, CeilingError):
            return
        self.acknowledge([NewEntry(f"reverse:{entry.key}", _DAY, legs)])
        self.count("reversals")

    def drain(self, dice: random.Random) -> None:
        """All drainers on one account with a floor, then a few with everything; each round on an account of its own."""
        everyone = [Caller(self) for _ in range(self._drainers)]
        with ThreadPoolExecutor(self._drainers) as pool:
            for number in count():
                if self._stop.is_set():
                    break
                mixed = number % 2 == 1
                self._round(
                    pool, f"liabilities:drained:{number}", everyone[:_MIXED_CALLERS] if mixed else everyone, dice
                )

    def _round(self, pool: ThreadPoolExecutor, code: str, callers: list[Caller], dice: random.Random) -> None:
        mixed, opening = len(callers) < self._drainers, 25 * len(callers)
        fund = self.entry(f"fund {code}", _CASH, code, opening)

        def begin(conn: Connection) -> bool:
            self.open(conn, [(code, 0, None)])
            return self.post(conn, [fund])

        callers[0].ask(begin)
        history, gate = History(), threading.Barrier(len(callers))
        seeds = [dice.getrandbits(64) for _ in callers]

        def drainer(number: int) -> None:
            gate.wait()
            self._drainer(callers[number], code, f"{code}/{number}", random.Random(seeds[number]), history, mixed)

        list(pool.map(drainer, range(len(callers))))
        left = callers[0].ask(lambda conn: _available(conn, self.book, code))
        if left < 0:
            self.findings.append(f"account {code} crossed its floor: {left} minor units are available")
        if left != opening + sum(one.delta_minor for one in history.attempts if one.accepted):
            self.findings.append(f"account {code} has {left} minor units available, its callers' answers say otherwise")
        if serial_order(history.attempts, opening_minor=opening, floor_minor=0) is None:
            self.findings.append(f"the answers about account {code} have no serial order")
        self.count("drain_rounds")
        self.count("drain_attempts", len(history.attempts))
        self.count("drain_refused", sum(not one.accepted for one in history.attempts))

    def _drainer(
        self, caller: Caller, code: str, name: str, dice: random.Random, history: History, mixed: bool
    ) -> None:
        held: list[NewHold] = []
        for n in range(10 if mixed else 3):
            key, amount = f"{name}-{n}", dice.randint(5, 60 if mixed else 20)
            if held and dice.random() < 0.7:
                self._resolve(caller, held.pop(), key, dice, history)
            elif mixed and dice.random() < 0.2:
                paid = [self.entry(key, _CASH, code, amount)]
                history.record(amount, lambda paid=paid: caller.ask(lambda conn: self.post(conn, paid)))  # type: ignore[misc]
            elif dice.random() < 0.4:
                hold = NewHold(key, code, amount)
                if history.record(-amount, lambda hold=hold: caller.ask(lambda conn: self._hold(conn, hold))) and mixed:  # type: ignore[misc]
                    held.append(hold)
            else:
                drawn, way = (
                    [self.entry(key, code, _CASH, amount)],
                    self.post if dice.random() < 0.5 else self.post_each,
                )
                history.record(-amount, lambda drawn=drawn, way=way: caller.ask(lambda conn: way(conn, drawn)))  # type: ignore[misc]

    def _hold(self, conn: Connection, hold: NewHold) -> bool:
        try:
            place_holds(conn, book_id=self.book, holds=[hold])
        except FloorError:
            self.count("refused_holds")
            return False
        self.count("holds")
        return True

    def _resolve(self, caller: Caller, hold: NewHold, key: str, dice: random.Random, history: History) -> None:
        if dice.random() < 0.5:
            history.record(
                hold.amount_minor,
                lambda: caller.ask(lambda conn: void_holds(conn, book_id=self.book, keys=[hold.key], at=_NOON)) <= 1,
            )
            return
        part = dice.randint(1, hold.amount_minor)
        entry = self.entry(key, hold.account, _CASH, part)
        posting = HoldPosting(hold.key, entry, part)
        history.record(
            hold.amount_minor - part,
            lambda: bool(caller.ask(lambda conn: post_holds(conn, book_id=self.book, postings=[posting], at=_NOON))),
        )
        self.acknowledge([entry])

    def holders(self, dice: random.Random) -> None:
        """Holds on the busy accounts, several at once and in any order; some end by themselves."""
        caller, number = Caller(self), next(self._numbers)
        for n in count():
            if self._stop.is_set():
                break
            now = _NOON + timedelta(minutes=n)
            holds = [
                NewHold(f"h{number}-{n}-{m}", code, dice.randint(1, 20), now + timedelta(minutes=dice.randint(1, 3)))
                for m, code in enumerate(dice.sample([*_PLAIN, "liabilities:floored:0", "liabilities:floored:1"], 3))
            ]
            if not caller.ask(lambda conn, holds=holds: all(self._hold(conn, hold) for hold in holds)):  # type: ignore[misc]
                continue
            if dice.random() < 0.5:
                with suppress(HoldError):  # somebody's expiry was first
                    keys = [hold.key for hold in holds]
                    caller.ask(lambda conn, keys=keys, now=now: void_holds(conn, book_id=self.book, keys=keys, at=now))  # type: ignore[misc]
            expired = caller.ask(lambda conn, now=now: expire_due(conn, book_id=self.book, now=now, limit=20))  # type: ignore[misc]
            self.count("holds_expired", len(expired))

    def closer(self, dice: random.Random) -> None:
        """Periods close behind the posters' dates; sometimes two people open one again."""
        alice, bob = Caller(self, "alice"), Caller(self, "bob")
        while not self._stop.wait(0.2):
            day = self._closed + timedelta(days=1)
            if day >= _DAY:
                break
            with suppress(RefusedError):  # asked again after a lost answer, it is closed already
                alice.ask(lambda conn, day=day: soft_close_period(conn, book_id=self.book, through=day))  # type: ignore[misc]
            asked = time.monotonic()
            bob.ask(lambda conn, day=day: close_period(conn, book_id=self.book, through=day))  # type: ignore[misc]
            self._closed = day
            self.count("closes")
            self.figures["longest_close_ms"] = max(
                self.figures["longest_close_ms"], round((time.monotonic() - asked) * 1000)
            )
            if dice.random() < 0.1:
                alice.ask(lambda conn, day=day: request_reopen(conn, book_id=self.book, from_date=day, reason=_REASON))  # type: ignore[misc]
                with suppress(RefusedError):
                    bob.ask(lambda conn, day=day: reopen_period(conn, book_id=self.book, from_date=day))  # type: ignore[misc]
                self.count("reopenings")

    def publisher(self, dice: random.Random) -> None:
        """The sequencer, the seals and a consumer, beside everybody."""
        caller, seen = Caller(self), 0
        while not self._stop.wait(0.1 + dice.random() / 5):
            caller.ask(publish)
            self.count("publications")
            self.count("seals", len(caller.ask(lambda conn: seal(conn, book_id=self.book))))
            numbers = caller.ask(_events_read)
            if numbers and numbers != list(range(seen + 1, seen + 1 + len(numbers))) and numbers[0] <= seen:
                self.findings.append(f"event {numbers[0]} came again after {seen}")
            seen = numbers[-1] if numbers else seen

    def racers(self, dice: random.Random) -> None:
        """The same keys twice at once, whole and each for itself, over limited accounts."""
        codes = [*_PLAIN[:2], *(code for code, _, _ in _LIMITED)]
        race(self, Caller(self), Caller(self), codes, dice, self._stop.is_set)

    def killer(self, dice: random.Random) -> None:
        """Terminates backends at random."""
        with self.database.admin() as admin:
            while not self._stop.wait(0.3 + dice.random()):
                done = admin.execute(_VICTIM, (self.database.name,)).fetchall()
                self.count("backends_killed", len(done))

    # --- the whole -------------------------------------------------------------------------------------------------

    def run(self, seconds: float, on_progress: Callable[[int, int], None] | None) -> SoakResult:
        """All of it for so long, then the comparison."""
        before = self._deadlocks()
        jobs = [self.drain, self.closer, self.publisher, self.killer, self.racers, self.racers]
        jobs += [self.posters] * _POSTERS + [self.holders] * _HOLDERS
        begun = time.monotonic()
        with ThreadPoolExecutor(len(jobs)) as pool:
            running = [pool.submit(job, random.Random(self._seed * 1000 + n)) for n, job in enumerate(jobs)]
            while time.monotonic() - begun < seconds and not any(one.done() and one.exception() for one in running):
                time.sleep(0.2)
                if on_progress is not None:
                    on_progress(min(int(time.monotonic() - begun), int(seconds)), int(seconds))
            self._stop.set()
            failures = [error for one in running if (error := one.exception()) is not None]
        for caller in self.callers:
            caller.close()
        self.findings += [f"{type(error).__name__}: {error}" for error in failures]
        lasted = time.monotonic() - begun
        self._compare(before)
        return SoakResult(lasted, dict(self.figures), tuple(self.findings))

    def _deadlocks(self) -> int:
        """The server's own count, once every caller's backend has ended and reported."""
        with self.database.admin() as admin:
            for _ in range(100):
                others = admin.execute("SELECT pid FROM pg_stat_activity WHERE datname = %s", (self.database.name,))
                if not others.fetchall():
                    break
                time.sleep(0.1)
            found = admin.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = %s", (self.database.name,))
            return int(str((found.fetchone() or (0,))[0]))

    def _compare(self, deadlocks_before: int) -> None:
        self.figures["deadlocks"] = self._deadlocks() - deadlocks_before
        if self.figures["deadlocks"]:
            self.findings.append(f"{self.figures['deadlocks']} deadlocks")
        with self.database.app() as conn:
            publish(conn)
            seal(conn, book_id=self.book)
            there = keys_of(conn, self.book)
            self.figures["entries"] = len(there)
            self.findings += differences(self._acknowledged, there)
            said = {row.code: row.posted_minor for row in trial_balance(conn, book_id=self.book).rows}
            for code in sorted(said.keys() | self._balances.keys()):
                if said.get(code, 0) != self._balances[code]:
                    self.findings.append(
                        f"{code} stands at {said.get(code, 0)}, answers add up to {self._balances[code]}"
                    )
            events = conn.execute(_EVENTS, (len(there) + 1, self.book)).fetchone()
            if events != (len(there),) * 3:
                self.findings.append(f"{len(there)} entries gave events {events} (number, keys, last)")
            conn.rollback()
            self.findings += [f"invariant {f.invariant}: {f.place} {f.fault}" for f in verify(conn, book_id=self.book)]
            self.findings += [f"{f.place}: {f.fault}" for f in verify_seals(conn, book_id=self.book).faults]


def keys_of(conn: Connection, book: int) -> set[str]:
    """Every key in the books."""
    with conn.cursor("keys") as cursor:
        cursor.execute("SELECT idempotency_key FROM ledger.entry WHERE book_id = %s", (book,))
        return {str(key) for (key,) in cursor}


def _available(conn: Connection, book: int, code: str) -> int:
    row = conn.execute(
        "SELECT balance_minor - held_minor FROM ledger.account_balance WHERE book_id = %s AND code = %s", (book, code)
    ).fetchone()
    conn.rollback()
    assert row is not None
    return int(str(row[0]))


def _events_read(conn: Connection) -> list[int]:
    with transaction(conn):
        return [event.seq for event in take_events(conn, consumer="soak", limit=100_000)]
