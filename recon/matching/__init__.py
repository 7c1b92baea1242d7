"""Clearing: frames in, frames out.

Lives here: the rules, one query a pass, and the engine that runs them. Must not live here: Postgres,
files, clocks, or break codes' meaning for people (`recon.breaks`).
"""

from recon.matching.batch import BatchResult, reconcile_parquet
from recon.matching.cascade import SET_SCHEMA, Cascade, clear
from recon.matching.items import ITEM_SCHEMA, Tolerances, empty_items
from recon.matching.rules import RULES, Rule, rules_sha256

__all__ = [
    "ITEM_SCHEMA",
    "RULES",
    "SET_SCHEMA",
    "BatchResult",
    "Cascade",
    "Rule",
    "Tolerances",
    "clear",
    "empty_items",
    "reconcile_parquet",
    "rules_sha256",
]
