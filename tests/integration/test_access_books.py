"""Books by login: whoever is restricted to some sees, calls and posts nothing of the others.

Relations and functions come from the catalogue, so what any package adds is under test the day it is created.
"""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from ledger import (
    AccessError,
    Connection,
    NewHold,
    RefusedError,
    UnknownAccountError,
    balance,
    book_id,
    place_holds,
    post_batch,
    publish,
    request_reopen,
    seal,
    soft_close_period,
    statement,
    translate_errors,
    trial_balance,
    verify,
)
from nostro.database import Database
from nostro.users import add_user, grant_books, grant_every_book, list_users, revoke_books
from recon import build_warehouse
from tests.integration.test_recon_week import simulate
from tests.ledger_books import DAY, entry, fresh_database, open_books

SCHEMAS = ["ledger", "settlement", "recon"]
# eve is restricted to the busy book, mallory to another one; una and ulf are the same as analysts.
PEOPLE = (("eve", "preparer"), ("mallory", "preparer"), ("una", "analyst"), ("ulf", "analyst"))


@dataclass(frozen=True, slots=True)
class World:
    """A busy book with rows nearly everywhere, and a small one."""

    db: Database
    busy: int
    small: int


@pytest.fixture(scope="module")
def world(template: Database) -> Iterator[World]:
    with (
        fresh_database(template, "nostro_test_access") as db,
        tempfile.TemporaryDirectory(prefix="nostro-access-") as folder,
    ):
        week = simulate(db, Path(folder), seed=1, anomalies=6, days=2, payments=60, payees=30)
        week.app.close()
        small = open_books(db)
        first = entry("s", "assets:cash", "liabilities:wallet:W1", 5, description="x")
        with db.app() as app:
            post_batch(app, book_id=small.book, entries=[first])
            place_holds(app, book_id=small.book, holds=[NewHold("h", "liabilities:wallet:W1", 2)])
            soft_close_period(app, book_id=small.book, through=DAY - dt.timedelta(days=30))
            request_reopen(app, book_id=small.book, from_date=DAY - dt.timedelta(days=40), reason="a bill came late")
            publish(app)
            for book in (week.book_id, small.book):
                seal(app, book_id=book)
            names = dict(app.execute("SELECT book_id, name FROM ledger.book").fetchall())
        for (person, group), book in zip(PEOPLE, (week.book_id, small.book) * 2, strict=True):
            add_user(db, person, group, [str(names[book])])
        yield World(db, week.book_id, small.book)


def relations(conn: Connection) -> list[str]:
    """Tables and views that this login may read, by name; stage tables hold nothing that is committed."""
    rows = conn.execute(
        "SELECT c.oid::regclass::text FROM pg_class c WHERE c.relnamespace = ANY (%s::regnamespace[])"
        " AND c.relkind IN ('r', 'p', 'v', 'm') AND NOT starts_with(c.relname, 'stage_')"
        " AND has_table_privilege(c.oid, 'SELECT') ORDER BY 1",
        (SCHEMAS,),
    ).fetchall()
    return [str(name) for (name,) in rows]


def shared(conn: Connection) -> set[str]:
    rows = conn.execute("SELECT unnest(ledger.shared_tables())::text").fetchall()
    return {str(name) for (name,) in rows}


def content(conn: Connection, relation: str) -> set[str]:
    """Every row of a relation as text."""
    query = sql.SQL("SELECT r::text FROM {} r").format(sql.Identifier(*relation.split(".")))
    with conn.transaction():
        return {str(row[0]) for row in conn.execute(query)}


def test_the_shared_tables_are_these(world: World) -> None:
    """What every login may read whole: reference data, and points of knowledge order. None has a book."""
    with world.db.owner() as conn:
        found = {name for name in shared(conn) if ".stage_" not in name}
        with_book = conn.execute(
            "SELECT attrelid::regclass::text FROM pg_attribute"
            " WHERE attname = 'book_id' AND attrelid = ANY (ledger.shared_tables())"
        ).fetchall()
    assert found == {
        "ledger.balance_fold",
        "ledger.control", "ledger.currency", "ledger.event_consumer", "ledger.event_offset", "ledger.publication",
        "ledger.rollup_step", "settlement.batch_mark", "settlement.file_transition", "settlement.instruction_state",
        "settlement.instruction_transition", "settlement.reason_policy", "settlement.recall_outcome",
        "settlement.send_journal", "settlement.status_code",
    }  # fmt: skip
    assert {name for (name,) in with_book} <= {"recon.stage_line"}


