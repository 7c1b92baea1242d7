"""How a bank takes payment orders: reading its outbox, validating, answering.

Lives here: what a bank refuses and with which ISO reason, and its status reports. Must not live here:
execution and statements (`sandbox.bank`). Reasons: ISO external status reason codes.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sandbox.book import BankBook, StoredFile
from sandbox.debit_orders import DEBITS, read_debits, read_recall
from sandbox.fate import Fates
from sandbox.folders import Folders
from sandbox.orders import Order, OrderedBatch, UnreadableOrderError, message_name, read_order, sum_of
from sandbox.recalls import REFUSED, answer_message, decide
from sandbox.reversals import REVERSALS, give_back, read_reversal, totals_refusal
from sandbox.setup_reader import BankAccount, BankProfile, BankSetup
from sandbox.status import BatchStatus, FileStatus, RejectedPayment, status_report

_UNREADABLE_CREATED = "1970-01-01T00:00:00Z"
_RECALLS = ("camt.055.",)
_KNOWN = ("pain.001.001.03", "pain.001.001.09", "pain.001.001.11", *DEBITS, *REVERSALS, *_RECALLS)
_NOT_AN_ID = re.compile(r"[^A-Za-z0-9._-]")


@dataclass(frozen=True, slots=True)
class Received:
    """What became of one file. `reason` is the code of a refusal of the whole file."""

    bank: str
    file_name: str
    message_id: str
    payments: int
    rejected: int
    reason: str | None


@dataclass(frozen=True, slots=True)
class _Refusal:
    reason: str
    text: str


class Reception:
    """Takes the orders of all banks of one home."""

    def __init__(self, setup: BankSetup, book: BankBook, folders: Folders, fates: Fates) -> None:
        self._setup = setup
        self._book = book
        self._folders = folders
        self._fates = fates

    def receive(self) -> tuple[Received, ...]:
        """Read and answer every order that is new in an outbox. A file written again is new."""
        return tuple(self._receive())

    def _receive(self) -> Iterator[Received]:
        for bank in self._setup.banks:
            for path in self._folders.orders(bank):
                modified_ns = path.stat().st_mtime_ns
                if self._book.arrived(bank.code, path.name, modified_ns):
                    continue
                with self._book.transaction():
                    received = self._take(bank, path)
                    self._book.arrive(bank.code, path.name, modified_ns)
                yield received

    def _take(self, bank: BankProfile, path: Path) -> Received:
        content = path.read_bytes()
        try:
            message = message_name(content, _KNOWN)
            if message.startswith(_RECALLS):
                return self._take_recall(bank, path, content)
            if message in REVERSALS:
                return self._take_reversal(bank, path, content)
            order = read_debits(content) if message in DEBITS else read_order(content)
        except UnreadableOrderError as fault:
            return self._refuse_unreadable(bank, path, str(fault))
        refusal = self._refusal(bank, order)
        file = self._book.add_file(
            bank=bank.code,
            message=order.message,
            message_id=order.message_id,
            created=order.created,
            count=order.count,
            accepted=refusal is None,
        )
        if refusal is not None:
            self.report(bank, file, "RJCT", reason=refusal)
            return Received(bank.code, path.name, order.message_id, order.count, order.count, refusal.reason)
        batches = [(batch, self._keep(bank, file, batch)) for batch in order.batches]
        self.report(bank, file, "ACTC")
        if self._fates.checks_names:
            self._compare_names(bank, file, order)
        statuses = [
            BatchStatus(
                batch.payment_information_id,
                len(batch.payments),
                "ACCP",
                self._book.rejected(batch_id),
                reason=self._fates.batch_refusal(batch.payment_information_id),
            )
            for batch, batch_id in batches
        ]
        rejected = sum(len(status.rejected) for status in statuses)
        self.report(bank, file, group_status(statuses, "ACCP", of=file.count), batches=statuses)
        return Received(bank.code, path.name, order.message_id, order.count, rejected, None)

    def _compare_names(self, bank: BankProfile, file: StoredFile, order: Order) -> None:
        """Say for each payment whether its payee's name is the account's; the file waits for nobody."""
        said = []
        for batch in order.batches:
            verdicts = [
                RejectedPayment(
                    p.instruction_id, p.end_to_end_id, p.uetr, None, self._fates.doubted(p.end_to_end_id) or "RCVC"
                )
                for p in batch.payments
            ]
            whole = "RCVC" if all(each.status == "RCVC" for each in verdicts) else "RVCM"
            said.append(BatchStatus(batch.payment_information_id, len(batch.payments), whole, named=verdicts))
        group = "RCVC" if all(each.status == "RCVC" for each in said) else "RVCM"
        self.report(bank, file, group, batches=said)

    def _take_recall(self, bank: BankProfile, path: Path, content: bytes) -> Received:
        """Answer a recall by camt.029; whether a recall came before is not asked: what is back is refused then."""
        order = read_recall(content)
        day = self._book.last_closed_day() or dt.date.min
        answered = decide(order, bank, self._book, self._fates, day)
        number = int(self._book.setting(f"recalls/{bank.code}") or "0") + 1
        self._book.remember(f"recalls/{bank.code}", str(number))
        name = f"camt.029_{_NOT_AN_ID.sub('-', order.message_id)}_{number:06d}.xml"
        self._folders.deliver(bank, name, answer_message(order, bank, answered, number=number))
        refused = sum(each.status == REFUSED for each in answered)
        return Received(bank.code, path.name, order.message_id, len(answered), refused, None)

    def _take_reversal(self, bank: BankProfile, path: Path, content: bytes) -> Received:
        """Answer a reversal by pain.002: what goes back tomorrow, what does not and why."""
        order = read_reversal(content)
        count, again = len(order.debits), self._book.knows_message(bank.code, order.message_id)
        reason = "DU01" if again and bank.refuses_duplicates else totals_refusal(order)
        file = self._book.add_file(
            bank=bank.code,
            message=order.message,
            message_id=order.message_id,
            created=order.created,
            count=count,
            accepted=reason is None,
        )
        if reason is not None:
            self.report(bank, file, "RJCT", reason=_Refusal(reason, "Reversal refused"))
            return Received(bank.code, path.name, order.message_id, count, count, reason)
        self.report(bank, file, "ACTC")
        statuses = give_back(order, bank, self._book, self._book.last_closed_day() or dt.date.min)
        self.report(bank, file, group_status(statuses, "ACCP", of=count), batches=statuses)
        rejected = sum(len(status.rejected) for status in statuses)
        return Received(bank.code, path.name, order.message_id, count, rejected, None)

    def _keep(self, bank: BankProfile, file: StoredFile, batch: OrderedBatch) -> int:
        account = self._debtor(bank, batch)
        assert account is not None  # _refusal saw to it
        refusal = self._fates.batch_refusal(batch.payment_information_id)
        return self._book.add_batch(
            file,
            payment_information_id=batch.payment_information_id,
            account=account.code,
            execution_date=batch.execution_date,
            collects=batch.collects,
            payments=(
                (payment, refusal or self._fates.reject_reason(payment.end_to_end_id, collects=batch.collects))
                for payment in batch.payments
            ),
        )

    def _debtor(self, bank: BankProfile, batch: OrderedBatch) -> BankAccount | None:
        accounts = self._setup.accounts_of(bank.code)
        return next((account for account in accounts if account.iban == batch.debtor_iban), None)

    def _refusal(self, bank: BankProfile, order: Order) -> _Refusal | None:
        """Why the whole order is refused; None when it is accepted."""
        if bank.refuses_duplicates and self._book.knows_message(bank.code, order.message_id):
            return _Refusal("DU01", "Message identification was received before")
        if order.count != order.stated_count:
            return _Refusal("AM18", f"NbOfTxs is {order.stated_count}, the file holds {order.count}")
        everything = tuple(payment for batch in order.batches for payment in batch.payments)
        if order.stated_sum is not None and order.stated_sum != sum_of(everything):
            return _Refusal("AM10", f"CtrlSum is {order.stated_sum}, the file holds {sum_of(everything)}")
        return next(filter(None, (self._batch_refusal(bank, batch) for batch in order.batches)), None)

    def _batch_refusal(self, bank: BankProfile, batch: OrderedBatch) -> _Refusal | None:
        if batch.stated_count not in (None, len(batch.payments)):
            return _Refusal("AM18", f"NbOfTxs of {batch.payment_information_id} is {batch.stated_count}")
        if batch.stated_sum is not None and batch.stated_sum != sum_of(batch.payments):
            return _Refusal("AM10", f"CtrlSum of {batch.payment_information_id} is {batch.stated_sum}")
        account = self._debtor(bank, batch)
        if account is None:
            return _Refusal("AC02", f"Debtor account {batch.debtor_iban} is not held here")
        if any(payment.currency != account.currency for payment in batch.payments):
            return _Refusal("AM03", f"Account {batch.debtor_iban} is held in {account.currency}")
        return None

    def report(
        self,
        bank: BankProfile,
        file: StoredFile,
        status: str,
        *,
        batches: Sequence[BatchStatus] = (),
        reason: _Refusal | None = None,
    ) -> None:
        """Answer with the next status report about an order. Its time is the order's own creation time, so
        that the same order gets the same bytes."""
        turn = self._book.next_report(file)
        text = status_report(
            FileStatus(
                report_id=f"{bank.bic[:4]}R{file.file_id:07d}{turn:02d}",
                created=file.created,
                message=file.message,
                message_id=file.message_id,
                count=file.count,
                status=status,
                reason=None if reason is None else reason.reason,
                reason_text=None if reason is None else reason.text,
                batches=batches,
            )
        )
        name = f"pain.002_{_NOT_AN_ID.sub('-', file.message_id)}_{file.file_id:07d}-{turn}.xml"
        self._folders.deliver(bank, name, text)

    def _refuse_unreadable(self, bank: BankProfile, path: Path, why: str) -> Received:
        message_id = path.stem[:35]
        file = self._book.add_file(
            bank=bank.code,
            message="pain.001.001.09",
            message_id=message_id,
            created=_UNREADABLE_CREATED,
            count=0,
            accepted=False,
        )
        self.report(bank, file, "RJCT", reason=_Refusal("FF01", why))
        return Received(bank.code, path.name, message_id, 0, 0, "FF01")


def group_status(batches: Sequence[BatchStatus], status: str, *, of: int) -> str:
    """The status of a file of so many payments: all, some or none rejected; PART when it has other batches."""
    rejected = sum(len(batch.rejected) for batch in batches)
    total = sum(batch.count for batch in batches)
    return "PART" if total < of or 0 < rejected < of else "RJCT" if rejected else status
