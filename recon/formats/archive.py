"""Files that come packed: gzip and zip, unpacked in memory under caps.

Lives here: what an archive may be (a workbook is one too, and comes out as it is). Must not live here: what its
members are. Names inside an archive are only shown to people, never used as paths.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from recon.formats.rules import StatementRefused
from recon.formats.workbook import ZIP_FAULTS, is_workbook

MEMBERS_MAX: Final = 1_000
UNPACKED_BYTES_MAX: Final = 2 * 1024**3
# Statements of real banks shrink 10 to 60 times; deflate can do about 1,000.
RATIO_MAX: Final = 200
_SMALL_BYTES: Final = 1024 * 1024  # below this no ratio matters
_GZIP: Final = b"\x1f\x8b"
_ZIP: Final = b"PK\x03\x04"


def is_packed(head: bytes) -> bool:
    return head.startswith((_GZIP, _ZIP, b"PK\x05\x06"))


def unpacked(data: bytes, *, name: str) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each member; a workbook is its own only member.

    Raises `StatementRefused`: archive-damaged, archive-unsafe (too many, too large, too dense, nested, encrypted).
    The caps are checked while unpacking, whatever the archive says of itself.
    """
    if is_workbook(data):
        _unzip(data)
        yield name, data
        return
    members = [(Path(name).stem or name, _gunzip(data))] if data.startswith(_GZIP) else _unzip(data)
    for member, content in members:
        if is_workbook(content):
            _unzip(content)
        elif is_packed(content[:4]):
            raise _unsafe(f"{member} inside it is packed again")
    yield from ((f"{name}/{member}", content) for member, content in members)


def _unsafe(what: str) -> StatementRefused:
    return StatementRefused("archive-unsafe", 1, f"{what}: send the statements unpacked")


def _damaged(fault: object) -> StatementRefused:
    return StatementRefused("archive-damaged", 1, f"the archive cannot be unpacked ({fault}): fetch it again")


def _cap(packed: int) -> int:
    return min(UNPACKED_BYTES_MAX, max(_SMALL_BYTES, packed * RATIO_MAX))


def _gunzip(data: bytes) -> bytes:
    cap, out = _cap(len(data)), bytearray()
    while data:
        unpacker = zlib.decompressobj(wbits=31)
        try:
            out += unpacker.decompress(data, cap - len(out) + 1)
        except zlib.error as fault:
            raise _damaged(fault) from None
        if len(out) > cap:
            raise _unsafe(f"it unpacks to more than {cap:,} bytes")
        if not unpacker.eof:
            raise _damaged("it ends too early")
        data = unpacker.unused_data.lstrip(b"\0")
    return bytes(out)


def _unzip(data: bytes) -> list[tuple[str, bytes]]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = [info for info in archive.infolist() if not info.is_dir()]
            if len(infos) > MEMBERS_MAX:
                raise _unsafe(f"it has more than {MEMBERS_MAX:,} members")
            if any(info.flag_bits & 1 for info in infos):
                raise _unsafe("it is encrypted")
            if not infos:
                raise _damaged("it is empty")
            return list(_members(archive, infos, _cap(len(data))))
    except ZIP_FAULTS as fault:
        raise _damaged(fault) from None


def _members(archive: zipfile.ZipFile, infos: list[zipfile.ZipInfo], cap: int) -> Iterator[tuple[str, bytes]]:
    left = cap
    for info in infos:
        with archive.open(info) as stream:
            content = stream.read(left + 1)
        left -= len(content)
        if left < 0:
            raise _unsafe(f"it unpacks to more than {cap:,} bytes")
        yield info.filename, content
