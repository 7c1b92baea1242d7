"""The page at the end of the demo: what a controller wants to see, from the books alone.

Lives here: reads and text. The only thing that is not from the books is the simulated banks' truth, which the demo
hands in to compare with.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from ledger import Connection, Fault, format_amount
from sandbox import Truth

_WIDTH = 100


@dataclass(frozen=True, slots=True)
class Comparison:
    """Breaks found against anomalies injected, by (item, code)."""

    found: tuple[tuple[str, str], ...]
    injected: tuple[tuple[str, str], ...]

    @property
    def missed(self) -> tuple[tuple[str, str], ...]:
        """Injected, not found."""
        return tuple(sorted((Counter(self.injected) - Counter(self.found)).elements()))

    @property
    def invented(self) -> tuple[tuple[str, str], ...]:
        """Found, not injected."""
        return tuple(sorted((Counter(self.found) - Counter(self.injected)).elements()))

    @property
    def equal(self) -> bool:
        """One to one, by item and code."""
        return not self.missed and not self.invented


def compare(conn: Connection, *, book_id: int, business_date: date, truth: Sequence[Truth]) -> Comparison:
    """The last run's breaks against the truth."""
    rows = conn.execute(
        "SELECT b.item_ref, b.code FROM recon.break_run b WHERE b.run_id = (SELECT max(run_id) FROM recon.run"
        " WHERE book_id = %s AND business_date = %s) ORDER BY 1, 2",
        (book_id, business_date),
    ).fetchall()
    return Comparison(
        found=tuple((str(ref), str(code)) for ref, code in rows),
        injected=tuple(sorted((t.item_ref, t.code) for t in truth)),
    )


def render_page(
    conn: Connection,
    *,
    book_id: int,
    business_date: date,
    comparison: Comparison,
    faults: Sequence[Fault],
    home: Path,
) -> str:
    """The whole page as text."""
    parts = [
        _title(f"The week to {business_date:%A %d %B %Y}"),
        _section("Trial balance", ("account", "balance", "ccy"), _trial_balance(conn, book_id), "lrl"),
        _zero_line(conn, book_id, faults),
        _section(
            "Paid",
            ("bank account", "ccy", "files", "payments", "total", "rejected", "returned"),
            _paid(conn, book_id),
            "llrrrrr",
        ),
        _section(
            "Statements proven",
            ("bank account", "days", "lines", "opening", "movements", "closing"),
            _statements(conn, book_id),
            "lrrrrr",
        ),
        _section(
            "Cash in transit cleared, by pass", ("rule", "sets", "postings", "value"), _passes(conn, book_id), "lrrl"
        ),
        _section("Explained by policy", ("rule", "items"), _routine(conn, book_id), "lr"),
        _section(
            "In flight, within time",
            ("bank account", "items", "amount"),
            _in_flight(conn, book_id, business_date),
            "lrr",
        ),
        _breaks(comparison),
        _section(
            f"Certificates of {business_date}",
            ("bank account", "bank says = N", "in transit = open items", "residual", "sha256"),
            _certificates(conn, book_id, business_date),
            "lrrrl",
        ),
        _where(home),
    ]
    return "\n".join(part for part in parts if part)


def _title(text: str) -> str:
    return f"{text}\n{'=' * len(text)}\n"


def _section(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], align: str) -> str:
    """A titled table in plain text; 'r' in `align` right-aligns a column."""
    cells = [list(columns), *[["" if cell is None else str(cell) for cell in row] for row in rows]]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    lines = [
        "  ".join(c.rjust(w) if a == "r" else c.ljust(w) for c, w, a in zip(line, widths, align, strict=True)).rstrip()
        for line in cells
    ]
    body = lines[1:] or ["(none)"]
    return "\n".join([title, "-" * len(title), lines[0], *body, ""])


