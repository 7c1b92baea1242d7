"""Journal files: CSV, CSV.gz or Parquet into the books, whole or not at all.

Columns: ``entry_key,effective_date,account,amount,currency,description,reference``; debit positive; the rows of
an entry share its key. Lives here: reading, checking (every fault with its line, not only the first), opening
accounts by the book's declared rules. Must not live here: the rules of the books themselves.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import polars as pl

from ledger.currencies import currencies
from ledger.db import Connection
from ledger.errors import JournalFileError
from ledger.journal import Legs, post_columns
from ledger.money import INT64_MAX, Currency, format_amount
from ledger.transactions import transaction

COLUMNS = ("entry_key", "effective_date", "account", "amount", "currency", "description", "reference")
_REQUIRED = COLUMNS[:5]
_BATCH_LEGS = 400_000


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did. Importing the same file again finds every entry there: `new_entries` is 0."""

    sha256: str
    entries: int
    new_entries: int
    postings: int
    accounts_opened: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalRow:
    """A posting as a journal file has it: texts, debit positive, and the line it comes from."""

    line: int
    entry_key: str
    effective_date: str
    account: str
    amount: str
    currency: str
    description: str = ""
    reference: str = ""


def import_journal(
    conn: Connection, *, book_id: int, path: Path, on_progress: Callable[[int, int], None] | None = None
) -> ImportReport:
    """Post every entry of a journal file in one transaction.

    Raises `JournalFileError` with all faults of the file (line, what, what to do); nothing is changed then.
    """
    if not path.is_file():
        raise JournalFileError(f"{path} is not a file; give the path of a .csv, .csv.gz or .parquet journal.", ())
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return _import(conn, book_id, path.name, sha256, _read(path), on_progress)


def import_rows(
    conn: Connection,
    *,
    book_id: int,
    name: str,
    content: bytes,
    rows: Sequence[JournalRow],
    faults: Sequence[tuple[int, str]] = (),
) -> ImportReport:
    """Post what was composed from a file (`name`, `content`) as a journal of these rows, in one transaction.

    `faults`: lines that nothing could be composed from, and why. Raises `JournalFileError` with them and with every
    fault of the rows, by their lines; nothing is changed then.
    """
    raw = pl.DataFrame(
        [tuple(getattr(row, column) for column in (*COLUMNS, "line")) for row in rows],
        schema=dict.fromkeys(COLUMNS, pl.String) | {"line": pl.Int64},
        orient="row",
    )
    return _import(conn, book_id, name, hashlib.sha256(content).hexdigest(), raw, None, faults)


def _import(
    conn: Connection,
    book_id: int,
    name: str,
    sha256: str,
    raw: pl.DataFrame,
    on_progress: Callable[[int, int], None] | None,
    composing: Sequence[tuple[int, str]] = (),
) -> ImportReport:
    with transaction(conn):
        rows, faults = _typed(raw, currencies(conn))
        faults += composing
        faults += _entry_faults(rows)
        opened, accounts, account_faults = _resolve_accounts(conn, book_id, rows)
        rows = rows.join(accounts, on="account", how="left", maintain_order="left")
        faults += account_faults + _period_faults(conn, book_id, rows) + _conflict_faults(conn, book_id, rows)
        if faults:
            raise _refusal(name, faults)
        source_id = _source(conn, book_id, name, sha256)
        batches = _batches(rows)
        total, new = rows["entry"].n_unique(), 0
        done = 0
        for batch in batches:
            _, count, _ = post_columns(conn, book_id=book_id, source_id=source_id, legs=_legs(batch))
            new += count
            done += batch["entry"].n_unique()
            if on_progress is not None:
                on_progress(done, total)
    return ImportReport(sha256=sha256, entries=total, new_entries=new, postings=rows.height, accounts_opened=opened)


def _refusal(name: str, faults: list[tuple[int, str]]) -> JournalFileError:
    lines = tuple(f"line {line}: {text}" for line, text in sorted(faults))
    count = f"{len(lines)} fault{'s' if len(lines) > 1 else ''}"
    return JournalFileError(f"{name} was refused whole: {count}; correct the file and import it again.", lines)


