"""What chance does to a payment: rejected, returned, or carrying less reference than it came with.

Lives here: draws that depend on the seed and the payment's own id alone, so that order and restarts change
nothing. Must not live here: anomalies, which are planned and counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from hashlib import blake2b

from sandbox.bank_behaviour import BankBehaviour

_REJECT_REASONS = ("AC04", "AC01", "RC01", "AC06")
_RETURN_REASONS = ("AC04", "MD07", "RR01", "AC06", "BE04")
_DEBIT_REJECTS = ("MD01", "AC04", "AM04", "AC06")
_DEBIT_RETURNS = ("AM04", "MD06", "MS02", "MD01")  # no funds, refund on demand, refused, no mandate
_BATCH_REFUSALS = ("AG01", "DT01", "AM21")  # forbidden on this account, the date, above the agreed limit
_NAMES = ("RVMC", "RVNM", "RVNA")  # close, none, not possible
_REFUSALS = ("NOAS", "CUST", "AC04", "LEGL")
ASKED = "FOCR"  # what a return is called that follows a recall


class Noise(Enum):
    """Harmless loss of references: what remains still identifies the payment."""

    TRUNCATED_ID = 0  # EndToEndId cut, UETR there
    NO_ID = 1  # no EndToEndId, UETR there
    PARTY_ONLY = 2  # neither; the payee's IBAN and the amount


@dataclass(frozen=True, slots=True)
class Comeback:
    """Money that moves again `open_days` after its payment was booked: it comes back, or is taken back once more."""

    amount_minor: int
    open_days: int
    reason: str
    taken_back: bool = False


class Fates:
    """Draws for one simulated world."""

    def __init__(self, *, seed: int, behaviour: BankBehaviour) -> None:
        self._seed = seed
        self._behaviour = behaviour

    def _draw(self, purpose: str, key: str) -> tuple[int, int]:
        """A number below 1000 and another, independent one."""
        digest = blake2b(f"{self._seed}/{purpose}/{key}".encode(), digest_size=8).digest()
        return int.from_bytes(digest[:4], "big") % 1000, int.from_bytes(digest[4:], "big")

    def reject_reason(self, end_to_end_id: str, *, collects: bool = False) -> str | None:
        """The reason code with which the payment is refused, or None."""
        draw, more = self._draw("reject", end_to_end_id)
        reasons = _DEBIT_REJECTS if collects else _REJECT_REASONS
        return reasons[more % len(reasons)] if draw < self._behaviour.rejects_per_mille else None

    def batch_refusal(self, payment_information_id: str) -> str | None:
        """The reason code with which a whole `PmtInf` is refused, or None."""
        draw, more = self._draw("batch", payment_information_id)
        return _BATCH_REFUSALS[more % len(_BATCH_REFUSALS)] if draw < self._behaviour.batch_rejects_per_mille else None

    def comebacks(self, end_to_end_id: str, amount_minor: int, *, collects: bool = False) -> tuple[Comeback, ...]:
        """Whether the payment comes back, why, when, and whether in part, or taken back again. Empty: it stays."""
        draw, more = self._draw("return", end_to_end_id)
        told = self._behaviour
        if draw >= told.returns_per_mille:
            return ()
        reasons = _DEBIT_RETURNS if collects else _RETURN_REASONS
        reason, days = reasons[more % len(reasons)], 1 + (more >> 16) % 2
        late, by = self._draw("late", end_to_end_id)
        days += 7 + by % 30 if late < told.late_returns_per_mille else 0
        partial, share = self._draw("partial", end_to_end_id)
        first = amount_minor
        if partial < told.partial_returns_per_mille:
            first = max(1, amount_minor * (200 + share % 600) // 1000)
        back = [Comeback(first, days, reason)]
        if first < amount_minor and share & 1:
            back.append(Comeback(amount_minor - first, days + 2, reason))
        again, _ = self._draw("taken-back", end_to_end_id)
        if again < told.taken_back_per_mille:
            back.append(Comeback(first, days + 3, reason, taken_back=True))
        return tuple(back)

    def doubted(self, end_to_end_id: str) -> str | None:
        """The verdict on a payee's name that is not surely the account's, or None."""
        draw, more = self._draw("name", end_to_end_id)
        return _NAMES[more % len(_NAMES)] if draw < self._behaviour.names_doubted_per_mille else None

    @property
    def checks_names(self) -> bool:
        """Whether names are compared with accounts at all."""
        return self._behaviour.checks_names

    def recall_refusal(self, end_to_end_id: str) -> str | None:
        """The reason code with which a recall of an executed payment is refused, or None."""
        draw, more = self._draw("recall", end_to_end_id)
        return _REFUSALS[more % len(_REFUSALS)] if draw < self._behaviour.recalls_refused_per_mille else None

    def recall_days(self, end_to_end_id: str) -> int:
        """After how many open days the money of a recall comes."""
        return 1 + self._draw("recall", end_to_end_id)[1] % 3

    def noise(self, key: str) -> Noise | None:
        """Whether, and how, the line loses references."""
        draw, more = self._draw("noise", key)
        return Noise(more % 3) if draw < self._behaviour.noise_per_mille else None
