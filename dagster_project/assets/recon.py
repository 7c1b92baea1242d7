"""Group recon: cash in transit cleared, what stayed open and why, and the proof per bank account."""

from __future__ import annotations

import datetime as dt

import dagster as dg

from dagster_project import display
from dagster_project.assets.bank import payment_status, statements
from dagster_project.assets.common import DUCKDB, POLARS, POSTGRES, Run, check, step
from dagster_project.resources import Session
from dagster_project.rooms import recon as room
from dagster_project.rooms.answers import Verdict


@step(
    "recon",
    deps=[payment_status, statements],
    kinds=POSTGRES | POLARS | DUCKDB,
    code_version=room.RULES_VERSION,
)
def matches(run: Run) -> display.Shown:
    """Cash in transit grouped into sets that add up to zero, exact keys first; what is not unique stays open."""
    with run.books.preparer() as session:
        cleared = room.reconcile(session, run.day)
    return {**display.numbers(**cleared.counts), **display.table(cleared.table)}


@step("recon", deps=[matches], code_version=room.RULES_VERSION)
def breaks(run: Run) -> display.Shown:
    """Every open item has one code: the breaks with what would close them, and what is merely in flight."""
    with run.books.reader() as session:
        report = room.breaks(session, run.day)
    return {
        **display.numbers(**report.counts),
        **display.texts(report.texts),
        **display.table(report.table, *report.more),
    }


@step("recon", deps=[breaks])
def certificates(run: Run) -> display.Shown:
    """Books = bank, recomputed from the statements' bytes and the postings; residual 0, or no certificate."""
    with run.books.reader() as session:
        signed = room.certificates(session, run.day)
        verdict = room.certificate_residual_zero(session, run.day)
    return {
        **display.texts({"verdict": verdict.sentence}),
        **display.numbers(**verdict.counts),
        **display.table(signed),
    }


@check(certificates, blocking=True)
def certificate_residual_zero(session: Session, day: dt.date) -> Verdict:
    """Every bank account with a statement of the day is certified, and the residual is literally zero."""
    return room.certificate_residual_zero(session, day)


@check(certificates, severity=dg.AssetCheckSeverity.WARN)
def signed_off(session: Session, day: dt.date) -> Verdict:
    """Two people have signed every certificate of the day; what changed since waits for them again."""
    return room.signed_off(session, day)


@check(matches, blocking=True)
def run_verified(session: Session, day: dt.date) -> Verdict:
    """The day's run checked whole by a program that knows nothing of the matcher: every set, break and certificate."""
    return room.run_verified(session, day)


@check(matches)
def cash_identity_holds(session: Session, day: dt.date) -> Verdict:
    """Ledger cash = the bank's closing balance + files in flight + unmatched items, itemised, to the cent."""
    return room.cash_identity_holds(session, day)


@check(breaks, severity=dg.AssetCheckSeverity.WARN)
def aged_breaks(session: Session, day: dt.date) -> Verdict:
    """No break is older than five business days."""
    return room.aged_breaks(session, day)


@check(breaks, severity=dg.AssetCheckSeverity.WARN)
def unreconciled_amount(session: Session, day: dt.date) -> Verdict:
    """Nothing is open except what is in flight within its time."""
    return room.unreconciled_amount(session, day)


ASSETS = [matches, breaks, certificates]
CHECKS = [certificate_residual_zero, signed_off, run_verified, cash_identity_holds, aged_breaks, unreconciled_amount]