def _read(path: Path) -> pl.DataFrame:
    """The file as text columns plus `line`, the line each row starts on."""
    suffixes = "".join(path.suffixes[-2:]).lower()
    try:
        if suffixes.endswith(".parquet"):
            frame = pl.read_parquet(path)
        elif suffixes.endswith((".csv", ".csv.gz")):
            frame = pl.read_csv(path, infer_schema=False)
        else:
            raise JournalFileError(f"{path.name} is neither .csv, .csv.gz nor .parquet; convert it first.", ())
    except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError) as error:
        raise JournalFileError(f"{path.name} cannot be read: {_why_unreadable(path, error)}", ()) from error
    missing = [name for name in _REQUIRED if name not in frame.columns]
    unknown = [name for name in frame.columns if name not in COLUMNS]
    if missing or unknown:
        raise JournalFileError(
            f"{path.name} has the wrong columns (missing: {', '.join(missing) or 'none'}; "
            f"unknown: {', '.join(unknown) or 'none'}); they must be {','.join(COLUMNS)}.",
            (),
        )
    floats = [name for name, dtype in frame.schema.items() if dtype.is_float()]
    if floats:
        raise JournalFileError(
            f"{path.name}: column {', '.join(floats)} holds floating-point numbers, which cannot carry money exactly; "
            "write text or decimals.",
            (),
        )
    frame = frame.with_columns(pl.lit("").alias(name) for name in COLUMNS if name not in frame.columns)
    frame = frame.select(pl.col(name).cast(pl.String).fill_null("") for name in COLUMNS)
    breaks = pl.sum_horizontal(pl.col(name).str.count_matches("\n") for name in COLUMNS).cast(pl.Int64)
    return frame.with_columns(line=pl.int_range(2, pl.len() + 2) + breaks.cum_sum() - breaks)


def _why_unreadable(path: Path, error: Exception) -> str:
    """The first line of a CSV whose number of fields is wrong, or what the reader said."""
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            width = len(next(reader, []))
            for row in reader:
                if len(row) != width:
                    return f"line {reader.line_num} has {len(row)} fields, the header has {width}."
    except UnicodeDecodeError:
        return "it is not UTF-8 text."
    except (csv.Error, OSError, EOFError) as fault:
        return f"{fault}."
    return f"{str(error).splitlines()[0]}."


def _faults(frame: pl.DataFrame, broken: pl.Expr, text: pl.Expr) -> list[tuple[int, str]]:
    """(line, sentence) of every row where `broken` holds."""
    return [(int(line), str(said)) for line, said in frame.filter(broken).select("line", text.alias("said")).rows()]


def _typed(raw: pl.DataFrame, known_currencies: Mapping[str, Currency]) -> tuple[pl.DataFrame, list[tuple[int, str]]]:
    """Rows with a date, exact minor units and a dense entry number (order of first appearance), and the faults."""
    known = pl.DataFrame(
        [(c.code, c.exponent, format_amount(INT64_MAX, c.exponent)) for c in known_currencies.values()],
        schema={"currency": pl.String, "exponent": pl.Int32, "largest": pl.String},
        orient="row",
    )
    entries = raw.select("entry_key").unique(maintain_order=True).with_row_index("entry")
    parts = pl.col("amount").str.extract_groups(r"^([+-]?)([0-9]+)(?:\.([0-9]*))?$")
    frame = (
        raw.join(known, on="currency", how="left", maintain_order="left")
        .join(entries, on="entry_key", how="left", maintain_order="left")
        .with_columns(
            date=pl.col("effective_date").str.to_date("%Y-%m-%d", strict=False),
            sign=parts.struct.field("1"),
            whole=parts.struct.field("2"),
            fraction=parts.struct.field("3").fill_null(""),
        )
        .with_columns(excess=pl.col("fraction").str.slice(pl.col("exponent")).str.strip_chars("0"))
        .with_columns(
            amount_minor=(
                pl.col("whole")
                + pl.col("fraction").str.slice(0, pl.col("exponent"))
                + pl.lit("0")
                .repeat_by((pl.col("exponent") - pl.col("fraction").str.len_chars()).clip(lower_bound=0))
                .list.join("")
            ).cast(pl.Int64, strict=False)
            * pl.when(pl.col("sign") == "-").then(-1).otherwise(1)
        )
    )
    bad_amount = pl.col("whole").is_null()
    faults = (
        _faults(
            frame,
            pl.col("entry_key") == "",
            pl.lit("entry_key is empty; every entry needs a key of its own."),
        )
        + _faults(
            frame,
            pl.col("date").is_null(),
            pl.format("effective_date '{}' is not a date like 2026-11-02.", "effective_date"),
        )
        + _faults(
            frame,
            pl.col("exponent").is_null(),
            pl.format("currency '{}' is neither of ISO 4217 nor defined here.", "currency"),
        )
        + _faults(frame, bad_amount, pl.format("amount '{}' is not a plain decimal number like -12.50.", "amount"))
        + _faults(
            frame,
            pl.col("excess") != "",
            pl.format("amount '{}' has more decimals than {} allows ({}).", "amount", "currency", "exponent"),
        )
        + _faults(
            frame,
            ~bad_amount
            & pl.col("exponent").is_not_null()
            & (pl.col("excess") == "")
            & pl.col("amount_minor").is_null(),
            pl.format(
                "amount '{}' does not fit in 64 bits of minor units; the largest amount of {} is {}.",
                "amount",
                "currency",
                "largest",
            ),
        )
        + _faults(frame, pl.col("amount_minor") == 0, pl.lit("amount is zero; leave the row out."))
    )
    wanted = [
        "line",
        "entry",
        "entry_key",
        "date",
        "account",
        "amount_minor",
        "currency",
        "exponent",
        "description",
        "reference",
    ]
    return frame.select(wanted), faults


