"""References as the books know them, and what banks make of them.

Lives here: formats of references, narrations, the noise of section 5. Must not live here: which item gets which.
Formats and narrations of the holdout are other ones than those of ordinary data sets.
"""

from __future__ import annotations

import datetime as dt
from typing import Final

import numpy as np
import polars as pl

_BASE32: Final = np.frombuffer(b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789", dtype=np.uint8)
_HEX: Final = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)
_DIGITS: Final = np.frombuffer(b"0123456789", dtype=np.uint8)
_LOWER: Final = np.frombuffer(b"abcdefghijkmnpqrstuvwxyz23456789", dtype=np.uint8)

_TEXTS: Final = (
    "Rechnung",
    "payment for services",
    "Vielen Dank",
    "monthly settlement",
    "order",
    "loyer avril",
    "factura",
)


def random_text(rng: np.random.Generator, count: int, length: int, alphabet: np.ndarray = _BASE32) -> pl.Series:
    """`count` random words of one length."""
    if count == 0:
        return pl.Series([], dtype=pl.String)
    codes = alphabet[rng.integers(0, len(alphabet), (count, length))].astype(np.uint8)
    return pl.Series(np.ascontiguousarray(codes).view(f"S{length}").ravel().astype(f"U{length}"))


def uetrs(rng: np.random.Generator, count: int) -> pl.Series:
    """Random UETRs (UUID version 4)."""
    raw = pl.select(
        pl.concat_str(
            [
                pl.lit(random_text(rng, count, 8, _HEX)),
                pl.lit("-"),
                pl.lit(random_text(rng, count, 4, _HEX)),
                pl.lit("-4"),
                pl.lit(random_text(rng, count, 3, _HEX)),
                pl.lit("-a"),
                pl.lit(random_text(rng, count, 3, _HEX)),
                pl.lit("-"),
                pl.lit(random_text(rng, count, 12, _HEX)),
            ]
        ).alias("uetr")
    )
    return raw["uetr"]


def references(rng: np.random.Generator, count: int, *, start: dt.date, chunk: int, holdout: bool) -> pl.Series:
    """`count` references of at most 35 characters, each different, in several formats."""
    if count == 0:
        return pl.Series([], dtype=pl.String)
    serial = pl.Series(rng.permutation(count) + chunk * 10_000_000).cast(pl.String)
    random = random_text(rng, count, 12)
    kind = pl.Series(rng.integers(0, 4, count))
    frame = pl.DataFrame({"n": serial, "r": random, "kind": kind})
    frame = frame.with_columns(
        pl.Series("hex", random_text(rng, count, 32, _HEX)),
        pl.Series("low", random_text(rng, count, 20, _LOWER)),
        pl.Series("digits", random_text(rng, count, 21, _DIGITS)),
        pl.col("n").str.zfill(9).alias("n"),
    )
    stamp = start.strftime("%y%m%d")
    month = start.strftime("%Y%m")
    if holdout:
        forms = [
            pl.concat_str(pl.lit("RF"), pl.col("digits").str.slice(0, 2), pl.col("digits")),
            pl.concat_str(pl.lit("ord_"), pl.col("low")),
            pl.concat_str(pl.lit(f"{month}.ACME."), pl.col("n"), pl.lit("."), pl.col("r").str.slice(0, 4)),
            pl.concat_str(pl.col("r"), pl.lit(":"), pl.col("n")),
        ]
    else:
        forms = [
            pl.concat_str(pl.lit(f"NP{stamp}-"), pl.col("r"), pl.col("digits").str.slice(0, 10)),
            pl.col("hex"),
            pl.concat_str(pl.lit(f"INV-{month[:4]}-"), pl.col("n"), pl.lit("-"), pl.col("digits").str.slice(0, 2)),
            pl.concat_str(
                pl.col("r").str.slice(0, 8),
                pl.lit(f"/{month}/"),
                pl.col("n"),
                pl.lit("/"),
                pl.col("low").str.slice(0, 6),
            ),
        ]
    chosen = pl.when(pl.col("kind") == 0).then(forms[0])
    for n in (1, 2):
        chosen = chosen.when(pl.col("kind") == n).then(forms[n])  # type: ignore[assignment]
    return frame.select(chosen.otherwise(forms[3]).alias("ref"))["ref"]


