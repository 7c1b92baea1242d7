"""Checking the books against their seals, and naming what was changed.

Lives here: recomputing leaves and roots, comparing with seals (stored or anchored outside), locating. Must not live
here: making seals (`ledger.seals`), the other invariants (`ledger.periods.verify`).

The leaves are computed by the statement shipped with the program, not by the database's function of the same text:
whoever can replace a function cannot replace the answer.
"""

from __future__ import annotations

import re
import struct
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import pairwise

from ledger.db import Connection
from ledger.errors import translate_errors
from ledger.periods import Fault
from ledger.seals import Seal, list_seals, merkle_root
from ledger.transactions import transaction

INVARIANT = 9
_CHUNK_ENTRIES = 262_144
_NAMED = 50
_COPY_ROW = struct.Struct("!hiqiqi32s")
_COPY_HEADER = 19
_IDS = """
SELECT min(b.batch_id), max(b.batch_id) FROM ledger.batch_seq s JOIN ledger.batch b USING (batch_id)
 WHERE s.first_seq BETWEEN %s AND %s AND b.book_id = %s
"""
# Rows that no seal's range can reach: no batch, a place before the first, an owner in another book.
_STRAYS = """
WITH known AS MATERIALIZED (SELECT batch_id, book_id FROM ledger.batch)
SELECT 'entry ' || e.entry_id || ' (key ' || e.idempotency_key || ')', 'belongs to no batch of its book'
  FROM ledger.entry e LEFT JOIN known b ON b.batch_id = e.entry_id >> 20
 WHERE b.book_id IS DISTINCT FROM e.book_id AND (e.book_id = %(book)s OR b.book_id = %(book)s OR b.book_id IS NULL)
UNION ALL
SELECT 'posting ' || p.posting_id, 'belongs to no batch'
  FROM ledger.posting p WHERE NOT EXISTS (SELECT FROM known b WHERE b.batch_id = p.posting_id >> 20)
UNION ALL
SELECT 'text of entry ' || t.entry_id, 'belongs to no batch'
  FROM ledger.entry_text t WHERE NOT EXISTS (SELECT FROM known b WHERE b.batch_id = t.entry_id >> 20)
UNION ALL
SELECT 'batch ' || s.batch_id, 'is placed before the first number of the order'
  FROM ledger.batch_seq s WHERE s.first_seq < 1
UNION ALL
SELECT 'batch ' || s.batch_id, 'has a place in the order and no batch row'
  FROM ledger.batch_seq s WHERE NOT EXISTS (SELECT FROM known b WHERE b.batch_id = s.batch_id)
"""


@dataclass(frozen=True, slots=True)
class SealReport:
    """What a check against seals found.

    `checked_from_seq`: entries up to here were not looked at again; `unsealed_entries` are published, not sealed yet.
    """

    faults: tuple[Fault, ...]
    seals: int
    checked_seals: int
    checked_entries: int
    unsealed_entries: int
    checked_from_seq: int
    head: Seal | None


@dataclass(frozen=True, slots=True)
class Leaf:
    """An entry's id and the hash of its bytes."""

    entry_id: int
    digest: bytes


@cache
def leaves_statement() -> str:
    """The statement between the marks in `060_seals.sql`, with the function's parameters as psycopg's."""
    body = files("ledger").joinpath("sql", "060_seals.sql").read_text(encoding="utf-8").split("$leaves$")[1]
    return re.sub(
        r"\bp_(book_id|first_seq|last_seq|low_batch|high_batch)\b", r"%(\1)s::bigint", body
    )  # a literal would be an int4


