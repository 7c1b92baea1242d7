"""A small business week, end to end on the real database: what is found, what is written, what a second run does.

One week is run for the whole module; each test looks at it from another side.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time
from pathlib import Path
from shutil import which

import duckdb
import pytest
from lxml import etree
from pyiso20022.pain.pain_001_001_09 import Document
from xsdata.formats.dataclass.parsers import XmlParser

from ledger import book_id, import_journal, publish, trial_balance, verify
from nostro.database import Database
from nostro.day import Desk, fresh_home, open_shop
from nostro.demo import run_demo
from nostro.postgres import end_embedded
from nostro.report import compare
from recon import arrived_files, build_warehouse, ingest_files, list_runs, reconcile, verify_run
from sandbox import Bank, Business, plan, read_setup, read_truth
from settlement import apply_setup, file_content, payment_files
from tests.support import table_hashes

DAYS, PAYMENTS, ANOMALIES, SEED = 3, 600, 14, 7
NAMESPACE = "{urn:iso:std:iso:20022:tech:xsd:pain.001.001.09}"


@dataclass(frozen=True)
class Week:
    """A finished week: its database, home, and everything needed to run any step again."""

    database: Database
    home: Path
    business: Business
    journals: tuple[Path, ...]
    setup: Path
    desk: Desk


@pytest.fixture(scope="module")
def week(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Week]:
    home = fresh_home(tmp_path_factory.mktemp("week") / "home")
    database = Database(admin_conninfo=server, name="nostro_week", role_prefix="nostro_week")
    open_shop(database)
    business = Business(seed=SEED, days=DAYS, payments_per_day=PAYMENTS, payees=120)
    files = business.write(home / "business", home=home)
    with database.app() as conn:
        apply_setup(conn, files.setup)
        desk = Desk(database, home=home, book_id=book_id(conn))
    setup = read_setup(files.setup)
    planned = plan(
        seed=SEED,
        count=ANOMALIES,
        days=business.days,
        setup=setup,
        behaviour=business.behaviour,
        payouts=files.payouts,
    )
    with Bank(home, setup, seed=SEED, behaviour=business.behaviour, anomalies=planned) as bank:
        for journal in files.journals:
            if journal.prior:
                import_journal(desk.app, book_id=desk.book_id, path=journal.path)
        for day in business.days:
            for journal in files.journals:
                if journal.date == day:
                    import_journal(desk.app, book_id=desk.book_id, path=journal.path)
            desk.settle(day, now=datetime.combine(day, time(17, 30), tzinfo=UTC))
            bank.receive()
            bank.close_day(day)
            desk.poll()
            desk.prove(day)
    publish(desk.app)
    build_warehouse(desk.app, home / "nostro.duckdb")
    yield Week(database, home, business, tuple(j.path for j in files.journals), files.setup, desk)
    desk.close()


def test_every_run_holds_before_the_verifier(week: Week) -> None:
    with week.database.app() as conn:
        runs = list_runs(conn, book_id=week.desk.book_id)
        verdicts = [verify_run(conn, book_id=week.desk.book_id, run_id=run.run_id) for run in runs]
    assert len(verdicts) >= DAYS
    assert [verdict.faults for verdict in verdicts] == [()] * len(verdicts)
    assert sum(verdict.sets for verdict in verdicts) > DAYS * 100


def test_breaks_equal_what_the_banks_did_wrong_one_to_one(week: Week) -> None:
    truth = read_truth(week.home)
    found = compare(week.desk.app, book_id=week.desk.book_id, business_date=week.business.days[-1], truth=truth)
    assert len(truth) == ANOMALIES
    assert Counter(found.found) == Counter(found.injected)


def test_twenty_documented_questions_have_an_answer(week: Week) -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "analysts.md"
    questions = re.findall(r"^[0-9]+\. .+?\n\n```sql\n(.+?)```", page.read_text(), re.DOTALL | re.MULTILINE)
    assert len(questions) == 20
    with duckdb.connect(str(week.home / "nostro.duckdb"), read_only=True) as db:
        for question in questions:
            assert db.execute(question).fetchall(), question


def test_books_balance_and_every_invariant_holds(week: Week) -> None:
    assert verify(week.desk.app, book_id=week.desk.book_id) == ()
    assert trial_balance(week.desk.app, book_id=week.desk.book_id).is_zero


def test_every_bank_day_is_certified_with_residual_zero(week: Week) -> None:
    rows = week.desk.app.execute(
        "SELECT b.code, c.business_date, max(c.residual_minor) FROM recon.certificate c"
        " JOIN settlement.bank_account b USING (bank_account_id) GROUP BY 1, 2"
    ).fetchall()
    assert {(str(code), day) for code, day, _ in rows} == {
        (account.code, day) for account in read_setup(week.setup).accounts for day in week.business.days
    }
    assert all(residual == 0 for *_, residual in rows)


def test_the_bank_holds_what_the_books_say(week: Week) -> None:
    with Bank(week.home, read_setup(week.setup), seed=SEED) as bank:
        for code, minor in week.desk.app.execute(
            "SELECT b.code, l.posted_minor FROM settlement.bank_account b"
            " JOIN ledger.balance l ON l.account_id = b.nostro_account_id"
        ).fetchall():
            assert bank.balance(str(code)) == minor, code


def test_no_payment_was_executed_twice_but_where_the_bank_says_so(week: Week) -> None:
    rows = [line for line in (week.home / "sandbox" / "executions.jsonl").read_text().splitlines() if line]
    assert len(rows) == len(set(rows)) > 0


def _sent(week: Week) -> list[Path]:
    return sorted(week.home.glob("bank/*/outbox/*.xml"))


def test_sent_files_are_the_approved_bytes(week: Week) -> None:
    conn = week.desk.app
    stored = {hashlib.sha256(file_content(conn, f.file_id)).hexdigest() for f in payment_files(conn)}
    sent = {hashlib.sha256(path.read_bytes()).hexdigest() for path in _sent(week)}
    assert sent == stored
    assert stored == {f.sha256 for f in payment_files(conn)}


def test_sent_files_pass_the_published_schema(week: Week, shared: Path) -> None:
    if which("xmllint") is None:
        pytest.skip("xmllint is not installed (Debian: libxml2-utils)")
    schema = shared / "xsd" / "pain.001.001.09.xsd"
    files = [str(path) for path in _sent(week)]
    done = subprocess.run(["xmllint", "--noout", "--schema", str(schema), *files], capture_output=True, text=True)
    assert files and done.returncode == 0, done.stderr[-2000:]


def test_sent_files_read_back_by_pyiso20022_are_the_instructions(week: Week) -> None:
    for path in _sent(week):
        document = XmlParser().from_path(path, Document)
        read = [
            (tx.pmt_id.end_to_end_id, tx.amt.instd_amt.value, tx.amt.instd_amt.ccy, tx.cdtr_acct.id.iban)
            for info in document.cstmr_cdt_trf_initn.pmt_inf
            for tx in info.cdt_trf_tx_inf
        ]
        stored = week.desk.app.execute(
            "SELECT i.end_to_end_id, (i.amount_minor::numeric / 10::numeric ^ c.exponent), c.code, i.payee_iban"
            " FROM settlement.instruction i JOIN settlement.payment_file f USING (file_id)"
            " JOIN ledger.currency c USING (currency_id) WHERE f.msg_id = %s ORDER BY i.ordinal",
            (path.stem,),
        ).fetchall()
        assert read == stored and read


def test_sent_files_are_accepted_by_another_rule_checker(week: Week, shared: Path) -> None:
    program = Path(sys.executable).with_name("cbpr-validate")
    if not program.exists():
        pytest.skip("cbpr-validate is not installed (make setup installs it)")
    schema = shared / "xsd" / "pain.001.001.09.xsd"
    for path in _sent(week)[:3]:
        done = subprocess.run(
            [str(program), str(path), "--year", "2026", "--format", "compact", "--xsd", str(schema)],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def test_header_totals_are_the_sums_of_the_payments(week: Week) -> None:
    for path in _sent(week):
        tree = etree.parse(path)
        amounts = tree.findall(f".//{NAMESPACE}InstdAmt")
        cents = sum(int((a.text or "").replace(".", "")) for a in amounts)
        for total in tree.findall(f".//{NAMESPACE}CtrlSum"):
            assert int((total.text or "").replace(".", "")) == cents
        for number in tree.findall(f".//{NAMESPACE}NbOfTxs"):
            assert int(number.text or "") == len(amounts)


def _files(home: Path) -> dict[str, str]:
    """Hashes of everything that was written for others: payment files, certificates."""
    found = [*home.glob("bank/*/outbox/*"), *home.glob("certificates/**/*.json")]
    return {str(path.relative_to(home)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def _views(path: Path) -> dict[str, list[tuple[object, ...]]]:
    with duckdb.connect(str(path), read_only=True) as conn:
        names = [
            str(row[0]) for row in conn.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall()
        ]
        tables = [str(row[0]) for row in conn.execute("SELECT table_name FROM duckdb_tables()").fetchall()]
        return {name: conn.table(name).order(",".join(map(str, range(1, 2)))).fetchall() for name in [*names, *tables]}


def test_every_step_a_second_time_changes_nothing(week: Week) -> None:
    desk = week.desk
    tables, files, views = table_hashes(desk.app), _files(week.home), _views(week.home / "nostro.duckdb")
    desk.app.rollback()
    apply_setup(desk.app, week.setup)
    for journal in week.journals:
        assert import_journal(desk.app, book_id=desk.book_id, path=journal).new_entries == 0
    for day in week.business.days:
        # Every night again, late: what was returned meanwhile is held, so nothing is owed that is not paid.
        again = desk.settle(day, now=datetime.combine(day, time(17, 30), tzinfo=UTC))
        assert again.files == ()
    with Bank(week.home, read_setup(week.setup), seed=SEED) as bank:
        assert bank.receive() == ()
        bank.close_day(week.business.days[-1])
    desk.poll()
    taken = ingest_files(
        desk.app, book_id=desk.book_id, paths=arrived_files(desk.app, book_id=desk.book_id, home=week.home)
    )
    assert {file.outcome for file in taken.files} <= {"duplicate"}
    for day in week.business.days:
        assert not reconcile(desk.app, book_id=desk.book_id, business_date=day, home=week.home).is_new
    publish(desk.app)
    build_warehouse(desk.app, week.home / "nostro.duckdb")
    after = table_hashes(desk.app)
    assert [name for name in tables if tables[name] != after[name]] == []
    assert _files(week.home) == files
    assert _views(week.home / "nostro.duckdb") == views


@pytest.mark.parametrize(("seed", "anomalies"), [(1, 0), (3, 40)])
def test_demo_is_proven(tmp_path: Path, seed: int, anomalies: int) -> None:
    home = tmp_path / "demo"
    result = run_demo(home=home, days=3, payments=600, payees=120, anomalies=anomalies, seed=seed)
    end_embedded(home)
    assert result.comparison.missed == () and result.comparison.invented == ()
    assert len(result.comparison.injected) == anomalies
    assert result.proven, result.page
