"""People: one login each, the groups they are in, the books they may see.

Lives here: what `nostro user` does, each call one transaction. Must not live here: what a group or a book grant allows
(that is SQL: GRANT, and `ledger/sql/025_access.sql`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from psycopg import sql

from ledger import RefusedError
from nostro.database import GROUPS, RESTRICTED, ROLES, SERVICE, Connection, Database, create_role, join

_PERSON = re.compile(r"[a-z][a-z0-9]{0,30}")


@dataclass(frozen=True, slots=True)
class User:
    """One person: login, groups, and the names of the books they are restricted to (None: every book)."""

    name: str
    groups: tuple[str, ...]
    books: tuple[str, ...] | None


def add_user(database: Database, person: str, group: str, books: Sequence[str] = ()) -> None:
    """Create one person's login, put it into a group, and restrict it to these books (none given: every book).

    Raises `RefusedError` for a name that is not a short lower-case word, an unknown group or an unknown book; nothing
    is created then.
    """
    if not _PERSON.fullmatch(person) or person in ROLES:
        raise RefusedError(f"login {person!r} must be one lower-case word (a–z, 0–9) other than {', '.join(ROLES)}.")
    if group not in GROUPS:
        raise RefusedError(f"group {group!r} is unknown; take one of {', '.join(GROUPS)}.")
    base = "analyst" if group == "analyst" else "app"
    with _administration(database) as conn:
        if SERVICE in _memberships(conn, database, person):
            raise RefusedError(
                f"{person} is a login of the program; what it publishes nobody else looks at, so it is no person's."
            )
        create_role(conn, database.role(person), login=True)
        for member_of in {base, group}:
            join(conn, database, person, member_of)
        if books:
            _record(conn, database, person, _book_ids(conn, books), granted=True)
            join(conn, database, person, RESTRICTED)


def add_service(database: Database, name: str) -> None:
    """Create a login that works as the program does, and prepares as people do; it can approve nothing.

    For programs alone: what it publishes (statements, runs of rules) no second person looks at. Raises `RefusedError`
    when the login is an approver's.
    """
    with _administration(database) as conn:
        if "approver" in _memberships(conn, database, name):
            raise RefusedError(f"{name} is an approver's login; the program publishes with one of its own.")
        create_role(conn, database.role(name), login=True)
        for member_of in ("app", SERVICE, "preparer"):
            join(conn, database, name, member_of)


def grant_books(database: Database, person: str, books: Sequence[str]) -> None:
    """Let a login see these books; one that saw every book is restricted to these from now on.

    Raises `RefusedError` when there is no such login or book; nothing changes then.
    """
    with _administration(database) as conn:
        groups = _groups_of(conn, database, person)
        for group in groups:  # logins from before: SET ROLE must not lead out of the restriction
            join(conn, database, person, group)
        _record(conn, database, person, _book_ids(conn, books), granted=True)
        join(conn, database, person, RESTRICTED)


def revoke_books(database: Database, person: str, books: Sequence[str]) -> None:
    """Take these books from a restricted login. The next statement of an open session feels it.

    Raises `RefusedError` when there is no such login or book, or the login is not restricted; nothing changes then.
    """
    with _administration(database) as conn:
        if RESTRICTED not in _groups_of(conn, database, person):
            raise RefusedError(
                f"{person} sees every book; first say which it may see: `nostro user grant-book {person} BOOK…`."
            )
        _record(conn, database, person, _book_ids(conn, books), granted=False)


def grant_every_book(database: Database, person: str) -> None:
    """Lift the restriction of a login.

    Raises `RefusedError` when there is no such login.
    """
    with _administration(database) as conn:
        if RESTRICTED in _groups_of(conn, database, person):
            _record(conn, database, person, [None], granted=True)
            names = (sql.Identifier(database.role(name)) for name in (RESTRICTED, person))
            conn.execute(sql.SQL("REVOKE {} FROM {}").format(*names))


def list_users(database: Database) -> tuple[User, ...]:
    """Every person, by name."""
    with database.app() as conn:
        members = conn.execute(
            "SELECT m.rolname, array_agg(g.rolname::text ORDER BY g.rolname)"
            " FROM pg_auth_members a JOIN pg_roles m ON m.oid = a.member JOIN pg_roles g ON g.oid = a.roleid"
            " WHERE g.rolname = ANY(%s) AND m.rolcanlogin AND NOT m.rolsuper GROUP BY 1 ORDER BY 1",
            ([database.role(group) for group in (*GROUPS, SERVICE, RESTRICTED)],),
        ).fetchall()
        granted = conn.execute(
            "SELECT a.login, array_agg(b.name ORDER BY b.name)"
            " FROM ledger.book_access a JOIN ledger.book b USING (book_id) GROUP BY 1"
        ).fetchall()
    books: dict[object, tuple[str, ...]] = {login: tuple(names) for login, names in granted}  # type: ignore[arg-type]
    cut = len(database.role_prefix) + 1
    users = []
    for login, roles in members:
        groups = [str(role)[cut:] for role in roles]  # type: ignore[attr-defined]
        kept = books.get(login, ()) if RESTRICTED in groups else None
        users.append(User(str(login)[cut:], tuple(group for group in groups if group != RESTRICTED), kept))
    return tuple(users)


@contextmanager
def _administration(database: Database) -> Iterator[Connection]:
    """One transaction with the administrator's rights on roles; the owner's are taken for rows."""
    with database.owner() as conn:
        conn.execute("RESET ROLE")
        yield conn


def _groups_of(conn: Connection, database: Database, person: str) -> list[str]:
    """The groups of a person, without the database's prefix."""
    groups = _memberships(conn, database, person)
    if not groups or person in ROLES:
        raise RefusedError(f"there is no login {person!r}; add it with `nostro user add {person} --group GROUP`.")
    return groups


def _memberships(conn: Connection, database: Database, login: str) -> list[str]:
    """The same, empty for a login that is not there."""
    rows = conn.execute(
        "SELECT g.rolname FROM pg_auth_members a"
        " JOIN pg_roles m ON m.oid = a.member JOIN pg_roles g ON g.oid = a.roleid"
        " WHERE m.rolname = %s AND g.rolname = ANY (%s)",
        (database.role(login), [database.role(group) for group in (*GROUPS, SERVICE, "app", RESTRICTED)]),
    ).fetchall()
    return [str(role)[len(database.role_prefix) + 1 :] for (role,) in rows]


def _book_ids(conn: Connection, names: Sequence[str]) -> list[int | None]:
    found = {str(name): book_id for name, book_id in conn.execute("SELECT name, book_id FROM ledger.book")}
    if unknown := [name for name in names if name not in found]:
        known = ", ".join(sorted(map(str, found))) or "none yet"
        raise RefusedError(f"there is no book {unknown[0]!r} (books: {known}); set it up first.")
    return [int(str(found[name])) for name in names]


def _record(conn: Connection, database: Database, person: str, books: Sequence[int | None], *, granted: bool) -> None:
    """Write down what changes; what is so already is not said again."""
    conn.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(database.role("owner"))))
    conn.execute(
        "INSERT INTO ledger.book_grant (login, book_id, is_granted)"
        " SELECT %(login)s, b.book_id, %(granted)s FROM unnest(%(books)s::int[]) AS b (book_id)"
        "  WHERE %(granted)s <> EXISTS (SELECT FROM ledger.book_access a"
        "                                WHERE a.login = %(login)s AND a.book_id = b.book_id)",
        {"login": database.role(person), "granted": granted, "books": list(books)},
    )
    conn.execute("RESET ROLE")
