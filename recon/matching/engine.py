"""A DuckDB connection that holds items and answers the queries of this folder.

Lives here: loading frames, running a named query, the views every query may use. Must not live here:
any rule. Results never depend on the order of input rows or on the number of threads: queries use set
operations and total orders only, and every frame handed out is sorted.
"""

from __future__ import annotations

from collections.abc import Mapping

import duckdb
import polars as pl

from recon.matching.items import ITEM_SCHEMA, Tolerances
from recon.matching.rules import rule_sql

GROUP_SCHEMA: dict[str, pl.DataType] = {"group_id": pl.Int64(), "item_id": pl.Int64()}


class Engine:
    """Items, the ones still open, and the parameters of a run, in memory."""

    def __init__(self, items: pl.DataFrame, *, tolerances: Tolerances, threads: int) -> None:
        self._left = items.height  # open items no query has taken; with none left there is nothing to ask
        self._db = duckdb.connect(":memory:")
        self._db.execute(f"SET threads = {int(threads)}")
        self._db.execute("SET preserve_insertion_order = false")
        self._amounts = items.select("item_id", "account", "currency", "amount_minor")
        self._load("item", items.select([pl.col(name).cast(kind) for name, kind in ITEM_SCHEMA.items()]))
        self._db.execute("CREATE TABLE parameter (window_days INTEGER, rounding_minor BIGINT)")
        self._db.execute("INSERT INTO parameter VALUES (?, ?)", [tolerances.window_days, tolerances.rounding_minor])
        self._db.execute("CREATE TABLE taken (item_id BIGINT)")
        self._db.execute(rule_sql("views"))

    def _load(self, name: str, frame: pl.DataFrame) -> None:
        self._db.from_arrow(frame.to_arrow()).create(name)

    def add_table(self, name: str, frame: pl.DataFrame) -> None:
        """Make a frame visible to the queries as table `name` (a literal of this package, never input)."""
        if not name.isidentifier():
            raise ValueError(f"{name!r} is not a table name")
        self._load(name, frame)

    def run(self, query: str) -> None:
        """Execute a named script of this folder, e.g. more views."""
        self._db.execute(rule_sql(query))

    def groups(self, query: str, parameters: Mapping[str, str] | None = None, *, merge: bool = False) -> pl.DataFrame:
        """Rows (group_id, item_id) that a query finds among the open items, sorted, each item once.

        An item that two groups claim proves that neither is unique. Clearing drops both, and any group that is
        not zero on one account; breaks (`merge`)
        keep the item in the group with the smallest id, because every open item needs one place.
        """
        if self._left == 0:
            return pl.DataFrame(schema=GROUP_SCHEMA)
        found = _frame(self._db.sql(rule_sql(query), params=dict(parameters or {})).to_arrow_table())
        found = found.select(pl.col("group_id").cast(pl.Int64), pl.col("item_id").cast(pl.Int64))
        if merge:
            return (
                found.group_by("item_id")
                .agg(pl.col("group_id").min())
                .select("group_id", "item_id")
                .sort("group_id", "item_id")
            )
        return self._provable(found.unique()).sort("group_id", "item_id")

    def _provable(self, found: pl.DataFrame) -> pl.DataFrame:
        """Groups whose items nobody else claims and that are zero on one account: the last word over queries."""
        contested = found.group_by("item_id").len().filter(pl.col("len") > 1)
        sums = (
            found.join(self._amounts, on="item_id", how="left")
            .group_by("group_id")
            .agg(pl.col("amount_minor").sum(), pl.col("account", "currency").n_unique())
        )
        wrong = sums.filter((pl.col("amount_minor") != 0) | (pl.col("account") != 1) | (pl.col("currency") != 1))
        dropped = pl.concat(
            [found.join(contested, on="item_id", how="semi").select("group_id"), wrong.select("group_id")]
        )
        return found.join(dropped, on="group_id", how="anti")

    def pairs(self, query: str) -> list[tuple[int, int]]:
        """Rows of a query that gives two items each."""
        if self._left == 0:
            return []
        return [(int(left), int(right)) for left, right in self._db.execute(rule_sql(query)).fetchall()]

    def take(self, groups: pl.DataFrame) -> None:
        """Remove the items of these groups from the open ones."""
        if groups.is_empty():
            return
        self._left -= groups["item_id"].n_unique()
        self._db.register("incoming", groups.select("item_id").to_arrow())
        self._db.execute("INSERT INTO taken SELECT item_id FROM incoming")
        self._db.unregister("incoming")

    def open_items(self) -> pl.DataFrame:
        """Items that no query has taken yet, sorted by id."""
        found = _frame(self._db.sql("SELECT * FROM open_item").to_arrow_table())
        return found.cast(dict(ITEM_SCHEMA)).sort("item_id")  # type: ignore[arg-type]

    def close(self) -> None:
        self._db.close()


def _frame(table: object) -> pl.DataFrame:
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame
