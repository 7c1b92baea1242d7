"""Seals: Merkle roots over published entries, chained, and the lines that are kept outside.

Lives here: making seals, reading them, their line format, hashing of tree and chain. Must not live here:
what an entry's bytes are (`ledger/sql/060_seals.sql`), checking (`ledger.seal_checks`), exports (`ledger.audit`).
Format: docs/seals.md; the tree is RFC 6962's.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

from ledger.db import Connection
from ledger.errors import CheckFailedError, RefusedError, translate_errors
from ledger.transactions import committed

SEAL_ENTRIES = 8_192
_SEALS_A_TRANSACTION = 16
_INT4, _INT8, _BYTEA, _TIMESTAMPTZ = 23, 20, 17, 1184
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Seal:
    """One seal: the root over the book's entries of `first_seq` … `last_seq`, bound to the seal before it.

    `digest` covers every other field but the book's name (which each entry's hash covers).
    """

    book_id: int
    book: str
    seal_no: int
    first_seq: int
    last_seq: int
    entry_count: int
    root: bytes
    previous: bytes
    digest: bytes
    sealed_at: datetime

    @property
    def place(self) -> str:
        """How reports name it."""
        return f"seal {self.seal_no} (sequence {self.first_seq} to {self.last_seq})"

    def expected_digest(self) -> bytes:
        """The digest that the fields give."""
        microseconds = (self.sealed_at - _EPOCH) // timedelta(microseconds=1)
        fields = (
            (_INT4, struct.pack("!i", self.book_id)),
            (_INT4, struct.pack("!i", self.seal_no)),
            (_INT8, struct.pack("!q", self.first_seq)),
            (_INT8, struct.pack("!q", self.last_seq)),
            (_INT4, struct.pack("!i", self.entry_count)),
            (_BYTEA, self.root),
            (_BYTEA, self.previous),
            (_TIMESTAMPTZ, struct.pack("!q", microseconds)),
        )
        body = b"".join(struct.pack("!Ii", oid, len(value)) + value for oid, value in fields)
        return sha256(struct.pack("!i", len(fields)) + body).digest()

    def to_line(self) -> str:
        """One line of JSON, as anchors and exports keep it."""
        return json.dumps(
            {
                "book_id": self.book_id,
                "book": self.book,
                "seal_no": self.seal_no,
                "first_seq": self.first_seq,
                "last_seq": self.last_seq,
                "entry_count": self.entry_count,
                "root": self.root.hex(),
                "previous": self.previous.hex(),
                "digest": self.digest.hex(),
                "sealed_at": self.sealed_at.astimezone(UTC).isoformat(timespec="microseconds"),
            },
            ensure_ascii=False,
        )

    @classmethod
    def from_line(cls, line: str) -> Seal:
        """The seal of such a line. Raises ValueError or KeyError when it is not one."""
        told = json.loads(line)
        moment = datetime.fromisoformat(told["sealed_at"])
        if moment.tzinfo is None:
            raise ValueError("sealed_at has no time zone")
        return cls(
            book_id=int(told["book_id"]),
            book=str(told["book"]),
            seal_no=int(told["seal_no"]),
            first_seq=int(told["first_seq"]),
            last_seq=int(told["last_seq"]),
            entry_count=int(told["entry_count"]),
            root=bytes.fromhex(told["root"]),
            previous=bytes.fromhex(told["previous"]),
            digest=bytes.fromhex(told["digest"]),
            sealed_at=moment,
        )


def seal(
    conn: Connection,
    *,
    book_id: int,
    entries: int = SEAL_ENTRIES,
    on_progress: Callable[[int], None] | None = None,
) -> tuple[Seal, ...]:
    """Seal what is published and not yet sealed, about ``entries`` a seal; returns the new seals.

    Whole batches go into a seal, so a large batch makes a large one. Nobody who posts waits. ``on_progress`` gets
    the number of seals made so far. Raises `RefusedError` when a batch no longer holds what it counted.
    """
    with translate_errors():
        row = conn.execute(
            "SELECT coalesce(max(seal_no), 0) FROM ledger.seal WHERE book_id = %s", (book_id,)
        ).fetchone()
    assert row is not None
    before, made = int(str(row[0])), -1
    total = 0
    while made != 0:
        with committed(conn):
            found = conn.execute("SELECT ledger.seal(%s, %s, %s)", (book_id, entries, _SEALS_A_TRANSACTION)).fetchone()
        made = 0 if found is None else int(str(found[0]))
        total += made
        if on_progress is not None:
            on_progress(total)
    return list_seals(conn, book_id=book_id, after=before)


def list_seals(conn: Connection, *, book_id: int, after: int = 0) -> tuple[Seal, ...]:
    """The book's seals with a number above ``after``, in order."""
    with translate_errors():
        rows = conn.execute(
            "SELECT s.book_id, k.name, seal_no, first_seq, last_seq, entry_count, root, previous, digest, sealed_at"
            " FROM ledger.seal s JOIN ledger.book k USING (book_id)"
            " WHERE book_id = %s AND seal_no > %s ORDER BY seal_no",
            (book_id, after),
        ).fetchall()
    return tuple(Seal(*row) for row in rows)  # type: ignore[arg-type]


