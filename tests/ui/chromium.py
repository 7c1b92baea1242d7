"""One Chromium for a whole test file, told what to do through its debugging pipe.

Lives here: starting it, opening a page in a new tab, its text and its picture. Must not live here: what pages say.
A start of its own for each page costs ten times as much: the code of the pages is then compiled again each time.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"),
    *("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-quic", "--remote-debugging-pipe"),
)
_COMMANDS, _ANSWERS = 3, 4  # the descriptors on which --remote-debugging-pipe reads and writes
_TEXT = "document.body ? document.body.innerText : ''"
_PATIENCE_S = 60.0


@dataclass(slots=True)
class Browser:
    """A running Chromium; messages are JSON ended by a zero byte, one answer for each command."""

    commands: int
    answers: int
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _unread: bytes = b""

    def page(self, address: str, names: tuple[str, ...], *, height: int = 1000, rest_s: float = 0) -> tuple[str, bytes]:
        """Open a page and wait until it shows all the names; its text as a person reads it, and its picture (PNG),
        taken `rest_s` later: parts of a page that nobody waited for may come after them.

        Without them after a minute, the text and the picture as they are then: the caller says what is missing.
        """
        tab = str(self._ask("Target.createTarget", url="about:blank")["targetId"])
        session = str(self._ask("Target.attachToTarget", targetId=tab, flatten=True)["sessionId"])
        size = {"width": 1600, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._ask("Emulation.setDeviceMetricsOverride", session, **size)
        self._ask("Page.navigate", session, url=address)
        until = time.monotonic() + _PATIENCE_S
        while not shows(text := self._text(session), names) and time.monotonic() < until:
            time.sleep(0.2)
        time.sleep(rest_s)
        picture = base64.b64decode(str(self._ask("Page.captureScreenshot", session)["data"]))
        self._ask("Target.closeTarget", targetId=tab)
        return text, picture

    def _text(self, session: str) -> str:
        result = self._ask("Runtime.evaluate", session, expression=_TEXT, returnByValue=True)["result"]
        return str(result.get("value", "")) if isinstance(result, dict) else ""

    def _ask(self, method: str, session: str | None = None, **params: object) -> dict[str, object]:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params} | ({"sessionId": session} if session else {})
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != number:
            pass  # an event, which nobody here waits for
        assert "error" not in answer, f"{method}: {answer['error']}"
        result = answer["result"]
        assert isinstance(result, dict)
        return result

    def _next(self) -> dict[str, object]:
        while b"\0" not in self._unread:
            ready, _, _ = select.select([self.answers], [], [], _PATIENCE_S)
            assert ready, f"Chromium said nothing for {_PATIENCE_S:.0f} s"
            piece = os.read(self.answers, 1 << 20)
            assert piece, "Chromium has ended"
            self._unread += piece
        message, self._unread = self._unread.split(b"\0", 1)
        found: dict[str, object] = json.loads(message)
        return found


def shows(text: str, names: tuple[str, ...]) -> bool:
    """Whether every name is in the text, however its lines are broken."""
    squeezed = "".join(text.split())
    return all("".join(name.split()) in squeezed for name in names)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A Chromium with a profile of its own, ended with the block."""
    assert CHROMIUM is not None
    their_commands, commands = os.pipe()
    answers, their_answers = os.pipe()

    def numbered() -> None:
        """In the child: the two ends where Chromium looks for them (by way of numbers that cannot be theirs)."""
        for end, aside in ((their_commands, 100), (their_answers, 101)):
            os.dup2(end, aside)
        os.dup2(100, _COMMANDS)
        os.dup2(101, _ANSWERS)

    with tempfile.TemporaryDirectory(prefix="nostro-browser-", ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [CHROMIUM, *_FLAGS, f"--user-data-dir={profile}", "about:blank"],
            preexec_fn=numbered,
            close_fds=False,
            env=os.environ | {"TMPDIR": profile},  # what it leaves there goes with the profile
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(their_commands)
        os.close(their_answers)
        try:
            yield Browser(commands, answers)
        finally:
            process.terminate()
            process.wait(30)
            os.close(commands)
            os.close(answers)
