"""A company that is run night after night, so that a history exists: sales, payments, statements, a stray receipt.

Lives here: the nights, and reading what the server and this process spent. Must not live here: what is compared.
"""

from __future__ import annotations

import datetime as dt
import time
from pathlib import Path

from psycopg import sql
from psycopg.types.json import Jsonb

from benchmarks.company import COMPANY, payable, payee
from ledger import NewEntry, NewPosting, format_amount, post_batch
from nostro.database import Database
from nostro.users import add_user
from recon import (
    Wish,
    approve_proposal,
    breaks_list,
    ingest_files,
    reconcile,
    request_unmatch,
    unmatch_set,
    verify_run,
)
from recon import propose as propose_adjustment
from settlement import apply_setup, approve, propose, release

_FIRST = dt.date(2026, 11, 2)
_IBAN = "DE89370400440532013000"
_OPENING_MINOR = 100_000_000_000
_STRAY_MINOR = 1_234
WEEK = 5  # nights


class Company:
    """A book on a fresh database whose nights are all alike; night 0 is the first."""

    def __init__(self, database: Database, home: Path, *, payees: int) -> None:
        for person, group in (("alice", "preparer"), ("bob", "approver")):
            add_user(database, person, group)
        self.home, self.payees = home, payees
        self.last_run = 0
        self._balance = _OPENING_MINOR
        self._watch = database.owner()
        self._watch.execute("RESET ROLE")
        self._watch.commit()
        self._watch.autocommit = True
        # Small tables are read whole by any planner. What counts is whether the paths of a large history read history.
        for setting in ("enable_seqscan", "enable_hashjoin", "enable_mergejoin"):
            name = sql.Identifier(database.name)
            self._watch.execute(sql.SQL("ALTER DATABASE {} SET {} = off").format(name, sql.Identifier(setting)))
        self.app = database.app()
        self.alice, self.bob = database.login("alice"), database.login("bob")
        self._sessions = (self.app, self.alice, self.bob)
        path = home / "setup.yaml"
        path.write_text(COMPANY)
        self.book = apply_setup(self.app, path).book_id
        self._open_payees()

    def close(self) -> None:
        """Give the connections back."""
        for conn in (*self._sessions, self._watch):
            conn.close()

    def step(self, name: str, number: int) -> None:
        """Take one step of a night."""
        getattr(self, name)(_FIRST + dt.timedelta(days=number), number)

    def sales(self, day: dt.date, number: int) -> None:
        """Everybody is owed something."""
        entries = [
            NewEntry(
                f"sale-{number}-{n}",
                day,
                (NewPosting("income:fees", 10_000 + n), NewPosting(payable(n), -10_000 - n)),
            )
            for n in range(self.payees)
        ]
        post_batch(self.app, book_id=self.book, entries=entries)
        self.app.commit()

    def settle(self, day: dt.date, number: int) -> None:
        """Everybody is paid."""
        del number
        now = dt.datetime.combine(day, dt.time(12), dt.UTC)
        for proposed in propose(self.alice, book_id=self.book, business_date=day, now=now):
            approve(self.bob, proposed.file_id)
            release(self.alice, proposed.file_id, home=self.home, now=now)

    def ingest(self, day: dt.date, number: int) -> None:
        """The statement of the day: every payment, and once a week money that nobody expected."""
        paid = self.app.execute(
            "SELECT i.end_to_end_id, i.amount_minor FROM settlement.instruction i"
            " JOIN settlement.payment_file f USING (file_id) JOIN settlement.run r USING (run_id)"
            " WHERE r.business_date = %s ORDER BY i.instruction_id",
            (day,),
        ).fetchall()
        self.app.rollback()
        lines = [_line(day, f"B{e2e}", -int(str(minor)), str(e2e)) for e2e, minor in paid]
        strays = [_STRAY_MINOR] if number % WEEK == 0 else []
        lines += [_line(day, f"STRAY{number}", stray, None) for stray in strays]
        opening = self._balance
        self._balance += sum(strays) - sum(int(str(minor)) for _, minor in paid)
        path = self.home / f"{day}.xml"
        path.write_text(
            _STATEMENT.format(
                day=day,
                number=number + 1,
                iban=_IBAN,
                lines="".join(lines),
                opening=format_amount(opening, 2),
                closing=format_amount(self._balance, 2),
            )
        )
        ingest_files(self.app, book_id=self.book, paths=[path])

    def reconcile(self, day: dt.date, number: int) -> None:
        """The day is reconciled and certified."""
        del number
        report = reconcile(self.app, book_id=self.book, business_date=day, home=self.home)
        assert len(report.certified) == 1, report.sign_offs
        self.last_run = report.run_id

    def verify(self, day: dt.date, number: int) -> None:
        """The run is verified."""
        del day, number
        verdict = verify_run(self.app, book_id=self.book, run_id=self.last_run, chained=True, keep=True)
        assert verdict.faults == (), verdict.faults

    def after(self, number: int) -> None:
        """Two people book the stray receipt away; once a week they take a set back, and confirm it the next day."""
        for row in breaks_list(self.alice, book_id=self.book):
            wish = Wish(match=row.code == "AMBIGUOUS")
            made = propose_adjustment(
                self.alice, book_id=self.book, break_id=row.break_id, wish=wish, reason="as always", only_try=False
            )
            assert made.adjustment_id is not None
            approve_proposal(self.bob, book_id=self.book, adjustment_id=made.adjustment_id)
        if number % WEEK == WEEK - 1:
            found = self.alice.execute(
                "SELECT max(match_set_id) FROM recon.match_set WHERE run_id = %s AND rule = 'exact-end-to-end'",
                (self.last_run,),
            ).fetchone()
            self.alice.rollback()
            assert found is not None
            set_id = int(str(found[0]))
            request_unmatch(self.alice, match_set_id=set_id, reason="looked odd")
            unmatch_set(self.bob, match_set_id=set_id)

    def tidy(self) -> None:
        """What autovacuum would have done by now."""
        self._watch.execute("VACUUM ANALYZE")

    def read(self) -> dict[str, int]:
        """Rows read so far by table: sequentially, and entries of its indexes."""
        for conn in self._sessions:
            conn.execute("SELECT pg_stat_force_next_flush()")
            conn.commit()
        self._watch.execute("SELECT pg_stat_clear_snapshot()")
        rows = self._watch.execute(_ROWS_READ).fetchall()
        return {str(table): int(str(count)) for table, count in rows}

    def spent(self) -> tuple[float, float]:
        """Processor milliseconds so far: of the sessions in Postgres (0 where /proc is not there), of this process."""
        pids = [conn.info.backend_pid for conn in self._sessions]
        files = [Path("/proc") / str(pid) / "schedstat" for pid in pids]
        server = sum(int(f.read_text().split()[0]) for f in files if f.exists()) / 1e6
        return server, time.process_time() * 1e3

    def _open_payees(self) -> None:
        codes = [payable(n) for n in range(self.payees)]
        self.app.execute(
            "SELECT ledger.open_accounts(%s, %s, %s, %s, %s, %s::text[], %s::bigint[])",
            (
                self.book,
                [*codes, "income:fees"],
                [*["liability"] * self.payees, "income"],
                ["EUR"] * (self.payees + 1),
                [*[True] * self.payees, False],
                [None] * (self.payees + 1),
                [None] * (self.payees + 1),
            ),
        )
        self.app.execute(
            "SELECT settlement.declare_payees(%s, %s)", (self.book, Jsonb([payee(n) for n in range(self.payees)]))
        )
        self.app.commit()


