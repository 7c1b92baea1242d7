"""Which differences between a line and an expectation are theirs, although the line names nobody whole.

Lives here: the tables that the queries of breaks read, and pairs whose names or references are alike. Must not live
here: what makes texts alike (`recon.matching.likeness`), the order of the codes (`recon.matching.coding`).
"""

from __future__ import annotations

from typing import Final

import polars as pl

from recon.matching.engine import Engine

ONE_NAME: Final = 88  # of 100
_PAIRS: Final = {"line_id": pl.Int64(), "expected_id": pl.Int64()}


def prepare_breaks(engine: Engine) -> None:
    """Make what the queries of breaks read, from what is open now; again when more has been taken."""
    engine.refresh("reference_pair")
    engine.run("views_breaks", alike_pair=_alike(engine.rows("stated_texts")))


def _alike(texts: pl.DataFrame) -> pl.DataFrame:
    """Pairs whose reference is cut or has a letter wrong on the line, or whose names are one."""
    if texts.is_empty():
        return pl.DataFrame(schema=_PAIRS)
    from recon.matching.likeness import CUT_MIN, ends_early, misspelt, name_likeness

    columns = {name: texts[name].to_list() for name in texts.columns}
    written = misspelt(columns["reference"], columns["text"])
    named = name_likeness(columns["line_name"], columns["expected_name"])
    cut = [ends_early(*pair) for pair in zip(columns["reference"], columns["words"], strict=True)]
    has_names = [
        bool(ours and theirs) for ours, theirs in zip(columns["line_name"], columns["expected_name"], strict=True)
    ]
    is_alike = [
        is_cut or (ratio > 0 and len(reference) >= CUT_MIN) or (both and name >= ONE_NAME)
        for is_cut, ratio, reference, both, name in zip(
            cut, written, columns["reference"], has_names, named, strict=True
        )
    ]
    return texts.filter(pl.Series(is_alike, dtype=pl.Boolean)).select(list(_PAIRS))
