"""The simulated banks of one home: they take orders by night and close their day with statements.

Lives here: the order of a bank's day and the public face of the simulator. Must not live here: XML, what
goes wrong (`sandbox.fate`, `sandbox.injection`), and anything the product decides. The banks keep their own
book; they never look into the product's database.
"""

from __future__ import annotations

import datetime as dt
import json
import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

from sandbox.acquirers import payouts_path, read_payouts, report_name, report_text
from sandbox.anomalies import AnomalyPlan, Kind, truth_path, truth_text
from sandbox.bank_behaviour import BankBehaviour, StatementVersion
from sandbox.book import BankBook, StoredBatch, StoredStatement
from sandbox.camt import (
    intraday_message,
    notification_message,
    page_elements,
    stamp,
    statement_element,
    statement_message,
)
from sandbox.camt_versions import version_02
from sandbox.day_work import LATE, RETURN, TAKEN_BACK, AccountWork, Arrival, BatchWork, Booking, DayWork, day_lines
from sandbox.errors import SandboxError
from sandbox.fate import Fates, Noise
from sandbox.faults import Fault, FaultDone, FaultyFolders, read_faults
from sandbox.folders import Folders
from sandbox.injection import Injector
from sandbox.lines import AccountDay, Line, number
from sandbox.recalls import return_message
from sandbox.reception import Received, Reception, group_status
from sandbox.setup_reader import BankAccount, BankProfile, BankSetup, read_setup
from sandbox.status import BatchStatus

_INTEREST_WEEKDAY = 3  # Thursday
_INTEREST_DIVISOR = 104_000  # about 0.05 % a year, paid by the week


@dataclass(frozen=True, slots=True)
class StatementSummary:
    """One statement that was written. Balances in minor units, credit +."""

    account: str
    statement_id: str
    opening_minor: int
    closing_minor: int
    lines: int


@dataclass(frozen=True, slots=True)
class DayReport:
    """What the banks did on a day."""

    day: dt.date
    statements: tuple[StatementSummary, ...]
    executed: int
    returned: int
    payouts: int
    anomalies: int


