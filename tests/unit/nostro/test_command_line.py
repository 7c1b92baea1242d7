"""The shape of the command line: help, examples, the reference page, statuses, output."""

from __future__ import annotations

import datetime as dt
import json
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from pathlib import Path

import pytest

from ledger.errors import (
    CheckFailedError,
    ClosedPeriodError,
    NostroError,
    OutcomeUnknownError,
    RefusedError,
    UnavailableError,
)
from nostro.cli import main
from nostro.cli.app import program
from nostro.cli.common import exit_status, plain
from tests.cli_program import commands

PAGE = Path(__file__).resolve().parents[3] / "docs" / "command-line.md"
_FOREGROUND = {"up"}  # stays until Ctrl-C: nothing to print as one object


def documented() -> dict[str, tuple[str, str]]:
    """Rows of the reference tables: (what it does, example) by command."""
    rows = re.findall(r"^\| `nostro ([a-z-]+(?: [a-z0-9-]+)?)` \| (.+?) \| `(.+?)` \|$", PAGE.read_text(), re.MULTILINE)
    assert len(rows) == len({row[0] for row in rows})
    return {command: (does, example) for command, does, example in rows}


def example_of(help_text: str) -> str:
    (found,) = re.findall(r"^Example: `(nostro .+)`$", help_text, re.MULTILINE)
    return str(found)


def test_every_command_is_in_the_reference_with_the_words_of_its_help() -> None:
    page = documented()
    assert set(page) == set(commands())
    for command, text in commands().items():
        does, example = page[command]
        assert does == text.split("\n\n")[0].replace("\n", " "), command
        assert example == example_of(text), command


@pytest.mark.parametrize("command", commands())
def test_every_help_has_one_example_that_is_right_usage(command: str) -> None:
    words = shlex.split(example_of(commands()[command]).replace("E2E…", "E2E-1"))
    assert " ".join(words[1:]).startswith(command)
    group = program()
    context = group.make_context("nostro", [*words[1:]], resilient_parsing=False)
    rest = words[1:]
    while (inner := getattr(group, "commands", None)) is not None:
        group, rest = inner[rest[0]], rest[1:]
        context = group.make_context(rest[0] if rest else "nostro", list(rest), parent=context)


@pytest.mark.parametrize("command", commands())
def test_help_is_shown_with_status_0(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    assert "Usage: nostro" in shown and "Example:" in shown
    assert ("--json" in shown) == (command not in _FOREGROUND)


def test_without_words_the_help_is_shown_as_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert main(["settle"]) == 2
    assert "Usage: nostro settle" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RefusedError("x"), 1),
        (ClosedPeriodError("x"), 1),
        (NostroError("x"), 1),
        (UnavailableError("x"), 3),
        (OutcomeUnknownError("x"), 4),
        (CheckFailedError("x"), 5),
    ],
)
def test_each_kind_of_refusal_has_its_status(error: NostroError, status: int) -> None:
    assert exit_status(error) == status


def test_a_home_that_cannot_be_a_folder_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_the_way = tmp_path / "home"
    in_the_way.write_text("a file where the home folder should be")
    monkeypatch.setenv("NOSTRO_HOME", str(in_the_way))
    monkeypatch.delenv("NOSTRO_DATABASE_URL", raising=False)
    status = main(["verify"])
    said = capsys.readouterr()
    assert (status, said.out) == (1, "")
    assert str(in_the_way) in said.err and "Traceback" not in said.err


class Colour(Enum):
    RED = "red"


@dataclass(frozen=True, slots=True)
class Thing:
    day: dt.date
    amount: Decimal
    colour: Colour
    path: Path
    parts: tuple[int, ...]
    hash: bytes
    nested: dict[str, dt.datetime]
    nothing: None = None


def test_json_carries_every_value_exactly() -> None:
    thing = Thing(
        day=dt.date(2026, 11, 2),
        amount=Decimal("0.10"),
        colour=Colour.RED,
        path=Path("a/b"),
        parts=(2**62 + 1, -1),
        hash=b"\x00\xff",
        nested={"at": dt.datetime(2026, 11, 2, 12, tzinfo=dt.UTC)},
    )
    assert json.loads(json.dumps(plain(thing))) == {
        "day": "2026-11-02",
        "amount": "0.10",
        "colour": "red",
        "path": "a/b",
        "parts": [2**62 + 1, -1],
        "hash": "00ff",
        "nested": {"at": "2026-11-02T12:00:00+00:00"},
        "nothing": None,
    }


def test_a_command_starts_without_the_slow_libraries() -> None:
    """ADR 0013. Loaded for nothing, each costs every command more than most of them take."""
    slow = {"asyncssh", "holidays", "numpy", "pandera", "pyarrow", "rapidfuzz", "scipy", "sqlalchemy"}
    told = subprocess.run(
        [sys.executable, "-c", "import sys, nostro.cli; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "nostro.cli.app" in told.stdout.split()
    assert slow & set(told.stdout.split()) == set()
