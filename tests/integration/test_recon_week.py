"""A simulated week: what recon reports is what the simulator injected, item by item; twice is once."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from ledger import Connection, book_id, import_journal
from nostro.database import Database
from recon import RunReport, arrived_files, ingest_files, reconcile
from sandbox import Bank, Business, plan, read_setup, read_truth
from settlement import apply_setup, approve, poll, propose, release
from tests.support import table_hashes


@dataclass(frozen=True, slots=True)
class Week:
    app: Connection
    book_id: int
    home: Path
    days: tuple[dt.date, ...]
    runs: dict[dt.date, RunReport]


def simulate(
    db: Database, home: Path, *, seed: int, anomalies: int, days: int = 5, payments: int = 300, payees: int = 60
) -> Week:
    """Business days of a small marketplace, settled every night and reconciled every morning."""
    business = Business(seed=seed, days=days, payments_per_day=payments, payees=payees)
    files = business.write(home / "business", home=home)
    setup = read_setup(files.setup)
    planned = plan(
        seed=seed,
        count=anomalies,
        days=business.days,
        setup=setup,
        behaviour=business.behaviour,
        payouts=files.payouts,
    )
    app, alice, bob = db.app(), db.login("alice"), db.login("bob")
    apply_setup(app, files.setup)
    app.commit()
    book = book_id(app)
    app.commit()
    runs = {}
    with Bank(home, setup, seed=seed, behaviour=business.behaviour, anomalies=planned) as bank:
        for journal in files.journals:
            if journal.prior:
                import_journal(app, book_id=book, path=journal.path)
        for journal in files.journals:
            if journal.prior:
                continue
            import_journal(app, book_id=book, path=journal.path)
            now = dt.datetime.combine(journal.date, dt.time(16, 0), dt.UTC)
            for proposed in propose(alice, book_id=book, business_date=journal.date, now=now):
                approve(bob, proposed.file_id)
                release(alice, proposed.file_id, home=home, now=now)
            bank.receive()
            poll(app, home=home, book_id=book)
            bank.close_day(journal.date)
            poll(app, home=home, book_id=book)
            ingest_files(app, book_id=book, paths=arrived_files(app, book_id=book, home=home))
            runs[journal.date] = reconcile(app, book_id=book, business_date=journal.date, home=home)
    for conn in (alice, bob):
        conn.close()
    return Week(app, book, home, business.days, runs)


def test_breaks_are_exactly_what_was_injected(db: Database, tmp_path: Path) -> None:
    """Many in a week; few among many payments are in test_week.py."""
    week = simulate(db, tmp_path, seed=3, anomalies=40)
    last = week.runs[week.days[-1]]
    truth = Counter((found.item_ref, found.code) for found in read_truth(tmp_path))
    assert sum(truth.values()) == 40
    found = Counter((b.item_ref, b.code) for b in last.breaks)
    assert found == truth
    for day in week.days:
        run = week.runs[day]
        assert run.uncertified == ()
        assert len(run.certified) >= 4
    every_step_twice_changes_nothing(week, tmp_path)
    week.app.close()


def every_step_twice_changes_nothing(week: Week, tmp_path: Path) -> None:
    certificates = {p: p.read_bytes() for p in sorted((tmp_path / "certificates").rglob("*.json"))}
    assert len(certificates) >= 20
    before = table_hashes(week.app)
    again = ingest_files(
        week.app, book_id=week.book_id, paths=arrived_files(week.app, book_id=week.book_id, home=tmp_path)
    )
    assert {file.outcome for file in again.files} == {"duplicate"}
    for day in week.days:
        report = reconcile(week.app, book_id=week.book_id, business_date=day, home=tmp_path)
        assert not report.is_new, day
        assert report.run_id == week.runs[day].run_id
    assert table_hashes(week.app) == before
    assert {p: p.read_bytes() for p in sorted((tmp_path / "certificates").rglob("*.json"))} == certificates