class Bank:
    """All simulated banks of one home.

    State lives in `<home>/sandbox/bank.sqlite`; a `Bank` opened again on the same home goes on where the
    last one stopped. `seed` (1) and `behaviour` (plain) are remembered when left out later; a plan, once
    adopted, stays, and so do `faults`: how often each strikes the banks' files on their way.
    Same set-up, seed, plan and orders give the same bytes.
    """

    def __init__(
        self,
        home: Path,
        setup: BankSetup,
        *,
        seed: int | None = None,
        behaviour: BankBehaviour | None = None,
        anomalies: AnomalyPlan | None = None,
        faults: Mapping[Fault, int] | None = None,
    ) -> None:
        self._home = home
        self._setup = setup
        self._book = BankBook(home / "sandbox" / "bank.sqlite", setup)
        if anomalies is not None:
            with self._book.transaction():
                self._book.adopt(anomalies)
        self._seed = int(self._remember("seed", None if seed is None else str(seed)) or "1")
        faulty = faults or self._book.setting("faults") is not None
        self._folders = (
            FaultyFolders(home, self._book, seed=self._seed, counts=faults or {}) if faulty else Folders(home)
        )
        told = self._remember("behaviour", None if behaviour is None else behaviour.to_text())
        self._behaviour = BankBehaviour() if told is None else BankBehaviour.from_text(told)
        self._fates = Fates(seed=self._seed, behaviour=self._behaviour)
        self._reception = Reception(setup, self._book, self._folders, self._fates)

    def __enter__(self) -> Bank:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the state file."""
        self._book.close()

    def balance(self, account: str) -> int:
        """The bank's own booked balance of an account code, minor units, credit +."""
        return self._book.balance(account)

    def faults(self) -> tuple[FaultDone, ...]:
        """Every fault that struck a file so far."""
        return read_faults(self._book)

    def receive(self) -> tuple[Received, ...]:
        """Take every new order from the outboxes, answer each by pain.002, and say what became of it."""
        return self._reception.receive()

    def close_day(self, day: dt.date) -> DayReport:
        """Execute what is due, book, and deliver statements, notifications and PSP reports of the day.

        A closed bank does nothing on the day. Closing the same day again changes nothing and returns the
        same report. Raises `SandboxError` for a day before one already closed.
        """
        stored = self._book.report(day)
        report = self._close_once(day) if stored is None else _report_from(stored)
        truth = truth_path(self._home)
        truth.parent.mkdir(parents=True, exist_ok=True)
        truth.write_text(truth_text(self._book.truths()), encoding="utf-8")
        return report

    # The day -----------------------------------------------------------------------------------------

    def _close_once(self, day: dt.date) -> DayReport:
        last = self._book.last_closed_day()
        if last is not None and day < last:
            raise SandboxError(f"the bank has closed {last} already; it cannot go back to {day}.")
        with self._book.transaction():
            report = self._close(day)
            self._book.add_report(day, json.dumps(asdict(report), default=str))
        return report

    def _close(self, day: dt.date) -> DayReport:
        for bank in self._setup.banks:
            self._folders.arrive_late(bank)
        work = DayWork(day, {})
        for account in self._setup.accounts:
            bank = self._setup.bank(account.bank)
            if bank.calendar.is_open(day):
                work.accounts[account.code] = self._open_account(bank, account, day)
        payouts = self._payouts_arrive(work)
        if work.accounts:
            injector = Injector(work, self._book, seed=self._seed, window_days=self._setup.window_days)
            injector.inject_all()
        returned = sum(later.kind == RETURN for item in work.accounts.values() for later in item.later)
        self._announce_returns(work)
        self._schedule_returns(work)
        self._report_executed(work)
        self._deliver_reports(work)
        statements = tuple(self._state(item, work) for item in work.accounts.values())
        self._repeat(work)
        truths = work.all_truths()
        self._book.add_truths(truths)
        executed = self._log_executions(work)
        return DayReport(day, statements, executed, returned, payouts, len(truths))

    def _open_account(self, bank: BankProfile, account: BankAccount, day: dt.date) -> AccountWork:
        work = AccountWork(
            bank,
            account,
            self._behaviour.style(account.code, batch_booking=bank.batch_booking),
            self._book.balance(account.code),
            return_charge_minor=self._behaviour.return_charge_minor,
        )
        available = work.opening_minor
        for batch in self._book.due_batches(account.code):
            if bank.calendar.first_open(batch.execution_date) > day:
                continue
            self._book.close_batch(batch.batch_id, day)
            bookings = [Booking(payment, payment.amount_minor) for payment in self._book.payments(batch.batch_id)]
            total = sum(booking.amount_minor for booking in bookings) * (-1 if batch.collects else 1)
            if account.floor_minor is not None and available - total < account.floor_minor:
                self._refuse_for_funds(bank, batch)
                continue
            available -= total
            self._meet_fate(bookings, collects=batch.collects)
            work.batches.append(BatchWork(batch, bookings))
        work.later = self._book.take_later(account.code, day)
        self._add_charges(work, day)
        return work

    def _meet_fate(self, bookings: list[Booking], *, collects: bool) -> None:
        for booking in bookings:
            payment = booking.payment
            booking.comebacks = self._fates.comebacks(payment.end_to_end_id, payment.amount_minor, collects=collects)
            booking.taken = collects  # anomalies are of payments
            if not booking.comebacks and not collects:
                booking.noise = self._fates.noise(payment.end_to_end_id)
            if booking.noise is not None and payment.uetr is None:
                booking.noise = Noise.PARTY_ONLY

    def _refuse_for_funds(self, bank: BankProfile, batch: StoredBatch) -> None:
        self._book.reject_batch(batch.batch_id, "AM04")
        rejected = self._book.rejected(batch.batch_id)
        status = BatchStatus(batch.payment_information_id, len(rejected), "RJCT", rejected)
        self._reception.report(bank, batch.file, group_status([status], "RJCT", of=batch.file.count), batches=[status])

    def _add_charges(self, work: AccountWork, day: dt.date) -> None:
        """Tariffed charges for orders executed, and the week's interest."""
        if self._behaviour.charges:
            for tariff in work.bank.tariff:
                if tariff.currency == work.account.currency and tariff.code.split("/")[1] == "ICDT":
                    for item in work.batches:
                        text = f"Charge for order {item.batch.file.message_id}"
                        work.fees.append(Line(-tariff.amount_minor, tariff.code, text=text))
        interest = work.opening_minor // _INTEREST_DIVISOR
        if self._behaviour.interest and day.weekday() == _INTEREST_WEEKDAY and interest > 0:
            work.fees.append(Line(interest, "ACMT/MCOP/INTR", text="Credit interest"))

    def _payouts_arrive(self, work: DayWork) -> int:
        """Acquirers' transfers due by today, and the tariffed charge for a day with incoming transfers."""
        due = [
            payout
            for payout in read_payouts(payouts_path(self._home))
            if payout.payout_date <= work.day and payout.bank_account in work.accounts
        ]
        unpaid = self._book.unpaid([payout.payout_id for payout in due])
        due = [payout for payout in due if payout.payout_id in unpaid]
        for payout in due:
            acquirer = self._setup.acquirer(payout.acquirer)
            arrival = Arrival(payout, acquirer, [payout.net_minor])
            arrival.nameless = self._fates.noise(payout.payout_id) is not None
            work.accounts[payout.bank_account].arrivals.append(arrival)
        self._book.pay([payout.payout_id for payout in due], work.day)
        if self._behaviour.charges:
            for item in work.accounts.values():
                self._charge_receipts(item)
        return len(due)

    def _charge_receipts(self, work: AccountWork) -> None:
        for tariff in work.bank.tariff:
            incoming = tariff.code.split("/")[1] == "RCDT" and tariff.currency == work.account.currency
            if work.arrivals and incoming:
                work.fees.append(Line(-tariff.amount_minor, tariff.code, text="Charge for incoming payments"))

    def _announce_returns(self, work: DayWork) -> None:
        """Tell by pacs.004 what today's statement will show coming back, where the bank does that."""
        for item in work.accounts.values():
            returns = [later for later in item.later if later.kind == RETURN and not later.collects]
            if returns and self._behaviour.announces_returns:
                text = return_message(item.account, item.bank, work.day, returns, item.return_charge_minor)
                self._folders.deliver(item.bank, f"pacs.004_{item.account.iban}_{work.day}.xml", text)

    def _schedule_returns(self, work: DayWork) -> None:
        for item in work.accounts.values():
            for booking in item.bookings():
                for back in booking.comebacks if booking.booked else ():
                    self._book.add_later(
                        booking.payment,
                        kind=TAKEN_BACK if back.taken_back else RETURN,
                        day=item.bank.calendar.after(work.day, open_days=back.open_days),
                        account=item.account.code,
                        reason=back.reason,
                        amount_minor=back.amount_minor,
                    )

    def _report_executed(self, work: DayWork) -> None:
        """Tell the customer that orders are settled; the report says nothing that only a statement proves."""
        for item in work.accounts.values():
            for executed in item.batches:
                batch = executed.batch
                rejected = self._book.rejected(batch.batch_id)
                count = len(executed.bookings) + len(rejected)
                status = BatchStatus(batch.payment_information_id, count, "ACSC", rejected)
                self._reception.report(
                    item.bank, batch.file, group_status([status], "ACSC", of=batch.file.count), batches=[status]
                )

    def _deliver_reports(self, work: DayWork) -> None:
        for item in work.accounts.values():
            for arrival in item.arrivals:
                if arrival.reported:
                    payout = arrival.payout
                    self._folders.deliver(item.bank, report_name(payout), report_text([payout]))

    # Statements --------------------------------------------------------------------------------------

    def _state(self, work: AccountWork, day: DayWork) -> StatementSummary:
        account, bank = work.account, work.bank
        rng = random.Random(f"order/{self._seed}/{account.code}/{day.day}")
        lines = day_lines(work, day, rng)
        account_no = 1 + self._setup.accounts_of(bank.code).index(account)
        number(lines, bank=bank, account_no=account_no, day=day.day)
        stated = AccountDay(
            bank,
            account,
            day.day,
            self._book.next_statement_number(account.code),
            work.opening_minor,
            work.opening_minor + sum(line.amount_minor for line in lines),
            lines,
        )
        if self._behaviour.intraday:
            so_far = lines[: len(lines) // 2]
            name = f"camt.052_{account.iban}_{day.day}.xml"
            self._folders.deliver(bank, name, intraday_message(stated, so_far))
        body = statement_element(stated)
        size = self._behaviour.page_lines
        for page in [body] if size is None else page_elements(stated, size):
            self._deliver_statement(bank, account, day.day, page)
        incoming = [line for line in lines if line.amount_minor > 0 and line.details]
        if incoming:
            name = f"camt.054_{account.iban}_{day.day}.xml"
            self._folders.deliver(bank, name, notification_message(stated, incoming))
        kept = body if self._book.wants(Kind.STATEMENT_DUP) else None
        stored = StoredStatement(stated.statement_id, stated.opening_minor, stated.closing_minor, len(lines), kept)
        self._book.add_statement(account.code, day.day, stored)
        return StatementSummary(
            account.code, stated.statement_id, stated.opening_minor, stated.closing_minor, len(lines)
        )

    def _deliver_statement(self, bank: BankProfile, account: BankAccount, day: dt.date, body: str) -> None:
        """One message; messages of a bank are numbered through."""
        turn = int(self._book.setting(f"messages/{bank.code}") or "0") + 1
        self._book.remember(f"messages/{bank.code}", str(turn))
        text = statement_message(
            message_id=f"{bank.bic[:4]}S{turn:09d}", created=stamp(day, hour=22, minute=5), statement=body
        )
        if self._behaviour.statement is StatementVersion.V02:
            text = version_02(text)
        self._folders.deliver(bank, f"camt.053_{account.iban}_{day}_{turn:06d}.xml", text)

    def _repeat(self, work: DayWork) -> None:
        for code, statement in work.repeats:
            account = self._setup.account(code)
            assert statement.body is not None  # only kept ones are repeated
            self._deliver_statement(self._setup.bank(account.bank), account, work.day, statement.body)

    # The journal of executions -----------------------------------------------------------------------

    def _log_executions(self, work: DayWork) -> int:
        """Append every payment really executed today. A crash between this and the day's commit is undone
        by cutting the file back to its committed length first."""
        path = self._home / "sandbox" / "executions.jsonl"
        committed = int(self._book.setting("executions_bytes") or "0")
        rows: list[str] = []
        for code, item in work.accounts.items():
            late = [later.payment for later in item.later if later.kind == LATE]
            booked = [booking.payment for booking in item.bookings() if booking.booked]
            for payment in late + booked:
                row = {
                    "day": work.day.isoformat(),
                    "bank": item.bank.code,
                    "account": code,
                    "end_to_end_id": payment.end_to_end_id,
                    "amount_minor": payment.amount_minor,
                }
                rows.append(json.dumps(row) + "\n")
        content = "".join(rows).encode()
        with path.open("ab") as file:
            file.truncate(committed)
            file.seek(committed)
            file.write(content)
        self._book.remember("executions_bytes", str(committed + len(content)))
        return len(rows)

    def _remember(self, key: str, value: str | None) -> str | None:
        """The value, kept for the next opening; or what was kept when none is given."""
        if value is None or value == self._book.setting(key):
            return self._book.setting(key)
        with self._book.transaction():
            self._book.remember(key, value)
        return value


def simulate_day(
    home: Path, setup_file: Path, day: dt.date, *, seed: int | None = None, behaviour: BankBehaviour | None = None
) -> tuple[tuple[Received, ...], DayReport]:
    """What `nostro bank simulate --date` does with any set-up: take new orders, then close the day.

    Without `behaviour` the banks of a home behave as they were first told, else plainly: nothing rejected,
    returned or charged.
    """
    with Bank(home, read_setup(setup_file), seed=seed, behaviour=behaviour) as bank:
        return bank.receive(), bank.close_day(day)


def _report_from(text: str) -> DayReport:
    row = json.loads(text)
    statements = tuple(StatementSummary(**item) for item in row.pop("statements"))
    return DayReport(day=dt.date.fromisoformat(row.pop("day")), statements=statements, **row)
