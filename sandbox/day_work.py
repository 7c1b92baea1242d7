"""One day at the banks, while it is being decided: what will be booked where, before it becomes lines.

Lives here: the working shapes that chance and anomalies bend, and turning them into statement lines. Must
not live here: choosing what to bend (`sandbox.fate`, `sandbox.injection`), state, XML.
"""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from sandbox.acquirers import Payout
from sandbox.anomalies import Kind, Truth
from sandbox.bank_behaviour import BookingStyle
from sandbox.book import LaterBooking, StoredBatch, StoredPayment, StoredStatement
from sandbox.fate import Comeback, Noise
from sandbox.lines import Batch, Detail, Line, Mark
from sandbox.setup_reader import Acquirer, BankAccount, BankProfile

LATE = "late"
RETURN = "return"
TAKEN_BACK = "taken_back"
REVERSAL = "reversal"
_CUT = 6  # signs lost from a truncated reference


@dataclass(slots=True)
class Booking:
    """One payment due today. `amount_minor` is what the bank will really book."""

    payment: StoredPayment
    amount_minor: int
    booked: bool = True
    taken: bool = False
    noise: Noise | None = None
    comebacks: tuple[Comeback, ...] = ()
    anonymous: bool = False
    mark: Mark | None = None

    @property
    def untouched(self) -> bool:
        """Whether neither chance nor an anomaly has bent it."""
        bent = self.taken or self.noise or self.comebacks or self.mark
        return self.booked and not bent


@dataclass(slots=True)
class BatchWork:
    """One `PmtInf` executed today."""

    batch: StoredBatch
    bookings: list[Booking]
    mark: Mark | None = None


@dataclass(slots=True)
class Arrival:
    """One acquirer payout arriving today, in one or more amounts."""

    payout: Payout
    acquirer: Acquirer
    amounts: list[int]
    charges_minor: int = 0
    reported: bool = True
    nameless: bool = False
    mark: Mark | None = None


@dataclass(slots=True)
class AccountWork:
    """Everything of one open account on one day."""

    bank: BankProfile
    account: BankAccount
    style: BookingStyle
    opening_minor: int
    return_charge_minor: int = 0
    batches: list[BatchWork] = field(default_factory=list)
    arrivals: list[Arrival] = field(default_factory=list)
    later: list[LaterBooking] = field(default_factory=list)
    credits: list[Line] = field(default_factory=list)
    debits: list[Line] = field(default_factory=list)
    fees: list[Line] = field(default_factory=list)

    @property
    def transfer_scheme(self) -> str:
        """Sub-family of credit transfers in the account's currency: SEPA or domestic."""
        return "ESCT" if self.account.currency == "EUR" else "DMCT"

    @property
    def payment_code(self) -> str:
        """Bank transaction code of an outgoing credit transfer."""
        return f"PMNT/ICDT/{self.transfer_scheme}"

    @property
    def collection_code(self) -> str:
        """Bank transaction code of a direct debit we collect."""
        return f"PMNT/IDDT/{'ESDD' if self.account.currency == 'EUR' else 'PMDD'}"

    @property
    def shows_payments(self) -> bool:
        """Whether single payments can be seen on the statement."""
        return self.style is not BookingStyle.BATCH

    def bookings(self) -> Iterator[Booking]:
        """All payments due today."""
        return (booking for work in self.batches for booking in work.bookings)


@dataclass(slots=True)
class DayWork:
    """The day at all open accounts. Truths without a line are known at once; marked lines follow."""

    day: dt.date
    accounts: dict[str, AccountWork]
    truths: list[Truth] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    repeats: list[tuple[str, StoredStatement]] = field(default_factory=list)

    def mark(self, kind: Kind, account: str) -> Mark:
        """A new mark whose references become known when the lines are numbered."""
        mark = Mark(kind, account)
        self.marks.append(mark)
        return mark

    def tell(self, kind: Kind, account: str, item_ref: str) -> None:
        """Record an anomaly whose reference is known already."""
        self.truths.append(Truth(item_ref, kind.name, account, self.day, kind.value))

    def all_truths(self) -> list[Truth]:
        """What happened today, after numbering."""
        marked = [Truth(mark.item_ref, mark.kind.name, mark.account, self.day, mark.kind.value) for mark in self.marks]
        return self.truths + marked