def _entry_faults(rows: pl.DataFrame) -> list[tuple[int, str]]:
    """Faults of whole entries: unbalanced, one-legged, or telling two stories; reported on their first line."""
    clean = rows.filter(pl.all_horizontal(pl.col("amount_minor", "exponent", "date").is_not_null()).all().over("entry"))
    sums = (
        clean.group_by("entry", "currency")
        .agg(
            pl.col("line").min(),
            pl.col("entry_key").first(),
            pl.col("exponent").first(),
            total=pl.col("amount_minor").sum(),
        )
        .filter(pl.col("total") != 0)
    )
    per_entry = rows.group_by("entry").agg(
        pl.col("line").min(),
        pl.col("entry_key").first(),
        n=pl.len(),
        dates=pl.col("date").n_unique(),
        texts=pl.struct("description", "reference").n_unique(),
    )
    return (
        _faults(
            sums,
            pl.lit(True),
            pl.format(
                "entry '{}' does not balance: it is off by {} minor units of {}.",
                "entry_key",
                "total",
                "currency",
            ),
        )
        + _faults(
            per_entry,
            pl.col("n") < 2,
            pl.format("entry '{}' has only one posting; it needs at least two.", "entry_key"),
        )
        + _faults(per_entry, pl.col("dates") > 1, pl.format("entry '{}' has several effective dates.", "entry_key"))
        + _faults(
            per_entry,
            pl.col("texts") > 1,
            pl.format("entry '{}' has several descriptions or references.", "entry_key"),
        )
    )


def _resolve_accounts(
    conn: Connection, book_id: int, rows: pl.DataFrame
) -> tuple[int, pl.DataFrame, list[tuple[int, str]]]:
    """Open what the rules allow; (opened, frame account → account_id, account_currency, faults)."""
    used = rows.group_by("account").agg(pl.col("line").min(), pl.col("currency").first()).sort("line")
    known = conn.execute(
        "SELECT a.code, a.account_id, c.code, a.control"
        " FROM ledger.account a JOIN ledger.currency c USING (currency_id) WHERE a.book_id = %s",
        (book_id,),
    ).fetchall()
    existing = {str(row[0]) for row in known}
    new = [row for row in used.rows(named=True) if row["account"] not in existing]
    faults, opened = _open_by_rule(conn, book_id, new) if new else ([], [])
    schema = {
        "account": pl.String,
        "account_id": pl.Int32,
        "account_currency": pl.String,
        "control": pl.String,
    }
    accounts = pl.DataFrame([*known, *opened], schema=schema, orient="row")
    joined = rows.join(accounts, on="account", how="inner", maintain_order="left")
    faults += _faults(
        joined,
        pl.col("control").is_not_null(),
        pl.format("account '{}' is a control account ({}); a journal cannot post there.", "account", "control"),
    )
    faults += _faults(
        joined,
        pl.col("account_currency") != pl.col("currency"),
        pl.format("account '{}' is kept in {}, not in {}.", "account", "account_currency", "currency"),
    )
    return len(opened), accounts.drop("control", "account_currency"), faults


def _open_by_rule(
    conn: Connection, book_id: int, new: list[dict[str, object]]
) -> tuple[list[tuple[int, str]], list[tuple[str, int, str, None]]]:
    """Open each new account by the longest matching rule; (faults, rows code, id, currency, control)."""
    rules = conn.execute(
        "SELECT r.pattern, r.type, c.code, r.settleable, r.floor_minor, r.ceiling_minor FROM ledger.account_rule r"
        " LEFT JOIN ledger.currency c USING (currency_id) WHERE book_id = %s ORDER BY length(pattern) DESC, pattern",
        (book_id,),
    ).fetchall()
    faults: list[tuple[int, str]] = []
    chosen: list[tuple[str, str, str, bool, int | None, int | None]] = []
    for row in new:
        code, line = str(row["account"]), int(str(row["line"]))
        rule = next((r for r in rules if _matches(str(r[0]), code)), None)
        if rule is None:
            faults.append((line, f"account '{code}' does not exist and no rule of the book opens it."))
        else:
            currency = str(rule[2] or row["currency"])
            chosen.append((code, str(rule[1]), currency, bool(rule[3]), rule[4], rule[5]))  # type: ignore[arg-type]
    defined = currencies(conn)
    chosen = [c for c in chosen if c[2] in defined]
    if faults or not chosen:
        return faults, []
    codes, types, kept_in, settleable, floors, ceilings = (list(column) for column in zip(*chosen, strict=True))
    found = conn.execute(
        "SELECT ledger.open_accounts(%s, %s, %s, %s, %s, %s::text[], %s::bigint[], %s::bigint[])",
        (book_id, codes, types, kept_in, settleable, [None] * len(codes), floors, ceilings),
    ).fetchone()
    assert found is not None
    ids: list[int] = found[0]  # type: ignore[assignment]
    return [], [(code, account_id, ccy, None) for (code, _, ccy, *_), account_id in zip(chosen, ids, strict=True)]


