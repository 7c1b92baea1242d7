"""The independent verifier: numbers of a certificate from raw statement bytes and raw postings.

Lives here: a second, minimal reading of camt.053 (`verifier_texts` has MT940 and BAI2) and a few sums. Must not
live here: anything of the matcher, the break rules or the statement reader (`recon.matching`, `recon.breaks`,
`recon.formats`); a fault there must not be repeated here. An import contract holds the first two.
"""

from __future__ import annotations

import datetime as dt
import io
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum

from lxml import etree

from ledger import Connection
from recon.errors import ReconCheckError
from recon.verifier_texts import RawStatement, read_raw_bai2, read_raw_mt940


class Source(Enum):
    """Where an account's balance on a day is taken from."""

    POSTINGS = "every posting up to the day"
    KNOWN_POSTINGS = "every posting up to the day that the run could know, whatever came since"
    BALANCE = "the ledger's balance of now, less what counts after the day: no history is read"
    KNOWN_BALANCE = "the same, less what the run could not know"


@dataclass(frozen=True, slots=True)
class Proof:
    """Both sides of one bank account on one day, minor units. `residual_minor` is 0 or the proof fails."""

    opening_minor: int
    lines_minor: int
    closing_minor: int
    nostro_minor: int
    transit_minor: int
    open_minor: int
    open_count: int
    cleared_set_count: int

    @property
    def residual_minor(self) -> int:
        return (
            abs(self.opening_minor + self.lines_minor - self.closing_minor)
            + abs(self.nostro_minor - self.closing_minor)
            + abs(self.transit_minor - self.open_minor)
        )


def read_raw_statement(content: bytes, *, ordinal: int, exponent: int) -> RawStatement:
    """The `ordinal`-th (from 1) statement of a camt.053, from its bytes alone.

    Raises `ReconCheckError` when it has no single opening and closing balance.
    """
    page = _read_raw_page(content, ordinal=ordinal, exponent=exponent)
    return RawStatement(page.stmt_id, page.opening(), page.closing(), page.lines_minor, page.booked)


def join_raw_pages(pages: Sequence[tuple[bytes, int]], *, exponent: int) -> RawStatement:
    """One statement of these pages (bytes of the file, ordinal in it), in order.

    Raises `ReconCheckError` when the first has no opening or the last no closing balance.
    """
    read = [_read_raw_page(content, ordinal=ordinal, exponent=exponent) for content, ordinal in pages]
    if len({page.stmt_id for page in read}) != 1:
        raise ReconCheckError("pages of different statements were joined.")
    lines_minor, booked = sum(page.lines_minor for page in read), sum(page.booked for page in read)
    return RawStatement(read[0].stmt_id, read[0].opening(), read[-1].closing(), lines_minor, booked)


@dataclass(frozen=True, slots=True)
class _RawPage:
    stmt_id: str
    balances: dict[str, set[int]]
    lines_minor: int
    booked: int

    def opening(self) -> int:
        return self._only("OPBD") if "OPBD" in self.balances else self._only("PRCD")

    def closing(self) -> int:
        return self._only("CLBD")

    def _only(self, kind: str) -> int:
        found = self.balances.get(kind, set())
        if len(found) != 1:
            raise ReconCheckError(f"statement {self.stmt_id} of the file has no single opening and closing balance.")
        return next(iter(found))


def _read_raw_page(content: bytes, *, ordinal: int, exponent: int) -> _RawPage:
    lines_minor = booked = seen = 0
    balances: dict[str, set[int]] = {}
    stmt_id = ""
    wanted = seen + 1 == ordinal
    source = etree.iterparse(
        io.BytesIO(content),
        events=("end",),
        tag=("{*}Ntry", "{*}Bal", "{*}Stmt"),
        resolve_entities=False,
        huge_tree=True,
    )
    for _, element in source:
        local = etree.QName(element).localname
        if local == "Stmt":
            seen += 1
            if wanted:
                stmt_id = _text(element, "Id") or ""
                break
            wanted = seen + 1 == ordinal
        elif wanted and local == "Ntry" and (_text(element, "Sts", "Cd") or _text(element, "Sts") or "BOOK") == "BOOK":
            lines_minor += _signed_minor(element, exponent)
            booked += 1
        elif wanted and local == "Bal" and _text(element, "Tp", "SubTp", "Cd") is None:
            kind = _text(element, "Tp", "CdOrPrtry", "Cd") or ""
            balances.setdefault(kind, set()).add(_signed_minor(element, exponent))
        element.clear()
    return _RawPage(stmt_id, balances, lines_minor, booked)


