"""Checking the books against their seals, and naming what was changed.

Lives here: recomputing leaves and roots, comparing with seals (stored or anchored outside), locating. Must not live
here: making seals (`ledger.seals`), the other invariants (`ledger.periods.verify`).

The leaves are computed by the statement shipped with the program, not by the database's function of the same text:
whoever can replace a function cannot replace the answer.
"""

from __future__ import annotations

import re
import struct
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import pairwise
from operator import itemgetter
from queue import SimpleQueue

from ledger.db import Connection
from ledger.errors import translate_errors
from ledger.periods import Fault
from ledger.seals import Seal, list_seals, merkle_root, packed_root
from ledger.transactions import transaction

INVARIANT = 9
_CHUNK_ENTRIES = 65_536
_NAMED = 50
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
class Leaves:
    """Entries in their order: ids, and the hash of each one's bytes. Lists, because a million objects take a second."""

    entry_ids: list[int]
    digests: list[bytes]

    def pairs(self) -> Iterator[tuple[int, bytes]]:
        """(entry id, hash) in order."""
        return zip(self.entry_ids, self.digests, strict=True)


@cache
def leaves_statement() -> str:
    """The statement between the marks in `060_seals.sql`, with the function's parameters as psycopg's."""
    body = files("ledger").joinpath("sql", "060_seals.sql").read_text(encoding="utf-8").split("$leaves$")[1]
    # with the types of the function's parameters: a small literal would be an int4, and its shift would wrap
    return re.sub(r"\bp_(book_id|first_seq|last_seq|low_batch|high_batch)\b", r"%(\1)s::bigint", body)


@cache
def _packed_statement() -> bytes:
    leaves = leaves_statement().encode()
    return (
        b"SELECT l.first_seq, string_agg(int8send(l.entry_id), NULL ORDER BY l.entry_id),"
        b" string_agg(l.leaf, NULL ORDER BY l.entry_id) FROM (%b) l (first_seq, entry_id, leaf)"
        b" GROUP BY l.first_seq ORDER BY l.first_seq" % leaves
    )


