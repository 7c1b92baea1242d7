"""Group settlement: tonight's proposal, and the release of what another person approved. Nothing here approves."""

from __future__ import annotations

import datetime as dt

import dagster as dg

from dagster_project import display
from dagster_project.assets.common import BANK_GATEWAY, POSTGRES, XML, Run, check, step
from dagster_project.assets.ledger import seals, trial_balance
from dagster_project.resources import Session
from dagster_project.rooms import ledger
from dagster_project.rooms import settlement as room
from dagster_project.rooms.answers import Verdict


@step("settlement", deps=[trial_balance, seals], kinds=POSTGRES | XML)
def payment_proposal(run: Run) -> display.Shown:
    """Payment files for what is owed tonight, final to the byte, waiting for a second person."""
    with run.books.preparer() as session:
        display.require(room.day_has_come(run.day, run.now))
        display.require(ledger.debits_equal_credits(session), ledger.books_verify(session))
        room.propose(session, run.day, run.now)
        files = room.payment_files(session, run.day)
    return {
        **display.numbers(files=len(files), instructions=sum(file.instruction_count for file in files)),
        **display.texts(room.file_totals(files)),
        **display.table(*room.file_tables(files)),
        **display.texts({"next": "an approver: nostro settle show, then nostro settle approve FILE"}),
    }


@step("settlement", deps=[payment_proposal], kinds=POSTGRES | XML, pool=BANK_GATEWAY)
def released_files(run: Run) -> display.Shown:
    """Approved files sealed and sent, once; the seal debits the payables."""
    with run.books.preparer() as session:
        display.require(room.file_gates_clean(session, run.day))
        outcomes = room.release(session, run.day, run.only_file, run.now)
        files = room.payment_files(session, run.day)
    shown = {
        **display.numbers(released=sum(outcome.at_the_bank for outcome in outcomes), files=len(files)),
        **display.texts(room.file_totals(files)),
        **display.table(room.outcome_table(outcomes)),
        **display.table(*room.file_tables(files)),
    }
    troubled = [outcome for outcome in outcomes if not outcome.at_the_bank]
    if troubled:
        may_retry = all(outcome.retryable for outcome in troubled)
        raise dg.Failure(description=troubled[0].sentence, metadata=shown, allow_retries=may_retry)
    return shown


@check(payment_proposal, blocking=True)
def file_gates_clean(session: Session, day: dt.date) -> Verdict:
    """Every stored payment file of the day passes its schema, reads back to what is owed, and adds up."""
    return room.file_gates_clean(session, day)


ASSETS = [payment_proposal, released_files]
CHECKS = [file_gates_clean]