def _text(element: etree._Element, *path: str) -> str | None:
    for name in path:
        found = next((child for child in element if etree.QName(child).localname == name), None)
        if found is None:
            return None
        element = found
    return (element.text or "").strip() or None


def _signed_minor(element: etree._Element, exponent: int) -> int:
    minor = Decimal(_text(element, "Amt") or "0").scaleb(exponent)
    if minor != minor.to_integral_value():
        raise ReconCheckError(f"line {element.sourceline}: more decimals than the currency has.")
    return int(minor) if _text(element, "CdtDbtInd") == "CRDT" else -int(minor)


def prove_account(
    conn: Connection,
    *,
    run_id: int,
    bank_account_id: int,
    statement_id: int,
    business_date: dt.date,
    source: Source,
) -> Proof:
    """Recompute a bank account's day from raw bytes and from what the ledger says of its two accounts.

    Raises `ReconCheckError` when a set that the run cleared does not add up to zero, or an open item is not on
    this account's cash in transit. The residual is the caller's to judge.
    """
    head = conn.execute(
        "SELECT f.content_zlib, s.ordinal, c.exponent, a.nostro_account_id, a.transit_account_id, s.stmt_id, s.kind"
        " FROM recon.statement s JOIN recon.source_file f USING (file_id)"
        " JOIN settlement.bank_account_root a USING (bank_account_id) JOIN ledger.currency c USING (currency_id)"
        " WHERE s.statement_id = %s AND a.bank_account_id = %s",
        (statement_id, bank_account_id),
        binary=True,
    ).fetchone()
    if head is None or not isinstance(head[0], bytes):
        raise ReconCheckError(f"statement {statement_id} is not one of bank account {bank_account_id}.")
    if _int(head[1]) < 0:
        raw = join_raw_pages(_pages(conn, statement_id), exponent=_int(head[2]))
    else:
        reader = {"mt940": read_raw_mt940, "bai2": read_raw_bai2}.get(str(head[6]), read_raw_statement)
        raw = reader(zlib.decompress(head[0]), ordinal=_int(head[1]), exponent=_int(head[2]))
    parameters: dict[str, object] = {
        "bank_account": bank_account_id,
        "date": business_date,
        "run": run_id if source in (Source.KNOWN_POSTINGS, Source.KNOWN_BALANCE) else None,
    }
    nostro, transit = (_balance(conn, source, parameters | {"account": head[at]}) for at in (3, 4))
    open_row = conn.execute(
        "SELECT coalesce(sum(p.amount_minor), 0)::bigint, count(*), count(*) FILTER (WHERE p.account_id <> %s)"
        " FROM recon.open_item o JOIN ledger.posting p USING (posting_id)"
        " WHERE o.run_id = %s AND o.bank_account_id = %s",
        (head[4], run_id, bank_account_id),
    ).fetchone()
    assert open_row is not None
    if _int(open_row[2]) != 0:
        raise ReconCheckError("an open item is not on the cash-in-transit account it is listed under.")
    cleared = _cleared_sets(conn, run_id, _int(head[4]))
    return Proof(
        opening_minor=raw.opening_minor,
        lines_minor=raw.lines_minor,
        closing_minor=raw.closing_minor,
        nostro_minor=nostro,
        transit_minor=transit,
        open_minor=_int(open_row[0]),
        open_count=_int(open_row[1]),
        cleared_set_count=cleared,
    )


