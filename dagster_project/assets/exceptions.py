"""Group settlement, the morning after: what waits for a person because of what the banks said, or did not say."""

from __future__ import annotations

import datetime as dt

import dagster as dg

from dagster_project import display
from dagster_project.assets.bank import payment_status
from dagster_project.assets.common import LAST, Run, check, step
from dagster_project.resources import Session
from dagster_project.rooms import exceptions as room
from dagster_project.rooms.answers import Verdict


# Not behind the statements: what is wrong with one must not hide what waits. But after them: they book what came back.
@step("settlement", deps=[payment_status], priority=LAST)
def exceptions(run: Run) -> display.Shown:
    """What waits for a person, with its age, its amount and the command that acts; what was asked back; suspense."""
    with run.books.reader() as session:
        report = room.exceptions(session, run.day)
        suspense = room.suspense_tables(session, run.day)
    return {**display.numbers(**report.counts), **display.table(report.table, *report.more, *suspense)}


@check(exceptions)
def nothing_stopped(session: Session, day: dt.date) -> Verdict:
    """No payment is disputed or blocked, and no file is without an answer for longer than its bank may take."""
    return room.nothing_stopped(session, day)


@check(exceptions, severity=dg.AssetCheckSeverity.WARN)
def aged_exceptions(session: Session, day: dt.date) -> Verdict:
    """Nothing has waited for a person for more than five business days."""
    return room.aged_exceptions(session, day)


@check(exceptions, severity=dg.AssetCheckSeverity.WARN)
def recalls_answered(session: Session, day: dt.date) -> Verdict:
    """What was asked back or given back went to the bank the same day, and has an answer after fifteen more."""
    return room.recalls_answered(session, day)


@check(exceptions, severity=dg.AssetCheckSeverity.WARN)
def aged_suspense(session: Session, day: dt.date) -> Verdict:
    """Nothing has waited on a suspense account for more than thirty business days."""
    return room.aged_suspense(session, day)


ASSETS = [exceptions]
CHECKS = [nothing_stopped, aged_exceptions, recalls_answered, aged_suspense]
