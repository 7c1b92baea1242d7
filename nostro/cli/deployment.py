"""Commands on the deployment itself: init, users, doctor."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from ledger import RefusedError
from ledger.errors import CheckFailedError
from nostro.access import privileges
from nostro.cli.common import JsonOption, console, emit, table
from nostro.database import SERVICE, initialise, locate, set_password
from nostro.settings import Settings
from nostro.users import User, add_user, grant_books, grant_every_book, list_users, revoke_books
from settlement import send_state

# What must be so for "acknowledged means kept" and for four eyes.
_SOUND = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "superuser": "off"}
_CLOCK_MAX_S = 60

PasswordOption = Annotated[
    Path | None,
    typer.Option(
        "--password-file", help="First line: the login's password, for servers that ask (init: of `service`)."
    ),
]
user_app = typer.Typer(no_args_is_help=True, help="One login role per person.")


def register(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.command("init")(init_command)
    app.command("doctor")(doctor_command)
    app.command("access")(access_command)
    app.add_typer(user_app, name="user")


def _password(file: Path) -> str:
    lines = file.read_text(encoding="utf-8").splitlines()
    if not lines or len(lines[0]) < 12:
        raise RefusedError(f"{file.name} must hold a password of at least 12 characters in its first line.")
    return lines[0]


def init_command(password_file: PasswordOption = None, as_json: JsonOption = False) -> None:
    """Create the database, its roles and its schema, or bring them up to date. Harmless to repeat.

    Example: `nostro init`
    """
    settings = Settings()
    database = locate(settings)
    initialise(database)
    if password_file is not None:
        set_password(database, SERVICE, _password(password_file))
    where = "a server" if settings.database_url else f"embedded Postgres in {settings.home_path}"
    emit(
        {"database": database.name, "embedded": settings.database_url is None},
        lambda: console.print(f"database {database.name!r} is ready ({where})"),
        as_json=as_json,
    )


BooksArgument = Annotated[list[str], typer.Argument(help="Names of books.", metavar="BOOK…")]


@user_app.command("add")
def user_add_command(
    name: Annotated[str, typer.Argument(help="One lower-case word.")],
    group: Annotated[str, typer.Option("--group", help="preparer, approver or analyst.")],
    book: Annotated[
        list[str] | None, typer.Option("--book", help="Only this book (several: repeat it); without it, every book.")
    ] = None,
    password_file: PasswordOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create a person's login and put it into a group.

    Example: `nostro user add alice --group preparer`
    """
    database = locate(Settings())
    add_user(database, name, group, book or ())
    if password_file is not None:
        set_password(database, name, _password(password_file))
    where = f" for {', '.join(book)}" if book else ""
    emit(
        {"user": name, "group": group, "books": book},
        lambda: console.print(f"{name} is {'an' if group[0] in 'aeiou' else 'a'} {group}{where}"),
        as_json=as_json,
    )


@user_app.command("list")
def user_list_command(as_json: JsonOption = False) -> None:
    """Every person, their groups and the books they may see.

    Example: `nostro user list`
    """
    users = list_users(locate(Settings()))
    rows = [(user.name, ", ".join(user.groups), _books(user)) for user in users]
    emit(
        {"users": [{"user": user.name, "groups": user.groups, "books": user.books} for user in users]},
        lambda: table(None, ("user", "groups", "books"), rows),
        as_json=as_json,
    )


def _books(user: User) -> str:
    return "every book" if user.books is None else ", ".join(user.books) or "no book"


@user_app.command("grant-book")
def user_grant_book_command(
    name: Annotated[str, typer.Argument(help="The person's login.")],
    books: BooksArgument = [],  # noqa: B006  (typer reads it, nobody changes it)
    every: Annotated[bool, typer.Option("--every", help="Every book, those to come included: no restriction.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Let a login see these books. One that saw every book sees only these from now on.

    Example: `nostro user grant-book alice "Marktplatz GmbH"`
    """
    if every == bool(books):
        raise typer.BadParameter("name the books, or say --every")
    database = locate(Settings())
    if every:
        grant_every_book(database, name)
    else:
        grant_books(database, name, books)
    _told(name, as_json=as_json)


@user_app.command("revoke-book")
def user_revoke_book_command(
    name: Annotated[str, typer.Argument(help="The person's login.")],
    books: BooksArgument,
    as_json: JsonOption = False,
) -> None:
    """Take books from a login that is restricted to some.

    Example: `nostro user revoke-book alice "Marktplatz GmbH"`
    """
    revoke_books(locate(Settings()), name, books)
    _told(name, as_json=as_json)


def _told(name: str, *, as_json: bool) -> None:
    user = next(user for user in list_users(locate(Settings())) if user.name == name)
    emit(
        {"user": user.name, "groups": user.groups, "books": user.books},
        lambda: console.print(f"{name} sees {_books(user)}"),
        as_json=as_json,
    )


def access_command(as_json: JsonOption = False) -> None:
    """Who may do what: every privilege on every schema, table, view, sequence and function, from the catalogue.

    Example: `nostro access`
    """
    with locate(Settings()).app() as conn:
        found = privileges(conn)
    columns = ("kind", "object", "role", "verbs")
    emit(
        {"privileges": found},
        lambda: table(None, columns, [(p.kind, p.name, p.role, " ".join(p.verbs)) for p in found]),
        as_json=as_json,
    )


def doctor_command(as_json: JsonOption = False) -> None:
    """Check what this deployment stands on: server version and durability, schema, roles, clock, count of sends.

    Status 5 when a committed entry could be lost, the login has too many rights, the clocks disagree, or the books are
    restored or copied ones that must not send (`nostro bank reconcile-sends`).

    Example: `nostro doctor`
    """
    settings = Settings()
    database = locate(settings)
    with database.app() as conn:
        started = datetime.now(UTC)
        row = conn.execute(
            "SELECT current_setting('server_version'), current_setting('fsync'), current_setting('synchronous_commit'),"
            " current_setting('full_page_writes'), session_user::text, current_setting('is_superuser'),"
            " (SELECT string_agg(DISTINCT schemaname, ', ' ORDER BY schemaname) FROM pg_tables"
            "   WHERE schemaname IN ('ledger', 'settlement', 'recon')), clock_timestamp()"
        ).fetchone()
        sends = send_state(conn, settings.home_path)
    assert row is not None
    *told, server_clock = row
    assert isinstance(server_clock, datetime)
    names = ("server", "fsync", "synchronous_commit", "full_page_writes", "login", "superuser", "schemas")
    facts = {"python": platform.python_version(), "home": str(settings.home_path)}
    facts |= {name: str(value or "none") for name, value in zip(names, told, strict=True)}
    facts |= {
        "sends": sends.difference or str(sends.books),
        "users": str(len(list_users(database))),
        "clock_difference_s": str(round(abs((server_clock - started).total_seconds()))),
    }
    emit(facts, lambda: table(None, ("what", "is"), list(facts.items())), as_json=as_json)
    if wrong := [f"{name} is {facts[name]}" for name, right in _SOUND.items() if facts[name] != right]:
        raise CheckFailedError(f"this deployment is not sound: {', '.join(wrong)}; correct the server's settings.")
    if sends.difference is not None:
        raise CheckFailedError(f"nothing is sent: {sends.difference}; look with `nostro bank reconcile-sends`.")
    if int(facts["clock_difference_s"]) > _CLOCK_MAX_S:
        raise CheckFailedError(
            f"the server's clock differs by {facts['clock_difference_s']} s; set both clocks by the same time server."
        )