def read_seal_lines(path: Path, *, book_id: int) -> tuple[Seal, ...]:
    """The seals of this book in a file of lines (an anchor, or `seals.jsonl` of an export), by number.

    Raises `RefusedError` naming the line that is not a seal, or does not carry its own digest.
    """
    found: dict[int, Seal] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            told = Seal.from_line(line)
        except (ValueError, KeyError, TypeError) as error:
            raise RefusedError(f"{path.name} line {number} is not a seal ({error}); give the anchored file.") from error
        if told.digest != told.expected_digest() or found.get(told.seal_no, told).digest != told.digest:
            raise RefusedError(f"{path.name} line {number}: the file itself was altered; take another copy.")
        if told.book_id == book_id:
            found[told.seal_no] = told
    if not found:
        raise RefusedError(f"{path.name} holds no seal of this book; give the file that `nostro seal` anchored.")
    return tuple(found[number] for number in sorted(found))


def anchor_to_file(conn: Connection, path: Path, *, book_id: int) -> int:
    """Append every seal that the file lacks, and flush it to disk; returns how many.

    Raises `CheckFailedError` when the file holds another seal than the books: someone has rewritten one of them.
    """
    kept = {s.seal_no: s for s in read_seal_lines(path, book_id=book_id)} if _has_lines(path) else {}
    stored = list_seals(conn, book_id=book_id)
    for told in kept.values():
        if told.digest not in {s.digest for s in stored[told.seal_no - 1 : told.seal_no]}:
            raise CheckFailedError(
                f"{told.place} in {path.name} is not the one in the books; run `nostro verify --root {path.name}`."
            )
    new = [s for s in stored if s.seal_no not in kept]
    with path.open("a", encoding="utf-8") as stream:
        stream.writelines(s.to_line() + "\n" for s in new)
        stream.flush()
        os.fsync(stream.fileno())
    return len(new)


def _has_lines(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def merkle_root(leaves: Iterable[bytes]) -> bytes:
    """RFC 6962's tree hash over leaf hashes: a last one alone goes up unchanged."""
    level = list(leaves)
    if not level:
        return sha256(b"").digest()
    while len(level) > 1:
        pairs = zip(level[0::2], level[1::2], strict=False)
        above = [sha256(b"\x01" + left + right).digest() for left, right in pairs]
        if len(level) % 2:
            above.append(level[-1])
        level = above
    return level[0]


def packed_root(digests: bytes) -> bytes:
    """The same root over leaf hashes that lie one after the other, 32 bytes each."""
    if len(digests) <= 32:
        return merkle_root([digests] if digests else [])
    whole = len(digests) // 64 * 64
    above = [sha256(b"\x01" + digests[at : at + 64]).digest() for at in range(0, whole, 64)]
    return merkle_root([*above, digests[whole:]] if whole < len(digests) else above)


def merkle_path(leaves: Iterable[bytes], index: int) -> tuple[tuple[str, bytes], ...]:
    """What the leaf at ``index`` is joined with on its way up: (`left` or `right`, hash) each."""
    level, path = list(leaves), []
    while len(level) > 1:
        other = index ^ 1
        if other < len(level):
            path.append(("left" if other < index else "right", level[other]))
        pairs = zip(level[0::2], level[1::2], strict=False)
        above = [sha256(b"\x01" + left + right).digest() for left, right in pairs]
        level, index = above + ([level[-1]] if len(level) % 2 else []), index // 2
    return tuple(path)
