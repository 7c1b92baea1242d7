"""The banks' own book: accounts, received orders, what was executed, what is still to come.

Lives here: the state of all simulated banks of one home in an SQLite file, restartable at any point because
every day is one transaction. Must not live here: decisions, XML.
"""

from __future__ import annotations

import datetime as dt
import json
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from sandbox.anomalies import AnomalyPlan, Kind, Truth
from sandbox.orders import OrderedPayment
from sandbox.setup_reader import BankSetup
from sandbox.status import RejectedPayment


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A payment order as the bank keeps it."""

    file_id: int
    bank: str
    message: str
    message_id: str
    created: str
    count: int


@dataclass(frozen=True, slots=True)
class StoredPayment:
    """One accepted payment. `amount_minor` > 0."""

    payment_id: int
    instruction_id: str | None
    end_to_end_id: str
    uetr: str | None
    amount_minor: int
    creditor_name: str
    creditor_iban: str
    remittance: str | None


@dataclass(frozen=True, slots=True)
class StoredBatch:
    """One accepted `PmtInf` that awaits execution."""

    batch_id: int
    file: StoredFile
    payment_information_id: str
    account: str
    execution_date: dt.date
    collects: bool


@dataclass(frozen=True, slots=True)
class LaterBooking:
    """A return, a return taken back, or a booking that comes late. `amount_minor` > 0 is what moves; `reason` is the
    return reason code; `collects` says that the payment was a direct debit."""

    payment: StoredPayment
    kind: str
    account: str
    amount_minor: int
    reason: str | None
    collects: bool


@dataclass(frozen=True, slots=True)
class AskedBack:
    """A payment as a recall finds it: `closed_on` its batch was executed (None: not yet), `back_minor` is due back or
    came back of it already."""

    payment: StoredPayment
    bank: str
    account: str
    closed_on: dt.date | None
    rejected: bool
    collects: bool
    back_minor: int


@dataclass(frozen=True, slots=True)
class StoredStatement:
    """What was stated for an account and day. `body` is its `Stmt` element while kept."""

    statement_id: str
    opening_minor: int
    closing_minor: int
    line_count: int
    body: str | None


@dataclass(frozen=True, slots=True)
class OpenAnomaly:
    """A planned anomaly that has not happened yet."""

    ordinal: int
    kind: Kind
    last_day: dt.date


_PAYMENT = (
    "p.payment_id, p.instruction_id, p.end_to_end_id, p.uetr, p.amount_minor, p.creditor_name, "
    "p.creditor_iban, p.remittance"
)
_PAYMENTS_OF = "SELECT " + _PAYMENT + " FROM payment p WHERE p.batch_id = ? AND p.reject_reason IS NULL ORDER BY 1"
_LATER_ON = (
    "SELECT " + _PAYMENT + ", l.kind, l.account, l.amount_minor, l.reason, b.collects, l.later_id FROM later l"
    " JOIN payment p USING (payment_id) JOIN batch b USING (batch_id)"
    " WHERE l.account = ? AND l.day <= ? AND l.done = 0 ORDER BY l.kind, p.payment_id, l.later_id"
)
_ASKED_BACK = (
    "SELECT " + _PAYMENT + ", f.bank, b.account, b.closed_on, p.reject_reason IS NOT NULL, b.collects,"
    " (SELECT coalesce(sum(CASE WHEN l.kind IN ('return', 'reversal') THEN l.amount_minor"
    " WHEN l.kind = 'taken_back' THEN -l.amount_minor END), 0) FROM later l WHERE l.payment_id = p.payment_id)"
    " FROM payment p JOIN batch b USING (batch_id) JOIN file f USING (file_id)"
    " WHERE p.end_to_end_id = ? AND f.bank = ? AND f.accepted"
)
_FILE = "f.file_id, f.bank, f.message, f.message_id, f.created, f.payment_count"
_DUE = (
    "SELECT " + _FILE + ", b.batch_id, b.payment_information_id, b.account, b.execution_date, b.collects"
    " FROM batch b JOIN file f USING (file_id) WHERE b.closed_on IS NULL AND b.account = ? AND f.accepted"
    " ORDER BY b.batch_id"
)


class BankBook:
    """The state file of the simulated banks. Methods that write belong inside `transaction()`."""

    def __init__(self, path: Path, setup: BankSetup) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.executescript(files("sandbox").joinpath("sql/book.sql").read_text(encoding="utf-8"))
        self._db.executemany(
            "INSERT OR IGNORE INTO account (code, balance_minor) VALUES (?, ?)",
            [(account.code, account.opening_minor) for account in setup.accounts],
        )

    def close(self) -> None:
        """Release the file."""
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def setting(self, key: str) -> str | None:
        """A remembered text, None when never set."""
        row = self._db.execute("SELECT value FROM setting WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def remember(self, key: str, value: str) -> None:
        """Remember a text."""
        self._db.execute("INSERT OR REPLACE INTO setting VALUES (?, ?)", (key, value))

    # Orders -------------------------------------------------------------------------------------------

    def arrived(self, bank: str, name: str, modified_ns: int) -> bool:
        """Whether this writing of this file was taken before."""
        found = self._db.execute(
            "SELECT 1 FROM arrival WHERE bank = ? AND name = ? AND modified_ns = ?", (bank, name, modified_ns)
        )
        return found.fetchone() is not None

    def arrive(self, bank: str, name: str, modified_ns: int) -> None:
        """Note that this writing of this file was taken."""
        self._db.execute("INSERT INTO arrival VALUES (?, ?, ?)", (bank, name, modified_ns))

    def knows_message(self, bank: str, message_id: str) -> bool:
        """Whether an order with this MsgId was accepted before."""
        found = self._db.execute(
            "SELECT 1 FROM file WHERE bank = ? AND message_id = ? AND accepted", (bank, message_id)
        )
        return found.fetchone() is not None

    def add_file(
        self, *, bank: str, message: str, message_id: str, created: str, count: int, accepted: bool
    ) -> StoredFile:
        """Keep an order, accepted or not."""
        file_id = self._db.execute(
            "INSERT INTO file (bank, message, message_id, created, payment_count, accepted) VALUES (?, ?, ?, ?, ?, ?)",
            (bank, message, message_id, created, count, accepted),
        ).lastrowid
        assert file_id is not None
        return StoredFile(file_id, bank, message, message_id, created, count)

    def add_batch(
        self,
        file: StoredFile,
        *,
        payment_information_id: str,
        account: str,
        execution_date: dt.date,
        collects: bool,
        payments: Iterable[tuple[OrderedPayment, str | None]],
    ) -> int:
        """Keep a `PmtInf` and its payments, each with its reject reason or None."""
        batch_id = self._db.execute(
            "INSERT INTO batch (file_id, payment_information_id, account, execution_date, collects)"
            " VALUES (?, ?, ?, ?, ?)",
            (file.file_id, payment_information_id, account, execution_date.isoformat(), collects),
        ).lastrowid
        assert batch_id is not None
        self._db.executemany(
            "INSERT INTO payment (batch_id, instruction_id, end_to_end_id, uetr, amount_minor, creditor_name,"
            " creditor_iban, remittance, reject_reason) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (
                    batch_id,
                    payment.instruction_id,
                    payment.end_to_end_id,
                    payment.uetr,
                    payment.amount_minor,
                    payment.creditor_name,
                    payment.creditor_iban,
                    payment.remittance,
                    reason,
                )
                for payment, reason in payments
            ),
        )
        return batch_id

    def next_report(self, file: StoredFile) -> int:
        """The number of the next status report about this order, from 1."""
        self._db.execute("UPDATE file SET reports = reports + 1 WHERE file_id = ?", (file.file_id,))
        row = self._db.execute("SELECT reports FROM file WHERE file_id = ?", (file.file_id,)).fetchone()
        return int(row[0])

    def due_batches(self, account: str) -> list[StoredBatch]:
        """Batches of an account that were not executed yet, whatever their date."""
        return [
            StoredBatch(row[6], StoredFile(*row[:6]), row[7], row[8], dt.date.fromisoformat(row[9]), bool(row[10]))
            for row in self._db.execute(_DUE, (account,))
        ]

    def payments(self, batch_id: int) -> list[StoredPayment]:
        """The accepted payments of a batch, in file order."""
        return [StoredPayment(*row) for row in self._db.execute(_PAYMENTS_OF, (batch_id,))]

    def rejected(self, batch_id: int) -> list[RejectedPayment]:
        """The rejected payments of a batch, in file order."""
        rows = self._db.execute(
            "SELECT instruction_id, end_to_end_id, uetr, reject_reason FROM payment"
            " WHERE batch_id = ? AND reject_reason IS NOT NULL ORDER BY payment_id",
            (batch_id,),
        )
        return [RejectedPayment(*row) for row in rows]

    def amount_count(self, account: str, amount_minor: int) -> int:
        """How many payments from this account ever had exactly this amount."""
        row = self._db.execute(
            "SELECT count(*) FROM payment p JOIN batch b USING (batch_id) WHERE p.amount_minor = ? AND b.account = ?",
            (amount_minor, account),
        ).fetchone()
        return int(row[0])

    def asked_back(self, bank: str, end_to_end_id: str) -> AskedBack | None:
        """The payment of this reference, None when the bank has none or several."""
        rows = self._db.execute(_ASKED_BACK, (end_to_end_id, bank)).fetchall()
        if len(rows) != 1:
            return None
        (row,) = rows
        closed = None if row[10] is None else dt.date.fromisoformat(row[10])
        return AskedBack(StoredPayment(*row[:8]), row[8], row[9], closed, bool(row[11]), bool(row[12]), int(row[13]))

    def reject_payment(self, payment: StoredPayment, reason: str) -> None:
        """A payment will not be executed."""
        self._db.execute("UPDATE payment SET reject_reason = ? WHERE payment_id = ?", (reason, payment.payment_id))

    def reject_batch(self, batch_id: int, reason: str) -> None:
        """Reject every payment of a batch."""
        self._db.execute("UPDATE payment SET reject_reason = ? WHERE batch_id = ?", (reason, batch_id))

    def close_batch(self, batch_id: int, day: dt.date) -> None:
        """Mark a batch as dealt with."""
        self._db.execute("UPDATE batch SET closed_on = ? WHERE batch_id = ?", (day.isoformat(), batch_id))

    def add_later(
        self,
        payment: StoredPayment,
        *,
        kind: str,
        day: dt.date,
        account: str,
        reason: str | None = None,
        amount_minor: int | None = None,
    ) -> None:
        """Keep a return or late booking for its day; of the whole payment when no amount is given."""
        amount = payment.amount_minor if amount_minor is None else amount_minor
        self._db.execute(
            "INSERT INTO later (payment_id, kind, day, account, amount_minor, reason) VALUES (?, ?, ?, ?, ?, ?)",
            (payment.payment_id, kind, day.isoformat(), account, amount, reason),
        )

    def take_later(self, account: str, day: dt.date) -> list[LaterBooking]:
        """Returns and late bookings whose day has come; they are then done."""
        rows = self._db.execute(_LATER_ON, (account, day.isoformat())).fetchall()
        self._db.executemany("UPDATE later SET done = 1 WHERE later_id = ?", [(row[13],) for row in rows])
        return [LaterBooking(StoredPayment(*row[:8]), row[8], row[9], row[10], row[11], bool(row[12])) for row in rows]

    # Days ---------------------------------------------------------------------------------------------

    def unpaid(self, payout_ids: Sequence[str]) -> set[str]:
        """Which of these payouts have not arrived yet."""
        paid = {str(row[0]) for row in self._db.execute("SELECT payout_id FROM paid_payout")}
        return set(payout_ids) - paid

    def pay(self, payout_ids: Iterable[str], day: dt.date) -> None:
        """Note that payouts arrived."""
        self._db.executemany(
            "INSERT INTO paid_payout VALUES (?, ?)", [(payout_id, day.isoformat()) for payout_id in payout_ids]
        )

    def balance(self, account: str) -> int:
        """The booked balance, minor units, credit +."""
        row = self._db.execute("SELECT balance_minor FROM account WHERE code = ?", (account,)).fetchone()
        return int(row[0])

    def next_statement_number(self, account: str) -> int:
        """The number the next statement of this account has, from 1."""
        row = self._db.execute("SELECT statement_number FROM account WHERE code = ?", (account,)).fetchone()
        return int(row[0]) + 1

    def add_statement(self, account: str, day: dt.date, statement: StoredStatement) -> None:
        """Book the day: the statement's closing becomes the balance."""
        body = None if statement.body is None else zlib.compress(statement.body.encode(), 1)
        self._db.execute(
            "INSERT INTO statement (account, day, statement_id, opening_minor, closing_minor, line_count, body)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                account,
                day.isoformat(),
                statement.statement_id,
                statement.opening_minor,
                statement.closing_minor,
                statement.line_count,
                body,
            ),
        )
        self._db.execute(
            "UPDATE account SET balance_minor = ?, statement_number = statement_number + 1 WHERE code = ?",
            (statement.closing_minor, account),
        )

    def take_repeatable(self, day: dt.date) -> tuple[str, StoredStatement] | None:
        """The last statement before `day` of some account, not yet repeated; it then counts as repeated."""
        row = self._db.execute(
            "SELECT account, statement_id, opening_minor, closing_minor, line_count, body, day FROM statement s"
            " WHERE body IS NOT NULL AND NOT repeated AND day ="
            " (SELECT max(day) FROM statement WHERE account = s.account AND day < ?)"
            " ORDER BY line_count > 0 DESC, account LIMIT 1",
            (day.isoformat(),),
        ).fetchone()
        if row is None:
            return None
        self._db.execute("UPDATE statement SET repeated = 1 WHERE account = ? AND day = ?", (row[0], row[6]))
        body = zlib.decompress(row[5]).decode()
        return str(row[0]), StoredStatement(row[1], row[2], row[3], row[4], body)

    def report(self, day: dt.date) -> str | None:
        """The stored report of a closed day."""
        row = self._db.execute("SELECT report FROM closed_day WHERE day = ?", (day.isoformat(),)).fetchone()
        return None if row is None else str(row[0])

    def last_closed_day(self) -> dt.date | None:
        """The latest day that was closed."""
        row = self._db.execute("SELECT max(day) FROM closed_day").fetchone()
        return None if row[0] is None else dt.date.fromisoformat(row[0])

    def add_report(self, day: dt.date, report: str) -> None:
        """Close the day."""
        self._db.execute("INSERT INTO closed_day VALUES (?, ?)", (day.isoformat(), report))

    # Anomalies ----------------------------------------------------------------------------------------

    def adopt(self, plan: AnomalyPlan) -> None:
        """Take a plan, once; a plan that was taken before stays."""
        if self.setting("plan_days") is not None:
            return
        self.remember("plan_days", json.dumps([day.isoformat() for day in plan.days]))
        self._db.executemany(
            "INSERT INTO planned (kind_no, day, last_day) VALUES (?, ?, ?)",
            [(item.kind.value, item.day.isoformat(), item.last_day.isoformat()) for item in plan.items],
        )

    def plan_days(self) -> tuple[dt.date, ...]:
        """The days of the adopted plan; none without a plan."""
        return tuple(dt.date.fromisoformat(day) for day in json.loads(self.setting("plan_days") or "[]"))

    def planned(self, day: dt.date) -> list[OpenAnomaly]:
        """Anomalies wanted on or before this day that have not happened."""
        rows = self._db.execute(
            "SELECT ordinal, kind_no, last_day FROM planned WHERE day <= ? AND NOT done ORDER BY ordinal",
            (day.isoformat(),),
        )
        return [OpenAnomaly(row[0], Kind(row[1]), dt.date.fromisoformat(row[2])) for row in rows]

    def wants(self, kind: Kind) -> bool:
        """Whether an anomaly of this kind is still to come."""
        found = self._db.execute("SELECT 1 FROM planned WHERE kind_no = ? AND NOT done", (kind.value,))
        return found.fetchone() is not None

    def settle(self, ordinal: int) -> None:
        """A planned anomaly has been injected."""
        self._db.execute("UPDATE planned SET done = 1 WHERE ordinal = ?", (ordinal,))

    def postpone(self, ordinal: int, day: dt.date) -> None:
        """A planned anomaly found no victim; try again on another day."""
        self._db.execute("UPDATE planned SET day = ? WHERE ordinal = ?", (day.isoformat(), ordinal))

    def add_truths(self, truths: Sequence[Truth]) -> None:
        """Keep what really happened."""
        self._db.executemany(
            "INSERT INTO truth (item_ref, code, bank_account, day, kind_no) VALUES (?, ?, ?, ?, ?)",
            [(t.item_ref, t.code, t.bank_account, t.date.isoformat(), t.kind_no) for t in truths],
        )

    def truths(self) -> tuple[Truth, ...]:
        """All that happened, in order."""
        rows = self._db.execute("SELECT item_ref, code, bank_account, day, kind_no FROM truth ORDER BY ordinal")
        return tuple(Truth(row[0], row[1], row[2], dt.date.fromisoformat(row[3]), row[4]) for row in rows)
