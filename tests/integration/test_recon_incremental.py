"""A run reads what was open and what is new, and sees what the whole ledger shows: days at random, late and again."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterator

import polars as pl
import psycopg
import pytest

from nostro.database import Database
from recon import ReconCheckError, reconcile, request_unmatch, unmatch_set, verify_run
from recon.breaks import CLEARED_LINE_SCHEMA
from recon.matching.engine import Engine
from recon.material import pack
from recon.runs import read_inputs
from tests.ledger_books import fresh_database
from tests.recon_world import BankBook, Line
from tests.settlement_world import DAY, PayeeRow, World, make_world

IBANS = ("DE89370400440532013000", "NL91ABNA0417164300", "FR1420041010050500013M02606")


@pytest.fixture(scope="module")
def world(template: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    payees = [PayeeRow(code=f"P{n}", iban=iban) for n, iban in enumerate(IBANS, 1)]
    with fresh_database(template, "nostro_test_incremental") as db:
        made = make_world(db, tmp_path_factory.mktemp("incremental"), payees, accounts=("eur",))
        yield made
        made.close()


def workday(number: int) -> dt.date:
    return DAY + dt.timedelta(days=7 * (number // 5) + number % 5)


def before_of(world: World, day: dt.date) -> object:
    return world.one("SELECT recon.run_before(1, %s)", day)


QUIET_DAYS = 4


def test_what_a_run_reads_does_not_grow_with_history(world: World, bank: BankBook) -> None:
    """Days that are alike, all of it cleared: each looks at its own lines and payments."""
    read = []
    for number in range(QUIET_DAYS):
        day = workday(number)
        for payee in ("P1", "P2", "P3"):
            world.owe(payee, 1_000, day=day)
        world.pay(day)
        sent = world.rows("SELECT end_to_end_id FROM settlement.instruction WHERE execution_date >= %s", day)
        lines = [Line(amount_minor=-1_000, ref=f"B{e2e}", end_to_end_id=str(e2e)) for (e2e,) in sent]
        bank.ingest(bank.statement(lines, day=day), name=f"{day}.xml", message_id=f"{day}")
        with world.db.owner() as owner:
            counts = [
                owner.execute("SELECT count(*) FROM recon.touched(1, %s, %s)", (day, before)).fetchone()
                for before in (before_of(world, day), None)
            ]
        read.append(counts)
        assert bank.reconcile(day).breaks == ()
    assert read == [[(6,), (6 * number,)] for number in range(1, QUIET_DAYS + 1)]


@pytest.fixture(scope="module")
def bank(world: World) -> BankBook:
    return BankBook(world)


class Story:
    """Days at random: payments, statements on time and late, odd lines, sets taken back, days run again."""

    def __init__(self, bank: BankBook, seed: int) -> None:
        self.world, self.bank, self.chance = bank.world, bank, random.Random(seed)
        self.unseen: list[Line] = []  # what the bank books and no statement has shown
        self.days: list[dt.date] = []
        self.held_back: list[tuple[str, str]] = []
        self.sent: set[object] = set()

    def day(self, number: int) -> None:
        day = workday(number)
        self.days.append(day)
        for payee in self.chance.sample(["P1", "P2", "P3"], 2):
            self.world.owe(payee, self.chance.choice((4_000, 4_000, 7_700, 12_345)), day=day)
        self.world.pay(day)
        self.book_payments()
        lines = [self.unseen.pop(self.chance.randrange(len(self.unseen))) for _ in range(min(2, len(self.unseen)))]
        if self.chance.random() < 0.4:
            lines.append(Line(amount_minor=self.chance.choice((999, -999)), ref=f"odd{number}"))
        self.held_back.append((self.bank.statement(lines, day=day), f"{day}.xml"))
        if self.chance.random() < 0.3:
            return self.run(day)  # without the statement, which comes late
        self.deliver()
        self.run(day)
        if number % 3 == 2:
            self.run_an_earlier_day()
        if number % 4 == 3:
            self.take_a_set_back(day)
        return None

    def book_payments(self) -> None:
        """What was sent since: most of it with its reference, some with the payee's account only."""
        rows = self.world.rows("SELECT end_to_end_id, payee_iban, amount_minor FROM settlement.instruction ORDER BY 1")
        for e2e, iban, amount in rows:
            if e2e not in self.sent:
                named = {"end_to_end_id": str(e2e)} if self.chance.random() < 0.7 else {"party_iban": str(iban)}
                self.unseen.append(Line(amount_minor=-int(str(amount)), ref=f"B{e2e}", **named))
                self.sent.add(e2e)

    def deliver(self) -> None:
        for statement, name in self.held_back:
            self.bank.ingest(statement, name=name, message_id=name)
        self.held_back.clear()

    def run_an_earlier_day(self) -> None:
        self.run(self.chance.choice(self.days[-4:]))

    def take_a_set_back(self, day: dt.date) -> None:
        found = self.world.rows("SELECT match_set_id FROM recon.live_leg ORDER BY match_set_id DESC LIMIT 1")
        if found:
            set_id = int(str(found[0][0]))
            request_unmatch(self.world.alice, match_set_id=set_id, reason="not this one")
            unmatch_set(self.world.bob, match_set_id=set_id)
            self.run(day)

    def run(self, day: dt.date) -> None:
        """What the run will read is what the ledger shows, byte for byte; then it runs, and holds."""
        app, book = self.world.app, self.world.book_id
        nothing = pl.DataFrame(schema=CLEARED_LINE_SCHEMA)
        with app.transaction() as looking:
            app.execute("SELECT recon.post_routine(%s, %s)", (book, day))
            before_step, whole = (pack(read_inputs(app, book, day, full=full), nothing) for full in (False, True))
            assert before_step == whole
            app.execute("SELECT recon.take_in(%s)", (book,))
            assert pack(read_inputs(app, book, day), nothing) == whole
            raise psycopg.Rollback(looking)
        report = self.bank.reconcile(day)
        assert verify_run(app, book_id=book, run_id=report.run_id).faults == ()


