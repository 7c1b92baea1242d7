"""Matching is a function of the set of items: no order, no thread count, nothing lost, nothing invented."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recon.breaks import ACQUIRER_SCHEMA, CLEARED_LINE_SCHEMA, Classification, classify, components
from recon.codes import BreakCode
from recon.matching import Cascade, Tolerances, clear
from tests.unit.recon.recon_items import frame, instruction, item, line, receipt

AMOUNTS = st.sampled_from([100, 109, 190, 200, 300])
REFERENCES = st.sampled_from(
    [None, "E2E-2026-1102-00000001", "E2E-2026-1102-00000002", "E2E-2026-1102-0000", "PO-1", "X"]
)


@st.composite
def worlds(draw: st.DrawFn, most: int = 10) -> pl.DataFrame:
    """Up to `most` small worlds, each on accounts of its own: one run answers for all of them, and what names an
    item of another world is on another account of ours."""
    return frame(*[row for place in range(draw(st.integers(1, most))) for row in draw(_world(place))])


@st.composite
def _world(draw: st.DrawFn, place: int) -> list[dict[str, object]]:
    """A few items that share amounts, references and parties often enough to get in each other's way."""
    rows = []
    first = place * 100
    for number in range(first + 1, first + draw(st.integers(1, 14)) + 1):
        kind = draw(st.sampled_from(["line", "line", "line", "instruction", "instruction", "receipt", "reject"]))
        amount, day = draw(AMOUNTS), draw(st.integers(7, 10))
        account = draw(st.sampled_from(["a", "a", "b"])) + (str(place) if place else "")
        if kind == "line":
            sign = draw(st.sampled_from([1, 1, -1]))
            rows.append(
                line(
                    number,
                    sign * amount,
                    day=day,
                    account=account,
                    end_to_end_id=draw(REFERENCES),
                    uetr=draw(st.sampled_from([None, None, "uetr-1", "uetr-2"])),
                    party_account=draw(st.sampled_from([None, "DE00PAYEE1", "DE00CARDIA"])),
                    payment_information_id=draw(st.sampled_from([None, None, "PMT-1"])),
                    batch_count=draw(st.sampled_from([None, None, 2])),
                    charges_minor=draw(st.sampled_from([None, None, 9])),
                    servicer_ref=draw(st.sampled_from([f"B{number}", "B-SAME"])),
                )
            )
        elif kind == "instruction":
            rows.append(instruction(number, amount, day=day, account=account, party_account="DE00PAYEE1"))
        elif kind == "receipt":
            rows.append(receipt(number, amount, draw(st.sampled_from(["PO-1", "PO-2"])), day=day, account=account))
        else:
            corrects_id = first + draw(st.integers(1, 6))
            rows.append(item(number, "REJECT", amount, day=day, account=account, corrects_id=corrects_id))
    return rows


def outcome(items: pl.DataFrame, threads: int = 1) -> tuple[Cascade, Classification]:
    cascade = clear(items, tolerances=Tolerances(), threads=threads)
    cleared = items.join(cascade.sets, on="item_id", how="semi").filter(pl.col("kind") == "LINE")
    found = classify(
        cascade.open_items,
        cleared_lines=cleared.select(list(CLEARED_LINE_SCHEMA)),
        acquirers=pl.DataFrame([("Cardia", "DE00CARDIA")], schema=ACQUIRER_SCHEMA, orient="row"),
        tolerances=Tolerances(),
        threads=threads,
    )
    return cascade, found


