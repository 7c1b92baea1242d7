"""The independent verifier of a nightly run: everything it published, again, from what it kept and from the ledger.

Lives here: reading a run out of Postgres, its certificates. Must not live here: the checks of sets, proofs and breaks
(`recon.verifier_rules`, shared with batch runs), anything of the matcher or of the break rules (`recon.matching`,
`recon.breaks`).
"""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import json
import zipfile
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import duckdb
import polars as pl
from psycopg import sql

from ledger import Connection, transaction
from recon.errors import NoRunError, ReconCheckError
from recon.item_rows import row_hashes
from recon.scratch_db import scratch
from recon.staging import fetch
from recon.verifier import Proof, Source, prove_account
from recon.verifier_rules import Fault, declare, run_checks

_INT, _TEXT, _YES, _DAY = pl.Int64(), pl.String(), pl.Boolean(), pl.Date()


@dataclass(frozen=True, slots=True)
class RunVerdict:
    """What the verifier found of a run: how much it looked at, and every fault (none: the run holds).

    `is_whole`: out of the whole ledger, not chained to the run before.
    """

    run_id: int
    business_date: dt.date
    items: int
    sets: int
    breaks: int
    certificates: int
    is_whole: bool
    faults: tuple[Fault, ...]


def verify_run(
    conn: Connection, *, book_id: int, run_id: int, threads: int = 1, chained: bool = False, keep: bool = False
) -> RunVerdict:
    """Check a run of the book: all of it, and that it left nothing out.

    Whole: out of every posting on cash in transit. `chained`: out of what the run before had open and what changed
    since, when this login found that run to hold (else whole); what a run published is checked in full either way.
    `keep`: record that the run holds, so that the next one may be chained to it; a verdict with faults is never kept.
    Raises `NoRunError` when there is no such run.
    """
    with transaction(conn):
        row = conn.execute(_RUN, (book_id, run_id), binary=True).fetchone()
        if row is None:
            raise NoRunError(f"there is no run {run_id}; list them with `nostro recon runs`.")
        day, content, sha256, may_chain = row
        whole = not (chained and may_chain)
        assert isinstance(day, dt.date) and isinstance(content, bytes)
        kept = _Kept.read(content)
        with _database(threads) as db:
            kept.declare(db)
            for name, frame in kept.frames.items():
                db.from_arrow(frame.to_arrow()).create(name)
            is_kept = hashlib.sha256(content).hexdigest() == sha256
            counts = _load(db, conn, book_id, run_id, is_kept=is_kept, whole=whole)
            _derive(db, kept)
            faults = run_checks(db, "verifier_rules", "verifier_run")
        certificates = _certificates(conn, book_id, run_id, whole=whole)
        found = (*faults, *(fault for certificate in certificates for fault in certificate))
        if keep and not found:
            conn.execute("SELECT recon.note_verified(%s, %s)", (run_id, whole))
    return RunVerdict(
        run_id=run_id,
        business_date=day,
        items=kept.frames["item"].height + kept.frames["later"].height,
        sets=counts["proof"],
        breaks=counts["break_head"],
        certificates=len(certificates),
        is_whole=whole,
        faults=found,
    )


_UNVERIFIED = """
SELECT r.run_id FROM recon.run r WHERE r.book_id = %(book)s AND r.run_id <= %(run)s
   AND r.run_id > coalesce((SELECT max(v.run_id) FROM recon.run_verification v JOIN recon.run o USING (run_id)
                             WHERE o.book_id = %(book)s AND v.verified_by = session_user AND v.run_id <= %(run)s), 0)
 ORDER BY r.run_id
"""


def unverified_runs(conn: Connection, *, book_id: int, run_id: int) -> list[int]:
    """The runs up to this one that came after the last that this login found to hold, by number.

    What another login says it verified does not count: a run that somebody published by hand would say so, too.
    """
    with transaction(conn):
        rows = conn.execute(_UNVERIFIED, {"book": book_id, "run": run_id}).fetchall()
    return [int(str(row[0])) for row in rows]


