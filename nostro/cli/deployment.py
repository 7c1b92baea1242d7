"""Commands on the deployment itself: init, users, doctor."""

from __future__ import annotations

import platform
from typing import Annotated

import typer

from nostro.cli.common import JsonOption, console, emit, table
from nostro.database import add_user, initialise, list_users, locate
from nostro.settings import Settings

user_app = typer.Typer(no_args_is_help=True, help="One login role per person.")


def register(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.command("init")(init_command)
    app.command("doctor")(doctor_command)
    app.add_typer(user_app, name="user")


def init_command(as_json: JsonOption = False) -> None:
    """Create the database, its roles and its schema, or bring them up to date. Harmless to repeat.

    Example: `nostro init`
    """
    settings = Settings()
    database = locate(settings)
    initialise(database)
    where = "a server" if settings.database_url else f"embedded Postgres in {settings.home_path}"
    emit(
        {"database": database.name, "embedded": settings.database_url is None},
        lambda: console.print(f"database {database.name!r} is ready ({where})"),
        as_json=as_json,
    )


@user_app.command("add")
def user_add_command(
    name: Annotated[str, typer.Argument(help="One lower-case word.")],
    group: Annotated[str, typer.Option("--group", help="preparer, approver or analyst.")],
    as_json: JsonOption = False,
) -> None:
    """Create a person's login and put it into a group.

    Example: `nostro user add alice --group preparer`
    """
    add_user(locate(Settings()), name, group)
    emit({"user": name, "group": group}, lambda: console.print(f"{name} is a {group}"), as_json=as_json)


@user_app.command("list")
def user_list_command(as_json: JsonOption = False) -> None:
    """Every person and their groups.

    Example: `nostro user list`
    """
    users = list_users(locate(Settings()))
    emit(
        {"users": [{"user": name, "groups": groups} for name, groups in users]},
        lambda: table(None, ("user", "groups"), [(name, ", ".join(groups)) for name, groups in users]),
        as_json=as_json,
    )


def doctor_command(as_json: JsonOption = False) -> None:
    """Check what this deployment stands on: server version and durability, schema, roles, clock.

    Example: `nostro doctor`
    """
    settings = Settings()
    database = locate(settings)
    with database.app() as conn:
        facts = {
            "python": platform.python_version(),
            "home": str(settings.home_path),
            "server": str(conn.execute("SHOW server_version").fetchone()[0]),  # type: ignore[index]
            "fsync": str(conn.execute("SHOW fsync").fetchone()[0]),  # type: ignore[index]
            "synchronous_commit": str(conn.execute("SHOW synchronous_commit").fetchone()[0]),  # type: ignore[index]
            "login": str(conn.execute("SELECT session_user").fetchone()[0]),  # type: ignore[index]
            "superuser": str(conn.execute("SHOW is_superuser").fetchone()[0]),  # type: ignore[index]
            "users": str(len(list_users(database))),
        }
    emit(facts, lambda: table(None, ("what", "is"), list(facts.items())), as_json=as_json)
