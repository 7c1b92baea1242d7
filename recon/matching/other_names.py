"""Whose name a line gives that names an expectation: that of its party, of another one we know, or of a stranger.

Lives here: which pairs the names speak against. Must not live here: what makes two names one
(`recon.matching.likeness`), SQL. A stranger may pay for a customer of ours; who is a customer himself does not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Final

import polars as pl

from recon.matching.differences import ONE_NAME
from recon.matching.likeness import are_one_name, name_likeness, name_marks

_PAIR: Final[dict[str, pl.DataType]] = {"line_id": pl.Int64(), "expected_id": pl.Int64()}


def spoken_against(pairs: pl.DataFrame, known_names: Callable[[], pl.DataFrame]) -> pl.DataFrame:
    """Pairs (line_id, expected_id) of `pairs` that the names speak against, in any order.

    `pairs` has line_id, expected_id, is_weak, account, line_name and expected_name. A name that is not the party's
    speaks against the pair when it is that of another party (`known_names`: account, party_name; asked only when there
    is such a name), and against a weak one always; a weak one without two names is spoken against too.
    """
    both = pairs.select("line_name", "expected_name").drop_nulls().unique().sort("line_name", "expected_name")
    ours, theirs = both["expected_name"].to_list(), both["line_name"].to_list()
    is_one = [
        alike >= ONE_NAME or are_one_name(one, other)
        for alike, one, other in zip(name_likeness(ours, theirs), ours, theirs, strict=True)
    ]
    judged = pairs.join(
        both.with_columns(pl.Series("is_one", is_one, dtype=pl.Boolean)), on=both.columns, how="left"
    ).with_columns(pl.col("is_one").fill_null(value=False))
    others = judged.filter(~pl.col("is_one") & ~pl.col("is_weak") & pl.col("line_name").is_not_null())
    names = others.select("account", "line_name").unique()
    if names.height:
        names = names.filter(_are_known(names, known_names()))
    against = pl.concat(
        [
            judged.filter(~pl.col("is_one") & pl.col("is_weak")),
            others.join(names, on=["account", "line_name"], how="semi"),
        ]
    )
    return against.select(list(_PAIR)).cast(dict(_PAIR))  # type: ignore[arg-type]


def _are_known(names: pl.DataFrame, known: pl.DataFrame) -> list[bool]:
    """For each (account, line_name) whether a party of the account is called so."""
    parties: dict[tuple[str, str], list[str]] = defaultdict(list)
    for account, party in known.rows():
        for mark in name_marks(party):
            parties[account, mark].append(party)
    return [
        any(are_one_name(name, party) for mark in name_marks(name) for party in parties.get((account, mark), ()))
        for account, name in names.rows()
    ]