def _money(minor: object, exponent: object) -> str:
    """Decimal text with grouping, for people."""
    text = format_amount(int(str(minor)), int(str(exponent)))
    whole, dot, rest = text.partition(".")
    return f"{int(whole):,}{dot}{rest}" if whole not in ("-0",) else f"-0{dot}{rest}"


def _rows(conn: Connection, query: str, *values: object) -> list[tuple[object, ...]]:
    return conn.execute(query, values).fetchall()


def _trial_balance(conn: Connection, book_id: int) -> list[tuple[object, ...]]:
    """Accounts grouped by the first two parts of their code; bank accounts one by one."""
    found = _rows(
        conn,
        "SELECT CASE WHEN control IS NOT NULL THEN code"
        " ELSE split_part(code, ':', 1) || ':' || split_part(code, ':', 2) END,"
        " currency, exponent, sum(balance_minor)::bigint, count(*) FROM ledger.account_balance"
        " WHERE book_id = %s GROUP BY 1, 2, 3 HAVING bool_or(posted_minor <> 0) ORDER BY 1, 2",
        book_id,
    )
    return [
        (f"{name} ({count} accounts)" if int(str(count)) > 1 else name, _money(total, exponent), ccy)
        for name, ccy, exponent, total, count in found
    ]


def _zero_line(conn: Connection, book_id: int, faults: Sequence[Fault]) -> str:
    sums = _rows(
        conn,
        "SELECT currency, sum(posted_minor)::bigint FROM ledger.account_balance"
        " WHERE book_id = %s GROUP BY 1 ORDER BY 1",
        book_id,
    )
    said = ", ".join(f"{ccy} {total}" for ccy, total in sums)
    held = "every invariant holds" if not faults else f"{len(faults)} INVARIANTS BROKEN, run `nostro verify`"
    return f"debits minus credits: {said}; {held}\n"


def _paid(conn: Connection, book_id: int) -> list[tuple[object, ...]]:
    found = _rows(
        conn,
        "SELECT b.code, b.currency, count(DISTINCT i.file_id), count(*), sum(i.amount_minor)::bigint, b.exponent,"
        " count(*) FILTER (WHERE i.reject_posting_id IS NOT NULL),"
        " count(*) FILTER (WHERE i.reopened_by = 'return')"
        " FROM settlement.instruction_current i JOIN settlement.payment_file f USING (file_id)"
        " JOIN settlement.bank_account b ON b.bank_account_id = f.bank_account_id"
        " WHERE f.book_id = %s AND i.transit_posting_id IS NOT NULL GROUP BY b.code, b.currency, b.exponent ORDER BY 1",
        book_id,
    )
    return [
        (code, ccy, files, n, _money(total, exp), rejected, returned)
        for code, ccy, files, n, total, exp, rejected, returned in found
    ]


def _statements(conn: Connection, book_id: int) -> list[tuple[object, ...]]:
    found = _rows(
        conn,
        "SELECT b.code, b.exponent, count(*), sum(k.booked_count)::bigint,"
        " (array_agg(k.opening_minor ORDER BY k.closing_date, k.statement_id))[1], sum(k.booked_minor)::bigint,"
        " (array_agg(k.closing_minor ORDER BY k.closing_date DESC, k.statement_id DESC))[1]"
        " FROM recon.statement_booking k JOIN settlement.bank_account b USING (bank_account_id)"
        " WHERE b.book_id = %s GROUP BY b.code, b.exponent ORDER BY 1",
        book_id,
    )
    return [
        (code, days, f"{lines:,}", _money(first, exp), _money(moved, exp), _money(last, exp))
        for code, exp, days, lines, first, moved, last in found
    ]


