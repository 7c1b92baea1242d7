"""The journal of sends: what left for banks, in a file outside of the database.

Lives here: the file `sends.jsonl` of a home and the copies beside it (`sends/`), its chain, and whether it is still the
file that was opened. Must not live here: what the books say of it (`sending`), what a difference means (`reconciling`).

Each line is an object. *opened* names the journal and where it goes on; *send* stands there, synced, before any byte
leaves, and its digest is chained to the one before; *result* says how the attempt ended. A backup must not bring the
file back: the first line keeps the numbers of the file and its folder on their disk, so a copy tells itself from the
original.
"""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import hashlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from settlement.errors import RestoredError, SendFailedError

FIRST_DIGEST = "0" * 64
_NEXT = ".sends.next.jsonl"
_PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SentLine:
    """One counted send. `part` 0 is a payment file, above a recall of it; `sha256` and `digest` are hex."""

    number: int
    token: str
    book_id: int
    file_id: int
    part: int
    bank: str
    msg_id: str
    sha256: str
    size_bytes: int
    previous: str
    digest: str
    started_at: str

    @property
    def is_whole(self) -> bool:
        """Whether the digest is that of the rest, as `settlement.send_digest` makes it."""
        parts = (self.previous, self.number, self.token, self.book_id, self.file_id, self.part)
        said = "|".join(map(str, (*parts, self.bank, self.msg_id, self.sha256, self.size_bytes)))
        return hashlib.sha256(said.encode()).hexdigest() == self.digest


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalState:
    """What the file says: which journal it is, its last send (0: none), every send, and whether it is the original."""

    journal_id: str
    number: int
    digest: str
    sends: tuple[SentLine, ...]
    is_original: bool


