"""Hand-built items for the matching and classification tests."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from functools import cached_property, partial

import polars as pl

from recon.breaks import ACQUIRER_SCHEMA, CLEARED_LINE_SCHEMA, Break, Classification, classify
from recon.matching import ITEM_SCHEMA, Tolerances, clear

MONDAY = dt.date(2026, 11, 2)
ACQUIRERS = pl.DataFrame([("Cardia Acquiring", "DE00CARDIA")], schema=ACQUIRER_SCHEMA, orient="row")


def item(item_id: int, kind: str, amount_minor: int, **fields: object) -> dict[str, object]:
    row: dict[str, object] = dict.fromkeys(ITEM_SCHEMA)
    row |= {
        "item_id": item_id,
        "kind": kind,
        "amount_minor": amount_minor,
        "account": "eur-payouts",
        "currency": "EUR",
        "day": 10,
        "is_reversal": False,
        "sla_days": 1,
    }
    row |= fields
    row["date"] = MONDAY + dt.timedelta(days=int(str(row["day"])) - 10)
    if row["age_days"] is None:
        row["age_days"] = 10 - int(str(row["day"]))
    if row["reference"] is None:
        row["reference"] = row["servicer_ref"] or row["end_to_end_id"] or f"R{item_id}"
    return row


def line(item_id: int, amount_minor: int, **fields: object) -> dict[str, object]:
    """A bank line; `amount_minor` in T's sign: positive when money left."""
    fields.setdefault("servicer_ref", f"BANK{item_id:04}")
    return item(item_id, "LINE", amount_minor, **fields)


def instruction(item_id: int, amount_minor: int, **fields: object) -> dict[str, object]:
    """A payment of `amount_minor` > 0."""
    fields.setdefault("end_to_end_id", f"E2E-2026-1102-{item_id:08}")
    fields.setdefault("uetr", f"uetr-{item_id}")
    fields.setdefault("payment_information_id", "PMT-1")
    fields.setdefault("msg_id", "MSG-1")
    fields.setdefault("party_account", f"DE00PAYEE{item_id}")
    return item(item_id, "INSTRUCTION", -amount_minor, **fields)


def receipt(item_id: int, amount_minor: int, payout_id: str, **fields: object) -> dict[str, object]:
    """A payout of `amount_minor` > 0 that an acquirer reported."""
    return item(
        item_id,
        "RECEIPT",
        amount_minor,
        end_to_end_id=payout_id,
        party_account="DE00CARDIA",
        party_name="Cardia Acquiring",
        **fields,
    )


def frame(*rows: dict[str, object]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=ITEM_SCHEMA)


class Outcome:
    """What a reconciliation of hand-built items gave: its sets, and on request what stays open.

    Classifying takes as long as clearing, and most tests of a rule ask for the sets alone.
    """

    def __init__(self, sets: dict[frozenset[int], str], classified: Callable[[], Classification]) -> None:
        self.sets = sets
        self._classified = classified

    @cached_property
    def classification(self) -> Classification:
        return self._classified()

    @property
    def breaks(self) -> list[Break]:
        return list(self.classification.breaks)

    @property
    def codes(self) -> dict[frozenset[int], str]:
        return {frozenset(b.item_ids): b.code.value for b in self.classification.breaks}

    @property
    def in_flight(self) -> list[int]:
        rows = self.classification.open_items.filter(pl.col("code") == "TIMING")
        return rows["item_id"].to_list()


def reconcile_items(
    items: pl.DataFrame,
    *,
    tolerances: Tolerances | None = None,
    cleared: pl.DataFrame | None = None,
    threads: int = 1,
) -> Outcome:
    """Clear, then classify what stays open, as a run does."""
    tolerances = tolerances or Tolerances()
    cascade = clear(items, tolerances=tolerances, threads=threads)
    cleared_now = items.filter(
        (pl.col("kind") == "LINE") & pl.col("item_id").is_in(cascade.sets["item_id"].to_list())
    ).select(list(CLEARED_LINE_SCHEMA))
    if cleared is not None:
        cleared_now = pl.concat([cleared_now, cleared.select(list(CLEARED_LINE_SCHEMA))])
    classified = partial(
        classify,
        cascade.open_items,
        cleared_lines=cleared_now,
        acquirers=ACQUIRERS,
        tolerances=tolerances,
        threads=threads,
    )
    sets: dict[frozenset[int], str] = {}
    for (_, rule), group in cascade.sets.group_by("set_ordinal", "rule"):
        sets[frozenset(group["item_id"].to_list())] = str(rule)
    return Outcome(sets, classified)