def day_lines(work: AccountWork, day: DayWork, rng: random.Random) -> list[Line]:
    """The lines of the account in booking order: credits, batches, single debits, fees."""
    credits = list(work.credits)
    debits = list(work.debits)
    for arrival in work.arrivals:
        credits.extend(_arrival_lines(work, arrival))
    for later in work.later:
        if later.kind == LATE:
            mark = day.mark(Kind.DATE_OUT_OF_WINDOW, work.account.code)
            payment = later.payment
            detail = payment_detail(Booking(payment, payment.amount_minor, mark=mark))
            debits.append(Line(-payment.amount_minor, work.payment_code, [detail]))
        elif later.kind == REVERSAL:
            debits.append(_reversal_line(later))
        elif (later.kind == RETURN) != later.collects:
            credits.append(_return_line(later, work.return_charge_minor))
        else:
            debits.append(_return_line(later, 0))
    rng.shuffle(credits)
    rng.shuffle(debits)
    return [*credits, *_batch_lines(work), *debits, *work.fees]


def _batch_lines(work: AccountWork) -> Iterator[Line]:
    for item in work.batches:
        booked = [booking for booking in item.bookings if booking.booked]
        side, code = (1, work.collection_code) if item.batch.collects else (-1, work.payment_code)
        total = sum(booking.amount_minor for booking in booked)
        if not booked:
            continue
        if work.style is BookingStyle.ITEMISED:
            for booking in booked:
                yield Line(side * booking.amount_minor, code, [payment_detail(booking)])
            continue
        batch = Batch(item.batch.file.message_id, item.batch.payment_information_id, len(booked))
        details = [payment_detail(booking) for booking in booked] if work.shows_payments else []
        yield Line(side * total, code, details, batch, mark=item.mark)


def payment_detail(booking: Booking) -> Detail:
    """How a booked payment is described; noise and anomalies take references away."""
    if booking.anonymous:
        return Detail(amount_minor=booking.amount_minor, mark=booking.mark)
    detail = _about(booking.payment, booking.amount_minor)
    detail.mark = booking.mark
    if booking.noise is None:
        detail.remittance = booking.payment.remittance
        return detail
    detail.instruction_id = None
    kept = booking.payment.end_to_end_id[:-_CUT] if booking.noise is Noise.TRUNCATED_ID else ""
    detail.end_to_end_id = kept or None
    if booking.noise is Noise.PARTY_ONLY:
        detail.uetr = None
    return detail


def _about(payment: StoredPayment, amount_minor: int) -> Detail:
    """References and the other party of a payment."""
    return Detail(
        amount_minor=amount_minor,
        end_to_end_id=payment.end_to_end_id,
        instruction_id=payment.instruction_id,
        uetr=payment.uetr,
        party_name=payment.creditor_name,
        party_iban=payment.creditor_iban,
    )


def _arrival_lines(work: AccountWork, arrival: Arrival) -> Iterator[Line]:
    payout = arrival.payout
    for amount in arrival.amounts:
        detail = Detail(
            amount_minor=amount,
            end_to_end_id=None if arrival.nameless else payout.payout_id,
            party_name=arrival.acquirer.name,
            party_iban=arrival.acquirer.iban,
            remittance=f"Payout {payout.payout_id} card sales",
            charges_minor=arrival.charges_minor,
            mark=arrival.mark,
        )
        yield Line(amount, f"PMNT/RCDT/{work.transfer_scheme}", [detail])


def _return_line(later: LaterBooking, charge_minor: int) -> Line:
    """What comes back, less what the bank keeps of it (what is smaller comes back whole), or is taken back."""
    payment = later.payment
    charge = charge_minor if charge_minor < later.amount_minor and later.kind == RETURN and not later.collects else 0
    detail = Detail(
        amount_minor=later.amount_minor - charge,
        charges_minor=charge,
        end_to_end_id=payment.end_to_end_id,
        instruction_id=payment.instruction_id,
        uetr=payment.uetr,
        party_name=payment.creditor_name,
        party_iban=payment.creditor_iban,
        remittance=payment.remittance,
        return_reason=later.reason,
        owner_pays=not later.collects,
    )
    incoming = (later.kind == RETURN) != later.collects
    family = "IDDT" if later.collects else "ICDT"
    return Line((1 if incoming else -1) * (later.amount_minor - charge), f"PMNT/{family}/RRTN", [detail])


def _reversal_line(later: LaterBooking) -> Line:
    """A collection that we give back, as we told the bank (pain.007): a debit that says it is a reversal."""
    detail = _about(later.payment, later.amount_minor)
    detail.owner_pays = False
    return Line(-later.amount_minor, "PMNT/IDDT/PRDD", [detail], is_reversal=True)
