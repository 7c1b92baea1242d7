"""The blocks of docs/accounting.md on splits and payout rules, executed."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import JournalFileError, parse_amount_minor, post_batch, verify
from nostro.database import Database
from settlement import (
    Commission,
    Share,
    cancel,
    import_splits,
    largest_remainder,
    read_splits,
    seal,
    split_entry,
)
from tests.integration.test_accounting import DOCUMENT
from tests.settlement_world import DAY, PayeeRow, World, make_world, moment

TUESDAY = DAY + dt.timedelta(days=1)
PAYEES = [
    PayeeRow(code="SHOP", maximum="20.00", reserve_percent="10", reserve_days="1", reserve_fixed="5.00"),
    PayeeRow(code="MAKER", schedule="manual"),
    PayeeRow(code="COURIER", schedule="manual"),
]
Legs = list[tuple[str, int]]


def documented() -> dict[str, tuple[dt.date, str, Legs]]:
    """Every ```rule``` block: date, key, legs in the order written."""
    blocks = {}
    for name, body in re.findall(r"^```rule (\S+)\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL):
        head, *rest = body.strip().splitlines()
        day, key = head.split()
        legs = [(code, parse_amount_minor(amount, 2)) for code, amount, _ in (line.split() for line in rest)]
        blocks[name] = (dt.date.fromisoformat(day), key, legs)
    return blocks


@pytest.fixture
def world(db: Database, tmp_path: Path) -> Iterator[World]:
    made = make_world(db, tmp_path, PAYEES, accounts=("eur",))
    yield made
    assert verify(made.app, book_id=made.book_id) == ()
    made.close()


def booked(world: World, pattern: str) -> tuple[dt.date, str, Legs]:
    """The last entry whose key is like this."""
    rows = world.rows(
        "SELECT e.effective_date, e.idempotency_key, a.code, p.amount_minor FROM ledger.entry e"
        " JOIN ledger.posting p USING (entry_id) JOIN ledger.account a USING (account_id)"
        " WHERE e.entry_id = (SELECT max(entry_id) FROM ledger.entry WHERE idempotency_key LIKE %s)"
        " ORDER BY p.posting_id",
        pattern,
    )
    day, key = rows[0][0], str(rows[0][1])
    assert isinstance(day, dt.date)
    return day, key, [(str(code), int(str(minor))) for _, _, code, minor in rows]


def test_every_block_is_what_the_program_posts(world: World) -> None:
    blocks = documented()
    seen: dict[str, tuple[dt.date, str, Legs]] = {}
    shares = [Share(account=row.account, weight=1) for row in PAYEES]
    world.app.execute(
        "SELECT ledger.open_accounts(%s, %s, %s, %s, %s, %s::text[], %s::bigint[])",
        (
            world.book_id,
            ["assets:receivable:cardia:eur", "assets:receivable:fees:eur", "income:fees:eur"],
            ["asset", "asset", "income"],
            ["EUR"] * 3,
            [False] * 3,
            [None] * 3,
            [None] * 3,
        ),
    )
    world.app.commit()
    for name, key, fees in (("split", "split-1", "net"), ("split-gross", "split-2", "gross")):
        commission = Commission(
            bps=1_000,
            income="income:fees:eur",
            fees="gross" if fees == "gross" else "net",
            receivable="assets:receivable:fees:eur",
        )
        entry = split_entry(
            key=key,
            effective_date=DAY,
            received="assets:receivable:cardia:eur",
            amount_minor=100_00,
            shares=shares,
            commission=commission,
        )
        post_batch(world.app, book_id=world.book_id, entries=[entry])
        world.app.commit()
        seen[name] = booked(world, key)
    world.pay()
    seen["payout-reserved"] = booked(world, "settle:%")
    (file_id,) = world.approve_all(TUESDAY)
    seen["reserve-due"] = booked(world, "reserve-back:%")
    seal(world.app, file_id, now=moment(TUESDAY))
    assert cancel(world.alice, file_id, reason="not today").is_new
    seen["cancelled"] = booked(world, "cancel:%")
    assert set(seen) == set(blocks)
    for name, (day, key, legs) in blocks.items():
        booked_day, booked_key, booked_legs = seen[name]
        assert (booked_day, booked_legs) == (day, legs), name
        assert re.fullmatch(re.sub(r"\\\{\w+\\\}", r"[^:]+", re.escape(key)), booked_key), (key, booked_key)


@given(st.integers(-(10**12), 10**12), st.lists(st.integers(0, 10_000), min_size=1, max_size=9).filter(any))
def test_parts_sum_to_the_whole_and_are_within_a_cent_of_their_share(amount: int, weights: list[int]) -> None:
    parts = largest_remainder(amount, weights)
    assert sum(parts) == amount
    whole = sum(weights)
    assert all(abs(part * whole - amount * weight) < whole for part, weight in zip(parts, weights, strict=True))
    assert largest_remainder(-amount, weights) == [-part for part in parts]


@pytest.mark.parametrize("weights", [[], [0], [-1, 2]])
def test_weights_that_split_nothing_are_refused(weights: list[int]) -> None:
    with pytest.raises(ValueError):
        largest_remainder(100, weights)


HEADER = (
    "entry_key,effective_date,received,amount,currency,payee,weight,commission,commission_account,fees,receivable\n"
)


def split_file(world: World, *lines: str, header: str = HEADER) -> tuple[int, int]:
    """Import a file of splits; sales in it, and new ones."""
    content = (header + "\n".join(lines) + "\n").encode()
    rows = read_splits("splits.csv", content)
    report = import_splits(world.app, book_id=world.book_id, name="splits.csv", content=content, rows=rows)
    return report.entries, report.new_entries


def test_a_file_of_splits_posts_the_documented_entries_once(world: World) -> None:
    blocks, money = documented(), "assets:receivable:cardia:eur,100.00,EUR"
    lines = [
        f"split-1,{DAY},{money},SHOP,1,10%,income:fees:eur,,",
        "split-1,,,,,MAKER,1,,,,",
        "split-1,,,,,COURIER,1,,,,",
    ]
    gross = "10,income:fees:eur,gross,assets:receivable:fees:eur"
    lines += [f"split-2,{DAY},{money},SHOP,1,{gross}", "split-2,,,,,MAKER,1,,,,", f"split-2,{DAY},,,,COURIER,1,{gross}"]
    assert split_file(world, *lines) == (2, 2)
    for name, key in (("split", "split-1"), ("split-gross", "split-2")):
        assert booked(world, key) == blocks[name]
    assert split_file(world, *lines) == (2, 0), "again changes nothing"
    # A refund gives shares and commission back; the source of every entry is the file.
    assert split_file(world, f"back-1,{DAY},{money.replace('100', '-100')},SHOP,1,10,income:fees:eur,,") == (1, 1)
    assert booked(world, "back-1")[2] == [
        ("assets:receivable:cardia:eur", -100_00),
        ("liabilities:payable:SHOP", 90_00),
        ("income:fees:eur", 10_00),
    ]
    assert world.one("SELECT count(DISTINCT name) FROM ledger.source WHERE name = 'splits.csv'") == 1


def test_a_faulty_file_of_splits_is_refused_whole_with_every_line(world: World) -> None:
    sound = f"{DAY},assets:receivable:cardia:eur,1.00,EUR"
    with pytest.raises(JournalFileError) as refused:
        split_file(
            world,
            f"a,{sound},SHOP,1,,,,",
            f"b,{sound},NOBODY,x,,,,",
            f"c,{sound},SHOP,1,10,,both,",
            "c,2026-11-09,,,,MAKER,1,,,,",
            f"d,{sound},SHOP,0,,,,",
            f"e,{sound.replace('1.00', '1.001')},SHOP,1,,,,",
            f"f,{sound},SHOP,1,12.345,income:fees:eur,,",
            f",{sound},SHOP,1,,,,",
            f"g,{sound},assets:nowhere:x,1,,,,",
            f"h,{sound.replace('2026-11-02', 'today')},SHOP,1,,,,",
            f"i,{sound},SHOP,1,10,income:fees:eur,gross,",
        )
    assert [int(fault.split(":")[0].removeprefix("line ")) for fault in refused.value.faults] == [
        *(3, 3, 4, 4, 5, 6, 7, 8, 9, 10, 11, 12)
    ]
    assert world.one("SELECT count(*) FROM ledger.entry WHERE idempotency_key = 'a'") == 0
    for content, why in (
        (b"a,b\n1,2\n", "wrong columns"),
        (HEADER.encode() + b"x\n", "line 2 has another number of fields"),
        (b"\xff", "not UTF-8"),
    ):
        with pytest.raises(JournalFileError, match=why):
            read_splits("splits.csv", content)