def _matches(pattern: str, code: str) -> bool:
    """Whether a rule means this code: an exact code, or a prefix that ends in `*` with something after it."""
    if pattern.endswith("*"):
        return code.startswith(pattern[:-1]) and len(code) >= len(pattern)
    return code == pattern


def _period_faults(conn: Connection, book_id: int, rows: pl.DataFrame) -> list[tuple[int, str]]:
    row = conn.execute("SELECT ledger.closed_through(%s)", (book_id,)).fetchone()
    closed = row[0] if row else None
    if not isinstance(closed, date):
        return []
    # Entries that are in the books already keep their dates: importing an old file again must change nothing.
    late = rows.filter(pl.col("date") <= closed)
    keys = late["entry_key"].unique().to_list()
    known = conn.execute(
        "SELECT idempotency_key FROM ledger.entry WHERE book_id = %s AND idempotency_key = ANY(%s)",
        (book_id, keys),
    ).fetchall()
    late = late.filter(~pl.col("entry_key").is_in([str(key) for (key,) in known]))
    text = pl.format("effective_date {} lies in a closed period (closed through {}).", "date", pl.lit(str(closed)))
    return _faults(late.unique("entry", keep="first", maintain_order=True), pl.lit(True), text)


def _conflict_faults(conn: Connection, book_id: int, rows: pl.DataFrame) -> list[tuple[int, str]]:
    """Keys that the books know with other content (looked up for the entries that are sound in themselves)."""
    sound = pl.all_horizontal(pl.col("amount_minor", "date", "account_id").is_not_null()).all().over("entry")
    faults: list[tuple[int, str]] = []
    for batch in _batches(rows.filter(sound)):
        legs = _legs(batch)
        found = conn.execute(
            "SELECT entry_ordinal, entry_id FROM ledger.conflicting_keys(%s, %s, %s, %s, %s, NULL, %s, %s, %s)",
            (
                book_id,
                legs.keys,
                legs.dates,
                legs.descriptions,
                legs.references,
                legs.leg_entry,
                legs.leg_account,
                legs.leg_amount,
            ),
        ).fetchall()
        for ordinal, entry_id in found:
            position = int(str(ordinal)) - 1
            lines: list[int] = legs.source_lines or []
            faults.append(
                (
                    lines[position],
                    f"key '{legs.keys[position]}' is taken by entry {entry_id} with other content; use a new key.",
                )
            )
    return faults


def _source(conn: Connection, book_id: int, name: str, sha256: str) -> int:
    row = conn.execute("SELECT ledger.record_source(%s, 'journal', %s, %s)", (book_id, name, sha256)).fetchone()
    assert row is not None
    return int(str(row[0]))


def _batches(rows: pl.DataFrame) -> list[pl.DataFrame]:
    """Rows in entry order, cut at entry borders into batches of at most `_BATCH_LEGS` postings (or one entry)."""
    if rows.is_empty():
        return []
    ordered = rows.sort("entry", maintain_order=True)
    sizes = ordered.group_by("entry", maintain_order=True).agg(n=pl.len())
    batch = sizes.with_columns(batch=(pl.col("n").cum_sum() - 1) // _BATCH_LEGS)
    return ordered.join(batch.select("entry", "batch"), on="entry", how="left", maintain_order="left").partition_by(
        "batch", maintain_order=True
    )


def _legs(batch: pl.DataFrame) -> Legs:
    """A batch as the columns that `ledger.post_batch` takes; empty texts become NULL."""
    heads = batch.unique("entry", keep="first", maintain_order=True)
    text = pl.col("description", "reference")
    heads = heads.with_columns(pl.when(text == "").then(None).otherwise(text).name.keep())
    return Legs(
        keys=heads["entry_key"].to_list(),
        dates=heads["date"].to_list(),
        descriptions=heads["description"].to_list(),
        references=heads["reference"].to_list(),
        source_lines=heads["line"].to_list(),
        leg_entry=batch["entry"].rank("dense").to_list(),
        leg_account=batch["account_id"].to_list(),
        leg_amount=batch["amount_minor"].to_list(),
    )
