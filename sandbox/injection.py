"""Making a planned anomaly happen: choosing its victim on the day and bending what the bank books.

Lives here: one method a kind. Must not live here: how many of which kind (`sandbox.anomalies`), lines and
XML. Nothing injected is recognisable in a file other than by what is wrong with it.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from sandbox.anomalies import STAND_INS, Kind
from sandbox.bank_behaviour import BookingStyle
from sandbox.book import BankBook, OpenAnomaly
from sandbox.day_work import LATE, AccountWork, Arrival, Booking, DayWork, payment_detail
from sandbox.ibans import iban
from sandbox.lines import Detail, Line

# The order in which a day's anomalies choose: those with the fewest possible victims first.
_FIRST = (Kind.BATCH_RESIDUAL, Kind.WRONG_ACCOUNT, Kind.PARTIAL, Kind.AMBIGUOUS)
_TRIES = 25
_STRANGERS = ("Gisela Krüger", "Théo Lemaire", "A. Nowak-Wiśniewska", "Ó Murchú Holdings", "Hotel Zum Löwen KG")
_DEBTORS = ("Stadtwerke Musterau", "FitPoint Studios", "Kabel & Netz AG", "Prämien Versand Ltd", "Mobilfunk Süd")
_FEE_TEXTS = ("Kontoauszug Sonderversand", "Investigation fee", "Poplatek za dotaz", "Account audit letter")
_FEE_CODE = "ACMT/MDOP/CHRG"


class Injector:
    """Injects the anomalies of one day."""

    def __init__(self, work: DayWork, book: BankBook, *, seed: int, window_days: int) -> None:
        self._work = work
        self._book = book
        self._seed = seed
        self._window_days = window_days
        self._days = book.plan_days()
        self._rng = random.Random()
        self._used: set[int] = set()
        self._makers: dict[Kind, Callable[[], bool]] = {
            Kind.DUP_BANK: self._dup_bank,
            Kind.UNAUTHORISED_DEBIT: self._unauthorised_debit,
            Kind.UNIDENTIFIED_RECEIPT: self._unidentified_receipt,
            Kind.AMOUNT_MISMATCH: self._amount_mismatch,
            Kind.FEE_DIFF: self._fee_diff,
            Kind.MISSING_BANK: self._missing_bank,
            Kind.WRONG_ACCOUNT: self._wrong_account,
            Kind.DATE_OUT_OF_WINDOW: self._date_out_of_window,
            Kind.BATCH_RESIDUAL: self._batch_residual,
            Kind.BANK_ORIGINATED: self._bank_originated,
            Kind.MISSING_LEDGER: self._missing_ledger,
            Kind.OVERPAYMENT: self._overpayment,
            Kind.ROUNDING: self._rounding,
            Kind.PARTIAL: self._partial,
            Kind.AMBIGUOUS: self._ambiguous,
            Kind.STATEMENT_DUP: self._statement_dup,
        }

    def inject_all(self) -> None:
        """Inject what is planned for today; what finds no victim moves to a later day, or a kind that needs
        no victim stands in for it, so that the number of anomalies is exact."""
        planned = self._book.planned(self._work.day)
        planned.sort(key=lambda item: (_FIRST.index(item.kind) if item.kind in _FIRST else 9, item.ordinal))
        for item in planned:
            self._rng = random.Random(f"inject/{self._seed}/{self._work.day}/{item.ordinal}")
            if self._makers[item.kind]():
                self._book.settle(item.ordinal)
            else:
                self._defer(item)

    def _defer(self, item: OpenAnomaly) -> None:
        later = [day for day in self._days if self._work.day < day <= item.last_day]
        if later:
            self._book.postpone(item.ordinal, later[0])
            return
        for turn in range(len(STAND_INS)):
            kind = STAND_INS[(item.ordinal + turn) % len(STAND_INS)]
            if self._makers[kind]():
                self._book.settle(item.ordinal)
                return
        rest = [day for day in self._days if day > self._work.day]
        if rest:
            self._book.postpone(item.ordinal, rest[0])

    # Payments ----------------------------------------------------------------------------------------

    def _visible(self) -> list[AccountWork]:
        return [work for work in self._work.accounts.values() if work.shows_payments and work.batches]

    def _victim(self, fits: Callable[[AccountWork], bool]) -> tuple[AccountWork, Booking] | None:
        """An untouched payment on a fitting account, one whose amount no other payment there has if possible."""
        pool = [
            (work, booking)
            for work in self._visible()
            if fits(work)
            for booking in work.bookings()
            if booking.untouched
        ]
        if not pool:
            return None
        tries = [self._rng.choice(pool) for _ in range(_TRIES)]
        for work, booking in tries:
            if self._book.amount_count(work.account.code, booking.payment.amount_minor) == 1:
                return work, booking
        return tries[0]

    def _ends_in_time(self, work: AccountWork, open_days: int) -> bool:
        calendar = work.bank.calendar
        return calendar.after(self._work.day, open_days=open_days) <= self._days[-1]

    def _dup_bank(self) -> bool:
        found = self._victim(lambda _: True)
        if found is None:
            return False
        work, booking = found
        booking.taken = True
        extra = payment_detail(booking)
        extra.mark = self._work.mark(Kind.DUP_BANK, work.account.code)
        work.fees.insert(0, Line(-booking.amount_minor, work.payment_code, [extra]))
        return True

    def _amount_mismatch(self) -> bool:
        found = self._victim(lambda _: True)
        if found is None:
            return False
        work, booking = found
        for amount in _transpositions(booking.amount_minor, self._rng):
            if self._free(work, amount):
                booking.amount_minor = amount
                booking.mark = self._work.mark(Kind.AMOUNT_MISMATCH, work.account.code)
                return True
        return False

    def _missing_bank(self) -> bool:
        found = self._victim(lambda work: self._ends_in_time(work, work.bank.sla_days + 1))
        if found is None:
            return False
        work, booking = found
        booking.booked = False
        self._work.tell(Kind.MISSING_BANK, work.account.code, booking.payment.end_to_end_id)
        return True

    def _date_out_of_window(self) -> bool:
        found = self._victim(lambda work: self._ends_in_time(work, self._window_days + 1))
        if found is None:
            return False
        work, booking = found
        booking.booked = False
        day = work.bank.calendar.after(self._work.day, open_days=self._window_days + 1)
        self._book.add_later(booking.payment, kind=LATE, day=day, account=work.account.code)
        return True

    def _ambiguous(self) -> bool:
        pairs: list[tuple[AccountWork, Booking, Booking]] = []
        for work in self._visible():
            for batch in work.batches:
                by_amount: dict[int, list[Booking]] = {}
                for booking in batch.bookings:
                    if booking.untouched:
                        by_amount.setdefault(booking.amount_minor, []).append(booking)
                for same in by_amount.values():
                    if len({booking.payment.creditor_iban for booking in same}) > 1 and len(same) == 2:
                        pairs.append((work, same[0], same[1]))
        self._rng.shuffle(pairs)
        for work, one, other in pairs:
            if self._book.amount_count(work.account.code, one.amount_minor) == 2:
                mark = self._work.mark(Kind.AMBIGUOUS, work.account.code)
                for booking in (one, other):
                    booking.mark = mark
                    booking.anonymous = True
                return True
        return False

    def _batch_residual(self) -> bool:
        candidates = [
            (work, batch)
            for work in self._work.accounts.values()
            if work.style is BookingStyle.BATCH
            for batch in work.batches
            if batch.mark is None and len(batch.bookings) >= 3 and not batch.batch.collects
        ]
        if not candidates:
            return False
        work, batch = self._rng.choice(candidates)
        batch.mark = self._work.mark(Kind.BATCH_RESIDUAL, work.account.code)
        self._rng.choice(batch.bookings).booked = False
        for booking in batch.bookings:
            booking.comebacks = ()
        return True

    # Acquirer payouts --------------------------------------------------------------------------------

    def _payout(self, fits: Callable[[AccountWork], bool] = lambda _: True) -> tuple[AccountWork, Arrival] | None:
        pool = [
            (work, arrival)
            for work in self._work.accounts.values()
            if fits(work)
            for arrival in work.arrivals
            if arrival.mark is None and not arrival.nameless and arrival.payout.net_minor >= 10_00
        ]
        return self._rng.choice(pool) if pool else None

    def _bend(self, kind: Kind, amounts: Callable[[int], list[int]]) -> Arrival | None:
        """Let a payout arrive with other amounts than announced."""
        for _ in range(_TRIES):
            found = self._payout()
            if found is None:
                return None
            work, arrival = found
            arriving = amounts(arrival.payout.net_minor)
            nets = {other.payout.net_minor for other in work.arrivals}
            if not nets & {*arriving, sum(arriving)}:
                arrival.amounts = arriving
                arrival.mark = self._work.mark(kind, work.account.code)
                return arrival
        return None

    def _fee_diff(self) -> bool:
        permille = self._rng.randrange(2, 9)
        arrival = self._bend(Kind.FEE_DIFF, lambda net: [net - max(25, net * permille // 1000)])
        if arrival is None:
            return False
        arrival.charges_minor = arrival.payout.net_minor - sum(arrival.amounts)
        return True

    def _overpayment(self) -> bool:
        extra = self._rng.randrange(3_00, 250_00)
        return self._bend(Kind.OVERPAYMENT, lambda net: [net + extra]) is not None

    def _rounding(self) -> bool:
        off = self._rng.choice((-1, 1))
        return self._bend(Kind.ROUNDING, lambda net: [net + off]) is not None

    def _partial(self) -> bool:
        if self._work.day != self._days[-1]:
            return False
        share, held = self._rng.randrange(30, 60), self._rng.randrange(10, 30)
        arrival = self._bend(Kind.PARTIAL, lambda net: [net * share // 100, net * (100 - share - held // 2) // 100])
        return arrival is not None

    def _missing_ledger(self) -> bool:
        found = self._payout()
        if found is None:
            return False
        work, arrival = found
        arrival.reported = False
        arrival.mark = self._work.mark(Kind.MISSING_LEDGER, work.account.code)
        return True

    def _wrong_account(self) -> bool:
        def siblings(work: AccountWork) -> list[AccountWork]:
            return [
                other
                for other in self._work.accounts.values()
                if other is not work and other.account.currency == work.account.currency
            ]

        found = self._payout(lambda work: bool(siblings(work)))
        if found is None:
            return False
        work, arrival = found
        other = self._rng.choice(siblings(work))
        work.arrivals.remove(arrival)
        other.arrivals.append(arrival)
        arrival.mark = self._work.mark(Kind.WRONG_ACCOUNT, other.account.code)
        return True

    # Lines out of nothing ----------------------------------------------------------------------------

    def _free(self, work: AccountWork, amount: int) -> bool:
        """Whether no payment or payout on the account, ever, has this amount."""
        nets = {arrival.payout.net_minor for arrival in work.arrivals}
        taken = amount in self._used or amount in nets
        return not taken and self._book.amount_count(work.account.code, amount) == 0

    def _fresh_amount(self, work: AccountWork, low: int, high: int) -> int | None:
        for _ in range(_TRIES):
            amount = self._rng.randrange(low, high)
            if self._free(work, amount):
                self._used.add(amount)
                return amount
        return None

    def _account(self, *, calm: bool = False) -> AccountWork | None:
        """Some open account; a calm one has no batch that lacks a member today."""
        works = list(self._work.accounts.values())
        if calm:
            works = [work for work in works if not any(batch.mark for batch in work.batches)] or works
        return self._rng.choice(works) if works else None

    def _stranger(self, names: tuple[str, ...]) -> tuple[str, str]:
        return self._rng.choice(names), iban("DE", "99088800", self._rng.randrange(10_000_000, 99_999_999))

    def _unauthorised_debit(self) -> bool:
        work = self._account(calm=True)
        amount = None if work is None else self._fresh_amount(work, 12_00, 900_00)
        if work is None or amount is None:
            return False
        name, number = self._stranger(_DEBTORS)
        reference = f"DD{self._rng.randrange(10**9):09d}" if self._rng.getrandbits(1) else None
        mark = self._work.mark(Kind.UNAUTHORISED_DEBIT, work.account.code)
        text = f"Contract {self._rng.randrange(10**6):06d}"
        detail = Detail(amount, reference, party_name=name, party_iban=number, remittance=text, mark=mark)
        code = "PMNT/RDDT/ESDD" if work.account.currency == "EUR" else "PMNT/RDDT/PMDD"
        work.debits.append(Line(-amount, code, [detail]))
        return True

    def _unidentified_receipt(self) -> bool:
        work = self._account()
        amount = None if work is None else self._fresh_amount(work, 15_00, 2_000_00)
        if work is None or amount is None:
            return False
        name, number = self._stranger(_STRANGERS)
        mark = self._work.mark(Kind.UNIDENTIFIED_RECEIPT, work.account.code)
        text = f"Rechnung {self._rng.randrange(10**5):05d}"
        detail = Detail(amount, party_name=name, party_iban=number, remittance=text, mark=mark)
        work.credits.append(Line(amount, f"PMNT/RCDT/{work.transfer_scheme}", [detail]))
        return True

    def _bank_originated(self) -> bool:
        work = self._account()
        if work is None:
            return False
        agreed = {tariff.amount_minor for tariff in work.bank.tariff}
        amount = next(a for a in iter(lambda: self._rng.randrange(1_50, 60_00), 0) if a not in agreed)
        mark = self._work.mark(Kind.BANK_ORIGINATED, work.account.code)
        work.fees.append(Line(-amount, _FEE_CODE, text=self._rng.choice(_FEE_TEXTS), mark=mark))
        return True

    def _statement_dup(self) -> bool:
        found = self._book.take_repeatable(self._work.day)
        if found is None:
            return False
        account, statement = found
        self._work.repeats.append((account, statement))
        self._work.tell(Kind.STATEMENT_DUP, account, statement.statement_id)
        return True


def _transpositions(amount_minor: int, rng: random.Random) -> list[int]:
    """The amounts one gets by swapping two neighbouring digits, in a drawn order."""
    digits = str(amount_minor)
    swapped = [
        int(digits[:at] + digits[at + 1] + digits[at] + digits[at + 2 :])
        for at in range(len(digits) - 1)
        if digits[at] != digits[at + 1] and (at > 0 or digits[1] != "0")
    ]
    rng.shuffle(swapped)
    return swapped
