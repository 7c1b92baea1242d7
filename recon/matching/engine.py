"""A DuckDB connection that holds items and answers the queries of this folder.

Lives here: taking items from a frame or from Parquet files, the first pass over everything, running a named query,
what is still open. Must not live here: any rule. Results never depend on the order of input rows or on the number
of threads: queries use set operations and total orders only, and every frame handed out is sorted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import polars as pl

from recon.errors import FileRefusedError
from recon.matching import whole_rows
from recon.matching.items import BANK_KINDS, ITEM_SCHEMA, Tolerances
from recon.matching.rules import rule_sql
from recon.matching.stock import Held, Stock, stock_of
from recon.scratch_db import close_scratch, open_scratch

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

GROUP_SCHEMA: dict[str, pl.DataType] = {"group_id": pl.Int64(), "item_id": pl.Int64()}
SMALL = 20_000  # items up to which planning a query costs more than running it
STOCKED = 2_000  # items up to which what they are is counted, so that rules which cannot apply are not asked
_PAIR: dict[str, pl.DataType] = {"line_id": pl.Int64(), "expected_id": pl.Int64()}
_NOTHING = pl.DataFrame()
_TYPES: dict[str, pl.DataType] = {
    "BIGINT": pl.Int64(),
    "INTEGER": pl.Int32(),
    "VARCHAR": pl.String(),
    "BOOLEAN": pl.Boolean(),
}


class Engine:
    """Items, the ones still open, and the parameters of a run.

    Made of a frame or of Parquet files; `first_pass` clears what two keys prove over everything at once and makes
    the tables that all later queries read.
    """

    def __init__(
        self,
        *,
        tolerances: Tolerances,
        threads: int,
        is_small: bool = False,
        memory_limit_gb: int | None = None,
        scratch: Path | None = None,
    ) -> None:
        self.left = 0  # open items no query has taken; with none left there is nothing to ask
        self._stored = 0  # rows in the table of open items, taken ones that leave a gap among them
        self._references: pl.DataFrame | None = None
        self._sides: dict[str, pl.LazyFrame] = {}  # the rows of `raw_bank` and `raw_ledger`
        self.threads = 1 if is_small else threads
        self._asked: dict[tuple[str, str], tuple[int, pl.DataFrame]] = {}
        self._fresh: dict[str, int] = {}
        self._pairs: list[tuple[str, int, int]] = []  # of `stock_pairs.sql`
        self._stock: tuple[int, frozenset[Stock]] | None = None  # of how many items, and what they are
        self._is_stocked = False  # whether rules that cannot apply are passed over; said once, when the pairs are read
        self._scratch: str | None = None  # the name of a database that several engines' instance holds
        if is_small:
            self._db, self._scratch = open_scratch()
        else:
            self._db = duckdb.connect(":memory:", config={"threads": threads})
            self._db.execute("SET preserve_insertion_order = false")
            self._db.execute("SET enable_progress_bar = false")
        if memory_limit_gb is not None:
            self._db.execute(f"SET memory_limit = '{int(memory_limit_gb)}GB'")
        if scratch is not None:
            self._db.execute("SET temp_directory = ?", [str(scratch)])
        self.tolerances = tolerances
        self.exhausted: Counter[str] = Counter()  # by rule, searches that a bound ended
        self.exact_key_count = 0  # keys that one line and one expectation carry, as the first pass counted them

    @classmethod
    def of_frame(cls, items: pl.DataFrame, *, tolerances: Tolerances, threads: int) -> Engine:
        """An engine over a frame with `ITEM_SCHEMA`."""
        engine = cls(tolerances=tolerances, threads=threads, is_small=items.height <= SMALL)
        shaped = items.select([pl.col(name).cast(kind) for name, kind in ITEM_SCHEMA.items()])
        is_bank = pl.col("kind").is_in(list(BANK_KINDS))
        for side, chosen in (("bank", is_bank), ("ledger", ~is_bank)):
            rows = shaped.filter(chosen)
            engine.add_table(f"raw_{side}", rows)
            engine._sides[side] = rows.lazy()
        engine._db.table("raw_ledger").create_view("all_ledger")
        engine._prepare()
        return engine

    @classmethod
    def of_parquet(
        cls,
        bank: Path,
        ledger: Path,
        *,
        tolerances: Tolerances,
        threads: int,
        memory_limit_gb: int,
        scratch: Path,
        late: Path | None = None,
        accounts: Sequence[str] | None = None,
    ) -> Engine:
        """An engine over two Parquet files with `ITEM_SCHEMA`, which are read as often as needed and never stored.

        `late`: more bank lines, in a file of their own. `accounts`: only the items of these are reconciled; what the
        books know of references and parties is still all of the ledger.

        Raises `FileRefusedError` when a file lacks a column or has it with another type.
        """
        engine = cls(tolerances=tolerances, threads=threads, memory_limit_gb=memory_limit_gb, scratch=scratch)
        for path in (bank, ledger, *([] if late is None else [late])):
            _check_schema(path)
        columns = [duckdb.ColumnExpression(column) for column in ITEM_SCHEMA]
        banks = [bank, *([] if late is None else [late])]
        engine._db.read_parquet(str(ledger)).select(*columns).create_view("all_ledger")
        for side, paths in (("bank", banks), ("ledger", [ledger])):
            engine._sides[side] = whole_rows.scan(paths, accounts)
            relation = engine._db.read_parquet([str(path) for path in paths]).select(*columns)
            if accounts is not None:
                chosen = [duckdb.ConstantExpression(account) for account in sorted(accounts)]
                relation = relation.filter(duckdb.ColumnExpression("account").isin(*chosen))
            relation.create_view(f"raw_{side}")
        engine._prepare()
        return engine

    def _prepare(self) -> None:
        self.run("source")
        self._db.execute(
            "INSERT INTO parameter VALUES (?, ?, ?)",
            [self.tolerances.window_days, self.tolerances.rounding_minor, self.tolerances.fx_band_ppm],
        )

    def first_pass(self) -> int:
        """Clear what EndToEndId and amount prove over everything, and load what is left. Returns the pairs cleared."""
        self.run("exact")
        pairs = self._unique_pairs()
        self._load_rest(pairs)
        return pairs.height

    def exact_part(self) -> int:
        """The first pass without what follows: pairs of equal unique keys, and the ids that are left on either side."""
        self.run("exact")
        pairs = self._unique_pairs()
        self.run("residual_ids")
        return pairs.height

    def without_first_pass(self) -> None:
        """Load every item as open."""
        self.run("unpaired")
        self._load_rest(pl.DataFrame(schema=_PAIR))

    def _unique_pairs(self) -> pl.DataFrame:
        """Take pairs out of which a member has another partner too, and pairs that something speaks against.

        Returns (line_id, expected_id) of the others.
        """
        import numpy as np  # slow to load, and most commands do not need it

        pairs = _frame(self._db.sql("SELECT line_id, expected_id, agrees FROM exact_pair").to_arrow_table())
        repeated = [_repeated(pairs[side].to_numpy()) for side in _PAIR]
        doubtful = pl.DataFrame({"item_id": np.concatenate(repeated)}, schema={"item_id": pl.Int64()})
        if doubtful.height:
            self._db.register("doubtful", doubtful.to_arrow())
            self._db.execute(
                "DELETE FROM exact_pair WHERE line_id IN (SELECT item_id FROM doubtful)"
                " OR expected_id IN (SELECT item_id FROM doubtful)"
            )
            self._db.unregister("doubtful")
            for side in _PAIR:
                pairs = pairs.join(doubtful, left_on=side, right_on="item_id", how="anti")
        self.exact_key_count = pairs.height
        self._db.execute("DELETE FROM exact_pair WHERE NOT agrees")
        return pairs.filter("agrees").select(list(_PAIR))

    def _load_rest(self, pairs: pl.DataFrame) -> None:
        self.run("residual")
        self._at_once(
            lambda engine: engine._load_left("bank", pairs["line_id"]),
            lambda engine: engine._load_left("ledger", pairs["expected_id"]),
        )
        self.run("residual_item")
        self.left = self._stored = self.count("open_item")
        self._is_stocked = self._scratch is not None and self.left <= STOCKED
        if self.left == 0 and self._scratch is not None:
            return
        self.run("views")
        if not self.offers([Stock.LINE]):  # nothing that is left reads what lines say
            return
        self._at_once(lambda engine: engine.run("views_keys"), lambda engine: engine.run("views_known"))
        self.run("views_named")
        self._judge_names()
        if self._is_stocked:
            self._pairs = self._db.execute(rule_sql("stock_pairs")).fetchall()
            self._stock = None

    def _judge_names(self) -> None:
        """Take back that a pair agrees where a name is another party's, or its number is weak and no name helps."""
        doubtful = self.rows("other_names")
        if doubtful.is_empty():
            return
        from recon.matching.other_names import spoken_against  # loads rapidfuzz, which most commands do not need

        against = spoken_against(doubtful, lambda: self.rows("known_names"))
        if against.height:
            self.run("spoken_against", against=against)

    def offers(self, needs: Iterable[str]) -> bool:
        """Whether a rule that needs one of these words (`Stock`) could find anything among what is open.

        For many items this costs more than it saves: then every rule is asked.
        """
        if not self._is_stocked:
            return True
        if self._stock is None or self._stock[0] != self.left:
            held = [Held(*row) for row in self._db.execute(rule_sql("stock")).fetchall()]
            self._stock = (self.left, stock_of(held, self._pairs))
        return not self._stock[1].isdisjoint(needs)

    def _load_left(self, side: str, taken: pl.Series) -> None:
        """Put the items of a side that are not among `taken` into `open_item`, whole rows."""
        self._db.register("left_rows", whole_rows.without(self._sides[side], taken))
        self.run("residual_left")
        self._db.unregister("left_rows")

    def add_table(self, name: str, frame: pl.DataFrame) -> None:
        """Make a frame visible to the queries as table `name` (a literal of this package, never input)."""
        if not name.isidentifier():
            raise ValueError(f"{name!r} is not a table name")
        self._db.from_arrow(frame.to_arrow()).create(name)

    def run(self, query: str, **frames: pl.DataFrame) -> None:
        """Execute a named script of this folder, e.g. more views; it may read these frames, each by its name."""
        with self._lent(frames):
            self._db.execute(rule_sql(query))

    def refresh(self, query: str) -> None:
        """Execute a script that makes a table out of what is open, unless nothing was taken since it last did."""
        if self._fresh.get(query) != self.left:
            self.run(query)
            self._fresh[query] = self.left

    def _at_once(self, *works: Callable[[Engine], None]) -> None:
        """Do what does not touch each other, side by side when the engine has more than one thread."""
        if self.threads == 1:
            for work in works:
                work(self)
            return
        with ThreadPoolExecutor(len(works)) as pool:
            for done in [pool.submit(work, self.beside()) for work in works]:
                done.result()

    def beside(self) -> Engine:
        """The same tables over a connection of its own, for another thread. What one commits the other sees."""
        twin = copy(self)
        twin._db = self._db.cursor()
        return twin

    def count(self, table: str) -> int:
        """Rows of a table of this engine (a literal of this package)."""
        return int(self._db.table(table).count("*").fetchall()[0][0])

    def rows(
        self, query: str, parameters: Mapping[str, str | int | bool] | None = None, **frames: pl.DataFrame
    ) -> pl.DataFrame:
        """The rows of a named query, as they come: the query orders them totally or the caller sorts."""
        with self._lent(frames):
            return self._rows(query, parameters)

    def _rows(self, query: str, parameters: Mapping[str, str | int | bool] | None) -> pl.DataFrame:
        text, given = rule_sql(query), dict(parameters or {})
        if self._scratch is None:
            return _frame(self._db.sql(text, params=given).to_arrow_table())
        # A relation binds its query before it runs, and running binds it again: for few rows that is most of the cost.
        found = self._db.execute(text, given).fetchall()
        schema = {str(name): _TYPES[str(kind)] for name, kind, *_ in self._db.description or ()}
        return pl.DataFrame(found, schema=schema, orient="row")

    def asked(self, query: str, parameters: Mapping[str, str | int | bool], **frames: pl.DataFrame) -> pl.DataFrame:
        """The same, remembered for as long as no item is taken: two searches may ask for the same rows.

        The frames follow from the open items too.
        """
        key = (query, repr(sorted(parameters.items())))
        left, found = self._asked.get(key, (-1, _NOTHING))
        if left != self.left:
            found = self.rows(query, parameters, **frames)
            self._asked[key] = (self.left, found)
        return found

    @contextmanager
    def _lent(self, frames: Mapping[str, pl.DataFrame]) -> Iterator[None]:
        for name, frame in frames.items():
            self._db.register(name, frame.to_arrow())
        try:
            yield
        finally:
            for name in frames:
                self._db.unregister(name)

    def batches(self, query: str, rows: int) -> Iterator[pa.RecordBatch]:
        """The rows of a named query, so many at a time, in no order."""
        yield from self._db.sql(rule_sql(query)).to_arrow_reader(rows)

    def references(self) -> pl.DataFrame:
        """(account, reference) of every expectation that the first pass left, cleared or not; asked once, unordered."""
        if self._references is None:
            self._references = self.rows("open_references")
        return self._references

    def write(self, query: str, path: Path) -> int:
        """Run a named query that copies rows to a Parquet file. Returns their number."""
        row = self._db.execute(rule_sql(query), {"path": str(path)}).fetchone()
        assert row is not None
        return int(row[0])

    def groups(self, query: str, parameters: Mapping[str, str] | None = None, *, merge: bool = False) -> pl.DataFrame:
        """Rows (group_id, item_id) that a query finds among the open items, sorted, each item once.

        An item that two groups claim proves that neither is unique. Clearing drops both, and any group that is
        not zero on one account; breaks (`merge`) keep the item in the group with the smallest id, because every
        open item needs one place.
        """
        if self.left == 0:
            return pl.DataFrame(schema=GROUP_SCHEMA)
        found = self.rows(query, parameters)
        found = found.select(pl.col("group_id").cast(pl.Int64), pl.col("item_id").cast(pl.Int64))
        if merge:
            return (
                found.group_by("item_id")
                .agg(pl.col("group_id").min())
                .select("group_id", "item_id")
                .sort("group_id", "item_id")
            )
        return self.provable(found)

    def provable(self, found: pl.DataFrame, *, explained: bool = False) -> pl.DataFrame:
        """Groups whose items nobody else claims and that are zero on one account: the last word over queries.

        `explained`: groups that leave a difference instead, which the caller can explain.
        """
        found = found.select("group_id", "item_id").unique()
        if found.is_empty():
            return pl.DataFrame(schema=GROUP_SCHEMA)
        self._db.register("found", found.to_arrow())
        kept = self.rows("provable", {"explained": explained})
        self._db.unregister("found")
        return kept.cast(dict(GROUP_SCHEMA)).sort("group_id", "item_id")  # type: ignore[arg-type]

    def pairs(self, query: str) -> list[tuple[int, int]]:
        """Rows of a query that gives two items each."""
        if self.left == 0:
            return []
        return [(int(left), int(right)) for left, right in self._db.execute(rule_sql(query)).fetchall()]

    def take(self, groups: pl.DataFrame) -> None:
        """Remove the items of these groups from the open ones."""
        if groups.is_empty():
            return
        self._db.register("incoming", groups.select("item_id").unique().to_arrow())
        self._db.execute("DELETE FROM open_item WHERE item_id IN (SELECT item_id FROM incoming)")
        self._db.unregister("incoming")
        self.left = self.count("open_item")
        if self._stored > SMALL and self.left < self._stored // 2:
            self.run("close_ranks")
            self._stored = self.left

    def keep_rest(self) -> None:
        """Keep what the results say of what is open now as table `rest`, whatever is taken afterwards."""
        self.run("rest")

    def open_items(self) -> pl.DataFrame:
        """Items that no query has taken yet (`ITEM_SCHEMA`), sorted by id."""
        found = _frame(self._db.sql("SELECT * FROM open_item").to_arrow_table())
        return found.select(list(ITEM_SCHEMA)).cast(dict(ITEM_SCHEMA)).sort("item_id")  # type: ignore[arg-type]

    def close(self) -> None:
        if self._scratch is None:
            self._db.close()
        else:
            close_scratch(self._db, self._scratch)


def _repeated(ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Ids that occur more than once, ascending. Counts by position while ids are dense, by sorting otherwise."""
    import numpy as np

    if len(ids) == 0:
        return ids
    low, high = int(ids.min()), int(ids.max())
    if high - low < 8 * len(ids) + 1024:
        seen = np.zeros(high - low + 1, dtype=bool)
        seen[ids - low] = True
        if int(seen.sum()) == len(ids):
            return ids[:0]
        counts = np.bincount(ids - low)
        return (np.flatnonzero(counts > 1) + low).astype(np.int64)
    found, counts = np.unique(ids, return_counts=True)
    return found[counts > 1]


def _check_schema(path: Path) -> None:
    """Raises `FileRefusedError` when a Parquet file does not have the columns of `ITEM_SCHEMA`."""
    have = pl.read_parquet_schema(path)
    wrong = [name for name, kind in ITEM_SCHEMA.items() if have.get(name) != kind]
    if wrong:
        raise FileRefusedError(f"{path.name}: columns missing or of another type than an item's: {', '.join(wrong)}.")


def _frame(table: object) -> pl.DataFrame:
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame
