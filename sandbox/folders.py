"""The folders a bank exchanges files in, and the names it gives its files.

Lives here: listing an outbox, delivering into an inbox under a temporary name and renaming. Must not live
here: content.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sandbox.setup_reader import BankProfile


class Folders:
    """The outboxes (customer to bank) and inboxes (bank to customer) of one home."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def orders(self, bank: BankProfile) -> Iterator[Path]:
        """Complete XML files in the bank's outbox, by name; files still being written are not there yet."""
        outbox = self._home / bank.outbox
        if not outbox.is_dir():
            return
        for path in sorted(outbox.iterdir()):
            if path.suffix == ".xml" and not path.name.startswith(".") and path.is_file():
                yield path

    def deliver(self, bank: BankProfile, name: str, content: str) -> Path:
        """Put a file into the bank's inbox, all at once; the same name again replaces it."""
        return self.put(bank, name, content.encode())

    def put(self, bank: BankProfile, name: str, content: bytes) -> Path:
        """Put these bytes there, whatever they are."""
        inbox = self._home / bank.inbox
        inbox.mkdir(parents=True, exist_ok=True)
        hidden = inbox / f".{name}.part"
        hidden.write_bytes(content)
        return hidden.rename(inbox / name)

    def arrive_late(self, bank: BankProfile) -> None:
        """Deliver what was held back; nothing is, unless faults are planned."""