class SendJournal:
    """The journal of one home."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self.path = home / "sends.jsonl"
        self._copies = home / "sends"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """One sender at a time between counting a send and writing it down. Raises `SendFailedError` after 30 s."""
        self._home.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._home / "sends.lock", os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _wait_for_lock(descriptor)
            yield
        finally:
            os.close(descriptor)

    def read(self) -> JournalState | None:
        """The journal as it stands; None when there is none. Raises `RestoredError` when its chain is broken."""
        try:
            text, seat = self._content()
        except FileNotFoundError:
            return None
        lines, opened = _objects(text), _opened(text)
        if not opened:
            raise RestoredError(f"{self.path.name} is not a journal of sends; put the right one back.")
        number, digest = int(str(opened["number"])), str(opened["digest"])
        sends: list[SentLine] = []
        for line in lines[1:]:
            if line.get("kind") == "send":
                sent = _sent(line)
                if (sent.number, sent.previous) != (number + 1, digest) or not sent.is_whole:
                    raise RestoredError(
                        f"{self.path.name} was changed at send {sent.number}; keep it, and look with "
                        "`nostro bank reconcile-sends`."
                    )
                number, digest = sent.number, sent.digest
                sends.append(sent)
        return JournalState(
            journal_id=str(opened["journal"]),
            number=number,
            digest=digest,
            sends=tuple(sends),
            is_original=(opened["file"], opened["folder"]) == seat,
        )

    def every_send(self) -> list[SentLine]:
        """Sends of this journal and of those before it that may have reached a bank, whole lines only."""
        place = self.path.resolve()
        found: list[SentLine] = []
        for path in (*sorted(place.parent.glob("sends~*.jsonl")), *([place] if place.exists() else [])):
            lines = _objects(path.read_text(encoding="utf-8", errors="replace"))
            failed = {line.get("number") for line in lines if line.get("state") == "failed"}
            sends = [_sent(line) for line in lines if line.get("kind") == "send"]
            found += [sent for sent in sends if sent.is_whole and sent.number not in failed]
        return found

    def open(self, journal_id: str, *, number: int, digest: str) -> None:
        """Begin a journal that goes on after a send (0: from the first); one that is there is kept beside it."""
        self.prepare(journal_id, number=number, digest=digest)
        self.promote(journal_id)

    def prepare(self, journal_id: str, *, number: int, digest: str) -> None:
        """Write a journal that `promote` puts in its place."""
        folder = self.path.resolve().parent
        folder.mkdir(parents=True, exist_ok=True)
        fresh = folder / _NEXT
        fresh.unlink(missing_ok=True)
        fresh.touch()
        where = {"file": fresh.stat().st_ino, "folder": folder.stat().st_ino}
        _append(fresh, {"kind": "opened", "journal": journal_id, "number": number, "digest": digest, **where})

    def promote(self, journal_id: str) -> bool:
        """Put the prepared journal in its place if it is this one; the one before stays as ``sends~<its id>.jsonl``."""
        place = self.path.resolve()
        fresh = place.with_name(_NEXT)
        if not fresh.exists() or _opened(fresh.read_text(encoding="utf-8")).get("journal") != journal_id:
            return False
        if place.exists():
            old = _opened(place.read_text(encoding="utf-8", errors="replace")).get("journal", "unreadable")
            place.replace(place.with_name(f"sends~{old}.jsonl"))
        fresh.replace(place)
        _sync_folder(place.parent)
        return True

    def write(self, sent: SentLine, *, content: bytes, manifest: object) -> None:
        """Write a send down before any byte leaves: first its bytes and what they pay, then its line; both synced."""
        self._copies.mkdir(exist_ok=True)
        body = {"msg_id": sent.msg_id, "sha256": sent.sha256, "manifest": manifest, "content": content.decode("utf-8")}
        packed = gzip.compress(json.dumps(body, ensure_ascii=False).encode(), compresslevel=1, mtime=0)
        part = self._copies / f".{sent.number}.part"
        with part.open("wb") as stream:
            stream.write(packed)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(self._copy(sent))
        _sync_folder(self._copies)
        values = {name: getattr(sent, name) for name in SentLine.__slots__}
        _append(self.path, {"kind": "send", **values})

    def note(self, number: int, state: str, receipt: str) -> None:
        """How an attempt ended; for people, nothing depends on it."""
        _append(self.path, {"kind": "result", "number": number, "state": state, "receipt": receipt})

    def copy_of(self, sent: SentLine) -> tuple[bytes, object] | None:
        """The bytes of a send and what they pay; None when the copy is gone or is not what was sent."""
        try:
            body = json.loads(gzip.decompress(self._copy(sent).read_bytes()))
        except (OSError, EOFError, ValueError):
            return None
        content = str(body["content"]).encode()
        return (content, body["manifest"]) if hashlib.sha256(content).hexdigest() == sent.sha256 else None

    def _copy(self, sent: SentLine) -> Path:
        return self._copies / f"{sent.number:08d}-{sent.msg_id}.json.gz"

    def _content(self) -> tuple[str, tuple[object, object]]:
        with self.path.open("rb") as stream:
            seat = (os.fstat(stream.fileno()).st_ino, self.path.resolve().parent.stat().st_ino)
            return stream.read().decode("utf-8", errors="replace"), seat


def _objects(text: str) -> list[dict[str, object]]:
    """Every whole line. A line that a crash cut off never preceded a byte that left; the chain shows any other gap."""
    found: list[dict[str, object]] = []
    for line in text.split("\n"):
        with contextlib.suppress(ValueError):
            value = json.loads(line) if line else None
            if isinstance(value, dict):
                found.append(value)
    return found


def _opened(text: str) -> dict[str, object]:
    """The first line; empty when it is none of a journal."""
    lines = _objects(text.partition("\n")[0])
    return lines[0] if lines and lines[0].get("kind") == "opened" else {}


def _sent(line: dict[str, object]) -> SentLine:
    try:
        texts = {name: str(line[name]) for name in SentLine.__slots__}
    except KeyError as missing:
        raise RestoredError(f"a line of the journal of sends lacks {missing}; keep the file and look.") from None
    numbers = {name: int(texts[name]) for name in ("number", "book_id", "file_id", "part", "size_bytes")}
    return SentLine(**(texts | numbers))  # type: ignore[arg-type]


def _append(path: Path, value: dict[str, object]) -> None:
    """Add a line and wait until the disk has it; what a crash left of an unfinished line is closed first."""
    with path.open("r+b") as stream:
        end = stream.seek(0, os.SEEK_END)
        if end:
            stream.seek(end - 1)
            if stream.read(1) != b"\n":
                stream.write(b"\n")
        stream.write(json.dumps(value, ensure_ascii=False).encode() + b"\n")
        stream.flush()
        os.fsync(stream.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _wait_for_lock(descriptor: int) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise SendFailedError(
                    "another sender has held the journal of sends for half a minute; ask again."
                ) from None
            time.sleep(0.02)
