"""What every command shares: the deployment it works on, output, progress, exit statuses."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text
from typer.exceptions import TyperException

from ledger import Connection, OutcomeUnknownError, book_id, translate_errors
from ledger.errors import CheckFailedError, JournalFileError, NostroError, RefusedError, UnavailableError
from nostro.database import SERVICE, Database, locate
from nostro.settings import Settings

EXIT_REFUSED, EXIT_USAGE, EXIT_UNAVAILABLE, EXIT_UNKNOWN, EXIT_CHECK_FAILED, EXIT_INTERNAL = 1, 2, 3, 4, 5, 70
EXIT_STOPPED = 130
_WIDEST = 10_000


def parse_date(text: str | None) -> date | None:
    """A date like 2026-11-02, or a usage error."""
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a date like 2026-11-02") from None


def today() -> date:
    """The day it is where the company is, as the alarms of `nostro up` count it. Raises `RefusedError`."""
    name = Settings().timezone
    try:
        return datetime.now(UTC).astimezone(ZoneInfo(name)).date()
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise RefusedError(f"NOSTRO_TIMEZONE {name!r} is unknown; use an IANA name such as 'Europe/Berlin'.") from None


def parse_moment(text: str | None) -> datetime | None:
    """A moment with a time zone like 2026-11-02T18:30:00+01:00, or a usage error."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a moment like 2026-11-02T18:30:00+01:00") from None
    if moment.tzinfo is None:
        raise typer.BadParameter(f"{text!r} has no time zone; add one, e.g. +00:00")
    return moment


def date_text(text: str | None) -> str | None:
    """The same text, once it is known to be a date: usage is checked before anything is opened."""
    parse_date(text)
    return text


def moment_text(text: str | None) -> str | None:
    """The same text, once it is known to be a moment."""
    parse_moment(text)
    return text


def parse_known(text: str | None) -> int | datetime | None:
    """A number of the knowledge order, or a moment with a time zone; else a usage error."""
    if text is not None and text.isdecimal() and text.isascii():
        return int(text)
    return parse_moment(text)


def known_text(text: str | None) -> str | None:
    """The same text, once it is known to be a number or a moment."""
    parse_known(text)
    return text


def reason_text(text: str | None) -> str | None:
    """A reason that says something, without blanks around it."""
    if text is None:
        return None
    if not text.strip():
        raise typer.BadParameter("say why; an empty reason is no reason")
    return text.strip()


JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
BookOption = Annotated[str | None, typer.Option("--book", help="Which book, when there are several.")]
AsOption = Annotated[
    str | None, typer.Option("--as", envvar="NOSTRO_USER", help="The person acting (their own login role).")
]
RunDayOption = Annotated[
    str | None,
    typer.Option("--date", "--as-of", callback=date_text, help="Business date (default: the last reconciled)."),
]
KnownOption = Annotated[
    str | None,
    typer.Option(
        "--known-at",
        callback=known_text,
        metavar="SEQ|MOMENT",
        help="As known at this number (`nostro recon events`) or moment with time zone (default: now).",
    ),
]

# What moves the cursor, changes colours or turns the direction of writing. Payees choose their names, and banks' texts
# come from anybody: none of them may paint over what an approver reads.
_UNSEEN = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"} | {
    code: f"\\u{code:04x}" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
}


class _Screen(Console):
    """A console on which every character of a text is seen."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(text.translate(_UNSEEN), **options)


# Account codes are full of colons and brackets: rich must not read `:bank:` as a picture.
console = _Screen(highlight=False, soft_wrap=True, markup=False, emoji=False)
errors = _Screen(stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False)


@dataclass(frozen=True, slots=True)
class Session:
    """One command's hold on the deployment: settings, database, an open connection, and the book."""

    settings: Settings
    database: Database
    conn: Connection
    book_id: int

    @property
    def home(self) -> Path:
        """The home folder."""
        return self.settings.home_path


@contextmanager
def session(person: str | None = None, book: str | None = None) -> Iterator[Session]:
    """Open the deployment as a person, or as the application role; never as the owner."""
    settings = Settings()
    database = locate(settings)
    with database.login(person or settings.user or SERVICE) as conn:
        with translate_errors():
            found = book_id(conn, book)
        yield Session(settings=settings, database=database, conn=conn, book_id=found)


@contextmanager
def open_database(person: str | None = None) -> Iterator[Connection]:
    """A connection without a book, for the command that declares one."""
    settings = Settings()
    with locate(settings).login(person or settings.user or SERVICE) as conn:
        yield conn


def exit_status(error: NostroError) -> int:
    """The exit status that a refusal means (the contract of docs/command-line.md)."""
    if isinstance(error, UnavailableError):
        return EXIT_UNAVAILABLE
    if isinstance(error, OutcomeUnknownError):
        return EXIT_UNKNOWN
    if isinstance(error, CheckFailedError):
        return EXIT_CHECK_FAILED
    if isinstance(error, RefusedError):
        return EXIT_REFUSED
    return EXIT_REFUSED


def print_error(error: NostroError, *, as_json: bool) -> None:
    """One clear sentence on stderr (or a JSON object), and every fault of a file."""
    details: Sequence[str] = error.faults if isinstance(error, JournalFileError) else getattr(error, "faults", ())
    if as_json:
        _json_error(type(error).__name__, str(error), details, retryable=error.retryable)
        return
    errors.print("refused" if isinstance(error, RefusedError) else "error", style="red", end="")
    errors.print(f": {error}")
    for line in details:
        errors.print(f"  {line}")


def unusable_file(error: OSError) -> RefusedError:
    """The refusal of a path that is not there, is no file, or is not ours to use."""
    named = error.filename2 or error.filename or "a file"
    return RefusedError(f"{named} cannot be used: {error.strerror}; check the path and its rights.")


def print_usage(error: TyperException, *, as_json: bool) -> None:
    """What was wrong with the words of the command, and where its help is."""
    message = error.format_message().rstrip(".")
    if as_json:
        _json_error("UsageError", message, (), retryable=False)
    elif message:
        context = getattr(error, "ctx", None)
        command = "nostro" if context is None else context.command_path
        errors.print(f"wrong usage: {message}; see `{command} --help`.")


def _json_error(error: str, message: str, faults: Sequence[str], *, retryable: bool) -> None:
    body = {"error": error, "message": message, "faults": list(faults), "retryable": retryable}
    sys.stderr.write(json.dumps(body, ensure_ascii=False) + "\n")


def plain(value: object) -> object:
    """A value as JSON can carry it: dataclasses as objects, dates and amounts as text, never a float."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, Decimal | Path):
        return str(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    return value


def emit(value: object, text: Callable[[], None], *, as_json: bool) -> None:
    """Print the result: as one JSON object, or through `text`."""
    if as_json:
        sys.stdout.write(json.dumps(plain(value), ensure_ascii=False, indent=1) + "\n")
    else:
        text()


def table(
    title: str | None, columns: Sequence[str], rows: Sequence[Sequence[object]], *, right: Sequence[int] = ()
) -> None:
    """Print rows as a table; `right` holds the positions of right-aligned columns."""
    out = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for position, name in enumerate(columns):
        out.add_column(name, justify="right" if position in right else "left", overflow="fold")
    for row in rows:
        out.add_row(*("" if cell is None else str(cell) for cell in row))
    if not console.is_terminal:  # in a file or a pipe a row is a line
        console.width = _WIDEST
    console.print(out)


@contextmanager
def progress(label: str, *, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on a terminal; yields the function to report (done, total)."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        console=errors,
        transient=True,
        disable=quiet or not errors.is_terminal,
    )
    with bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