@dataclass(frozen=True, slots=True)
class _Kept:
    """The archive of a run's inputs: frames by the names that the checks use, and what the run declared."""

    frames: dict[str, pl.DataFrame]
    told: dict[str, Any]

    @classmethod
    def read(cls, content: bytes) -> _Kept:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            told = json.loads(archive.read("inputs.json"))
            names = {"item": "items", "later": "later", "decided": "decided"}
            frames = {
                name: pl.read_parquet(io.BytesIO(archive.read(f"{file}.parquet"))) for name, file in names.items()
            }
        return cls(frames, told)

    def declare(self, db: duckdb.DuckDBPyConnection) -> None:
        settings = self.told["tolerances"]
        declare(
            db,
            rules=self.told["rules"],
            permitted=settings["may_clear"],
            window_days=settings["window_days"],
            rounding_minor=settings["rounding_minor"],
            margin=self.told["scored_margin"],
        )

    def rows(self) -> pl.DataFrame:
        """Every row that the run saw, hashed anew."""
        both = pl.concat([self.frames["item"], self.frames["later"]])
        return both.join(row_hashes(both).unique("item_id"), on="item_id", how="left").rename(
            {"row_sha256": "row_hash"}
        )


def _database(threads: int) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
    """One of this process's, or for several threads an instance of its own."""
    return scratch() if threads == 1 else duckdb.connect(":memory:", config={"threads": threads})


def _load(
    db: duckdb.DuckDBPyConnection, conn: Connection, book_id: int, run_id: int, *, is_kept: bool, whole: bool
) -> dict[str, int]:
    """The run's rows and the ledger's, as tables; rows by table."""
    parameters: dict[str, Sequence[object]] = {"run": (is_kept, run_id), "due": (book_id, run_id, whole)}
    counts = {}
    for name, (query, schema) in _TABLES.items():
        frame = fetch(conn, query, parameters.get(name, (run_id,)), schema)
        db.from_arrow(frame.to_arrow()).create(name)
        counts[name] = frame.height
    return counts


def _derive(db: duckdb.DuckDBPyConnection, kept: _Kept) -> None:
    """The tables of `verifier_rules.sql` that a nightly run does not write as such."""
    is_bank = pl.col("kind").is_in(["LINE", "PENDING"]).alias("is_bank")
    db.from_arrow(kept.rows().with_columns(is_bank).to_arrow()).create("input")
    db.execute(
        "CREATE TABLE aside AS SELECT item_id FROM later UNION SELECT item_id FROM match JOIN rule_known ON code = rule"
        " WHERE position < 0"
    )
    db.execute(
        "CREATE TABLE held AS SELECT b.item_id, k.position FROM break_item b JOIN break_head h USING (break_id)"
        " JOIN rule_known k ON k.code = h.suggested_rule"
    )


def _certificates(conn: Connection, book_id: int, run_id: int, *, whole: bool) -> list[list[Fault]]:
    """Every bank account's day: its certificate against statement, postings and open items; a missing one too."""
    rows = conn.execute(_CERTIFICATES, {"book": book_id, "run": run_id}).fetchall()
    source = Source.KNOWN_POSTINGS if whole else Source.KNOWN_BALANCE
    return [_certificate(conn, run_id, source, *row) for row in rows]


def _certificate(
    conn: Connection,
    run_id: int,
    source: Source,
    account: object,
    bank_account_id: object,
    day: object,
    statement_id: object,
    body: object,
    sha256: object,
    *stored: object,
) -> list[Fault]:
    assert isinstance(day, dt.date) and isinstance(bank_account_id, int) and isinstance(statement_id, int)
    place = f"{account} {day}"
    if body is None:
        return [Fault("certificate-missing", place, "the day's statement is proven and there is no certificate")]
    found = []
    if hashlib.sha256(str(body).encode()).hexdigest() != sha256:
        found.append(Fault("certificate-hash", place, "the certificate's text is not the one whose hash was kept"))
    try:
        proof = prove_account(
            conn,
            run_id=run_id,
            bank_account_id=bank_account_id,
            statement_id=statement_id,
            business_date=day,
            source=source,
        )
    except ReconCheckError as error:
        return [*found, Fault("certificate", place, str(error))]
    names = ("opening", "lines", "closing", "nostro", "transit", "open")
    again = tuple(getattr(proof, f"{name}_minor") for name in names)
    if proof.residual_minor != 0 or again != stored:
        found.append(Fault("certificate", place, f"says {_told(names, stored)}; it is {_told(names, again)}"))
    told = json.loads(str(body))
    if [told[key] for key in _IN_BODY] != [getattr(proof, name) for name in _IN_BODY.values()]:
        found.append(Fault("certificate-text", place, "the text has other amounts than statement and postings"))
    return found


