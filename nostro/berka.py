"""`make berka`: a real bank's journal from import to certificates.

Reads a folder of the shape of the Berka data: ``journal-*.csv.gz`` (journal entries), ``balances-*.csv.gz``
(end-of-day balances that the bank itself stated), ``parties.csv`` (the banks that outgoing transfers are owed to).
Imports the journals, compares every stated balance with the books, settles every night on which transfers were owed,
lets the simulated bank answer, reconciles, and certifies.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

import polars as pl
import yaml

from ledger import Connection

PAYABLE_PREFIX = "liabilities:clearing:"
_RULES = {
    "liabilities:customer:*": "liability",
    "liabilities:clearing:*": "liability",
    "assets:cash": "asset",
    "assets:clearing:*": "asset",
    "income:*": "income",
    "expense:*": "expense",
}


def setup_file(folder: Path, target: Path, *, opening: date) -> Path:
    """Write the set-up of the Berka bank: one CZK account, calendar `all`, thirteen payees from parties.csv."""
    parties = pl.read_csv(folder / "parties.csv", infer_schema=False)
    payees = [
        {
            "payee_id": row["account"].removeprefix(PAYABLE_PREFIX),
            "name": row["name"],
            "account": row["account"],
            "currency": "CZK",
            "iban": row["iban"],
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
        "SELECT a.code, p.effective_date, (-sum(p.amount_minor))::bigint FROM ledger.posting p"
        " JOIN ledger.account a USING (account_id) WHERE a.book_id = %s AND starts_with(a.code, 'liabilities:customer:')"
        " GROUP BY 1, 2",
        (book_id,),
    ).fetchall()
    schema = {"account": pl.String, "effective_date": pl.Date, "moved": pl.Int64}
    books = (
        pl.DataFrame(rows, schema=schema, orient="row")
        .sort("account", "effective_date")
        .with_columns(ours=pl.col("moved").cum_sum().over("account"))
        .sort("effective_date")
    )
    stated = pl.concat(
        [pl.read_csv(path, infer_schema=False) for path in sorted(folder.glob("balances-*.csv.gz"))]
    ).select(
        "account",
        pl.col("effective_date").str.to_date("%Y-%m-%d"),
        theirs=pl.col("balance").str.replace(".", "", literal=True).cast(pl.Int64),
        interest=pl.col("interest_entries_so_far").cast(pl.Int64),
    )
    if (
        not pl.concat([pl.read_csv(path, infer_schema=False) for path in sorted(folder.glob("balances-*.csv.gz"))])[
            "balance"
        ]
        .str.contains(r"^-?[0-9]+\.[0-9]{2}$")
        .all()
    ):
        raise ValueError("a stated balance does not have two decimals")
    both = stated.sort("effective_date").join_asof(books, on="effective_date", by="account", strategy="backward")
    agreed = both.filter((pl.col("ours").fill_null(0) - pl.col("theirs")).abs() <= 5 * pl.col("interest") + 5)
    return agreed.height, stated.height