def narrations(rng: np.random.Generator, frame: pl.DataFrame, *, holdout: bool) -> pl.Series:
    """Remittance texts around `seen` (null: a text without reference) for rows with `seen` and `party_name`."""
    count = frame.height
    text = pl.Series(np.array(_TEXTS)[rng.integers(0, len(_TEXTS), count)])
    frame = frame.with_columns(pl.Series("kind", rng.integers(0, 5, count)), pl.Series("text", text))
    seen, words, name = pl.col("seen"), pl.col("text"), pl.col("party_name").fill_null("n/a")
    if holdout:
        forms = [
            pl.concat_str(pl.lit("Zahlung zu Vorgang "), seen, pl.lit(" vom 3. d.M.")),
            pl.concat_str(pl.lit("REF:"), seen, pl.lit(";BY="), name, pl.lit(";")),
            pl.concat_str(words, pl.lit(", ref. "), seen, pl.lit(", thank you")),
            pl.concat_str(name, pl.lit(" *"), seen, pl.lit("* "), words),
            pl.concat_str(pl.lit("<"), seen, pl.lit("> "), words),
        ]
    else:
        forms = [
            seen,
            pl.concat_str(pl.lit("EREF+"), seen, pl.lit(" SVWZ+"), words),
            pl.concat_str(pl.lit("/ROC/"), seen, pl.lit("//URI/"), words),
            pl.concat_str(pl.lit("INV "), seen, pl.lit(" / "), name),
            pl.concat_str(words, pl.lit(" "), seen),
        ]
    chosen = pl.when(seen.is_null()).then(words)
    for n in range(4):
        chosen = chosen.when(pl.col("kind") == n).then(forms[n])  # type: ignore[assignment]
    return frame.select(chosen.otherwise(forms[4]).str.slice(0, 140).alias("remittance"))["remittance"]


def cut(rng: np.random.Generator, refs: pl.Series) -> tuple[pl.Series, pl.Series]:
    """References cut at 16 or 27 characters, or at 35 behind a mark; and how many characters of each are left."""
    lengths = refs.str.len_chars().to_numpy().astype(np.int64)
    dice = rng.integers(0, 3, len(refs))
    kept = np.where((lengths > 31) & (dice == 0), 30, np.where((lengths > 28) & (dice == 1), 27, 16))
    short = pl.DataFrame({"ref": refs, "kept": kept}).select(pl.col("ref").str.slice(0, pl.col("kept")))["ref"]
    return short, pl.Series(kept)


def mangled(rng: np.random.Generator, refs: pl.Series) -> pl.Series:
    """References as people and scanners copy them: neighbours swapped, characters misread, dropped, or spread out."""
    count = len(refs)
    frame = pl.DataFrame({"r": refs, "kind": rng.integers(0, 4, count), "u": rng.random(count)})
    frame = frame.with_columns(
        (pl.col("u") * (pl.col("r").str.len_chars() - 7)).cast(pl.Int64).alias("at") + 5,
    )
    r, at = pl.col("r"), pl.col("at")
    one, two = r.str.slice(at, 1), r.str.slice(at + 1, 1)
    swapped = pl.concat_str(r.str.slice(0, at), two, one, r.str.slice(at + 2))
    dropped = pl.concat_str(r.str.slice(0, at), r.str.slice(at + 1))
    misread = pl.concat_str(
        r.str.slice(0, at),
        one.replace({"0": "O", "O": "0", "1": "I", "I": "1", "5": "S", "S": "5", "8": "B", "B": "8"}),
        r.str.slice(at + 1),
    )
    spread = pl.concat_str(r.str.slice(0, at), pl.lit(" "), r.str.slice(at).str.replace_all(r"[-/]", ""))
    chosen = (
        pl.when(pl.col("kind") == 0).then(swapped)
        .when(pl.col("kind") == 1).then(dropped)
        .when(pl.col("kind") == 2).then(misread)
        .otherwise(spread)
    )  # fmt: skip
    return frame.select(chosen.alias("ref"))["ref"]


def printed(refs: pl.Series) -> pl.Series:
    """References in groups of four, as invoices print them (holdout)."""
    return pl.DataFrame({"r": refs}).select(pl.col("r").str.replace_all(r"(.{4})", "$1 ").str.strip_chars())["r"]
