"""`nostro demo`: a business week from sales to certified books, and the page that says how it went.

Each day: sales are imported, the night is settled, the simulated banks answer and close their day, and the next
morning the day is reconciled. At the end the breaks that reconciliation found are compared, one by one, with what the
banks really did wrong; the banks keep that truth where reconciliation cannot read it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from datetime import time as clock_time
from pathlib import Path

from ledger import book_id, import_journal, publish, verify
from nostro.database import locate
from nostro.day import Desk, fresh_home, open_shop
from nostro.report import Comparison, compare, render_page
from nostro.settings import Settings
from recon import build_warehouse
from sandbox import Bank, Business, plan, read_setup, read_truth
from settlement import apply_setup

# The nightly run's moment: after the shops close, before every bank's cut-off.
_NIGHT = clock_time(17, 30, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class DemoResult:
    """How the week went: the page for people, and what a script asks."""

    page: str
    comparison: Comparison
    certified: int
    expected_certificates: int
    faults: int
    seconds: int
    home: Path

    @property
    def proven(self) -> bool:
        """Breaks equal anomalies one to one, every bank day is certified, and every invariant holds."""
        return self.comparison.equal and self.certified == self.expected_certificates and self.faults == 0


def run_demo(
    *,
    home: Path,
    days: int,
    payments: int,
    payees: int,
    anomalies: int,
    seed: int,
    say: Callable[[str], None] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> DemoResult:
    """Run the week in a fresh ``home``; ``say`` gets a line a step, ``on_progress`` (done, total)."""
    begun = time.monotonic()
    tell = say or (lambda line: None)
    fresh_home(home)
    database = locate(Settings(home=home, database_url=None))
    open_shop(database)
    business = Business(seed=seed, days=days, payments_per_day=payments, payees=payees)
    files = business.write(home / "business", home=home)
    with database.app() as conn:
        apply_setup(conn, files.setup)
    setup = read_setup(files.setup)
    planned = plan(
        seed=seed,
        count=anomalies,
        days=business.days,
        setup=setup,
        behaviour=business.behaviour,
        payouts=files.payouts,
    )
    with database.app() as conn:
        desk = Desk(database, home=home, book_id=book_id(conn))
    tell(f"{payees:,} sellers, {len(setup.accounts)} bank accounts, {payments:,} card payments a day, {days} days")
    total, done = 4 * len(business.days), 0

    def step() -> None:
        nonlocal done
        done += 1
        if on_progress is not None:
            on_progress(done, total)

    certified = expected = 0
    with Bank(home, setup, seed=seed, behaviour=business.behaviour, anomalies=planned) as bank:
        for journal in files.journals:
            if journal.prior:
                import_journal(desk.app, book_id=desk.book_id, path=journal.path)
        for day in business.days:
            started = time.monotonic()
            for journal in files.journals:
                if journal.date == day and not journal.prior:
                    import_journal(desk.app, book_id=desk.book_id, path=journal.path)
            step()
            night = desk.settle(day, now=datetime.combine(day, _NIGHT))
            step()
            bank.receive()
            rejected = desk.poll()
            report = bank.close_day(day)
            rejected += desk.poll()
            step()
            morning = desk.prove(day)
            certified += len(morning.run.certified)
            expected += len(report.statements)
            step()
            tell(
                f"{day:%a %d %b}: {night.instructions:,} payments in {len(night.files)} files, {rejected} rejected, "
                f"{report.returned} returned; {morning.ingest.booked_lines:,} statement lines proven, "
                f"{len(morning.run.breaks)} breaks open, {len(morning.run.certified)} certificates "
                f"({time.monotonic() - started:.1f} s)"
            )
    publish(desk.app)
    build_warehouse(desk.app, home / "nostro.duckdb")
    faults = verify(desk.app, book_id=desk.book_id)
    last = business.days[-1]
    comparison = compare(desk.app, book_id=desk.book_id, business_date=last, truth=read_truth(home))
    page = render_page(
        desk.app, book_id=desk.book_id, business_date=last, comparison=comparison, faults=faults, home=home
    )
    desk.close()
    return DemoResult(
        page=page,
        comparison=comparison,
        certified=certified,
        expected_certificates=expected,
        faults=len(faults),
        seconds=round(time.monotonic() - begun),
        home=home,
    )
