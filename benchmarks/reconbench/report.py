"""A run as lines for a terminal and as the JSON object of `nostro bench`.

Lives here: words and rounding. Must not live here: computing a figure, the page (`page.py`).
"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.reconbench.harness import Run
from benchmarks.reconbench.page import text
from benchmarks.result import BenchResult


def acceptance_lines(run: Run) -> Iterator[str]:
    """One line for each figure that was asked for."""
    mean = run.mean
    for name, relation, asked, worst, held in run.acceptance():
        verdict = "held" if held else "NOT REACHED"
        yield f"{name} {relation} {asked:g}: worst {text(name, worst)}, mean {text(name, mean[name])}: {verdict}"
    yield f"reachable ceiling: worst {text('reachable_ceiling', run.worst['reachable_ceiling'])}"


def to_json(run: Run) -> dict[str, object]:
    """The common object of benchmarks, then worst and mean of every figure and each seed's own."""
    worst, mean = run.worst, run.mean
    first = run.seeds[0].manifest
    common = BenchResult(
        bench="reconbench",
        rows=first.bank_rows + first.ledger_rows,
        ours="reconcile_parquet: matches, breaks, proofs and certificate from two Parquet files",
        ours_per_s=mean["rows_per_s"],
        reference="a bare DuckDB join of the same files on account, reference and amount, stored as a table",
        reference_per_s=mean["bare_join_rows_per_s"],
        peak_rss_mb=worst["peak_rss_mb"],
        others=tuple((f"worst_{name}", round(worst[name], 8)) for name, *_ in run.acceptance()),
    )
    return common.to_json() | {
        "data": run.data,
        "tier": run.tier,
        "holdout": run.holdout,
        "accepted": all(held for *_, held in run.acceptance()),
        "acceptance": [
            {"figure": name, "relation": relation, "asked": asked, "worst": worst_seen, "held": held}
            for name, relation, asked, worst_seen, held in run.acceptance()
        ],
        "worst": _rounded(worst),
        "mean": _rounded(mean),
        "seeds": [
            {
                "seed": seed.manifest.seed,
                "families": list(seed.manifest.families),
                "bank_rows": seed.manifest.bank_rows,
                "ledger_rows": seed.manifest.ledger_rows,
                "figures": _rounded(seed.figures),
                "baseline": _rounded(seed.baseline),
                "f1": dict(seed.scores.codes.select("code", "f1").iter_rows()),
            }
            for seed in run.seeds
        ],
    }


def _rounded(figures: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 8) for name, value in figures.items()}