def _told(names: Sequence[str], amounts: Sequence[object]) -> str:
    return ", ".join(f"{name} {amount}" for name, amount in zip(names, amounts, strict=True))


_IN_BODY = {
    "opening_minor": "opening_minor",
    "lines_minor": "lines_minor",
    "closing_minor": "closing_minor",
    "nostro_minor": "nostro_minor",
    "transit_minor": "transit_minor",
    "open_items_minor": "open_minor",
    "residual_minor": "residual_minor",
}
assert set(_IN_BODY.values()) <= {*Proof.__slots__, "residual_minor"}

_RUN = """
SELECT r.business_date, m.content, m.sha256,
       r.run_before IS NOT NULL AND EXISTS (
           SELECT FROM recon.run_verification v WHERE v.run_id = r.run_before AND v.verified_by = session_user)
  FROM recon.run r JOIN recon.run_material m USING (run_id) WHERE r.book_id = %s AND r.run_id = %s
"""
_TABLES: dict[str, tuple[sql.SQL, dict[str, pl.DataType]]] = {
    "run": (
        sql.SQL("SELECT item_count, exact_keys, exact_keys_again, {} FROM recon.run WHERE run_id = {}"),
        {"item_count": _INT, "exact_keys": _INT, "exact_keys_again": _INT, "is_material_whole": _YES},
    ),
    "match": (
        sql.SQL(
            "SELECT s.match_set_id, s.rule, s.rule_version, l.posting_id, p.amount_minor, encode(l.row_sha256, 'hex')"
            " FROM recon.match_set s JOIN recon.match_leg l USING (match_set_id)"
            " JOIN ledger.posting p USING (posting_id) WHERE s.run_id = {}"
        ),
        {"set_ordinal": _INT, "rule": _TEXT, "rule_version": _INT, "item_id": _INT, "amount_minor": _INT,
         "row_hash": _TEXT},
    ),
    "proof": (
        sql.SQL(
            "SELECT s.match_set_id, s.rule, s.rule_version, b.code, c.code, s.leg_count, s.bank_minor, s.books_minor,"
            " 0, NULL, s.rivals, s.margin, s.is_fungible FROM recon.match_set s"
            " LEFT JOIN LATERAL (SELECT p.* FROM recon.match_leg l JOIN ledger.posting p USING (posting_id)"
            "   WHERE l.match_set_id = s.match_set_id ORDER BY l.posting_id LIMIT 1) p ON true"
            " LEFT JOIN settlement.bank_account_root b ON b.transit_account_id = p.account_id"
            " LEFT JOIN ledger.currency c ON c.currency_id = p.currency_id WHERE s.run_id = {}"
        ),
        {"set_ordinal": _INT, "rule": _TEXT, "rule_version": _INT, "account": _TEXT, "currency": _TEXT, "legs": _INT,
         "bank_minor": _INT, "ledger_minor": _INT, "explained_minor": _INT, "explained_code": _TEXT, "rivals": _INT,
         "margin": _INT, "is_fungible": _YES},
    ),
    "break_item": (
        sql.SQL(
            "SELECT o.posting_id, o.code, o.break_id, o.kind, a.code, c.code, o.amount_minor,"
            " encode(o.row_sha256, 'hex'), coalesce(b.item_count, 1), coalesce(b.amount_minor, o.amount_minor)"
            " FROM recon.open_item o JOIN settlement.bank_account_root a USING (bank_account_id)"
            " JOIN ledger.currency c USING (currency_id) LEFT JOIN recon.break_run b USING (run_id, break_id)"
            " WHERE o.run_id = {}"
        ),
        {"item_id": _INT, "code": _TEXT, "break_id": _TEXT, "kind": _TEXT, "account": _TEXT, "currency": _TEXT,
         "amount_minor": _INT, "row_hash": _TEXT, "items": _INT, "residual_minor": _INT},
    ),
    "break_head": (
        sql.SQL("SELECT break_id, code, finding_id, suggested_rule FROM recon.break_run WHERE run_id = {}"),
        {"break_id": _TEXT, "code": _TEXT, "finding_id": _INT, "suggested_rule": _TEXT},
    ),
    "leg_live": (
        sql.SQL(
            "SELECT l.posting_id, count(*) FROM recon.match_set s JOIN recon.match_leg m USING (match_set_id)"
            " JOIN recon.live_leg l ON l.book_id = m.book_id AND l.posting_id = m.posting_id"
            " WHERE s.run_id = {} GROUP BY l.posting_id"
        ),
        {"item_id": _INT, "live": _INT},
    ),
    "booked": (
        sql.SQL(
            "SELECT p.posting_id, p.amount_minor, b.code, c.code, l.t_posting_id IS NOT NULL, l.end_to_end_id, l.uetr,"
            " l.booking_date, l.return_reason FROM (SELECT posting_id FROM recon.open_item WHERE run_id = {0} UNION"
            "   SELECT posting_id FROM recon.match_leg JOIN recon.match_set USING (match_set_id) WHERE run_id = {0}) i"
            " JOIN ledger.posting p USING (posting_id)"
            " JOIN settlement.bank_account_root b ON b.transit_account_id = p.account_id"
            " JOIN ledger.currency c ON c.currency_id = p.currency_id"
            " LEFT JOIN recon.statement_line l ON l.t_posting_id = p.posting_id"
        ),
        {"posting_id": _INT, "amount_minor": _INT, "account": _TEXT, "currency": _TEXT, "is_line": _YES,
         "end_to_end_id": _TEXT, "uetr": _TEXT, "booking_date": _DAY, "return_reason": _TEXT},
    ),
    "due": (
        sql.SQL("SELECT posting_id, account, is_cleared_later FROM recon.run_due({}, {}, {})"),
        {"posting_id": _INT, "account": _TEXT, "is_cleared_later": _YES},
    ),
}  # fmt: skip