def _pages(conn: Connection, statement_id: int) -> list[tuple[bytes, int]]:
    """Bytes and ordinal of each page of a joined statement, in order."""
    rows = conn.execute(
        "SELECT f.content_zlib, s.ordinal FROM recon.statement_page p"
        " JOIN recon.statement s ON s.statement_id = p.page_statement_id JOIN recon.source_file f USING (file_id)"
        " WHERE p.statement_id = %s ORDER BY p.page",
        (statement_id,),
        binary=True,
    ).fetchall()
    found = []
    for content, ordinal in rows:
        assert isinstance(content, bytes)
        found.append((zlib.decompress(content), _int(ordinal)))
    return found


# A posting counts from its effective date; a bank line, and what policy answered to it, from its statement's.
_BALANCE = """
SELECT coalesce(sum(p.amount_minor), 0)::bigint
  FROM ledger.account_posting p
  LEFT JOIN (SELECT u.posting_id, max(b.closing_date) AS closing_date
               FROM recon.statement_booking b
               JOIN recon.statement_line l USING (statement_id)
               LEFT JOIN recon.routine_posting r ON r.line_posting_id = l.t_posting_id,
                    unnest(ARRAY[l.n_posting_id, l.t_posting_id, r.posting_id]) AS u (posting_id)
              WHERE b.bank_account_id = %(bank_account)s AND u.posting_id IS NOT NULL
              GROUP BY u.posting_id) d USING (posting_id)
 WHERE p.account_id = %(account)s AND coalesce(d.closing_date, p.effective_date) <= %(date)s
   AND p.batch_id NOT IN (SELECT batch_id FROM recon.run_unknown_batch WHERE run_id = %(run)s)
"""

# From the other end: what the account stands at, less what counts later.
_BALANCE_LESS_LATER = """
SELECT (a.posted_minor
        - coalesce((SELECT sum(d.net_minor) FROM recon.cash_day d
                     WHERE d.account_id = a.account_id AND d.as_of_date > %(date)s), 0)
        - coalesce((SELECT sum(u.amount_minor) FROM recon.untaken(a.book_id) u
                     WHERE u.account_id = a.account_id AND u.as_of_date > %(date)s), 0)
        - coalesce((SELECT sum(p.amount_minor) FROM recon.run_unknown_batch n
                      JOIN ledger.posting l
                        ON l.posting_id >= n.batch_id << 20 AND l.posting_id < (n.batch_id + 1) << 20
                      JOIN recon.bank_cash_posting p ON p.posting_id = l.posting_id
                     WHERE n.run_id = %(run)s AND p.account_id = a.account_id AND p.as_of_date <= %(date)s), 0))::bigint
  FROM ledger.account_balance a WHERE a.account_id = %(account)s
"""

# Sets never change, so each is checked by the certificates of the run that published it.
_SETS = """
SELECT count(*), min(x.match_set_id) FILTER (WHERE x.total <> 0)
  FROM (SELECT l.match_set_id, q.currency_id, sum(q.amount_minor) AS total
          FROM recon.match_set s
          JOIN recon.match_leg l USING (match_set_id)
          JOIN ledger.posting q ON q.posting_id = l.posting_id
         WHERE s.run_id = %s
         GROUP BY l.match_set_id, q.currency_id
        HAVING bool_or(q.account_id = %s)) x
"""


def _balance(conn: Connection, source: Source, parameters: dict[str, object]) -> int:
    query = _BALANCE_LESS_LATER if source in (Source.BALANCE, Source.KNOWN_BALANCE) else _BALANCE
    row = conn.execute(query, parameters).fetchone()
    assert row is not None
    return _int(row[0])


def _cleared_sets(conn: Connection, run_id: int, transit_account_id: int) -> int:
    row = conn.execute(_SETS, (run_id, transit_account_id)).fetchone()
    assert row is not None
    if row[1] is not None:
        raise ReconCheckError(f"cleared set {row[1]} does not add up to zero.")
    return _int(row[0])


def _int(value: object) -> int:
    assert isinstance(value, int)
    return value
