"""Findings: what a check has to say about a payment file.

Lives here: the one shape every gate reports in. Must not live here: rules.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """A broken rule: its name, where, and one sentence saying what is wrong and what to do."""

    rule: str
    place: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.place}: {self.sentence} [{self.rule}]"


def group_place(ordinal: int, count: int) -> str:
    """What findings call a payment group: by its number where a file has several."""
    return "group" if count == 1 else f"group {ordinal}"
