"""What a benchmark answers, as `nostro bench NAME --json` prints it."""

from __future__ import annotations

import resource
import sys
from dataclasses import dataclass

Figure = float | int | str


@dataclass(frozen=True, slots=True)
class BenchResult:
    """Ours against a reference, measured in turns in one run; every rate is a median over the rounds.

    `rows` is what one round of ours handled; `ratio` is ours ÷ reference (larger is better); `others` are further
    figures by name, with the unit in the name; `settings` are the server settings both ran under.
    """

    bench: str
    rows: int
    ours: str
    ours_per_s: float
    reference: str
    reference_per_s: float
    peak_rss_mb: float
    others: tuple[tuple[str, Figure], ...] = ()
    settings: tuple[tuple[str, str], ...] = ()

    @property
    def ratio(self) -> float:
        """Ours ÷ reference."""
        return self.ours_per_s / self.reference_per_s

    def to_json(self) -> dict[str, object]:
        """The object to print, rates rounded."""
        return {
            "bench": self.bench,
            "rows": self.rows,
            "ours": self.ours,
            "ours_per_s": round(self.ours_per_s, 1),
            "reference": self.reference,
            "reference_per_s": round(self.reference_per_s, 1),
            "ratio": round(self.ratio, 4),
            "peak_rss_mb": round(self.peak_rss_mb, 1),
            "others": dict(self.others),
            "settings": dict(self.settings),
        }


def peak_rss_mb() -> float:
    """The most memory this process has had, in MiB (the server's is not in it)."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1024**2
