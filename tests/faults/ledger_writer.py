"""A process that posts keyed entries and notes each acknowledged key on disk before it goes on.

Run by test_ledger_kill.py: `python ledger_writer.py CONNINFO BOOK WRITER FIRST ACKS`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ledger import NostroError, connect, post_batch
from tests.ledger_books import entry

BATCHES = (1, 3, 80)  # one entry, a few, and more than the careful path takes


def main(conninfo: str, book: int, writer: str, first: int, acks: Path) -> None:
    """Post until the server goes away; an acknowledged batch is on disk before the next is tried."""
    number = first
    with acks.open("a") as stream, connect(conninfo) as conn:
        while True:
            size = BATCHES[number % len(BATCHES)]
            batch = [
                entry(f"{writer}:{number}:{n}", "assets:cash", "income:sales", number + n + 1) for n in range(size)
            ]
            try:
                post_batch(conn, book_id=book, entries=batch)
            except NostroError:
                return
            stream.write(f"{number}\n")
            stream.flush()
            os.fsync(stream.fileno())
            number += 1


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), Path(sys.argv[5]))
