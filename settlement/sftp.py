"""Files to and from a bank over SFTP.

Lives here: one connection an operation, host keys always checked, the steps of a delivery on the remote side, and
fetching what the bank left for us. Must not live here: when to send, what a doubt means (`transmission`), reading.

A delivery is written under a temporary name, measured there and renamed. Until the rename is asked for, every failure
means that nothing stands under the file's name; after it, a failure means that nobody knows (`OSError`).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import stat
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import asyncssh

from settlement.transport import NotDeliveredError

T = TypeVar("T")
_STILL_SENDING = (".part", ".tmp", ".filepart")


@dataclass(frozen=True, slots=True, kw_only=True)
class SftpServer:
    """Where a bank's SFTP server is and who we are there. Secrets stay in their files; only paths are kept."""

    host: str
    port: int
    user: str
    known_hosts: Path
    key: Path | None
    password_file: Path | None
    timeout_s: float


class SftpTransport:  # a `transport.Transport`
    """A bank's folders on an SFTP server."""

    def __init__(self, server: SftpServer, *, outbox: str, inbox: str) -> None:
        self._server = server
        self._outbox = outbox.rstrip("/")
        self._inbox = inbox.rstrip("/")

    def deliver(self, name: str, content: bytes) -> str:
        """Write, measure and rename; identical bytes already there are as good as delivered.

        Raises `NotDeliveredError` when surely nothing stands under the name, another `OSError` when it may.
        """
        return self._run(lambda sftp: self._deliver(sftp, name, content))

    def look_up(self, name: str) -> str | None:
        """SHA-256 (hex) of the remote file under the name, or None."""
        return self._run(lambda sftp: _hash(sftp, f"{self._outbox}/{name}"))

    def listing(self) -> list[str]:
        """Complete files in the remote outbox."""
        return self._run(self._listing)

    def read(self, name: str) -> bytes | None:
        """Bytes of the remote file under the name, or None."""
        return self._run(lambda sftp: _content(sftp, f"{self._outbox}/{name}"))

    def fetch(self, into: Path) -> list[Path]:
        """Copy what the bank left for us and is not here yet; gives the new files, by name.

        A file whose size changes while it is read is left for the next time. The bank's copy stays where it is. A
        file that comes again under a known name with other bytes is kept beside the first, named after its bytes.
        """
        into.mkdir(parents=True, exist_ok=True)
        return self._run(lambda sftp: self._fetch(sftp, into))

    def _run(self, work: Callable[[asyncssh.SFTPClient], Awaitable[T]]) -> T:
        return asyncio.run(self._connected(work))

    async def _connected(self, work: Callable[[asyncssh.SFTPClient], Awaitable[T]]) -> T:
        server = self._server
        try:
            password = None if server.password_file is None else server.password_file.read_text("utf-8").strip()
            connection = await asyncssh.connect(
                server.host,
                server.port,
                username=server.user,
                known_hosts=str(server.known_hosts.resolve(strict=True)),
                client_keys=[] if server.key is None else [str(server.key.resolve(strict=True))],
                password=password,
                agent_path=None,
                config=None,
                connect_timeout=server.timeout_s,
                login_timeout=server.timeout_s,
                keepalive_interval=server.timeout_s / 3,
            )
        except asyncssh.HostKeyNotVerifiable as error:
            raise NotDeliveredError(
                f"the key of {server.host} is not in {server.known_hosts.name} ({error.reason}): ask the bank for its "
                "fingerprint before adding it"
            ) from error
        except asyncssh.PermissionDenied as error:
            raise NotDeliveredError(f"{server.host} does not let {server.user} in ({error.reason})") from error
        except (asyncssh.Error, OSError, TimeoutError) as error:
            raise NotDeliveredError(f"{server.host} cannot be reached ({_words(error)})") from error
        try:
            async with connection, connection.start_sftp_client() as sftp:
                done = await work(sftp)
        except asyncssh.Error as error:
            raise OSError(f"{server.host}: {_words(error)}") from error
        return done

    async def _deliver(self, sftp: asyncssh.SFTPClient, name: str, content: bytes) -> str:
        part, final = f"{self._outbox}/.{name}.part", f"{self._outbox}/{name}"
        try:
            there = await _hash(sftp, final)
            if there == hashlib.sha256(content).hexdigest():
                return f"{final} was there already, {len(content)} bytes"
            if there is not None:
                raise NotDeliveredError(f"another file stands at the bank as {name}; it is not ours to replace")
            await self.write(sftp, part, content)
            await self.check(sftp, part, content)
        except (asyncssh.Error, OSError) as error:
            if isinstance(error, NotDeliveredError):
                raise
            raise NotDeliveredError(f"{_words(error)} ({part})") from error
        try:
            await self.rename(sftp, part, final)
        except (asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection):
            raise
        except asyncssh.SFTPError as error:
            # The server has answered no: the name was not given.
            raise NotDeliveredError(f"{_words(error)} ({final})") from error
        return f"{final}, {len(content)} bytes"

    async def write(self, sftp: asyncssh.SFTPClient, part: str, content: bytes) -> None:
        """Write the whole content under the temporary name, and have the server keep it where it can."""
        async with sftp.open(part, "wb") as stream:
            await stream.write(content)
            with contextlib.suppress(asyncssh.SFTPOpUnsupported):
                await stream.fsync()

    async def check(self, sftp: asyncssh.SFTPClient, part: str, content: bytes) -> None:
        """Refuse a part of another size."""
        size = await sftp.getsize(part)
        if size != len(content):
            raise NotDeliveredError(f"{part} has {size} bytes instead of {len(content)}")

    async def rename(self, sftp: asyncssh.SFTPClient, part: str, final: str) -> None:
        """Give the file its name; plain rename refuses to replace a file that came in between."""
        await sftp.rename(part, final)

    async def _listing(self, sftp: asyncssh.SFTPClient) -> list[str]:
        names = [str(entry.filename) for entry in await sftp.readdir(self._outbox) if _is_file(entry.attrs)]
        return sorted(name for name in names if not name.startswith("."))

    async def _fetch(self, sftp: asyncssh.SFTPClient, into: Path) -> list[Path]:
        new: list[Path] = []
        for entry in sorted(await sftp.readdir(self._inbox), key=lambda entry: str(entry.filename)):
            name, size = str(entry.filename), entry.attrs.size
            if name.startswith(".") or name.lower().endswith(_STILL_SENDING) or not _is_file(entry.attrs):
                continue
            if Path(name).name != name:
                raise OSError(f"the bank's folder lists {name!r}, which is no file name; nothing more is fetched")
            if _is_here(into / name, entry.attrs):
                continue
            content = await _content(sftp, f"{self._inbox}/{name}")
            if content is None or len(content) != size or await sftp.getsize(f"{self._inbox}/{name}") != size:
                continue
            path = _place(into, name, content)
            if path is not None:
                _keep(path, content, entry.attrs.mtime)
                new.append(path)
        return new


