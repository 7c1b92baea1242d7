"""Statement lines as Parquet files, for whoever wants to look before anything is booked.

Lives here: one output file for each input file. Must not live here: reading formats, a database.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from recon.formats import Layout, StatementRefused, is_packed, read_statement_to_parquet, unpacked


@dataclass(frozen=True, slots=True)
class WrittenLines:
    """What became of one file: `path` of its Parquet file and its rows, or the `reason` why there is none."""

    name: str
    path: Path | None
    row_count: int
    reason: str | None


def lines_to_parquet(
    paths: Sequence[Path],
    *,
    folder: Path,
    layouts: Sequence[Layout] = (),
    on_progress: Callable[[WrittenLines], None] | None = None,
) -> tuple[WrittenLines, ...]:
    """Read each file (or each member of an archive) and write its lines (`STATEMENT_LINES`) under its own name.

    A refused file leaves nothing behind and does not stop the others. Two files of one name: the second is
    refused, so that nothing is overwritten unseen; a second run of the same files writes the same bytes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    taken: set[Path] = set()
    written = []
    for path in paths:
        for name, source in _members(path):
            result = _write(name, source, folder, layouts, taken)
            written.append(result)
            if on_progress is not None:
                on_progress(result)
    return tuple(written)


def _members(path: Path) -> Iterator[tuple[str, Path | bytes | StatementRefused]]:
    try:
        with path.open("rb") as stream:
            packed = is_packed(stream.read(4))
    except OSError:
        packed = False  # the reader says why it cannot be read
    if not packed:
        yield path.name, path
        return
    try:
        yield from unpacked(path.read_bytes(), name=path.name)
    except StatementRefused as refused:
        yield path.name, refused


def _write(
    name: str, source: Path | bytes | StatementRefused, folder: Path, layouts: Sequence[Layout], taken: set[Path]
) -> WrittenLines:
    out = folder / f"{name.replace('/', '-')}.parquet"
    if isinstance(source, StatementRefused):
        return WrittenLines(name, None, 0, str(source))
    if out in taken:
        return WrittenLines(
            name, None, 0, f"another file of this call is named so; write it to another folder than {folder}"
        )
    try:
        file = read_statement_to_parquet(source, out, name=name, layouts=layouts)
    except StatementRefused as refused:
        return WrittenLines(name, None, 0, str(refused))
    taken.add(out)
    return WrittenLines(name, out, sum(statement.row_count for statement in file.statements), None)