def test_every_other_table_has_its_policy_and_every_view_asks_as_its_reader(world: World) -> None:
    with world.db.owner() as conn:
        bare = conn.execute(
            "SELECT c.oid::regclass::text FROM pg_class c WHERE c.relnamespace = ANY (%s::regnamespace[])"
            " AND ((c.relkind IN ('r', 'p') AND c.oid::regclass <> ALL (ledger.shared_tables())"
            "       AND (NOT c.relrowsecurity OR (SELECT count(*) FROM pg_policy WHERE polrelid = c.oid) <> 2))"
            "   OR (c.relkind = 'v' AND ('security_invoker=true' = ANY (c.reloptions)) IS NOT TRUE)"
            "   OR c.relkind = 'm')",
            (SCHEMAS,),
        ).fetchall()
        blind = conn.execute(
            "SELECT polrelid::regclass::text FROM pg_policy WHERE pg_get_expr(polqual, polrelid) = 'false'"
        ).fetchall()
    assert bare == []
    assert blind == []  # a table that points to no book: say in ledger.granted_rows how it does


def test_a_restricted_login_sees_its_books_and_no_row_of_another(world: World) -> None:
    """For every relation: what the two see apart is what an unrestricted login sees, and they share nothing."""
    with world.db.owner() as owner:
        common = shared(owner)
    busy = 0
    with world.db.app() as app, world.db.login("eve") as eve, world.db.login("mallory") as mallory:
        for name in relations(app):
            every, hers, his = content(app, name), content(eve, name), content(mallory, name)
            if name in common:
                assert hers == his == every, name
                continue
            assert hers | his == every, name
            assert not hers & his, name
            busy += bool(hers)
    assert busy > 70  # the world has rows nearly everywhere


def test_nothing_stays_in_a_stage_table(world: World) -> None:
    """They have no policy, so what a transaction writes there must end with it: after a busy week they are empty."""
    with world.db.owner() as owner:
        names = owner.execute(
            "SELECT relnamespace::regnamespace::text, relname FROM pg_class"
            " WHERE starts_with(relname, 'stage_') AND relkind = 'r' AND relnamespace = ANY (%s::regnamespace[])",
            (SCHEMAS,),
        ).fetchall()
        assert len(names) == 5
        for name in names:
            count = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(*map(str, name)))
            assert owner.execute(count).fetchone() == (0,), name


def test_restricted_analysts_alike(world: World) -> None:
    """Views reach the policies below them; an analyst who is restricted to nothing busy sees nothing busy."""
    seen = 0
    with world.db.login("ann") as ann, world.db.login("una") as una, world.db.login("ulf") as ulf:
        for name in relations(ann):
            every, hers, his = (content(conn, name) for conn in (ann, una, ulf))
            assert hers | his == every, name
            assert not hers & his, name
            seen += bool(hers)
    assert seen >= 20


# What a login may call that names no book, and why it shows none.
FREE = {
    "ledger.books_seen": "says which books this login has",
    "ledger.book_currency": "a currency's number",
    "ledger.closed_through": "asks with the caller's rights: row-level security",
    "ledger.soft_closed_through": "asks with the caller's rights: row-level security",
    "ledger.event_page": "asks with the caller's rights: row-level security",
    "ledger.is_approver": "says what group this login is in",
    "ledger.merkle_root": "a hash of its argument",
    "recon.age_bucket": "puts a number of days into a class",
    "settlement.person": "the name of a login",
    "settlement.send_head": "how many sends there were, of all books, and a hash of them",
    "settlement.open_send_journal": "begins the deployment's journal of sends; shows whether it did",
    "ledger.fold_deferred": "folds what is published, of all books; shows a number",
    "ledger.publish": "numbers what is committed, of all books; shows a number",
    "ledger.publish_and_roll_up": "numbers what is committed, of all books; shows a number",
}
# What a parameter that is no book must name for the call to be about the busy book.
MEANS = {
    "p_account_id": "SELECT min(account_id) FROM ledger.account WHERE book_id = %s",
    "p_bank_account_id": "SELECT min(bank_account_id) FROM settlement.bank_account_root WHERE book_id = %s",
    "p_posting_id": "SELECT min(posting_id) FROM ledger.posting WHERE book_id = %s",
    "p_statement_id": "SELECT min(statement_id) FROM recon.statement WHERE book_id = %s",
    "p_finding_id": "SELECT min(finding_id) FROM recon.statement_finding WHERE book_id = %s",
    "p_end_to_end_id": "SELECT min(end_to_end_id) FROM settlement.instruction_current WHERE book_id = %s",
    "p_match_set_id": "SELECT min(match_set_id) FROM recon.match_set WHERE book_id = %s",
}
FILE = {"settlement": "SELECT min(file_id) FROM settlement.payment_file WHERE book_id = %s",
        "recon": "SELECT min(file_id) FROM recon.source_file WHERE book_id = %s"}  # fmt: skip
