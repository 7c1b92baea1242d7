"""What finance operations see of exceptions, recalls and suspense, through the real Dagster over real books."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from dagster_project.assets import exceptions as assets
from dagster_project.resources import SIMULATED, Books
from dagster_project.rooms import exceptions as room
from dagster_project.rooms.answers import Verdict
from ledger import NewEntry, NewPosting, post_batch
from nostro.database import Database
from settlement import approve_recall, poll, request_recall, request_reversal, send_recalls
from tests.dagster_world import checks, instance_of_runs, metadata
from tests.settlement_world import DAY, PayeeRow, World, make_world, moment, pain002

PAYEES = [PayeeRow(code=code) for code in ("P1", "P2", "P3", "P4")] + [PayeeRow(code="G1", currency="GBP")]
LABELS = ("by kind", "by age in business days", "asked back and given back")


@pytest.fixture
def world(db: Database, tmp_path: Path) -> Iterator[World]:
    made = make_world(db, tmp_path, PAYEES, accounts=("eur", "gbp"))
    yield made
    made.close()


def books(world: World) -> Books:
    given = {"app_conninfo": world.db.conninfo(), "scheduler_conninfo": world.db.conninfo()}
    return Books(home=str(world.home), clock=SIMULATED, **given)


def morning(world: World, day: dt.date = DAY) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        [*assets.ASSETS, *assets.CHECKS],
        partition_key=day.isoformat(),
        resources={"books": books(world)},
        instance=instance_of_runs(),
    )


def weekdays_later(day: dt.date, count: int) -> dt.date:
    """So many Mondays to Fridays after a day, or before it."""
    step = dt.timedelta(days=1 if count > 0 else -1)
    while count:
        day += step
        if day.weekday() < 5:
            count -= 1 if count > 0 else -1
    return day


def rows(shown: dict[str, object], name: str) -> list[dict[str, str]]:
    found = shown[name]
    assert isinstance(found, list), found
    return found


def _overdue(verdict: Verdict) -> int:
    return sum(row[0] == "overdue" for table in verdict.tables for row in table.rows)


def test_nothing_waits(world: World) -> None:
    run = morning(world)
    shown = metadata(run, "settlement/exceptions")
    assert {shown[label] for label in ("exceptions", *LABELS, "suspense", "suspense by age in business days")} == {
        "none"
    }
    assert (shown["waiting"], shown["oldest in business days"]) == (0, 0)
    assert set(checks(run).values()) == {True}


def test_what_waits_is_shown_with_its_amount_its_age_and_the_command_that_acts(world: World) -> None:
    for payee, minor in (("P1", 700), ("P2", 1_250), ("P3", 90), ("P4", 11), ("G1", 5_000)):
        world.owe(payee, minor)
    (file_id,) = world.pay()
    (unanswered,) = world.pay(account="gbp-payouts")
    keys = {str(p): str(e) for p, e in world.rows("SELECT payee_code, end_to_end_id FROM settlement.instruction")}
    msg_id = str(world.one("SELECT msg_id FROM settlement.payment_file WHERE file_id = %s", file_id))
    told = [(keys["P2"], "RJCT", "AC04"), (keys["P3"], "ACSC", ""), ("STRANGER", "RJCT", "AC04")]
    world.answer("first.xml", pain002(msg_id, statuses=told))
    world.answer("second.xml", pain002(msg_id, report="R2", statuses=[(keys["P3"], "RJCT", "AC04")]))
    poll(world.app, home=world.home, book_id=world.book_id)
    request_recall(world.alice, end_to_end_id=keys["P1"], reason_code="DUPL", reason="paid by hand before")
    world.app.execute(
        "SELECT ledger.open_accounts(%s, '{assets:suspense:eur}', '{asset}', '{EUR}', '{f}', '{NULL}', '{NULL}')",
        (world.book_id,),
    )
    legs = (NewPosting("assets:suspense:eur", 123), NewPosting("income:fees:eur", -123))
    waits = NewEntry("unknown-1", weekdays_later(DAY, -31), legs, reference="B7")
    post_batch(world.app, book_id=world.book_id, entries=[waits])
    world.app.commit()

    run = morning(world)
    assert run.success
    assert checks(run) == {
        "nothing_stopped": False,
        "aged_exceptions": True,
        "recalls_answered": True,
        "aged_suspense": False,
    }
    severities = {each.check_name: each.severity.value for each in run.get_asset_check_evaluations()}
    assert severities == dict.fromkeys(severities, "WARN") | {"nothing_stopped": "ERROR"}
    shown = metadata(run, "settlement/exceptions")
    message = world.one("SELECT message_id FROM settlement.message_finding WHERE reference = 'STRANGER'")
    assert [(row["kind"], row["payee"], row["amount"], row["command"]) for row in rows(shown, "exceptions")] == [
        ("disputed", "P3", "0.90 EUR", f'nostro settle dispute {keys["P3"]} --executed|--rejected --reason "…"'),
        ("recall", "P1", "7.00 EUR", f"nostro settle recall-approve {file_id}"),
        ("unknown", "", "", f'nostro settle dismiss {message} --reason "…"'),
        ("held", "P2", "12.50 EUR", f'nostro settle unhold {keys["P2"]} --reason "…"'),
    ]
    assert [(row["kind"], row["number"], row["sum"]) for row in rows(shown, "by kind")] == [
        ("disputed", "1", "0.90 EUR"),
        ("held", "1", "12.50 EUR"),
        ("recall", "1", "7.00 EUR"),
        ("unknown", "1", ""),
    ]
    assert [(row["age"], row["sum"]) for row in rows(shown, "by age in business days")] == [("0-1", "20.40 EUR")]
    assert (shown["waiting"], shown["recalls waiting"], shown["reversals waiting"]) == (4, 1, 0)
    (asked,) = rows(shown, "asked back and given back")
    assert (asked["payment"], asked["state"], asked["answer"]) == (keys["P1"], "requested", "")
    (suspense,) = rows(shown, "suspense")
    assert (suspense["reference"], suspense["amount"], suspense["days"]) == ("B7", "1.23 EUR", "31")
    assert rows(shown, "suspense by age in business days")[0]["age"] == "over 30"

    # What nobody did about it in time. `since` is a day of the database's clock.
    today = world.one("SELECT current_date")
    assert isinstance(today, dt.date)
    with books(world).reader() as session:
        assert not room.recalls_answered(session, weekdays_later(today, 1)).holds, "nobody approved it the same day"
        aged = [room.aged_exceptions(session, weekdays_later(today, days)) for days in (5, 6)]
        # The unanswered file is as old as its day, by whatever clock.
        assert [each.counts["exceptions_too_old"] - _overdue(each) for each in aged] == [0, 3]
        assert not aged[1].holds
        stopped = room.nothing_stopped(session, weekdays_later(DAY, 10))
        assert [row[0] for row in stopped.tables[0].rows] == ["disputed", "overdue"]
        assert stopped.tables[0].rows[1][3] == f"file {unanswered}"

    approve_recall(world.bob, file_id, now=moment())
    send_recalls(world.alice, file_id, home=world.home)
    with books(world).reader() as session:
        assert room.recalls_answered(session, weekdays_later(today, 15)).holds
        unheard = room.recalls_answered(session, weekdays_later(today, 16))
    assert not unheard.holds and "is sent: nostro settle recalls --file" in unheard.sentence


def test_a_reversal_goes_its_way_on_the_page_part_by_part(db: Database, tmp_path: Path) -> None:
    """Requested, approved, sent, refused: each with its own amount, state and command, until the money went back."""
    payees = [PayeeRow(code="D1", negative="debit", mandate="M-1/2025-01-01/CORE/RCUR")]
    terms = "lead_days: 2, partial_reversals: true"
    world = make_world(db, tmp_path, payees, accounts=("eur",), collects=True, debit_terms=terms)
    try:
        world.owe("D1", -700)
        (file_id,) = world.pay()
        e2e = str(world.one("SELECT end_to_end_id FROM settlement.instruction"))
        msg_id = str(world.one("SELECT msg_id FROM settlement.payment_file"))
        world.answer("collected.xml", pain002(msg_id, group="ACSC"))
        poll(world.app, home=world.home)

        def ask(number: int, minor: int) -> None:
            asked = {"end_to_end_id": e2e, "reason_code": "AM09", "reason": "less was agreed"}
            assert request_reversal(world.alice, amount_minor=minor, number=number, **asked)

        def page() -> list[tuple[object, ...]]:
            with books(world).reader() as session:
                shown = room.exceptions(session, DAY)
            (table,) = (each for each in shown.more if each.name == "asked back and given back")
            assert (shown.counts["recalls_waiting"], shown.counts["reversals_waiting"]) == (0, len(table.rows))
            found = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
            assert {(row["kind"], row["payee"], row["payment"]) for row in found} == {("reversal", "D1", e2e)}
            return [(row["amount"], row["state"], row["answer"] or "", row["command"]) for row in found]

        ask(1, 250)
        assert page() == [("2.50 EUR", "requested", "", f"nostro settle recall-approve {file_id}")]
        approve_recall(world.bob, file_id, now=moment())
        assert page() == [("2.50 EUR", "approved", "", f"nostro settle recall-send {file_id}")]
        send_recalls(world.alice, file_id, home=world.home)
        ask(2, 100)
        look = f"nostro settle recalls --file {file_id}"
        assert page() == [
            ("2.50 EUR", "sent", "", look),
            ("1.00 EUR", "requested", "", f"nostro settle recall-approve {file_id}"),
        ]
        world.answer("no.xml", pain002(f"{msg_id}-R1", statuses=[(e2e, "RJCT", "AM05")], report="R9"))
        poll(world.app, home=world.home)
        assert page() == [
            ("2.50 EUR", "refused", "RJCT AM05", look),
            ("1.00 EUR", "requested", "", f"nostro settle recall-approve {file_id}"),
        ], "the answer is to the first part alone"
        shown = rows(metadata(morning(world), "settlement/exceptions"), "asked back and given back")
        assert [(row["amount"], row["state"], row["answer"], row["command"]) for row in shown] == page()
        today = world.one("SELECT current_date")
        assert isinstance(today, dt.date)
        with books(world).reader() as session:
            late = room.recalls_answered(session, weekdays_later(today, 1))
        assert not late.holds, "the second part was not approved on its day"
        assert f"is requested: nostro settle recall-approve {file_id}" in late.sentence
    finally:
        world.close()