def _place(into: Path, name: str, content: bytes) -> Path | None:
    """Where a fetched file goes; None when these bytes are there."""
    digest = hashlib.sha256(content).hexdigest()
    stem, dot, ending = name.rpartition(".")
    for candidate in (name, f"{stem or ending}~{digest[:16]}{dot}{ending if stem else ''}"):
        path = into / candidate
        if not path.exists():
            return path
        if hashlib.sha256(path.read_bytes()).hexdigest() == digest:
            return None
    raise OSError(f"{name} collides with files in {into.name}; move them away")


def _is_here(path: Path, remote: asyncssh.SFTPAttrs) -> bool:
    """Whether this very file was fetched before: same size, same time of change (the copy keeps the bank's)."""
    try:
        local = path.stat()
    except FileNotFoundError:
        return False
    return local.st_size == remote.size and int(local.st_mtime) == remote.mtime


def _keep(path: Path, content: bytes, mtime: int | None) -> None:
    """Write under a hidden name, then rename: a reader of the folder never sees half a file."""
    hidden = path.with_name(f".{path.name}.part")
    with hidden.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    if mtime is not None:
        os.utime(hidden, (mtime, mtime))
    hidden.rename(path)


async def _content(sftp: asyncssh.SFTPClient, path: str) -> bytes | None:
    try:
        async with sftp.open(path, "rb") as stream:
            content = await stream.read()
    except asyncssh.SFTPNoSuchFile:
        return None
    return content if isinstance(content, bytes) else content.encode()


async def _hash(sftp: asyncssh.SFTPClient, path: str) -> str | None:
    content = await _content(sftp, path)
    return None if content is None else hashlib.sha256(content).hexdigest()


def _is_file(attrs: asyncssh.SFTPAttrs) -> bool:
    return attrs.permissions is None or stat.S_ISREG(attrs.permissions)


def _words(error: BaseException) -> str:
    """What went wrong, in words; time-outs have none of their own."""
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
    return reason or type(error).__name__
