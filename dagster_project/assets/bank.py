"""Group bank: what the banks answered, and their statements, proven and booked."""

from __future__ import annotations

import datetime as dt

from dagster_project import display
from dagster_project.assets.common import BANK_GATEWAY, POSTGRES, XML, Run, check, step
from dagster_project.assets.settlement import released_files
from dagster_project.resources import Session
from dagster_project.rooms import recon, settlement
from dagster_project.rooms.answers import Verdict


@step("bank", deps=[released_files], kinds=POSTGRES | XML, pool=BANK_GATEWAY)
def payment_status(run: Run) -> display.Shown:
    """Status reports from the banks' inboxes, and sends whose fate was unknown, looked up."""
    with run.books.preparer() as session:
        report = settlement.poll(session)
        files = settlement.payment_files(session, run.day)
    return {
        **display.numbers(
            messages=len(report.messages),
            new_messages=sum(message.is_new for message in report.messages),
            rejected_instructions=sum(message.rejected for message in report.messages),
            findings=len(report.findings),
        ),
        **display.table(settlement.message_table(report)),
        **display.table(settlement.message_finding_table(report)),
        **display.table(*settlement.file_tables(files)),
    }


@step("bank", deps=[released_files], kinds=POSTGRES | XML)
def statements(run: Run) -> display.Shown:
    """Statements and payout reports from the inboxes; every proven statement is booked once."""
    with run.books.preparer() as session:
        ingested = recon.ingest(session)
        of_day = recon.statements_of(session, run.day)
    return {
        **display.numbers(**ingested.counts, statements_of_the_day=len(of_day)),
        **display.table(recon.statement_table(of_day)),
        **display.table(ingested.table),
    }


@check(statements, blocking=True)
def statements_proven(session: Session, day: dt.date) -> Verdict:
    """Opening + booked lines = closing, for every statement of the day."""
    return recon.statements_proven(session, day)


@check(statements, blocking=True)
def statement_chain_complete(session: Session, day: dt.date) -> Verdict:
    """Every bank account open on the day has its statement, and each opens where the one before closed."""
    return recon.statement_chain_complete(session, day)


ASSETS = [payment_status, statements]
CHECKS = [statements_proven, statement_chain_complete]