@settings(max_examples=5, deadline=None)
@given(items=worlds(), seed=st.integers(0, 10_000), threads=st.sampled_from([1, 2]))
def test_nothing_is_lost_every_set_is_zero_and_order_never_matters(
    items: pl.DataFrame, seed: int, threads: int
) -> None:
    cascade, found = outcome(items)
    legs = cascade.sets.join(items, on="item_id", how="left", validate="1:1")
    sums = legs.group_by("set_ordinal", "currency").agg(pl.col("amount_minor").sum())
    assert sums.filter(pl.col("amount_minor") != 0).height == 0
    assert legs.group_by("set_ordinal").agg(pl.col("account").n_unique())["account"].to_list() == [1] * sums.height
    placed = sorted([*cascade.sets["item_id"].to_list(), *found.open_items["item_id"].to_list()])
    assert placed == items["item_id"].sort().to_list()
    assert legs["amount_minor"].sum() == 0
    in_breaks = [one for b in found.breaks for one in b.item_ids]
    assert len(in_breaks) == len(set(in_breaks))
    own = dict(items.select("item_id", "amount_minor").iter_rows())
    total = sum(own[one] for one in in_breaks)
    flying = found.open_items.filter(pl.col("code") == "TIMING").join(items, on="item_id")["amount_minor"].sum()
    assert total + flying == items["amount_minor"].sum()
    across = {BreakCode.WRONG_ACCOUNT, BreakCode.CURRENCY_MISMATCH}
    one_account = [b for b in found.breaks if b.code not in across]
    assert all(b.amount_minor == sum(own[one] for one in b.item_ids) for b in one_account)
    assert all(sum(leg.amount_minor for leg in b.proposal.legs) == 0 for b in found.breaks)
    with pytest.MonkeyPatch.context() as patch:  # as for many items: threads, every rule asked whatever there is
        patch.setattr("recon.matching.engine.SMALL", 0)
        again, found_again = outcome(items.sample(fraction=1.0, shuffle=True, seed=seed), threads)
    assert again.sets.equals(cascade.sets)
    assert found_again.breaks == found.breaks
    assert found_again.open_items.equals(found.open_items)


@settings(max_examples=8, deadline=None)
@given(items=worlds(most=1), few=st.integers(1, 12))
def test_a_rule_that_is_not_asked_would_have_found_nothing(items: pl.DataFrame, few: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "recon.matching.engine.STOCKED", few
        )  # so that some worlds are few from the first, some become so
        cascade, found = outcome(items)
        patch.setattr("recon.matching.engine.STOCKED", 0)
        asked, found_asked = outcome(items)
    assert asked.sets.equals(cascade.sets)
    assert found_asked.breaks == found.breaks
    assert found_asked.open_items.equals(found.open_items)


def test_items_that_become_few_are_asked_every_rule() -> None:
    """Items are counted as few once: what they name is read then, and would not be known when they become few later."""
    batch = [instruction(n, 100, payment_information_id="PMT") for n in range(1, 6)]
    paid = line(10, 500, payment_information_id="PMT", batch_count=5)
    named = receipt(20, 900, "CARD-VISA-20261102"), line(21, -900, remittance="Payout CARD-VISA-20261102 card sales")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("recon.matching.engine.STOCKED", 4)
        cascade, _ = outcome(frame(*batch, paid, *named))
    assert set(cascade.sets["rule"]) == {"batch-sum", "receipt-reference"}


def test_a_thousand_payments_shuffled() -> None:
    rows = [instruction(n, 100 + n % 7) for n in range(1, 1001)]
    rows += [
        line(
            10_000 + n,
            100 + n % 7,
            end_to_end_id=f"E2E-2026-1102-{n:08}" if n % 3 else None,
            uetr=f"uetr-{n}" if n % 5 else None,
        )
        for n in range(1, 1001)
    ]
    items = frame(*rows)
    cascade, found = outcome(items)
    assert cascade.sets.height == 2 * sum(1 for n in range(1, 1001) if n % 3 or n % 5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("recon.matching.engine.SMALL", 0)
        again, found_again = outcome(items.sample(fraction=1.0, shuffle=True, seed=1), 2)
    assert again.sets.equals(cascade.sets)
    assert found_again.breaks == found.breaks


@given(edges=st.lists(st.tuples(st.integers(0, 8), st.integers(20, 28)), max_size=15), seed=st.integers(0, 99))
def test_components_do_not_depend_on_the_order_of_edges(edges: list[tuple[int, int]], seed: int) -> None:
    shuffled = pl.Series(range(len(edges))).sample(fraction=1.0, shuffle=True, seed=seed).to_list() if edges else []
    found = components(edges)
    assert found.equals(components([edges[n] for n in shuffled]))
    group = dict(zip(found["item_id"].to_list(), found["group_id"].to_list(), strict=True))
    assert all(group[left] == group[right] for left, right in edges)
