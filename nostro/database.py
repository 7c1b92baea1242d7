"""Databases, roles and schema: what `nostro init` does.

Lives here: everything that needs the owner, but people (`nostro.users`). Must not live here: anything that moves money.

Roles carry the database's name, because roles belong to the whole server:

    <db>_owner      owns every object; nobody logs in as it
    <db>_app        the base of every login but analysts': EXECUTE, SELECT; nobody logs in as it
    <db>_service    login of the program itself, and of no person: what it publishes (statements, runs) nobody else can
    <db>_preparer   group: proposes and releases payment files
    <db>_approver   group: approves them
    <db>_analyst    reads views
    <db>_restricted group: sees granted books only
    <db>_<person>   one login a person, member of app and of a group
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ledger import AccessError, RefusedError, UnavailableError
from nostro.postgres import start_embedded
from nostro.settings import Settings

if TYPE_CHECKING:
    from alembic.config import Config

GROUPS = ("preparer", "approver", "analyst")
# Members see the books that were granted to them; everybody else sees every book.
RESTRICTED = "restricted"
# The program's own login, and the group of those that work as it does (`nostro up`'s scheduler).
SERVICE = "service"
ROLES = ("owner", "app", SERVICE, *GROUPS, RESTRICTED)

Connection = psycopg.Connection[tuple[object, ...]]


@dataclass(frozen=True, slots=True)
class Database:
    """One Nostro database: how to reach it as the owner, the program itself, or a person."""

    admin_conninfo: str
    name: str
    role_prefix: str

    def role(self, suffix: str) -> str:
        """The cluster-wide role name of ``app``, ``owner``, a group, or a person."""
        return f"{self.role_prefix}_{suffix}"

    def conninfo(self, login: str = SERVICE) -> str:
        """Conninfo of this database as the program's own or a person's login.

        The administrator's password is not theirs; where the server asks for one, it is taken from PGPASSWORD or
        the password file, as libpq does.
        """
        parts = conninfo_to_dict(self.admin_conninfo) | {"dbname": self.name, "user": self.role(login)}
        return make_conninfo("", **{name: str(value) for name, value in parts.items() if name != "password"})

    def app(self) -> Connection:
        """A connection as the program itself, which is nobody's login."""
        return self.login(SERVICE)

    def login(self, person: str) -> Connection:
        """A connection as this person's own login role.

        Raises `AccessError` when there is no such login, `UnavailableError` when the server does not answer.
        """
        try:
            return psycopg.connect(self.conninfo(person))
        except psycopg.OperationalError as error:
            missing_role = "does not exist" in str(error) and "role" in str(error)
            if missing_role and person != SERVICE:
                raise AccessError(
                    f"there is no login {person!r}; add it with `nostro user add {person} --group GROUP`."
                ) from error
            if person == SERVICE and "password" in str(error):
                raise AccessError(
                    f"{self.role(SERVICE)}, the program's own login, needs its password (PGPASSWORD or the password "
                    "file); people say who they are with --as or NOSTRO_USER."
                ) from error
            if "does not exist" in str(error):
                raise RefusedError(f"there is no database {self.name!r} yet; run `nostro init`.") from error
            raise _unavailable(error) from error

    def admin(self) -> Connection:
        """A connection to the server with its administrator's rights, each statement by itself.

        Raises `UnavailableError` when the server does not answer.
        """
        try:
            return psycopg.connect(self.admin_conninfo, autocommit=True)
        except psycopg.OperationalError as error:
            raise _unavailable(error) from error

    def owner(self) -> Connection:
        """A connection with the owner's rights (DDL); only init, migrations and tests use it."""
        connection: Connection = psycopg.connect(make_conninfo(self.admin_conninfo, dbname=self.name))
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(self.role("owner"))))
        connection.commit()
        return connection


def _unavailable(error: psycopg.OperationalError) -> UnavailableError:
    said = str(error).strip().splitlines()[0].rstrip(".")
    return UnavailableError(
        f"Postgres does not answer: {said}; start it or correct NOSTRO_DATABASE_URL, then try again."
    )


