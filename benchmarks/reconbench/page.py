"""The result of a run as one self-contained HTML page.

Lives here: tables and their words. Must not live here: computing a figure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Final

import polars as pl

from benchmarks.reconbench.harness import SMALL_IS_GOOD, Run, SeedResult
from benchmarks.reconbench.score import CLEARED

FIGURES: Final[tuple[tuple[str, str], ...]] = (
    ("coverage", "items of truth groups that were cleared rightly"),
    ("reachable_ceiling", "the most that the data allow anybody to clear"),
    ("coverage_of_reachable", "the same, of what can be known at all"),
    ("coverage_of_lines", "bank lines alone"),
    ("coverage_of_value", "by value"),
    ("coverage_of_all_items", "of all items, breaks included"),
    ("precision", "right sets of all sets, or right items of all cleared items, whichever is smaller"),
    ("wrong_sets", "sets that are not the truth"),
    ("wrong_sets_of_knowable", "of those without an item of which nobody can know"),
    ("false_clear_value_bp", "value in wrong sets, basis points of all value"),
    ("group_precision", "sets that are exactly a truth group"),
    ("group_recall", "truth groups found exactly"),
    ("group_f1", ""),
    ("pair_precision", "pairs of items within a set"),
    ("pair_recall", ""),
    ("pair_f1", ""),
    ("break_macro_f1", "mean F1 over the codes, true breaks only"),
    ("break_min_f1", "the worst code"),
    ("break_macro_f1_strict", "with items that should have cleared counted against the code they got"),
    ("ambiguous_items", "items of which nobody can know"),
    ("ambiguous_wrongly_cleared", "sets with such an item"),
    ("ambiguous_refused", "share of them left open"),
    ("ambiguous_named", "of the planted ones: called AMBIGUOUS"),
    ("unknown_items", "items of anomalies that no code names"),
    ("unknown_wrongly_cleared", "sets with such an item"),
    ("unknown_contained", "share of them left open"),
    ("conservation_residual_minor", "both sides − cleared − open, all accounts, minor units"),
    ("items_not_in_one_place", "items in no place or in two"),
    ("result_digests", "different results over row shuffles with 1 and 2 threads (first seed)"),
    ("row_orders_tried", "each with 1 and 2 threads"),
    ("file_anomalies", "files delivered twice, revised or missing"),
    ("files_misjudged", "of those not found, or found where there are none"),
    ("statements_unproven", "balances that our readers could not tie"),
    ("line_amounts_changed", "lines that came back from the files with another amount, date or account"),
    ("exposure_retired_by_top_10_percent", "open value a person has seen after the largest tenth of the breaks"),
    ("late_line_decisions_changed", "decisions about other items that one late line changed"),
    ("late_line_wall_ratio", "time of the whole run with it ÷ without it"),
    ("rows_per_s", "rows of both sides, from Parquet to matches, breaks, proofs and certificate"),
    ("bare_join_rows_per_s", "a bare DuckDB join on reference and amount, same files, same run"),
    ("wall_s", ""),
    ("peak_rss_mb", "of the matcher's process"),
)
_STYLE: Final = """
body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;color:#1b1f24}
table{border-collapse:collapse;margin:.6rem 0 1.6rem}
th,td{padding:.22rem .6rem;border-bottom:1px solid #d9dee3;text-align:right}
th:first-child,td:first-child,td.words{text-align:left}td.words{color:#57606a}thead th{border-bottom:2px solid #8b949e}
.held{color:#116329}.missed{color:#b3261e;font-weight:600}.scroll{overflow-x:auto}
.matrix td,.matrix th{padding:.15rem .3rem;font-size:12px}.matrix thead th{writing-mode:vertical-rl;text-align:left}
.hit{background:#d8f0dc}.miss{background:#ffd9d3}
"""


def write_page(run: Run, folder: Path) -> Path:
    """Write `folder`/reconbench.html and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "reconbench.html"
    path.write_text(page(run), encoding="utf-8")
    return path


def page(run: Run) -> str:
    """The whole page."""
    kind = "shifted holdout (other narrations, other unknown anomalies)" if run.holdout else f"{run.data} data"
    seeds = ", ".join(str(seed.manifest.seed) for seed in run.seeds)
    parts = [
        f"<h1>ReconBench {escape(run.tier)}</h1>",
        f"<p>About {run.rows:,} rows a side, {kind}; seeds {seeds}. Worst is over the seeds.</p>",
        "<h2>What was asked</h2>",
        _acceptance(run),
        "<h2>Figures</h2>",
        _figures(run),
        "<h2>Codes</h2>",
        _codes(run.seeds),
        "<h2>Confusion</h2><p>Rows: the truth. Columns: what was found. Items of all seeds.</p>",
        _confusion(run.seeds),
        "<h2>Coverage by class and evidence</h2>",
        _coverage(run.seeds),
        "<h2>Wrong sets by class of their items</h2>",
        _wrong(run.seeds),
        "<h2>Seeds</h2>",
        _seeds(run.seeds),
    ]
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>ReconBench</title>'
        f"<style>{_STYLE}</style></head><body>\n{body}\n</body></html>\n"
    )


def text(name: str, value: float) -> str:
    """A figure as people read it; shares keep six places, because 0.9999 is the question."""
    if name.endswith(
        (
            "_per_s",
            "_mb",
            "_items",
            "_minor",
            "_sets",
            "_knowable",
            "_cleared",
            "_place",
            "_changed",
            "_digests",
            "_tried",
            "_anomalies",
            "_misjudged",
            "_unproven",
        )
    ):
        return f"{value:,.0f}"
    return f"{value:.6f}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], *, css: str = "") -> str:
    heads = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "\n".join(f"<tr>{''.join(cells)}</tr>" for cells in rows)
    inside = f"<thead><tr>{heads}</tr></thead><tbody>\n{body}\n</tbody>"
    return f'<div class="scroll"><table class="{css}">{inside}</table></div>'


def _cell(value: str, css: str = "") -> str:
    return f'<td class="{css}">{escape(value)}</td>' if css else f"<td>{escape(value)}</td>"


def _acceptance(run: Run) -> str:
    rows = []
    mean = run.mean
    for name, relation, asked, worst, held in run.acceptance():
        verdict = _cell("held", "held") if held else _cell("not reached", "missed")
        rows.append(
            [
                _cell(name),
                _cell(f"{relation} {asked:g}"),
                _cell(text(name, worst)),
                _cell(text(name, mean[name])),
                verdict,
            ]
        )
    return _table(["figure", "asked", "worst", "mean", ""], rows)


def _figures(run: Run) -> str:
    worst, mean = run.worst, run.mean
    base = {
        name: (max if name in SMALL_IS_GOOD else min)(seed.baseline[name] for seed in run.seeds)
        for name in run.seeds[0].baseline
    }
    rows = [
        [
            _cell(name),
            _cell(text(name, worst[name])),
            _cell(text(name, mean[name])),
            _cell(text(name, base[name]) if name in base else ""),
            _cell(words, "words"),
        ]
        for name, words in FIGURES
        if name in worst
    ]
    return _table(["figure", "worst", "mean", "bare join, worst", ""], rows)


def _codes(seeds: Sequence[SeedResult]) -> str:
    every = pl.concat([seed.scores.codes for seed in seeds])
    by_code = every.group_by("code").agg(
        pl.col("support", "given").sum(), pl.col("precision", "recall", "f1").min(), pl.col("f1").mean().alias("mean")
    )
    rows = [
        [_cell(str(code)), *[_cell(f"{n:,}") for n in (support, given)], *[_cell(f"{share:.4f}") for share in shares]]
        for code, support, given, *shares in by_code.sort("code").iter_rows()
    ]
    return _table(["code", "items", "given", "precision, worst", "recall, worst", "F1, worst", "F1, mean"], rows)


def _confusion(seeds: Sequence[SeedResult]) -> str:
    counts = pl.concat([seed.scores.confusion for seed in seeds]).group_by("truth", "found").agg(pl.col("items").sum())
    items = {(str(truth), str(found)): int(n) for truth, found, n in counts.iter_rows()}
    labels = sorted({name for pair in items for name in pair}, key=lambda name: (name != CLEARED, name))
    rows = []
    for truth in sorted({truth for truth, _ in items}, key=labels.index):
        cells = [_cell(truth)]
        for found in labels:
            n = items.get((truth, found), 0)
            cells.append(_cell(f"{n:,}" if n else "", "" if not n else "hit" if truth == found else "miss"))
        rows.append(cells)
    return _table(["truth", *labels], rows, css="matrix")


def _coverage(seeds: Sequence[SeedResult]) -> str:
    every = pl.concat([seed.scores.coverage for seed in seeds])
    found = (
        every.group_by("cls", "evidence")
        .agg(pl.col("items", "cleared").sum(), pl.col("share").min())
        .sort("cls", "evidence")
    )
    rows = [
        [
            _cell(str(cls)),
            _cell(str(evidence), "words"),
            _cell(f"{items:,}"),
            _cell(f"{cleared:,}"),
            _cell(f"{share:.4f}"),
        ]
        for cls, evidence, items, cleared, share in found.iter_rows()
    ]
    return _table(["class", "evidence", "items", "cleared", "share, worst"], rows)


def _wrong(seeds: Sequence[SeedResult]) -> str:
    every = pl.concat([seed.scores.wrong for seed in seeds])
    if every.is_empty():
        return "<p>None.</p>"
    found = every.group_by("cls").agg(pl.col("sets", "items").sum()).sort("items", "cls", descending=True)
    return _table(
        ["class", "sets", "items"],
        [[_cell(str(cls)), _cell(f"{sets:,}"), _cell(f"{items:,}")] for cls, sets, items in found.iter_rows()],
    )


def _seeds(seeds: Sequence[SeedResult]) -> str:
    names = ("coverage", "precision", "false_clear_value_bp", "break_macro_f1", "wall_s")
    rows = [
        [
            _cell(str(seed.manifest.seed)),
            _cell(f"{seed.manifest.bank_rows:,}"),
            _cell(f"{seed.manifest.ledger_rows:,}"),
            _cell(", ".join(seed.manifest.families), "words"),
            *[_cell(text(name, seed.figures[name])) for name in names],
        ]
        for seed in seeds
    ]
    return _table(["seed", "bank rows", "ledger rows", "unknown anomalies", *names], rows)
