"""A throw-away OpenSSH server on this machine, for what is sent over SFTP.

Lives here: keys, configuration, starting and stopping. Must not live here: what is sent.
"""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
_PATIENCE_S = 10


@dataclass(frozen=True, slots=True)
class OpenSsh:
    """A server on 127.0.0.1 that lets `user` in with `key` and has the host key of `known_hosts`."""

    port: int
    user: str
    known_hosts: Path
    key: Path


@contextmanager
def openssh(folder: Path) -> Iterator[OpenSsh]:
    """Run the server until the block ends; `folder` gets its files. Raises `RuntimeError` when it does not start."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("host", "user", "stranger"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    (folder / "authorized").write_bytes((folder / "user.pub").read_bytes())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder / 'host'}\nAuthorizedKeysFile {folder / 'authorized'}\n"
        "StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\n"
        f"PidFile {folder / 'pid'}\nSubsystem sftp internal-sftp\nMaxStartups 200\n"
    )
    host_key = (folder / "host.pub").read_text().split()[:2]
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {' '.join(host_key)}\n")
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where a root sshd insists on separating privileges
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([str(SSHD), "-D", "-e", "-f", folder / "sshd_config"], stderr=log)
    try:
        _wait_for(port, process, folder / "log")
        yield OpenSsh(port, getpass.getuser(), folder / "known_hosts", folder / "user")
    finally:
        process.terminate()
        process.wait(10)


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"sshd ended: {log.read_text()}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError("sshd does not listen")
