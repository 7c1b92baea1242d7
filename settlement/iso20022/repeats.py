"""Ids that come twice in a file, found exactly and in memory that does not grow with it.

Lives here: one pass of looking for repeats. Must not live here: which ids must be unique, and in which message.

Our own ids are numbered, so they stand in rising order and only the last one needs to be kept. Ids in no order (UETRs)
are kept as 64-bit hashes: in sorted runs of a fixed size, in a temporary file beyond the first. Equal hashes of
different values (once in a hundred million files of a million) are refused, never let through.
"""

from __future__ import annotations

import heapq
import tempfile
from array import array
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import BinaryIO

RUN_HASHES = 1 << 16
_READ_HASHES = 1 << 12
_BYTES = array("q").itemsize


class HashRuns:
    """Hashes of values in sorted runs; `repeated` says which came more than once. Close it, or use it in a with."""

    def __init__(self, run_hashes: int = RUN_HASHES) -> None:
        self._run_hashes = run_hashes
        self._file: BinaryIO | None = None
        self._runs = 0
        self.pending = array("q")

    def __enter__(self) -> HashRuns:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def add_all(self, values: Iterable[object]) -> None:
        """Take the hashes of values."""
        self.pending.extend(map(hash, values))
        if len(self.pending) >= self._run_hashes:
            self._spill()

    def _spill(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="nostro-ids-")  # noqa: SIM115 - closed by __exit__
        while len(self.pending) >= self._run_hashes:
            run, self.pending = self.pending[: self._run_hashes], self.pending[self._run_hashes :]
            self._file.write(array("q", sorted(run)))
            self._runs += 1

    def repeated(self) -> set[int]:
        """The hashes that were added more than once; usually none."""
        last = sorted(self.pending)
        ordered: Iterable[int] = heapq.merge(last, *map(self._run, range(self._runs))) if self._runs else last
        return {one for one, following in pairwise(ordered) if one == following}

    def _run(self, number: int) -> Iterator[int]:
        file, start = self._file, number * self._run_hashes
        assert file is not None
        for at in range(start, start + self._run_hashes, _READ_HASHES):
            piece = array("q")
            file.seek(at * _BYTES)
            piece.frombytes(file.read(min(_READ_HASHES, start + self._run_hashes - at) * _BYTES))
            yield from piece


def repeats(values: Iterable[str | None], twice: set[int]) -> Iterator[tuple[int, int]]:
    """Ordinal of each value that repeats an earlier one, and of that one; `twice` are the hashes that repeat."""
    first: dict[int, int] = {}
    for ordinal, value in enumerate(values, 1) if twice else ():
        code = None if value is None else hash(value)
        if code is not None and code in twice and (earlier := first.setdefault(code, ordinal)) != ordinal:
            yield ordinal, earlier
