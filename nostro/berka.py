"""`make berka`: a real bank's journal from import to certificates.

Reads a folder of the shape of the Berka data: ``journal-*.csv.gz`` (journal entries), ``balances-*.csv.gz``
(end-of-day balances that the bank itself stated), ``parties.csv`` (the banks that outgoing transfers are owed to).
Imports the journals, compares every stated balance with the books, settles every night on which transfers were owed,
lets the simulated bank answer, reconciles, and certifies.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import yaml

from ledger import Connection, RefusedError, book_id, import_journal, publish, trial_balance, verify
from nostro.database import locate
from nostro.day import Desk, fresh_home, open_shop
from nostro.settings import Settings
from recon import build_warehouse
from sandbox import Bank, read_setup
from settlement import apply_setup

PAYABLE_PREFIX = "liabilities:clearing:"
_RULES = {
    "liabilities:customer:*": "liability",
    "liabilities:clearing:*": "liability",
    "assets:cash": "asset",
    "assets:clearing:*": "asset",
    "income:*": "income",
    "expense:*": "expense",
}


_NIGHT = dt.time(18, 30, tzinfo=ZoneInfo("Europe/Prague"))


@dataclass(frozen=True, slots=True)
class BerkaResult:
    """The figures of the closing line. `residual_minor` sums what certificates, trial balance and rules leave over."""

    entries: int
    entries_again: int
    balances_agreed: int
    balances_stated: int
    instructions: int
    nights_certified: int
    nights: int
    residual_minor: int
    breaks: int
    invariant_faults: int

    @property
    def line(self) -> str:
        """The line that `make berka` ends with."""
        return (
            f"entries {self.entries}, balances agreed {self.balances_agreed} of {self.balances_stated}, "
            f"instructions {self.instructions}, nights certified {self.nights_certified} of {self.nights}, "
            f"residual {self.residual_minor}"
        )

    @property
    def proven(self) -> bool:
        """Whether everything agrees and is certified."""
        return (
            self.balances_agreed == self.balances_stated
            and self.nights_certified == self.nights
            and self.entries_again == self.residual_minor == self.breaks == self.invariant_faults == 0
        )


def run_berka(
    *,
    folder: Path,
    home: Path,
    say: Callable[[str], None] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> BerkaResult:
    """Import, settle every night with outgoing transfers, reconcile, certify; in a fresh ``home``.

    Raises `RefusedError` when the folder does not have the files.
    """
    tell = say or (lambda line: None)
    journals = sorted(folder.glob("journal-*.csv.gz"))
    for needed, found in (
        ("journal-*.csv.gz", journals),
        ("balances-*.csv.gz", sorted(folder.glob("balances-*.csv.gz"))),
        ("parties.csv", sorted(folder.glob("parties.csv"))),
    ):
        if not found:
            raise RefusedError(f"{folder} has no {needed}; give the folder of a Berka journal.")
    fresh_home(home)
    database = locate(Settings(home=home, database_url=None))
    open_shop(database)
    first = min(pl.read_csv(path, infer_schema=False)["effective_date"].min() for path in journals)  # type: ignore[type-var]
    opening = dt.date.fromisoformat(str(first)) - dt.timedelta(days=1)
    setup = setup_file(folder, home / "setup.yaml", opening=opening)
    with database.app() as conn:
        apply_setup(conn, setup)
        desk = Desk(database, home=home, book_id=book_id(conn))
    entries = again = 0
    for path in journals:
        report = import_journal(desk.app, book_id=desk.book_id, path=path)
        entries += report.new_entries
        again += import_journal(desk.app, book_id=desk.book_id, path=path).new_entries
        tell(f"{path.name}: {report.new_entries:,} entries; a second import adds {again}")
    balance = trial_balance(desk.app, book_id=desk.book_id)
    tell(f"trial balance: {', '.join(f'{code} {total}' for code, total in balance.totals_minor.items())}")
    agreed, stated = agreed_balances(desk.app, book_id=desk.book_id, folder=folder)
    tell(f"balances the bank stated: {agreed:,} of {stated:,} agree")

    nights = _nights(desk.app, desk.book_id)
    instructions = certified = breaks = 0
    day = opening
    with Bank(home, read_setup(setup)) as bank:
        for number, night in enumerate(nights, start=1):
            while day < night - dt.timedelta(days=1):  # the bank states every calendar day
                day += dt.timedelta(days=1)
                bank.close_day(day)
            day = night
            instructions += desk.settle(night, now=dt.datetime.combine(night, _NIGHT)).instructions
            bank.receive()
            bank.close_day(night)
            desk.poll()
            morning = desk.prove(night)
            certified += len(morning.run.certified)
            breaks = len(morning.run.breaks)
            if on_progress is not None:
                on_progress(number, len(nights))
    residual = _residual(desk.app, desk.book_id) + sum(abs(t) for t in balance.totals_minor.values())
    faults = verify(desk.app, book_id=desk.book_id)
    publish(desk.app)
    build_warehouse(desk.app, home / "nostro.duckdb")
    tell(f"breaks open at the end: {breaks}; invariants broken: {len(faults)}")
    tell(f"certificates: {home / 'certificates'}, DuckDB: {home / 'nostro.duckdb'}")
    desk.close()
    return BerkaResult(
        entries=entries,
        entries_again=again,
        balances_agreed=agreed,
        balances_stated=stated,
        instructions=instructions,
        nights_certified=certified,
        nights=len(nights),
        residual_minor=residual,
        breaks=breaks,
        invariant_faults=len(faults),
    )


def _nights(conn: Connection, book: int) -> list[dt.date]:
    """Every date on which transfers became owed to another bank."""
    rows = conn.execute(
        "SELECT DISTINCT p.effective_date FROM ledger.posting p JOIN ledger.account a USING (account_id)"
        " WHERE a.book_id = %s AND a.settleable ORDER BY 1",
        (book,),
    ).fetchall()
    return [row[0] for row in rows]  # type: ignore[misc]


def _residual(conn: Connection, book: int) -> int:
    """Σ residuals of all certificates, recomputed from their parts, minor units."""
    row = conn.execute(
        "SELECT coalesce(sum(abs(opening_minor + lines_minor - closing_minor) + abs(nostro_minor - closing_minor)"
        " + abs(transit_minor - open_minor)), 0)::bigint FROM recon.certificate WHERE book_id = %s",
        (book,),
    ).fetchone()
    assert row is not None
    return int(str(row[0]))


def setup_file(folder: Path, target: Path, *, opening: dt.date) -> Path:
    """Write the set-up of the Berka bank: one CZK account, calendar `all`, thirteen payees from parties.csv."""
    parties = pl.read_csv(folder / "parties.csv", infer_schema=False)
    payees = [
        {
            "payee_id": row["account"].removeprefix(PAYABLE_PREFIX),
            "name": row["name"],
            "account": row["account"],
            "currency": "CZK",
            "iban": row["iban"],
            # The data names no BICs; like the names and IBANs of parties.csv, these are made up.
            "bic": f"BK{row['account'].removeprefix(PAYABLE_PREFIX):X<2}{row['country']}PP",
            "country": row["country"],
            "town": row["town"],
            "pay_from": "czk-main",
        }
        for row in parties.iter_rows(named=True)
    ]
    body = {
        "book": {"name": "Berka", "functional_currency": "CZK"},
        "accounts": [
            {"code": code, "type": kind} | ({"settleable": True} if code.startswith(PAYABLE_PREFIX) else {})
            for code, kind in _RULES.items()
        ],
        "banks": {
            "clearing": {
                "bic": "CLEACZPPXXX",
                "timezone": "Europe/Prague",
                "holidays": "all",
                "message": "pain.001.001.09",
                "charset": "latin",
                "address": "structured",
                "batch_booking": False,
                "uetr": True,
                "max_transactions": 10000,
                "rails": {
                    "DOMESTIC": {"cutoff": "20:00", "sla_days": 1, "minimum": "0.01", "maximum": "999999999999.99"}
                },
                "refuses_duplicates": True,
                "tariff": [],
                "transport": {"kind": "folder", "outbox": "bank/clearing/outbox", "inbox": "bank/clearing/inbox"},
            }
        },
        "bank_accounts": [
            {
                "code": "czk-main",
                "bank": "clearing",
                "iban": "CZ6508000000192000145399",
                "currency": "CZK",
                "rail": "DOMESTIC",
                "holder": {
                    "name": "Berka Banka",
                    "country": "CZ",
                    "town": "Praha",
                    "street": "Na Prikope 1",
                    "postcode": "11000",
                },
                "opening": {"date": opening, "balance": "0.00"},
                "overdraft": "none",
            }
        ],
        "payees": payees,
        "policies": {"returns": "auto", "tariffed_charges": "auto", "interest": "auto", "acquirer_fees": "auto"},
        "acquirers": [],
        "tolerances": {"window_days": 1, "rounding_minor": 1},
    }
    target.write_text(yaml.safe_dump(body, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return target


def agreed_balances(conn: Connection, *, book_id: int, folder: Path) -> tuple[int, int]:
    """(agreed, stated): end-of-day balances of the bank that the books give too, within the bank's own rounding.

    The bank rounded interest to 0.10 CZK in the journal but not in the balance: 0.05 CZK for each interest entry so
    far, and 0.05 more.
    """
    rows = conn.execute(
        "SELECT a.code, p.effective_date, (-sum(p.amount_minor))::bigint"
        " FROM ledger.posting p JOIN ledger.account a USING (account_id)"
        " WHERE a.book_id = %s AND starts_with(a.code, 'liabilities:customer:') GROUP BY 1, 2",
        (book_id,),
    ).fetchall()
    schema = {"account": pl.String, "effective_date": pl.Date, "moved": pl.Int64}
    books = (
        pl.DataFrame(rows, schema=schema, orient="row")
        .sort("account", "effective_date")
        .with_columns(ours=pl.col("moved").cum_sum().over("account"))
        .sort("effective_date")
    )
    raw = pl.concat([pl.read_csv(path, infer_schema=False) for path in sorted(folder.glob("balances-*.csv.gz"))])
    if not raw["balance"].str.contains(r"^-?[0-9]+\.[0-9]{2}$").all():
        raise RefusedError("a stated balance does not have exactly two decimals; correct balances-*.csv.gz.")
    stated = raw.select(
        "account",
        pl.col("effective_date").str.to_date("%Y-%m-%d"),
        theirs=pl.col("balance").str.replace(".", "", literal=True).cast(pl.Int64),
        interest=pl.col("interest_entries_so_far").cast(pl.Int64),
    )
    both = stated.sort("effective_date").join_asof(books, on="effective_date", by="account", check_sortedness=False)
    agreed = both.filter((pl.col("ours").fill_null(0) - pl.col("theirs")).abs() <= 5 * pl.col("interest") + 5)
    return agreed.height, stated.height
