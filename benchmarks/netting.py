"""How fast open items become sealed instructions, against a bare GROUP BY and COPY of the same rows.

Lives here: the measurement behind `nostro bench netting`. Must not live here: printing, defaults, the steps themselves.

Ours: `open_run` (one consistent cut, netted per payee under its rules, obligations with their postings),
`record_file` (instructions) and `seal` (checks that every group is whole and takes nothing twice, posts Dr payable /
Cr transit with balances, keys and texts), each committed. Not in it, and told apart: writing the pain.001, its gates,
and approving.
Reference: GROUP BY over a bare copy of the same items (account, posting, amount), then COPY of what ours wrote into
bare tables without key, index or trigger, one commit; with a row of lineage (book, posting, group) for each item,
as the view `clearing_member` gives it, while ours names batches and what is not a whole batch (ADR 0011);
`times_the_rows_as_stored` leaves those out, `times_without_texts_and_file` the entries' texts and the file's bytes. The
rows are encoded before
the clock starts and sent in pieces of 64 KiB, so that the server is what is measured; `times_a_copy_row_by_row` is
against a client that hands the same encoded rows over one at a time, which takes longer than the server does.

Each round of ours stands between two references, that over the rows of the round before and that over its own, and is
compared with their mean; before each of the three a checkpoint, so that none waits for what was written before it. A
first round warms up and is not counted. Each round is over new items, so that the settled history grows by a round
each time; between rounds the tables are vacuumed, as autovacuum would. Figures are medians. With delay days (T+n) as
many days' items wait, open, while a round settles the day that has become due.
"""

from __future__ import annotations

import datetime as dt
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from benchmarks.company import COMPANY, payable, payee
from benchmarks.result import BenchResult, Figure, peak_rss_mb
from benchmarks.server import throw_away
from ledger import Connection
from nostro.database import Database
from nostro.users import add_user
from settlement import apply_setup, approve
from settlement.composing import batches_json, compose, read_frame, read_obligations
from settlement.iso20022 import gate_file, render

_FIRST = dt.date(2026, 11, 2)
_ENTRIES_PER_BATCH = 100_000
_POST = """
SELECT new_count FROM ledger.post_counted(%(book)s, NULL,
    (SELECT array_agg('sale-' || n ORDER BY n) FROM generate_series(%(from)s::int, %(to)s::int) n),
    array_fill(%(day)s::date, ARRAY[%(count)s]), NULL, NULL, NULL,
    (SELECT array_agg(e ORDER BY e, k) FROM generate_series(1, %(count)s::int) e, generate_series(1, 2) k),
    (SELECT array_agg(CASE k WHEN 1 THEN %(income)s
                      ELSE (%(accounts)s::int[])[(1 + (n::bigint * 7919) %% %(payees)s)::int] END ORDER BY n, k)
       FROM generate_series(%(from)s::int, %(to)s::int) n, generate_series(1, 2) k),
    (SELECT array_agg((CASE k WHEN 1 THEN 1 ELSE -1 END) * (100 + n %% 5000)::bigint ORDER BY n, k)
       FROM generate_series(%(from)s::int, %(to)s::int) n, generate_series(1, 2) k))
"""
_OPEN_RUN = """
SELECT run_id FROM settlement.open_run(%s, %s, %s, %s, %s,
    ROW(ARRAY[%s]::int[], ARRAY[%s]::date[], '{daily}'::text[], NULL::text[])::settlement.calendar_terms)
"""
# What ours wrote for a run, table by table: the rows that the reference copies.
_WRITTEN = {
    "obligation": sql.SQL("SELECT * FROM settlement.obligation WHERE run_id = {run}"),
    "instruction": sql.SQL(
        "SELECT i.* FROM settlement.instruction i JOIN settlement.payment_file f USING (file_id) WHERE f.run_id = {run}"
    ),
    "clearing_group": sql.SQL(
        "SELECT g.* FROM settlement.clearing_group g JOIN settlement.obligation o"
        " ON o.obligation_id = g.group_id WHERE o.run_id = {run}"
    ),
    "clearing_member": sql.SQL(
        "SELECT m.book_id, m.posting_id, m.group_id FROM settlement.clearing_member m JOIN settlement.obligation o"
        " ON o.obligation_id = m.group_id WHERE o.run_id = {run}"
    ),
    "entry": sql.SQL(
        "SELECT e.* FROM ledger.entry e JOIN settlement.clearing_group g USING (entry_id)"
        " JOIN settlement.obligation o ON o.obligation_id = g.group_id WHERE o.run_id = {run}"
    ),
    "posting": sql.SQL(
        "SELECT p.* FROM ledger.posting p JOIN settlement.clearing_group g USING (entry_id)"
        " JOIN settlement.obligation o ON o.obligation_id = g.group_id WHERE o.run_id = {run}"
    ),
    "entry_text": sql.SQL(
        "SELECT t.* FROM ledger.entry_text t JOIN settlement.clearing_group g USING (entry_id)"
        " JOIN settlement.obligation o ON o.obligation_id = g.group_id WHERE o.run_id = {run}"
    ),
    "payment_file": sql.SQL("SELECT * FROM settlement.payment_file WHERE run_id = {run}"),
}
# Steps of the reference and the tables that each copies; the rows of lineage are arrays in ours.
_COPIES = {
    "copy_lineage": ("clearing_member",),
    "copy": ("obligation", "instruction", "clearing_group", "entry", "posting"),
    "copy_texts_and_file": ("entry_text", "payment_file"),
}
_REFERENCE = ("group_by", *_COPIES)
_AS_STORED = ("group_by", "copy", "copy_texts_and_file")
_WITHOUT_FILE = ("group_by", "copy_lineage", "copy")
_PIECE = 1 << 16
_MAKE = sql.SQL("CREATE TABLE {} AS {} WITH NO DATA")
_COPY_OUT = sql.SQL("COPY ({}) TO STDOUT (FORMAT binary)")
_COPY_IN = sql.SQL("COPY {} FROM STDIN (FORMAT binary)")
_EMPTY = sql.SQL("TRUNCATE {}")