def verify_seals(
    conn: Connection,
    *,
    book_id: int,
    anchored: Sequence[Seal] = (),
    incremental: bool = False,
    beside: Connection | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> SealReport:
    """Recompute the entries under every seal and compare; ``anchored`` seals, kept outside, outrank the stored ones.

    ``incremental``: only seals after the last one that a check found good (the chain is checked whole). A check
    without a fault is noted for the next. ``beside``: a second idle connection to the same books; the two read ranges
    of the order in turns, each on its own processor. ``on_progress`` gets (entries done, entries to do).
    """
    readers = (conn,) if beside is None else (conn, beside)
    with ExitStack() as open_transactions:
        for reader in readers:
            open_transactions.enter_context(transaction(reader))
            reader.execute("SET LOCAL work_mem = '128MB'")
        stored = list_seals(conn, book_id=book_id)
        faults = [*_chain_faults(stored), *_anchor_faults(stored, anchored)]
        truth = {s.seal_no: s for s in (*stored, *anchored)}
        after = _checked_through(conn, book_id, truth) if incremental else 0
        work = [truth[number] for number in sorted(truth) if number > after]
        total, done = sum(s.entry_count for s in work), 0
        suspect: list[tuple[Seal, Packed, Packed]] = []
        for read in _ahead(readers, book_id, _chunks(work)):
            for sealed, now, then in read.by_seal():
                if not _is_sound(sealed, now) or then != now:
                    suspect.append((sealed, now, then))
                done += sealed.entry_count
                if on_progress is not None:
                    on_progress(done, total)
        for sealed, now, then in suspect:
            faults += _located(conn, sealed, now, then)
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


@dataclass(frozen=True, slots=True)
class Packed:
    """Leaves as the database gives and keeps them: 8 bytes an id, 32 a hash; equal where the entries are."""

    ids: bytes = b""
    digests: bytes = b""

    def leaves(self) -> Leaves:
        """One by one, as far as both reach."""
        count = min(len(self.ids) // 8, len(self.digests) // 32)
        ids = list(struct.unpack_from(f"!{count}q", self.ids))
        return Leaves(ids, [self.digests[at : at + 32] for at in range(0, 32 * count, 32)])


@dataclass(frozen=True, slots=True)
class _Chunk:
    """What the database says about consecutive seals: the leaves of each batch now, and those kept of each seal."""

    seals: Sequence[Seal]
    now: Sequence[tuple[int, bytes, bytes]]
    then: dict[int, Packed]

    def by_seal(self) -> Iterator[tuple[Seal, Packed, Packed]]:
        """Each seal with the leaves of its range now, and those kept when it was made (none: their row is gone)."""
        start = 0
        for s in self.seals:
            end = bisect_right(self.now, s.last_seq, lo=start, key=itemgetter(0))
            own, start = self.now[start:end], end
            now = Packed(b"".join(ids for _, ids, _ in own), b"".join(digests for _, _, digests in own))
            yield s, now, self.then.get(s.seal_no, Packed())


def _ahead(readers: Sequence[Connection], book_id: int, chunks: Iterator[list[Seal]]) -> Iterator[_Chunk]:
    """The chunks in order, each connection reading one ahead while those before are being hashed here."""
    free: SimpleQueue[Connection] = SimpleQueue()
    for reader in readers:
        free.put(reader)

    def read(chunk: Sequence[Seal]) -> _Chunk:
        reader = free.get()
        try:
            return _read(reader, book_id, chunk)
        finally:
            free.put(reader)

    with ThreadPoolExecutor(max_workers=len(readers)) as pool:
        coming: deque[Future[_Chunk]] = deque()
        for chunk in chunks:
            coming.append(pool.submit(read, chunk))
            if len(coming) > len(readers):
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()


def _read(conn: Connection, book_id: int, chunk: Sequence[Seal]) -> _Chunk:
    now = _packed(conn, book_id, chunk[0].first_seq, chunk[-1].last_seq)
    rows: list[tuple[int, bytes, bytes]] = conn.execute(  # type: ignore[assignment]
        "SELECT seal_no, entry_ids, leaves FROM ledger.seal_leaves WHERE book_id = %s AND seal_no BETWEEN %s AND %s",
        (book_id, chunk[0].seal_no, chunk[-1].seal_no),
        binary=True,
    ).fetchall()
    return _Chunk(chunk, now, {seal_no: Packed(ids, digests) for seal_no, ids, digests in rows})


def _packed(conn: Connection, book_id: int, first: int, last: int) -> list[tuple[int, bytes, bytes]]:
    """(first sequence number, entry ids, leaves) of each batch that starts in this range of the order, packed.

    A million rows of 48 bytes would cost a fifth of the whole check in this process.
    """
    with translate_errors():
        low, high = conn.execute(_IDS, (first, last, book_id)).fetchone() or (None, None)
        if low is None:
            return []
        bounds = {"book_id": book_id, "first_seq": first, "last_seq": last, "low_batch": low, "high_batch": high}
        # planned for these bounds every time, hence not prepared
        found = conn.execute(_packed_statement(), bounds, prepare=False, binary=True)
        return found.fetchall()  # type: ignore[return-value]


def leaves_between(conn: Connection, book_id: int, first: int, last: int) -> Iterator[tuple[int, int, bytes]]:
    """(batch's first sequence number, entry id, leaf) of the book's batches that start in this range, in order."""
    for first_seq, ids, digests in _packed(conn, book_id, first, last):
        for entry_id, leaf in Packed(ids, digests).leaves().pairs():
            yield first_seq, entry_id, leaf


def _is_sound(sealed: Seal, now: Packed) -> bool:
    return len(now.digests) == 32 * sealed.entry_count and packed_root(now.digests) == sealed.root


def _located(conn: Connection, sealed: Seal, found: Packed, kept: Packed) -> list[Fault]:
    """The faults of one seal's range: the entries that differ, or the range when they cannot be told."""
    now, then = found.leaves(), kept.leaves()
    if _is_sound(sealed, found):
        return [_fault(sealed.place, "its list of leaves was altered; the entries are sound")]
    if merkle_root(then.digests) == sealed.root:
        faults = list(_differences(conn, sealed, then, now))
        if faults:
            return [*faults[:_NAMED], *_more(sealed, len(faults) - _NAMED)]
    ids = [*then.entry_ids, *now.entry_ids]
    where = f"entries {min(ids)} to {max(ids)}" if ids else "no entry is left"
    return [_fault(sealed.place, f"the entries are not those sealed, and the list of leaves was altered too ({where})")]


def _differences(conn: Connection, sealed: Seal, then: Leaves, now: Leaves) -> Iterator[Fault]:
    """Every entry that is missing, inserted, changed or moved."""
    old, new = dict(then.pairs()), dict(now.pairs())
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
    kept = [entry_id for entry_id in then.entry_ids if entry_id in new]
    for was, found in zip(kept, [entry_id for entry_id in now.entry_ids if entry_id in old], strict=False):
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