def test_engines_that_disagree_publish_nothing(world: World, bank: BankBook, monkeypatch: pytest.MonkeyPatch) -> None:
    """DuckDB loses a pair of its join, as a broken engine would: the other one notices, and the day is as before."""
    day = workday(QUIET_DAYS)
    world.owe("P1", 1_000, day=day)
    world.pay(day)
    ((sent,),) = world.rows("SELECT end_to_end_id FROM settlement.instruction WHERE execution_date >= %s", day)
    line = Line(amount_minor=-1_000, ref=f"B{sent}", end_to_end_id=str(sent))
    bank.ingest(bank.statement([line], day=day), name=f"{day}.xml", message_id=f"{day}")
    whole = Engine._unique_pairs

    def one_less(engine: Engine) -> pl.DataFrame:
        engine._db.execute("DELETE FROM exact_pair WHERE line_id = (SELECT min(line_id) FROM exact_pair)")
        return whole(engine)

    counts = "SELECT (SELECT count(*) FROM recon.run), (SELECT count(*) FROM recon.match_set)"
    before = world.rows(counts)
    monkeypatch.setattr(Engine, "_unique_pairs", one_less)
    with pytest.raises(ReconCheckError, match="two engines count the exact keys differently, 0 and 1"):
        bank.reconcile(day)
    publish = "SELECT recon.publish_run(%s, %s, %s, %s, 0, 1, NULL)"
    with pytest.raises(psycopg.errors.CheckViolation, match="run_engines_agree"), world.app.transaction():
        world.app.execute(publish, (world.book_id, day, "0" * 64, "0" * 64))
    assert world.rows(counts) == before
    monkeypatch.undo()
    assert bank.reconcile(day).breaks == ()


DAYS = 7


def test_a_run_sees_what_the_whole_ledger_shows(world: World, bank: BankBook) -> None:
    story = Story(bank, seed=5)
    story.sent.update(e2e for (e2e,) in world.rows("SELECT end_to_end_id FROM settlement.instruction"))
    for number in range(DAYS):
        story.day(QUIET_DAYS + 1 + number)
    runs = world.rows("SELECT count(*), count(run_before), count(DISTINCT business_date) FROM recon.run")[0]
    assert runs[2] == QUIET_DAYS + 1 + DAYS
    assert int(str(runs[0])) > QUIET_DAYS + 1 + DAYS
    assert int(str(runs[1])) == int(str(runs[0])) - 1  # but for the first, each went on from another
    assert world.one("SELECT count(*) FROM recon.unmatch") != 0
    last = story.days[-1]
    again = reconcile(world.app, book_id=world.book_id, business_date=last, home=world.home, full=True)
    assert not again.is_new  # the same inputs: the published run is verified whole
    new = reconcile(
        world.app, book_id=world.book_id, business_date=last + dt.timedelta(days=3), home=world.home, full=True
    )
    assert new.is_new and world.one("SELECT run_before FROM recon.run WHERE run_id = %s", new.run_id) is None
    rows = world.rows("SELECT count(*), count(DISTINCT posting_id) FROM recon.transit_posting")
    assert rows == [(rows[0][0], rows[0][0])]


@pytest.mark.parametrize("table", ["recon.cash_day", "recon.run_cash"])
def test_a_full_run_finds_what_was_taken_in_wrongly(world: World, table: str) -> None:
    day = DAY + dt.timedelta(days=60)
    with world.db.owner() as owner:
        owner.execute("RESET ROLE")
        owner.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL")  # type: ignore[arg-type]
        owner.execute(f"UPDATE {table} SET net_minor = net_minor + 1")  # type: ignore[arg-type]
        with pytest.raises(ReconCheckError, match="is not what the ledger has"):
            reconcile(owner, book_id=world.book_id, business_date=day, home=world.home, full=True)
        owner.rollback()