def verify_seals(
    conn: Connection,
    *,
    book_id: int,
    anchored: Sequence[Seal] = (),
    incremental: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> SealReport:
    """Recompute the entries under every seal and compare; ``anchored`` seals, kept outside, outrank the stored ones.

    ``incremental``: only seals after the last one that a check found good (the chain is checked whole). A check
    without a fault is noted for the next. ``on_progress`` gets (entries done, entries to do).
    """
    with transaction(conn):
        conn.execute("SET LOCAL work_mem = '128MB'")
        stored = list_seals(conn, book_id=book_id)
        faults = [*_chain_faults(stored), *_anchor_faults(stored, anchored)]
        truth = {s.seal_no: s for s in (*stored, *anchored)}
        after = _checked_through(conn, book_id, truth) if incremental else 0
        work = [truth[number] for number in sorted(truth) if number > after]
        total, done = sum(s.entry_count for s in work), 0
        for chunk in _chunks(work):
            for sealed, leaves in _recomputed(conn, book_id, chunk):
                faults += _compare(conn, sealed, leaves)
                done += sealed.entry_count
                if on_progress is not None:
                    on_progress(done, total)
        if not incremental:
            faults += _strays(conn, book_id)
        if stored and work and not faults:
            conn.execute("SELECT ledger.note_seal_check(%s, %s, %s)", (book_id, stored[-1].seal_no, stored[-1].digest))
        return SealReport(
            faults=tuple(faults),
            seals=len(stored),
            checked_seals=len(work),
            checked_entries=done,
            unsealed_entries=_unsealed(conn, book_id, stored[-1].last_seq if stored else 0),
            checked_from_seq=truth[after].last_seq if after else 0,
            head=stored[-1] if stored else None,
        )


def _fault(place: str, fault: str) -> Fault:
    return Fault(INVARIANT, place, fault)


def _chain_faults(stored: Sequence[Seal]) -> Iterator[Fault]:
    """What is wrong among the stored seals themselves."""
    for s in stored:
        if s.digest != s.expected_digest():
            yield _fault(s.place, "its row was changed: the digest does not cover what it says")
    if stored and (stored[0].seal_no, stored[0].first_seq, stored[0].previous) != (1, 1, bytes(32)):
        yield _fault(stored[0].place, "the seals before it are missing")
    for before, s in pairwise(stored):
        if (s.seal_no, s.first_seq) != (before.seal_no + 1, before.last_seq + 1):
            yield _fault(s.place, f"does not start where {before.place} ends")
        if s.previous != before.digest:
            yield _fault(s.place, f"does not continue {before.place}: one of the two was rewritten")


def _anchor_faults(stored: Sequence[Seal], anchored: Sequence[Seal]) -> Iterator[Fault]:
    """Where the stored seals are not the ones that were kept outside."""
    by_number = {s.seal_no: s for s in stored}
    for kept in anchored:
        now = by_number.get(kept.seal_no)
        if now is None:
            yield _fault(kept.place, "is anchored, and missing in the books")
        elif now.digest != kept.digest:
            yield _fault(kept.place, "is not the anchored one: the seal was rewritten")


def _checked_through(conn: Connection, book_id: int, truth: dict[int, Seal]) -> int:
    rows = conn.execute(
        "SELECT seal_no, digest FROM ledger.seal_check WHERE book_id = %s ORDER BY seal_no DESC LIMIT 1", (book_id,)
    ).fetchall()
    return next((int(str(n)) for n, digest in rows if int(str(n)) in truth and truth[int(str(n))].digest == digest), 0)


def _chunks(work: Sequence[Seal]) -> Iterator[list[Seal]]:
    """Consecutive seals, about `_CHUNK_ENTRIES` entries together."""
    chunk: list[Seal] = []
    for s in work:
        if chunk and (sum(c.entry_count for c in chunk) >= _CHUNK_ENTRIES or chunk[-1].last_seq + 1 != s.first_seq):
            yield chunk
            chunk = []
        chunk.append(s)
    if chunk:
        yield chunk


def _recomputed(conn: Connection, book_id: int, chunk: Sequence[Seal]) -> Iterator[tuple[Seal, list[Leaf]]]:
    """The leaves of each seal's range as the books give them now."""
    found: list[list[Leaf]] = [[] for _ in chunk]
    first, last = chunk[0].first_seq, chunk[-1].last_seq
    ends = [s.last_seq for s in chunk]
    for seq, entry_id, digest in leaves_between(conn, book_id, first, last):
        found[bisect_left(ends, seq)].append(Leaf(entry_id, digest))
    yield from zip(chunk, found, strict=True)


def leaves_between(conn: Connection, book_id: int, first: int, last: int) -> Iterator[tuple[int, int, bytes]]:
    """(batch's first sequence number, entry id, leaf) of the book's batches that start in this range, in order."""
    with translate_errors():
        low, high = conn.execute(_IDS, (first, last, book_id)).fetchone() or (None, None)
        if low is None:
            return
        bounds = {"book_id": book_id, "first_seq": first, "last_seq": last, "low_batch": low, "high_batch": high}
        statement = f"COPY ({leaves_statement()}) TO STDOUT (FORMAT binary)"
        with conn.cursor() as cursor, cursor.copy(statement.encode(), bounds) as copy:
            raw = b"".join(copy)
    end = _COPY_HEADER + (len(raw) - _COPY_HEADER) // _COPY_ROW.size * _COPY_ROW.size
    for _, _, seq, _, entry_id, _, digest in _COPY_ROW.iter_unpack(memoryview(raw)[_COPY_HEADER:end]):
        yield seq, entry_id, digest


def stored_leaves(conn: Connection, sealed: Seal) -> list[Leaf]:
    """The leaves that were kept when the seal was made (none when their row is gone)."""
    row = conn.execute(
        "SELECT entry_ids, leaves FROM ledger.seal_leaves WHERE book_id = %s AND seal_no = %s",
        (sealed.book_id, sealed.seal_no),
    ).fetchone()
    if row is None:
        return []
    ids, digests = bytes(row[0]), bytes(row[1])  # type: ignore[call-overload]
    count = min(len(ids) // 8, len(digests) // 32)
    numbers = struct.unpack_from(f"!{count}q", ids)
    return [Leaf(number, digests[32 * i : 32 * i + 32]) for i, number in enumerate(numbers)]


def _compare(conn: Connection, sealed: Seal, now: Sequence[Leaf]) -> list[Fault]:
    """The faults of one seal's range: nothing, or the entries that differ, or the range when they cannot be told."""
    sound = merkle_root(leaf.digest for leaf in now) == sealed.root and len(now) == sealed.entry_count
    then = stored_leaves(conn, sealed)
    if sound:
        return (
            [] if then == list(now) else [_fault(sealed.place, "its list of leaves was altered; the entries are sound")]
        )
    if merkle_root(leaf.digest for leaf in then) == sealed.root:
        faults = list(_differences(conn, sealed, then, now))
        if faults:
            return [*faults[:_NAMED], *_more(sealed, len(faults) - _NAMED)]
    ids = [leaf.entry_id for leaf in (*then, *now)]
    where = f"entries {min(ids)} to {max(ids)}" if ids else "no entry is left"
    return [_fault(sealed.place, f"the entries are not those sealed, and the list of leaves was altered too ({where})")]


def _differences(conn: Connection, sealed: Seal, then: Sequence[Leaf], now: Sequence[Leaf]) -> Iterator[Fault]:
    """Every entry that is missing, inserted, changed or moved."""
    old, new = {leaf.entry_id: leaf.digest for leaf in then}, {leaf.entry_id: leaf.digest for leaf in now}
    for entry_id in sorted(old.keys() - new.keys()):
        yield _fault(f"entry {entry_id}", f"is missing; {sealed.place} covers it")
    names = _names(conn, [i for i in new if old.get(i) != new[i]][: _NAMED * 4])
    for entry_id in sorted(new):
        if entry_id not in old:
            yield _fault(
                f"entry {entry_id}{names.get(entry_id, '')}", f"was inserted; {sealed.place} does not cover it"
            )
        elif old[entry_id] != new[entry_id]:
            yield _fault(
                f"entry {entry_id}{names.get(entry_id, '')}", f"was changed; {sealed.place} covers another content"
            )
    kept = [leaf.entry_id for leaf in then if leaf.entry_id in new]
    for was, found in zip(kept, [leaf.entry_id for leaf in now if leaf.entry_id in old], strict=False):
        if was != found:
            yield _fault(f"entry {found}", f"stands at the place of entry {was}; {sealed.place} has another order")


def _names(conn: Connection, entry_ids: list[int]) -> dict[int, str]:
    rows = conn.execute(
        "SELECT entry_id, idempotency_key FROM ledger.entry WHERE entry_id = ANY (%s)", (entry_ids,)
    ).fetchall()
    return {int(str(entry_id)): f" (key {key})" for entry_id, key in rows}


def _more(sealed: Seal, count: int) -> list[Fault]:
    return [] if count <= 0 else [_fault(sealed.place, f"{count} more entries differ")]


def _strays(conn: Connection, book_id: int) -> list[Fault]:
    rows = conn.execute(_STRAYS, {"book": book_id}).fetchall()
    return [_fault(str(place), str(fault)) for place, fault in rows]


def _unsealed(conn: Connection, book_id: int, last_seq: int) -> int:
    row = conn.execute(
        "SELECT coalesce(sum(b.entry_count), 0) FROM ledger.batch_seq s JOIN ledger.batch b USING (batch_id)"
        " WHERE b.book_id = %s AND s.first_seq > %s",
        (book_id, last_seq),
    ).fetchone()
    return 0 if row is None else int(str(row[0]))