def _passes(conn: Connection, book_id: int) -> list[tuple[object, ...]]:
    found = _rows(
        conn,
        "SELECT m.rule, c.code, c.exponent, count(DISTINCT m.match_set_id), count(*),"
        " coalesce(sum(p.amount_minor) FILTER (WHERE p.amount_minor > 0), 0)::bigint"
        " FROM recon.match_set m JOIN recon.match_leg l USING (match_set_id) JOIN ledger.posting p USING (posting_id)"
        " JOIN ledger.currency c USING (currency_id) WHERE m.book_id = %s GROUP BY 1, 2, 3 ORDER BY 1, 2",
        book_id,
    )
    rules: dict[str, list[object]] = {}
    for rule, ccy, exponent, sets, legs, value in found:
        row = rules.setdefault(str(rule), [0, 0, []])
        row[0] = int(str(row[0])) + int(str(sets))
        row[1] = int(str(row[1])) + int(str(legs))
        row[2].append(f"{_money(value, exponent)} {ccy}")  # type: ignore[attr-defined]
    return [(rule, f"{sets:,}", f"{legs:,}", ", ".join(values)) for rule, (sets, legs, values) in rules.items()]  # type: ignore[arg-type]


def _routine(conn: Connection, book_id: int) -> list[tuple[object, ...]]:
    return _rows(
        conn, "SELECT rule, count(*) FROM recon.routine_posting WHERE book_id = %s GROUP BY 1 ORDER BY 1", book_id
    )


def _last_run(conn: Connection, book_id: int, business_date: date) -> object:
    return _rows(
        conn, "SELECT max(run_id) FROM recon.run WHERE book_id = %s AND business_date = %s", book_id, business_date
    )[0][0]


def _in_flight(conn: Connection, book_id: int, business_date: date) -> list[tuple[object, ...]]:
    found = _rows(
        conn,
        "SELECT b.code, b.exponent, count(*), sum(o.amount_minor)::bigint FROM recon.open_item o"
        " JOIN settlement.bank_account b USING (bank_account_id) WHERE o.run_id = %s AND o.code = 'TIMING'"
        " GROUP BY 1, 2 ORDER BY 1",
        _last_run(conn, book_id, business_date),
    )
    return [(code, n, _money(total, exp)) for code, exp, n, total in found]


def _breaks(comparison: Comparison) -> str:
    found, injected = Counter(c for _, c in comparison.found), Counter(c for _, c in comparison.injected)
    rows = [(code, injected[code], found[code]) for code in sorted(set(found) | set(injected))]
    rows.append(("all", sum(injected.values()), sum(found.values())))
    text = _section("Breaks found against anomalies injected", ("code", "injected", "found"), rows, "lrr")
    if comparison.equal:
        return text + "equal one to one, by item and code\n"
    lines = [f"MISSED   {code} {ref}" for ref, code in comparison.missed]
    lines += [f"INVENTED {code} {ref}" for ref, code in comparison.invented]
    return text + "\n".join(lines) + "\n"


def _certificates(conn: Connection, book_id: int, business_date: date) -> list[tuple[object, ...]]:
    found = _rows(
        conn,
        "SELECT b.code, b.exponent, b.currency, c.closing_minor, c.open_minor, c.residual_minor, c.sha256"
        " FROM recon.certificate c JOIN settlement.bank_account b USING (bank_account_id)"
        " WHERE c.book_id = %s AND c.business_date = %s AND c.run_id = %s ORDER BY 1",
        book_id,
        business_date,
        _last_run(conn, book_id, business_date),
    )
    return [
        (code, f"{_money(n, exp)} {ccy}", _money(t, exp), residual, str(sha)[:16])
        for code, exp, ccy, n, t, residual, sha in found
    ]


def _where(absolute: Path) -> str:
    home = absolute.relative_to(Path.cwd()) if absolute.is_relative_to(Path.cwd()) else absolute
    return "\n".join(
        [
            "Where",
            "-----",
            f"payment files, statements   {home / 'bank'}",
            f"certificates                {home / 'certificates'}",
            f"DuckDB for analysts         {home / 'nostro.duckdb'}",
            f"Dagster UI                  NOSTRO_HOME={home} nostro up",
            "",
        ]
    )
