"""How many journal entries a second the books take, against bare COPY on the same server.

Lives here: which shapes `nostro bench posting` measures, and what it reports. Must not live here: printing, defaults,
how a batch is made and posted (`benchmarks.posting_load`).

Ours: two-leg entries through `ledger.post_counted` (the SQL function that `ledger.post_batch` calls), all rules on,
each batch committed durably. Reference: binary COPY of the same entries, one row an entry (key, debit account, credit
account, amount), one connection, one transaction, into a logged table with nothing but a bigint identity primary key.
Each shape of ours takes its turn beside a turn of the reference, and its ratio is the median over the rounds of
ours ÷ that turn: what else the machine does then, both feel.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable

from benchmarks.posting_load import Keys, Load, Shape, Spread
from benchmarks.result import BenchResult, Figure, peak_rss_mb
from benchmarks.server import throw_away
from ledger import AccountMode
from nostro.database import Database

BATCH_SIZES = (1, 100, 8_190, 50_000)
CONNECTIONS = (1, 2)
HEADLINE = Shape(BATCH_SIZES[-1], 2)  # while one connection waits for its flush or a balance row, the other works
MANY = 8  # connections that meet on a hot account
GROWTH_STEP = 1_000_000
_SHARE = 4  # other shapes take a quarter of the entries
_SLOW_BATCHES = 400  # a batch of one or a hundred is bound by the disk's flush; so many tell its rate
_PIECE = 100_000  # entries that are made in memory at a time
_REFERENCE = (
    "rows of binary COPY, one row an entry (key, debit account, credit account, amount), one connection,"
    " into a table with a bigint identity primary key"
)

Advance = Callable[[int, int], None]


def _quiet(done: int, total: int) -> None:
    """No progress bar."""


def shapes() -> tuple[Shape, ...]:
    """What is measured: batch sizes, other keys and spreads in a large batch, a crowd on one account."""
    large = BATCH_SIZES[-1]
    hot = [Shape(100, MANY, Spread.ONE_HOT, hot_mode=mode) for mode in AccountMode]
    sizes = [Shape(batch, connections) for batch in reversed(BATCH_SIZES) for connections in CONNECTIONS]
    return (
        HEADLINE,
        *(shape for shape in sizes if shape != HEADLINE),
        Shape(large, 3),
        Shape(large, 2, keys=Keys.TIME_ORDERED),
        Shape(large, 2, Spread.ZIPF),
        Shape(100, MANY),
        Shape(100, MANY, Spread.ZIPF),
        *hot,
    )


def run(*, entries: int, repeats: int, advance: Advance = _quiet) -> BenchResult:
    """Measure on a throw-away embedded server with the settings of a real deployment.

    ``entries`` a turn of the headline shape (a quarter for others, fewer for the smallest batches), ``repeats`` turns
    of each shape, three at least. All in one book, which grows: so the headline comes first.
    """
    with throw_away(wal_files=max(4, min(64, entries // 12_000))) as database:
        return run_on(database, entries=entries, repeats=repeats, advance=advance)


def run_on(database: Database, *, entries: int, repeats: int, advance: Advance = _quiet) -> BenchResult:
    """Measure in a migrated database of its own (a book and a table are left there)."""
    load, rounds, measured = Load(database), max(repeats, 3), shapes()
    rates: dict[Shape, list[float]] = {shape: [] for shape in measured}
    ratios: dict[Shape, list[float]] = {shape: [] for shape in measured}
    reference: list[float] = []
    load.post(Shape(BATCH_SIZES[-1], 1), min(entries, 20_000))  # warm: plans, first pages of every table
    load.copy(min(entries, 20_000))
    for done, shape in enumerate(measured):
        size = entries if shape == HEADLINE else max(entries // _SHARE, 1)
        for number in range(rounds):
            reference.append(load.copy(size))
            rates[shape].append(load.post(shape, min(size, shape.batch * shape.connections * _SLOW_BATCHES)))
            ratios[shape].append(rates[shape][-1] / reference[-1])
            advance(done * rounds + number + 1, rounds * len(measured))
    best = max(
        (shape for shape in measured if shape.spread is Spread.UNIFORM and shape.keys is Keys.RANDOM),
        key=lambda s: statistics.median(ratios[s]),
    )
    others: list[tuple[str, Figure]] = [(shape.name, round(statistics.median(found))) for shape, found in rates.items()]
    others += [
        (shape.name.removesuffix("per_s") + "ratio", round(statistics.median(ratios[shape]), 4))
        for shape in measured
        if shape.batch > 100
    ]
    others += [("best_batch", best.batch), ("best_connections", best.connections)]
    for keys in Keys:
        others += load.footprint(Shape(BATCH_SIZES[-1], 1, keys=keys), max(entries // _SHARE, 1))
    ratio = statistics.median(ratios[best])
    reference_per_s = statistics.median(reference)
    return BenchResult(
        bench="posting",
        rows=entries,
        ours=f"durable two-leg entries, random keys, batches of {best.batch}, connections: {best.connections}",
        ours_per_s=ratio * reference_per_s,  # so that ours ÷ reference is the median of the rounds' ratios
        reference=_REFERENCE,
        reference_per_s=reference_per_s,
        peak_rss_mb=peak_rss_mb(),
        others=tuple(others),
        settings=load.settings(),
    )


def run_growth(*, entries: int, advance: Advance = _quiet) -> BenchResult:
    """Fill one book up to ``entries`` with time-ordered keys, and compare each million with COPY beside it.

    The reference table grows too. A million is posted in ten pieces, each between two COPYs of as many rows, whose
    mean time it is compared with; the million's ratio is the median of its ten, so that one hiccup of the machine is
    not taken for the books' growth. `flat_within` is 1 − smallest ÷ largest of the millions' ratios,
    `flat_within_quarters` the same of the medians of the four quarters of the way, `flat_within_totals` of whole
    millions' times, hiccups included.
    """
    shape = Shape(BATCH_SIZES[-1], 2, keys=Keys.TIME_ORDERED)
    step = min(GROWTH_STEP, entries)
    rates: list[float] = []
    ratios: list[float] = []
    totals: list[float] = []
    copies: list[float] = []
    with throw_away(wal_files=64) as database:
        load = Load(database)
        for start in range(0, entries, step):
            size = min(step, entries - start)
            pieces = [min(_PIECE, size - done) for done in range(0, size, _PIECE)]
            posted, copied = [], []
            before = pieces[0] / load.copy(pieces[0])
            for done, piece in enumerate(pieces):
                posted.append(piece / load.post(shape, piece))
                after = piece / load.copy(piece)
                copied.append((before + after) / 2)
                before = after
                advance(start + sum(pieces[: done + 1]), entries)
            rates.append(size / sum(posted))
            copies.append(size / sum(copied))
            totals.append(sum(copied) / sum(posted))
            ratios.append(statistics.median(c / p for c, p in zip(copied, posted, strict=True)))
        settings = load.settings()
    parts, many = min(4, len(ratios)), len(ratios)
    quarters = [statistics.median(ratios[part * many // parts : (part + 1) * many // parts]) for part in range(parts)]
    slices = [(f"million_{n}_per_s", round(rate)) for n, rate in enumerate(rates, start=1)]
    slices += [(f"million_{n}_ratio", round(ratio, 4)) for n, ratio in enumerate(ratios, start=1)]  # type: ignore[misc]
    return BenchResult(
        bench="posting growth",
        rows=entries,
        ours=f"durable two-leg entries, time-ordered keys, batches of {shape.batch}, connections: {shape.connections}",
        ours_per_s=statistics.median(rates),
        reference=_REFERENCE,
        reference_per_s=statistics.median(copies),
        peak_rss_mb=peak_rss_mb(),
        others=(
            *slices,
            ("flat_within", round(1 - min(ratios) / max(ratios), 3)),
            ("flat_within_quarters", round(1 - min(quarters) / max(quarters), 3)),
            ("flat_within_totals", round(1 - min(totals) / max(totals), 3)),
        ),
        settings=settings,
    )
