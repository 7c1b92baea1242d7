"""The simulated banks' SFTP server: the folders of their setup, for a customer who sends and fetches over the network.

Lives here: listening, who is let in, the host key. Must not live here: what the banks do with files. It listens on this
machine alone. A customer proves itself with the password in `sandbox/sftp_password` or a key in
`sandbox/authorized_keys`; the server's own key stands in `sandbox/known_hosts`, all below the home folder.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from sandbox.errors import SandboxError
from sandbox.setup_reader import SFTP_ROOT, BankSetup

_HOST = "127.0.0.1"
_STOP_S = 5


@dataclass(frozen=True, slots=True)
class SftpDoor:
    """Where the server listens, and the files a customer needs to be let in."""

    host: str
    port: int
    known_hosts: Path
    password_file: Path


@contextmanager
def sftp_door(home: Path, setup: BankSetup, *, port: int = 0) -> Iterator[SftpDoor]:
    """Serve the banks' folders over SFTP until the block ends; port 0 takes a free one.

    Raises `SandboxError` when the port is taken.
    """
    root = home / SFTP_ROOT
    root.mkdir(parents=True, exist_ok=True)
    for bank in setup.banks:
        for folder in (bank.outbox, bank.inbox):
            (home / folder).mkdir(parents=True, exist_ok=True)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="simulated bank", daemon=True)
    thread.start()
    try:
        opened = asyncio.run_coroutine_threadsafe(_listen(home, root, port), loop)
        try:
            server = opened.result()
        except OSError as fault:
            raise SandboxError(f"port {port} cannot be listened on ({fault.strerror}); give another one.") from fault
        yield _door(home, server.get_port())
        asyncio.run_coroutine_threadsafe(_close(server), loop).result(_STOP_S)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_STOP_S)
        loop.close()


async def _listen(home: Path, root: Path, port: int) -> asyncssh.SSHAcceptor:
    password = _password(home)
    authorized = home / "sandbox" / "authorized_keys"
    return await asyncssh.listen(
        _HOST,
        port,
        server_host_keys=[_host_key(home)],
        server_factory=lambda: _Customer(password),
        authorized_client_keys=str(authorized) if authorized.exists() else None,
        sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=str(root).encode()),
        allow_scp=False,
    )


async def _close(server: asyncssh.SSHAcceptor) -> None:
    server.close()
    await server.wait_closed()


class _Customer(asyncssh.SSHServer):
    """Whoever knows the password is the customer."""

    def __init__(self, password: str) -> None:
        self._password = password

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return hmac.compare_digest(password, self._password)


def _password(home: Path) -> str:
    path = home / "sandbox" / "sftp_password"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(18) + "\n", encoding="utf-8")
    return path.read_text(encoding="utf-8").strip()


def _host_key(home: Path) -> str:
    path = home / "sandbox" / "sftp_host_key"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_bytes(asyncssh.generate_private_key("ssh-ed25519").export_private_key())
    return str(path)


def _door(home: Path, port: int) -> SftpDoor:
    key = asyncssh.read_private_key(_host_key(home)).export_public_key().decode().split()[:2]
    known_hosts = home / "sandbox" / "known_hosts"
    known_hosts.write_text(f"[{_HOST}]:{port} {' '.join(key)}\n", encoding="utf-8")
    return SftpDoor(_HOST, port, known_hosts, home / "sandbox" / "sftp_password")
