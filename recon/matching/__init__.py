"""Clearing: frames in, frames out.

Lives here: the rules, one query a pass, and the engine that runs them. Must not live here: Postgres,
files, clocks, or break codes' meaning for people (`recon.breaks`).
"""

from recon.matching.batch import BatchResult, Replay, reconcile_parquet, replay_batch
from recon.matching.cascade import SET_SCHEMA, Cascade, clear
from recon.matching.items import ITEM_SCHEMA, MAY_CLEAR, Tolerances, empty_items
from recon.matching.rules import RULES, Rule, rules_sha256
from recon.matching.update import BatchUpdate, replay_update, update_batch

__all__ = [
    "ITEM_SCHEMA",
    "MAY_CLEAR",
    "RULES",
    "SET_SCHEMA",
    "BatchResult",
    "BatchUpdate",
    "Cascade",
    "Replay",
    "Rule",
    "Tolerances",
    "clear",
    "empty_items",
    "reconcile_parquet",
    "replay_batch",
    "replay_update",
    "rules_sha256",
    "update_batch",
]