RUN = {"settlement": "SELECT min(run_id) FROM settlement.run WHERE book_id = %s",
       "recon": "SELECT min(run_id) FROM recon.run WHERE book_id = %s"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Callable:
    """A function that some login may call: name, and parameter names with their types."""

    name: str
    parameters: tuple[tuple[str, str], ...]

    def target(self) -> tuple[str, str] | None:
        """The parameter that says which book the call is about, and a query for one of a book; None: there is none."""
        schema = self.name.split(".")[0]
        names = [name for name, _ in self.parameters]
        if "p_book_id" in names:
            return "p_book_id", "SELECT %s::int"
        for name, query in {"p_file_id": FILE.get(schema, ""), "p_run_id": RUN.get(schema, ""), **MEANS}.items():
            if name in names:
                return name, query
        return None

    def call(self, parameter: str | None) -> sql.Composed:
        """A call with NULL for everything but one parameter."""
        arguments = sql.SQL(", ").join(
            sql.SQL("{} => {}::{}").format(
                sql.Identifier(name), sql.Placeholder() if name == parameter else sql.NULL, sql.SQL(kind)
            )
            for name, kind in self.parameters
        )
        return sql.SQL("SELECT * FROM {}({})").format(sql.Identifier(*self.name.split(".")), arguments)


def callables(conn: Connection) -> list[Callable]:
    rows = conn.execute(
        "SELECT p.pronamespace::regnamespace || '.' || p.proname,"
        "       (SELECT array_agg(ARRAY[p.proargnames[n], format_type(t.oid, NULL)] ORDER BY n)"
        "          FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY AS t (oid, n))"
        "  FROM pg_proc p WHERE p.pronamespace = ANY (%s::regnamespace[])"
        "   AND EXISTS (SELECT FROM aclexplode(p.proacl) a WHERE a.grantee <> p.proowner) ORDER BY 1",
        (SCHEMAS,),
    ).fetchall()
    return [Callable(str(name), tuple((n, t) for n, t in parameters or ())) for name, parameters in rows]  # type: ignore[attr-defined, union-attr, operator, unused-ignore]


def test_every_function_refuses_a_book_that_was_not_granted(world: World) -> None:
    """mallory, also with the rights of an approver, calls everything with ids of the busy book."""
    with world.db.owner() as owner:
        functions = callables(owner)
        ids = {
            function: owner.execute(target[1].encode(), (world.busy,)).fetchone()
            for function in functions
            if (target := function.target()) is not None
        }
    role = sql.Identifier(world.db.role("mallory"))
    with world.db.admin() as admin:
        for group in ("approver", "service"):  # not even the program's rights lead around the grants of books
            admin.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(world.db.role(group)), role))
    open_to_all, refused = [], 0
    with world.db.login("mallory") as mallory:
        for function in functions:
            target = function.target()
            if function.name in FREE:
                continue
            value = None if target is None else ids[function][0]  # type: ignore[index]
            assert target is None or value is not None, f"the busy book has nothing for {function.name}"
            try:
                with mallory.transaction():
                    mallory.execute(function.call(target and target[0]), () if target is None else (value,))
                open_to_all.append(function.name)
            except psycopg.Error as error:
                if error.diag.constraint_name == "book_granted":
                    refused += 1
                else:
                    open_to_all.append(f"{function.name}: {error}")
    with world.db.admin() as admin:
        admin.execute(sql.SQL("REVOKE {} FROM {}").format(sql.Identifier(world.db.role("service")), role))
    assert open_to_all == [], "begin these with PERFORM ledger.require_book(p_book_id)"
    assert refused > 60