def _line(day: dt.date, ref: str, amount_minor: int, end_to_end_id: str | None) -> str:
    refs = f"<Refs><EndToEndId>{end_to_end_id}</EndToEndId></Refs>" if end_to_end_id else ""
    return (
        f'<Ntry><Amt Ccy="EUR">{format_amount(abs(amount_minor), 2)}</Amt>'
        f"<CdtDbtInd>{'CRDT' if amount_minor > 0 else 'DBIT'}</CdtDbtInd><Sts><Cd>BOOK</Cd></Sts>"
        f"<BookgDt><Dt>{day}</Dt></BookgDt><AcctSvcrRef>{ref}</AcctSvcrRef>"
        f"<NtryDtls><TxDtls>{refs}</TxDtls></NtryDtls></Ntry>"
    )


_STATEMENT = (
    '<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"><BkToCstmrStmt>'
    "<GrpHdr><MsgId>M{number}</MsgId><CreDtTm>{day}T23:00:00+01:00</CreDtTm></GrpHdr>"
    "<Stmt><Id>S{number}</Id><ElctrncSeqNb>{number}</ElctrncSeqNb><CreDtTm>{day}T22:00:00+01:00</CreDtTm>"
    "<Acct><Id><IBAN>{iban}</IBAN></Id><Ccy>EUR</Ccy></Acct>"
    '<Bal><Tp><CdOrPrtry><Cd>OPBD</Cd></CdOrPrtry></Tp><Amt Ccy="EUR">{opening}</Amt><CdtDbtInd>CRDT</CdtDbtInd>'
    "<Dt><Dt>{day}</Dt></Dt></Bal>"
    '<Bal><Tp><CdOrPrtry><Cd>CLBD</Cd></CdOrPrtry></Tp><Amt Ccy="EUR">{closing}</Amt><CdtDbtInd>CRDT</CdtDbtInd>'
    "<Dt><Dt>{day}</Dt></Dt></Bal>{lines}</Stmt></BkToCstmrStmt></Document>"
)
_ROWS_READ = """
SELECT t.schemaname || '.' || t.relname,
       (coalesce(t.seq_tup_read, 0)
        + coalesce((SELECT sum(i.idx_tup_read) FROM pg_stat_user_indexes i WHERE i.relid = t.relid), 0))::bigint
  FROM pg_stat_user_tables t WHERE t.schemaname IN ('ledger', 'settlement', 'recon')
"""