# Accounts with a statement that the run could certify: proven, booked before the run, the last of its day.
_CERTIFICATES = """
SELECT a.code, a.bank_account_id, r.business_date, coalesce(c.statement_id, k.statement_id), c.body, c.sha256,
       c.opening_minor, c.lines_minor, c.closing_minor, c.nostro_minor, c.transit_minor, c.open_minor
  FROM recon.run r
  JOIN settlement.bank_account_root a ON a.book_id = r.book_id
  LEFT JOIN recon.certificate c ON c.run_id = r.run_id AND c.bank_account_id = a.bank_account_id
  LEFT JOIN recon.statement_booking k ON k.bank_account_id = a.bank_account_id AND k.closing_date = r.business_date
   AND k.recorded_at < r.recorded_at
   AND NOT EXISTS (SELECT FROM recon.statement_booking n WHERE n.previous_id = k.statement_id
                      AND n.closing_date = k.closing_date AND n.recorded_at < r.recorded_at)
   AND NOT EXISTS (SELECT FROM recon.break_run b WHERE b.run_id = r.run_id AND b.bank_account_id = a.bank_account_id
                      AND b.code IN ('STATEMENT_IMBALANCE', 'STATEMENT_GAP', 'STATEMENT_REVISED'))
 WHERE r.book_id = %(book)s AND r.run_id = %(run)s AND coalesce(c.statement_id, k.statement_id) IS NOT NULL
 ORDER BY a.code
"""