def test_what_is_free_shows_nothing_of_another_book(world: World) -> None:
    with world.db.login("mallory") as mallory:
        assert mallory.execute("SELECT ledger.books_seen()").fetchone() == ([world.small],)
        assert mallory.execute("SELECT DISTINCT book_id FROM ledger.event_page(0, 1000000, NULL)").fetchall() == [
            (world.small,)
        ]
        assert mallory.execute("SELECT ledger.soft_closed_through(%s)", (world.busy,)).fetchone() == (None,)
        assert mallory.execute("SELECT ledger.soft_closed_through(%s)", (world.small,)).fetchone() != (None,)


def test_posting_on_another_books_accounts_says_nothing_of_them(db: Database) -> None:
    """Neither code, floor nor balance: what fits above the floor and what does not get one answer."""
    ours, theirs = open_books(db), open_books(db)
    with db.app() as app:
        post_batch(app, book_id=theirs.book, entries=[entry("f", "assets:cash", "liabilities:wallet:W1", 500)])
        row = app.execute("SELECT name FROM ledger.book WHERE book_id = %s", (ours.book,)).fetchone()
    assert row is not None
    add_user(db, "mallory", "preparer", [str(row[0])])
    legs = [theirs["liabilities:wallet:W1"], ours["assets:cash"]]
    calls = (
        "post_batch(%s, NULL, %s, %s, NULL, NULL, NULL, %s, %s, %s)",
        "post_batch(%s, NULL, %s, %s, NULL, NULL, NULL, %s, %s, %s, 'atomic')",
        "post_batch(%s, NULL, %s, %s, NULL, NULL, NULL, %s, %s, %s, 'independent')",
        "post_each(%s, %s, %s, NULL, NULL, %s, %s, %s)",
        "post_counted(%s, NULL, %s, %s, NULL, NULL, NULL, %s, %s, %s)",
    )
    free = "SELECT count(*) FROM (SELECT FROM ledger.balance WHERE account_id = %s FOR UPDATE NOWAIT) b"
    said: list[str] = []
    with db.login("mallory") as conn, db.owner() as owner:
        for call, amount in product(calls, (500, 501)):
            query = (
                f"SELECT r.message FROM ledger.{call} r" if "_each" in call or "'" in call else f"SELECT ledger.{call}"
            )
            try:
                with translate_errors():
                    given = (ours.book, ["k"], [DAY], [1, 1], legs, [amount, -amount])
                    said += [str(text) for (text,) in conn.execute(query.encode(), given).fetchall()]
                assert owner.execute(free, legs[:1]).fetchone() == (1,)  # no lock is kept on it either
                owner.rollback()
            except UnknownAccountError as error:
                said.append(str(error).removesuffix(" Open the account first."))
            conn.rollback()
    words = {text.removeprefix("Entry k is refused, and its whole batch with it: ") for text in said}
    assert (len(said), words) == (len(calls) * 2, {f"Account {legs[0]} does not exist in this book."})


def test_a_file_of_another_book_is_not_cited(world: World) -> None:
    with world.db.app() as app:
        row = app.execute("SELECT min(source_id) FROM ledger.source WHERE book_id = %s", (world.busy,)).fetchone()
    assert row is not None and row[0] is not None
    with world.db.login("mallory") as conn, pytest.raises(RefusedError) as caught:
        one = entry("cite", "assets:cash", "income:sales", 1)
        post_batch(conn, book_id=world.small, entries=[one], source_id=int(str(row[0])))
    assert caught.value.constraint == "batch_source"


def test_a_restricted_login_works_in_its_book(world: World) -> None:
    with world.db.login("mallory") as conn:
        assert book_id(conn) == world.small
        post_batch(conn, book_id=world.small, entries=[entry("m", "assets:cash", "income:sales", 5)])
        assert balance(conn, book_id=world.small, account="assets:cash")[0].posted_minor == 10
        assert trial_balance(conn, book_id=world.small).is_zero
        assert len(list(statement(conn, book_id=world.small, account="assets:cash"))) == 2
        assert verify(conn, book_id=world.small) == ()
        with pytest.raises(AccessError) as caught:
            post_batch(conn, book_id=world.busy, entries=[])
        assert caught.value.constraint == "book_granted"
        with pytest.raises(AccessError), translate_errors():
            conn.execute("SELECT ledger.define_book('Mine', 'EUR')")
        conn.rollback()


