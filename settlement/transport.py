"""Carrying a file to a bank's folder: complete under its name, or not there.

Lives here: the folder transport. Must not live here: when to send, and what a doubt means (`transmission`).
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Protocol


class NotDeliveredError(OSError):
    """Nothing stands under the file's name; the delivery may be tried again."""


class Transport(Protocol):
    """What carries a file to a bank and can look it up there."""

    def deliver(self, name: str, content: bytes) -> str:
        """Put the file there and return a receipt. Raises `NotDeliveredError` when surely nothing arrived."""
        ...

    def look_up(self, name: str) -> str | None:
        """SHA-256 (hex) of the file under that name, or None when there is none (the bank may have taken it)."""
        ...

    def listing(self) -> list[str]:
        """Names of the files that stand at the bank now. Raises `OSError` when the bank cannot be asked."""
        ...

    def read(self, name: str) -> bytes | None:
        """The bytes of the file under that name, or None when there is none."""
        ...

    def fetch(self, into: Path) -> list[Path]:
        """Copy into a folder of ours what the bank left for us and is not there yet; gives the new files.

        Raises `OSError` when the bank cannot be asked.
        """
        ...


class FolderTransport:
    """A bank's outbox folder: written as ``.<name>.part``, synced, measured, then renamed.

    What the bank leaves for us comes into our folder by itself, so there is nothing to fetch.
    """

    def __init__(self, outbox: Path) -> None:
        self._outbox = outbox

    def deliver(self, name: str, content: bytes) -> str:
        """Write, check and rename; the folder is synced, so the name survives a power cut.

        Identical bytes already there are as good as delivered; others are never replaced.
        """
        part, final = self._outbox / f".{name}.part", self._outbox / name
        try:
            self._outbox.mkdir(parents=True, exist_ok=True)
            there = self.read(name)
            if there == content:
                return f"{self._outbox.name}/{name} was there already, {len(content)} bytes"
            if there is not None:
                raise NotDeliveredError(f"another file stands at the bank as {name}; it is not ours to replace")
            self.write(part, content)
            self.check(part, content)
        except OSError as error:
            if isinstance(error, NotDeliveredError):
                raise
            raise NotDeliveredError(f"{error.strerror or error} ({self._outbox.name}/{part.name})") from error
        self.rename(part, final)
        self.sync_folder()
        return f"{self._outbox.name}/{name}, {len(content)} bytes"

    def look_up(self, name: str) -> str | None:
        """Hash of what stands under the name now."""
        content = self.read(name)
        return None if content is None else hashlib.sha256(content).hexdigest()

    def listing(self) -> list[str]:
        """Complete files in the folder; none when it is not there yet."""
        try:
            return sorted(path.name for path in self._outbox.iterdir() if not path.name.startswith("."))
        except FileNotFoundError:
            return []

    def read(self, name: str) -> bytes | None:
        """What stands under the name now."""
        try:
            return (self._outbox / name).read_bytes()
        except FileNotFoundError:
            return None

    def fetch(self, into: Path) -> list[Path]:
        """Nothing: the bank writes into our folder."""
        return []

    def write(self, part: Path, content: bytes) -> None:
        """Write the whole content and wait until the disk has it."""
        with part.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())

    def check(self, part: Path, content: bytes) -> None:
        """Refuse a part of another size."""
        size = part.stat().st_size
        if size != len(content):
            raise NotDeliveredError(f"{part.name} has {size} bytes instead of {len(content)}")

    def rename(self, part: Path, final: Path) -> None:
        """Give the file its name; from here on the bank may take it."""
        part.replace(final)

    def sync_folder(self) -> None:
        """Wait until the disk has the new name."""
        descriptor = os.open(self._outbox, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