def locate(settings: Settings) -> Database:
    """The database these settings mean; starts the embedded server when no server is named.

    Raises `RefusedError` when NOSTRO_DATABASE_URL is not a conninfo.
    """
    if settings.database_url is not None:
        try:
            told = conninfo_to_dict(settings.database_url)
        except psycopg.ProgrammingError as error:
            raise RefusedError(
                "NOSTRO_DATABASE_URL is not a Postgres address; write postgresql://user@host:5432/database."
            ) from error
        name = str(told.get("dbname") or settings.database)
        # `nostro init` creates the database, so the administrator starts from the one that every server has.
        admin = make_conninfo(settings.database_url, dbname="postgres")
        return Database(admin_conninfo=admin, name=name, role_prefix=name)
    admin = start_embedded(settings.home_path)
    return Database(admin_conninfo=admin, name=settings.database, role_prefix=settings.database)


def set_password(database: Database, login: str, password: str) -> None:
    """Give ``service`` or a person a password, for servers that ask for one."""
    role = sql.Identifier(database.role(login))
    with database.admin() as admin:
        admin.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(role, sql.Literal(password)))


def initialise(database: Database) -> None:
    """Create roles and database where missing and bring the schema up to date. Running it again is harmless."""
    with database.admin() as admin:
        for suffix in ROLES:
            create_role(admin, database.role(suffix), login=suffix == SERVICE)
        join(admin, database, SERVICE, "app")
        admin.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(sql.Identifier(database.role("owner"))))
        if not admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", (database.name,)).fetchone():
            admin.execute(
                sql.SQL("CREATE DATABASE {} OWNER {}").format(
                    sql.Identifier(database.name), sql.Identifier(database.role("owner"))
                )
            )
    migrate(database)


def create_role(admin: Connection, name: str, *, login: bool) -> None:
    """Create a role unless it is there."""
    if admin.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (name,)).fetchone():
        return
    kind = sql.SQL("LOGIN" if login else "NOLOGIN")
    admin.execute(sql.SQL("CREATE ROLE {} {}").format(sql.Identifier(name), kind))


def join(conn: Connection, database: Database, login: str, group: str) -> None:
    """Membership gives the group's rights, and no SET ROLE: policies and signatures look at who asks."""
    names = (sql.Identifier(database.role(name)) for name in (group, login))
    conn.execute(sql.SQL("GRANT {} TO {} WITH INHERIT TRUE, SET FALSE").format(*names))


# An upgrade waits for a lock less long than Postgres takes to look for a deadlock (1 s): it is the upgrade that gives
# way, never a writer, and writers queue behind its wait no longer than that.
_LOCK_TIMEOUT = "500ms"
_ATTEMPTS = 60


def migrate(database: Database, revision: str = "head") -> None:
    """Run the numbered migrations up to ``revision`` as the owner, in one transaction, while others go on posting.

    Raises `CheckFailedError` when books would not be what they were, `UnavailableError` when no moment without long
    transactions was found; nothing has changed then.
    """
    from alembic.config import Config  # every other command starts without it
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", "nostro:migrations")
    config.attributes |= {"role_prefix": database.role_prefix, "lock_timeout": _LOCK_TIMEOUT}
    with database.owner() as conn:
        if _version(conn) == ScriptDirectory.from_config(config).get_current_head():
            return None
    for attempt in range(_ATTEMPTS):
        try:
            return _upgrade(database, config, revision)
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            time.sleep(min(2.0, 0.1 * (attempt + 1)))
    raise UnavailableError("the books are busy with long transactions; nothing was upgraded, try again later.")


def _upgrade(database: Database, config: Config, revision: str) -> None:
    from alembic import command
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    engine = create_engine("postgresql+psycopg://", creator=database.owner, poolclass=NullPool)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def _version(conn: Connection) -> object:
    """The newest migration that this database has; None for an empty one."""
    with conn.transaction():
        if conn.execute("SELECT to_regclass('schema_version')").fetchone() == (None,):
            return None
        row = conn.execute("SELECT version_num FROM schema_version").fetchone()
    return None if row is None else row[0]
