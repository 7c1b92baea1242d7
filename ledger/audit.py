"""What leaves the house for people who do not trust it: the auditor's export, and the proof of one entry.

Lives here: writing `batches.jsonl`, `entries.jsonl`, `seals.jsonl` and proofs. Must not live here: checking them (that
is `tools/verify_books.py`, which imports nothing of ours).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ledger.db import Connection
from ledger.errors import CheckFailedError, RefusedError, translate_errors
from ledger.seal_checks import leaves_between
from ledger.seals import Seal, list_seals, merkle_path, merkle_root

PROOF_FORMAT = "nostro-proof-1"
_ENTRIES = "SELECT line::text FROM ledger.audit_entries(%s, %s, %s)"
_BATCHES = "SELECT line::text FROM ledger.audit_batches(%s, %s, %s)"
_PLACE = """
SELECT e.entry_id, s.first_seq FROM ledger.entry e LEFT JOIN ledger.batch_seq s ON s.batch_id = e.entry_id >> 20
 WHERE e.book_id = %s AND e.idempotency_key = %s
"""


@dataclass(frozen=True, slots=True)
class Export:
    """What was written: the head of the chain is the one digest that a reader must get from elsewhere."""

    folder: Path
    batches: int
    entries: int
    seals: int
    head: Seal


@dataclass(frozen=True, slots=True)
class Proof:
    """That one entry is under a seal. `to_json` gives the document that `tools/verify_books.py proof` checks."""

    key: str
    seal: Seal
    leaf: bytes
    position: int
    path: tuple[tuple[str, bytes], ...]
    entry_line: str
    batch_line: str

    def to_json(self) -> str:
        """The proof as a JSON document."""
        told = {
            "format": PROOF_FORMAT,
            "key": self.key,
            "leaf": self.leaf.hex(),
            "position": self.position,
            "path": [{"side": side, "hash": digest.hex()} for side, digest in self.path],
            "seal": json.loads(self.seal.to_line()),
            "batch": json.loads(self.batch_line),
            "entry": json.loads(self.entry_line),
        }
        return json.dumps(told, ensure_ascii=False, indent=1)


def prove(conn: Connection, *, book_id: int, key: str) -> Proof:
    """The inclusion proof of the entry with this key.

    Raises `RefusedError` when there is no such entry or no seal covers it yet, `CheckFailedError` when the entries of
    its seal are no longer those that were sealed.
    """
    with translate_errors():
        place = conn.execute(_PLACE, (book_id, key)).fetchone()
    if place is None:
        raise RefusedError(f"there is no entry with key {key!r}; check the key.")
    entry_id, seq = place
    seal = next((s for s in list_seals(conn, book_id=book_id) if seq is not None and s.last_seq >= int(str(seq))), None)
    if seal is None:
        raise RefusedError(f"entry {key!r} is not sealed yet; run `nostro seal` first.")
    found = [(number, leaf) for _, number, leaf in leaves_between(conn, book_id, seal.first_seq, seal.last_seq)]
    leaves = [leaf for _, leaf in found]
    if merkle_root(leaves) != seal.root:
        raise CheckFailedError(f"{seal.place} does not hold what was sealed; run `nostro verify --full`.")
    position = next(index for index, (number, _) in enumerate(found) if number == entry_id)
    with translate_errors():
        entry_line = conn.execute(
            "SELECT line::text FROM ledger.audit_entries(%s, %s, %s) WHERE entry_id = %s", (book_id, seq, seq, entry_id)
        ).fetchone()
        batch_line = conn.execute(_BATCHES, (book_id, seq, seq)).fetchone()
    assert entry_line is not None and batch_line is not None
    return Proof(
        key=key,
        seal=seal,
        leaf=leaves[position],
        position=position,
        path=merkle_path(leaves, position),
        entry_line=str(entry_line[0]),
        batch_line=str(batch_line[0]),
    )


def export_audit(
    conn: Connection, *, book_id: int, folder: Path, on_progress: Callable[[int, int], None] | None = None
) -> Export:
    """Write everything under seal to ``folder``: batches, entries (in order) and seals, one JSON object a line.

    Files are written under a temporary name and renamed when whole. Raises `RefusedError` when nothing is sealed.
    """
    sealed = list_seals(conn, book_id=book_id)
    if not sealed:
        raise RefusedError("nothing is sealed yet; run `nostro seal` first.")
    folder.mkdir(parents=True, exist_ok=True)
    total = sum(s.entry_count for s in sealed)
    batches = _write(folder / "batches.jsonl", _lines(conn, _BATCHES, book_id, sealed, None, total))
    entries = _write(folder / "entries.jsonl", _lines(conn, _ENTRIES, book_id, sealed, on_progress, total))
    _write(folder / "seals.jsonl", (s.to_line() for s in sealed))
    return Export(folder=folder, batches=batches, entries=entries, seals=len(sealed), head=sealed[-1])


def _lines(
    conn: Connection,
    query: str,
    book_id: int,
    sealed: tuple[Seal, ...],
    on_progress: Callable[[int, int], None] | None,
    total: int,
) -> Iterator[str]:
    done = 0
    for s in sealed:
        with translate_errors():
            rows = conn.execute(query.encode(), (book_id, s.first_seq, s.last_seq)).fetchall()
        for (line,) in rows:
            yield str(line)
        done += s.entry_count
        if on_progress is not None:
            on_progress(done, total)


def _write(path: Path, lines: Iterator[str]) -> int:
    part, count = path.with_name(f".{path.name}.part"), 0
    with part.open("w", encoding="utf-8") as stream:
        for line in lines:
            stream.write(line + "\n")
            count += 1
    part.replace(path)
    return count
