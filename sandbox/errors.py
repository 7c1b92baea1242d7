"""The sandbox's own faults. Nothing else lives here."""

from __future__ import annotations

from ledger import RefusedError


class SandboxError(RefusedError):
    """The sandbox was asked for something it cannot simulate; the message says what to change."""
