"""Group ledger: the day's journal files into the books, due holds, the trial balance, and the seals over all."""

from __future__ import annotations

import datetime as dt

from dagster_project import display
from dagster_project.assets.common import Run, check, step
from dagster_project.resources import Session
from dagster_project.rooms import ledger as room
from dagster_project.rooms.answers import Verdict


@step("ledger")
def journal_files(run: Run) -> display.Shown:
    """Journal files of the day and the closed days before it, each whole or not at all; again changes nothing."""
    with run.books.preparer() as session:
        imported = room.import_journals(session, run.day)
    return {
        **display.numbers(
            files=len(imported),
            entries=sum(file.report.entries for file in imported),
            new_entries=sum(file.report.new_entries for file in imported),
            accounts_opened=sum(file.report.accounts_opened for file in imported),
        ),
        **display.table(room.imported_table(imported)),
        **display.path("inbox", room.journal_inbox(run.books.home_path)),
    }


@step("ledger")
def expired_holds(run: Run) -> display.Shown:
    """Holds whose time is over expire, so that their money is free again; again changes nothing."""
    with run.books.preparer() as session:
        expired = room.expire_holds(session, run.now)
    return display.numbers(expired=expired)


@step("ledger", deps=[journal_files, expired_holds])
def trial_balance(run: Run) -> display.Shown:
    """Debits and credits of every account through the day, and their sums, which are zero."""
    with run.books.preparer() as session:
        summary = room.trial_balance(session, run.day)
    return {
        **display.numbers(accounts=summary.accounts),
        **display.texts({f"debits less credits {code}": text for code, text in summary.totals.items()}),
        **display.table(summary.table),
    }


@step("ledger", deps=[trial_balance])
def seals(run: Run) -> display.Shown:
    """What is published is sealed, and the anchor file, if there is one, gets the seals; again changes nothing."""
    with run.books.preparer() as session:
        sealed = room.seal(session)
    return {
        **display.numbers(new_seals=sealed.new_seals, sealed_through=sealed.sealed_through),
        **display.texts({"root": sealed.root, "digest": sealed.digest, "anchor": sealed.anchor}),
    }


@check(trial_balance, blocking=True)
def debits_equal_credits(session: Session, day: dt.date) -> Verdict:
    """Σ postings = 0 in every currency."""
    return room.debits_equal_credits(session)


@check(trial_balance, blocking=True)
def books_verify(session: Session, day: dt.date) -> Verdict:
    """Every invariant of the books, recomputed from entries and postings (`nostro verify`)."""
    return room.books_verify(session)


@check(seals)
def seals_hold(session: Session, day: dt.date) -> Verdict:
    """The chain of seals, and what is newly sealed, recomputed; compared with the anchor file, if there is one."""
    return room.seals_hold(session)


ASSETS = [journal_files, expired_holds, trial_balance, seals]
CHECKS = [debits_equal_credits, books_verify, seals_hold]
