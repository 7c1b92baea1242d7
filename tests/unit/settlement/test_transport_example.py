"""An example of another way to a bank (an API over HTTP), and what every transport promises."""

from __future__ import annotations

import hashlib
import http.client
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from settlement import FolderTransport, NotDeliveredError, Transport


class HttpTransport:  # a `settlement.Transport`
    """A bank that takes a file by PUT under its name, and refuses other bytes under a name it has (409)."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port

    def deliver(self, name: str, content: bytes) -> str:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=10)
        try:
            connection.connect()
        except OSError as error:
            raise NotDeliveredError(f"{self._host} cannot be reached ({error})") from error
        # From the first byte on nobody knows, until the bank says so itself.
        try:
            connection.request("PUT", f"/orders/{name}", content)
            answer = connection.getresponse()
        except http.client.HTTPException as error:
            raise OSError(f"{self._host}: {error!r}") from error
        if answer.status in (400, 409, 507):
            raise NotDeliveredError(f"{self._host} refuses {name} ({answer.status} {answer.reason})")
        if answer.status != 201:
            raise OSError(f"{self._host} says {answer.status}")
        return f"order {answer.headers['Order']}, {len(content)} bytes"

    def look_up(self, name: str) -> str | None:
        content = self.read(name)
        return None if content is None else hashlib.sha256(content).hexdigest()

    def listing(self) -> list[str]:
        return (self._get("/orders/") or b"").decode().split()

    def read(self, name: str) -> bytes | None:
        return self._get(f"/orders/{name}")

    def fetch(self, into: Path) -> list[Path]:
        into.mkdir(parents=True, exist_ok=True)
        new = []
        for name in (self._get("/answers/") or b"").decode().split():
            content, path = self._get(f"/answers/{name}"), into / Path(name).name
            if content is not None and not path.exists():
                part = path.with_name(f".{path.name}.part")
                part.write_bytes(content)
                new.append(part.replace(path))
        return new

    def _get(self, path: str) -> bytes | None:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=10)
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.read() if answer.status == 200 else None


class _Bank(ThreadingHTTPServer):
    """The bank's side: files by path; `breaks` cuts the line after the file was kept."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.breaks = False


class _Handler(BaseHTTPRequestHandler):
    server: _Bank

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        kept = self.server.files.setdefault(self.path, content)
        if self.server.breaks:
            self.close_connection = True
            return
        self.send_response(201 if kept == content else 409)
        self.send_header("Order", f"N{len(self.server.files)}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        files = self.server.files
        names = "\n".join(path.removeprefix(self.path) for path in files if path.startswith(self.path)).encode()
        content = names if self.path.endswith("/") else files.get(self.path)
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""


@pytest.fixture
def bank() -> Iterator[_Bank]:
    with _Bank() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def by_http(bank: _Bank, folder: Path) -> Transport:
    return HttpTransport("127.0.0.1", bank.server_port)


def by_folder(bank: _Bank, folder: Path) -> Transport:
    return FolderTransport(folder / "orders")


@pytest.mark.parametrize("made", [by_http, by_folder])
def test_what_every_transport_promises(bank: _Bank, tmp_path: Path, made: Callable[[_Bank, Path], Transport]) -> None:
    transport = made(bank, tmp_path)
    content = "<Document>é</Document>".encode() * 1_000
    assert transport.listing() == [] and transport.read("A.xml") is None and transport.look_up("A.xml") is None
    assert f"{len(content)} bytes" in transport.deliver("A.xml", content)
    assert transport.deliver("A.xml", content), "identical bytes are as good as delivered"
    with pytest.raises(NotDeliveredError):
        transport.deliver("A.xml", b"other")
    assert transport.listing() == ["A.xml"]
    assert transport.read("A.xml") == content
    assert transport.look_up("A.xml") == hashlib.sha256(content).hexdigest()


def test_a_line_that_breaks_is_a_doubt_and_a_closed_door_is_none(bank: _Bank, tmp_path: Path) -> None:
    transport = HttpTransport("127.0.0.1", bank.server_port)
    bank.breaks = True
    with pytest.raises(OSError, match=r"127\.0\.0\.1") as doubt:
        transport.deliver("A.xml", b"<Document/>")
    assert not isinstance(doubt.value, NotDeliveredError)
    assert transport.look_up("A.xml") is not None, "it had arrived"
    bank.server_close()
    bank.shutdown()
    with pytest.raises(NotDeliveredError, match="cannot be reached"):
        HttpTransport("127.0.0.1", bank.server_port).deliver("B.xml", b"<Document/>")


def test_answers_are_fetched_once(bank: _Bank, tmp_path: Path) -> None:
    transport = HttpTransport("127.0.0.1", bank.server_port)
    bank.files["/answers/R1.xml"] = b"<Document/>"
    assert [path.name for path in transport.fetch(tmp_path / "inbox")] == ["R1.xml"]
    assert transport.fetch(tmp_path / "inbox") == []
