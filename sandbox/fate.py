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


class Noise(Enum):
    """Harmless loss of references: what remains still identifies the payment."""

    TRUNCATED_ID = 0  # EndToEndId cut, UETR there
    NO_ID = 1  # no EndToEndId, UETR there
    PARTY_ONLY = 2  # neither; the payee's IBAN and the amount


@dataclass(frozen=True, slots=True)
class Return:
    """A payment that comes back `open_days` after it was booked."""

    reason: str
    open_days: int


class Fates:
    """Draws for one simulated world."""

    def __init__(self, *, seed: int, behaviour: BankBehaviour) -> None:
        self._seed = seed
        self._behaviour = behaviour

    def _draw(self, purpose: str, key: str) -> tuple[int, int]:
        """A number below 1000 and another, independent one."""
        digest = blake2b(f"{self._seed}/{purpose}/{key}".encode(), digest_size=8).digest()
        return int.from_bytes(digest[:4], "big") % 1000, int.from_bytes(digest[4:], "big")

    def reject_reason(self, end_to_end_id: str) -> str | None:
        """The reason code with which the payment is refused, or None."""
        draw, more = self._draw("reject", end_to_end_id)
        refused = draw < self._behaviour.rejects_per_mille
        return _REJECT_REASONS[more % len(_REJECT_REASONS)] if refused else None

    def returned(self, end_to_end_id: str) -> Return | None:
        """Whether the payment comes back, why, and after how many open days."""
        draw, more = self._draw("return", end_to_end_id)
        if draw >= self._behaviour.returns_per_mille:
            return None
        return Return(_RETURN_REASONS[more % len(_RETURN_REASONS)], 1 + (more >> 16) % 2)

    def noise(self, key: str) -> Noise | None:
        """Whether, and how, the line loses references."""
        draw, more = self._draw("noise", key)
        return Noise(more % 3) if draw < self._behaviour.noise_per_mille else None