def run(*, items: int, payees: int, repeats: int, delay_days: int = 0) -> BenchResult:
    """Measure on a throw-away embedded server: `items` new open items a round, paid T+`delay_days`."""
    with throw_away() as database, tempfile.TemporaryDirectory(prefix="nostro-netting-") as home:
        for person, group in (("alice", "preparer"), ("bob", "approver")):
            add_user(database, person, group)
        return _Bench(database, Path(home), payees, delay_days).measure(items, max(repeats, 3))


@dataclass(slots=True)
class _Watch:
    """Seconds by name of each step, one figure a round."""

    steps: dict[str, list[float]] = field(default_factory=dict)

    @contextmanager
    def over(self, name: str, is_counted: bool = True) -> Iterator[None]:
        start = time.perf_counter()
        yield
        if is_counted:
            self.steps.setdefault(name, []).append(time.perf_counter() - start)

    def median(self, name: str) -> float:
        return statistics.median(self.steps[name])

    def sums(self, *names: str) -> list[float]:
        """Seconds of these steps together, one figure a round."""
        return [sum(parts) for parts in zip(*(self.steps[name] for name in names), strict=True)]


class _Bench:
    """A book with payees, and both ways to settle what they are owed."""

    def __init__(self, database: Database, home: Path, payees: int, delay_days: int) -> None:
        self._database = database
        self._delay_days = delay_days
        self._watch = _Watch()
        self._payees = payees
        self._rows: dict[str, list[bytes]] = {}  # of the last round, by table, encoded for COPY
        path = home / "setup.yaml"
        path.write_text(COMPANY)
        codes = [payable(n) for n in range(payees)]
        with database.app() as conn:
            self._book = apply_setup(conn, path).book_id
            opened = conn.execute(
                "SELECT ledger.open_accounts(%s, %s, %s, %s, %s, %s::text[], %s::bigint[])",
                (
                    self._book,
                    [*codes, "income:fees"],
                    [*["liability"] * payees, "income"],
                    ["EUR"] * (payees + 1),
                    [*[True] * payees, False],
                    [None] * (payees + 1),
                    [None] * (payees + 1),
                ),
            ).fetchone()
            assert opened is not None
            accounts: list[int] = opened[0]  # type: ignore[assignment]
            self._accounts, self._income = accounts[:-1], accounts[-1]
            conn.execute(
                "SELECT settlement.declare_payees(%s, %s)",
                (self._book, Jsonb([payee(n, delay_days=delay_days) for n in range(payees)])),
            )
        with database.owner() as conn:
            conn.execute("CREATE TABLE public.ref_item (account_id int, posting_id bigint, amount_minor bigint)")
            for table, query in _WRITTEN.items():
                conn.execute(_MAKE.format(_reference(table), query.format(run=sql.Literal(0))))

    def measure(self, items: int, rounds: int) -> BenchResult:
        blocks: list[int] = []
        for number in range(1 + rounds + self._delay_days):
            day = _FIRST + dt.timedelta(days=number)
            self._sell(items, number, day)
            if number < self._delay_days:  # nothing is due yet
                continue
            is_counted = number > self._delay_days
            if is_counted:
                self._reference("before")
            run_id, read = self._settle(day, is_counted)
            self._keep(run_id)
            if is_counted:
                blocks.append(read)
                self._reference("after")
                self._reference("row_by_row", piece=1)
        ours = self._watch.sums("open_run", "record_file", "seal")
        theirs, stored, without_file = (
            [
                statistics.mean(pair)
                for pair in zip(
                    *(self._watch.sums(*(f"{step}_{when}" for step in steps)) for when in ("before", "after")),
                    strict=True,
                )
            ]
            for steps in (_REFERENCE, _AS_STORED, _WITHOUT_FILE)
        )
        by_row = self._watch.sums(*(f"{step}_row_by_row" for step in _REFERENCE))
        others: list[tuple[str, Figure]] = [
            (f"{name}_s", round(self._watch.median(name), 2)) for name in self._watch.steps
        ]
        times = [a / b for a, b in zip(ours, theirs, strict=True)]

        def median_times(reference: Sequence[float]) -> float:
            return round(statistics.median(a / b for a, b in zip(ours, reference, strict=True)), 2)

        others += [
            ("times_the_reference", median_times(theirs)),
            ("times_the_reference_by_round", ", ".join(f"{each:.2f}" for each in times)),
            ("times_a_copy_row_by_row", median_times(by_row)),
            ("times_the_rows_as_stored", median_times(stored)),
            ("times_without_texts_and_file", median_times(without_file)),
            ("payees", self._payees),
            ("delay_days", self._delay_days),
            ("blocks_read_by_netting", ", ".join(str(read) for read in blocks)),
        ]
        return BenchResult(
            bench="netting",
            rows=items,
            ours="open items netted, recorded as instructions and sealed, each step committed",
            ours_per_s=items / statistics.median(ours),
            reference="open items of a bare GROUP BY plus COPY of the same rows into bare tables, one commit",
            reference_per_s=items / statistics.median(theirs),
            peak_rss_mb=peak_rss_mb(),
            others=tuple(others),
        )

    def _sell(self, items: int, number: int, day: dt.date) -> None:
        with self._database.app() as conn:
            for start in range(number * items, (number + 1) * items, _ENTRIES_PER_BATCH):
                count = min(_ENTRIES_PER_BATCH, (number + 1) * items - start)
                values = {"book": self._book, "from": start + 1, "to": start + count, "count": count, "day": day}
                values |= {"income": self._income, "accounts": self._accounts, "payees": self._payees}
                conn.execute(_POST, values)
                conn.commit()
        with self._database.owner() as owner:  # as autovacuum would between two nights
            owner.commit()
            owner.autocommit = True
            owner.execute("VACUUM (ANALYZE)")

    def _settle(self, day: dt.date, is_counted: bool) -> tuple[int, int]:
        now = dt.datetime.combine(day, dt.time(12), dt.UTC)
        watch = self._watch
        self._checkpoint()
        with self._database.login("alice") as alice, self._database.login("bob") as bob:
            before = self._blocks(alice)
            with watch.over("open_run", is_counted):
                terms = (self._delay_days, day - dt.timedelta(days=self._delay_days))
                row = alice.execute(_OPEN_RUN, (1, day, now, day, now + dt.timedelta(hours=7), *terms)).fetchone()
                alice.commit()
            read = self._blocks(alice) - before
            assert read >= self._payees, "the session did not tell what it has read"
            assert row is not None
            run_id = int(str(row[0]))
            with watch.over("write_and_gate", is_counted):
                owed = read_obligations(alice, run_id)
                composed = compose(read_frame(alice, run_id), 1, [owed])
                content = render(composed.file, composed.transfers)
                assert gate_file(content, composed.file, composed.transfers, composed.totals) == []
            ids = [each.obligation_id for each in owed]
            names = [each.end_to_end_id for each in composed.transfers]
            uetrs = [each.uetr for each in composed.transfers]
            head = (run_id, 1, "pay", composed.file.msg_id, content, batches_json(composed))
            with watch.over("record_file", is_counted):
                found = alice.execute(
                    "SELECT settlement.record_file(%s, %s, %s, %s, %s, %s, %s, %s, %s)",
                    (*head, ids, names, uetrs),
                    binary=True,
                ).fetchone()
                alice.commit()
            assert found is not None
            file_id = int(str(found[0]))
            with watch.over("approve", is_counted):
                approve(bob, file_id)
            with watch.over("seal", is_counted):
                sealed = alice.execute("SELECT outcome, reason FROM settlement.seal(%s, %s)", (file_id, now)).fetchone()
                alice.commit()
            assert sealed == ("sealed", None), sealed
        return run_id, read

    def _blocks(self, session: Connection) -> int:
        """Blocks read so far in the database: a session tells what it has read when it has nothing to do, and then not
        more often than once a second; so it is asked to."""
        session.execute("SELECT pg_stat_force_next_flush()")
        session.commit()
        with self._database.owner() as owner:
            row = owner.execute(
                "SELECT sum(blks_hit + blks_read)::bigint FROM pg_stat_database WHERE datname = current_database()"
            ).fetchone()
        assert row is not None
        return int(str(row[0]))

    def _checkpoint(self) -> None:
        """Nothing waits for what was written before."""
        with psycopg.connect(self._database.admin_conninfo, autocommit=True) as admin:
            admin.execute("CHECKPOINT")

    def _keep(self, run_id: int) -> None:
        """The items of a run and the rows that were written for it, for the reference."""
        with self._database.owner() as conn:
            conn.execute("TRUNCATE public.ref_item")
            conn.execute(
                "INSERT INTO public.ref_item SELECT p.account_id, p.posting_id, p.amount_minor"
                " FROM settlement.proposal_member m JOIN settlement.obligation o USING (obligation_id)"
                " JOIN ledger.posting p USING (posting_id) WHERE o.run_id = %s",
                (run_id,),
            )
            self._rows = {t: _copied(conn, query.format(run=sql.Literal(run_id))) for t, query in _WRITTEN.items()}
            conn.commit()

    def _reference(self, when: str, *, piece: int = _PIECE) -> None:
        """Add up and copy what was kept, in pieces of about so many bytes (1: row by row)."""
        pieces = {table: list(_pieces(rows, piece)) for table, rows in self._rows.items()}
        self._checkpoint()
        with self._database.owner() as conn:
            with self._watch.over(f"group_by_{when}"):
                conn.execute(
                    "SELECT account_id, -sum(amount_minor) FROM public.ref_item GROUP BY account_id"
                ).fetchall()
            for step, tables in _COPIES.items():
                with self._watch.over(f"{step}_{when}"):
                    for table in tables:
                        _copy(conn, table, pieces[table])
                    if step == "copy_texts_and_file":
                        conn.commit()
            for table in pieces:
                conn.execute(_EMPTY.format(_reference(table)))
            conn.commit()


def _pieces(rows: Sequence[bytes], size: int) -> Iterator[bytes]:
    """Encoded rows, joined until they have so many bytes."""
    held = bytearray()
    for row in rows:
        held += row
        if len(held) >= size:
            yield bytes(held)
            held.clear()
    if held:
        yield bytes(held)


def _reference(table: str) -> sql.Identifier:
    return sql.Identifier("public", f"ref_{table}")


def _copy(conn: Connection, table: str, content: Sequence[bytes]) -> None:
    with conn.cursor().copy(_COPY_IN.format(_reference(table))) as copy:
        for chunk in content:
            copy.write(chunk)


def _copied(conn: Connection, query: sql.Composed) -> list[bytes]:
    with conn.cursor().copy(_COPY_OUT.format(query)) as copy:
        return [bytes(chunk) for chunk in copy]