def test_there_is_no_way_around(world: World) -> None:
    """No SET ROLE out of the restriction, no right to say who sees what, no switching policies off."""
    ways = (
        f"SET ROLE {world.db.role('app')}",
        f"SET ROLE {world.db.role('preparer')}",
        f"SET ROLE {world.db.role('owner')}",
        "SET SESSION AUTHORIZATION postgres",
        f"INSERT INTO ledger.book_grant (login, book_id) VALUES ('{world.db.role('mallory')}', {world.busy})",
        "ALTER TABLE ledger.posting DISABLE ROW LEVEL SECURITY",
        "DROP POLICY granted_books ON ledger.posting",
        "SELECT ledger.apply_access()",
        "COPY ledger.posting FROM STDIN",
    )
    with world.db.login("mallory") as conn:
        for way in ways:
            with pytest.raises(psycopg.errors.InsufficientPrivilege), conn.transaction():
                conn.execute(way.encode())
        conn.execute("SET row_security = off")  # then a policy is an error, not a way around
        with pytest.raises(psycopg.errors.InsufficientPrivilege), conn.transaction():
            conn.execute("SELECT FROM ledger.posting LIMIT 1")
        leak = "CREATE FUNCTION pg_temp.leak(bigint) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS"
        conn.execute("SET row_security = on")
        conn.execute(f"{leak} $$BEGIN RAISE NOTICE 'seen %', $1; RETURN true; END$$".encode())
        seen: list[str] = []
        conn.add_notice_handler(lambda notice: seen.append(str(notice.message_primary)))
        rows = conn.execute("SELECT count(*) FROM ledger.posting WHERE pg_temp.leak(posting_id)").fetchone()
        assert rows is not None and len(seen) == rows[0]  # it was asked about granted rows only
        conn.rollback()


def test_the_warehouse_holds_what_its_builder_sees(world: World, tmp_path: Path) -> None:
    """The nightly build runs as the application, which is not restricted; who is builds a smaller one."""
    with world.db.app() as app, world.db.login("mallory") as mallory:
        every = build_warehouse(app, tmp_path / "every.duckdb").tables
        hers = build_warehouse(mallory, tmp_path / "hers.duckdb").tables
        accounts = "SELECT count(*) FROM ledger.account WHERE book_id = %s"
        assert mallory.execute(accounts, (world.small,)).fetchone() == (hers["account"],)
    assert hers["account"] < every["account"] and hers["statement_line"] == 0 < every["statement_line"]


def test_grants_are_rows_and_the_last_counts(db: Database) -> None:
    first, second = open_books(db), open_books(db)
    with db.app() as conn:
        names = [str(name) for (name,) in conn.execute("SELECT name FROM ledger.book ORDER BY book_id").fetchall()]

    def books(person: str) -> tuple[str, ...] | None:
        return next(user.books for user in list_users(db) if user.name == person)

    person = "gina"
    add_user(db, person, "preparer")
    try:
        assert books(person) is None
        with db.login(person) as conn:
            seen = "SELECT count(*) FROM ledger.book"
            assert conn.execute(seen).fetchone() == (2,)
            conn.commit()
            grant_books(db, person, names[:1])
            assert books(person) == (names[0],)
            assert conn.execute(seen).fetchone() == (1,)  # an open session feels it
            conn.commit()
            grant_books(db, person, names[1:])
            revoke_books(db, person, names[:1])
            assert books(person) == (names[1],)
            with pytest.raises(UnknownAccountError):
                post_batch(conn, book_id=first.book, entries=[entry("a", "assets:cash", "income:sales", 1)])
            post_batch(conn, book_id=second.book, entries=[entry("a", "assets:cash", "income:sales", 1)])
            revoke_books(db, person, names[1:])
            assert books(person) == ()
            grant_every_book(db, person)
            assert books(person) is None
            assert conn.execute(seen).fetchone() == (2,)
            conn.commit()
            grant_books(db, person, names[:1])  # what was said before "every book" counts no longer
            assert books(person) == (names[0],)
            with pytest.raises(RefusedError, match="there is no book 'Nobody'"):
                grant_books(db, person, ["Nobody"])
            with pytest.raises(RefusedError, match="sees every book"):
                revoke_books(db, "alice", names[:1])
            with pytest.raises(RefusedError, match="there is no login 'nobody'"):
                grant_books(db, "nobody", names[:1])
        with db.app() as conn:
            log = conn.execute("SELECT count(*), count(DISTINCT recorded_by) FROM ledger.book_grant").fetchone()
        assert log == (6, 1)
    finally:
        grant_every_book(db, person)
