"""Random payees, rules, sales, refunds, rejects, returns and recalls over days, against the simulated bank's own book.

Returns come late, in part, net of charges and are taken back; debts are collected by direct debit, and come back too.

Each night and for every payee, to the cent: what it was ever owed = paid (by the bank's book, less what came back) +
in transit + returned and open + reserved + carried. A small number of days in every run of the tests; the 60 business
days of the long version by ``NOSTRO_PAYOUT_DAYS=60 NOSTRO_PAYOUT_EXAMPLES=20``.
"""

from __future__ import annotations

import datetime as dt
import os
import random
import sqlite3
import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ledger import verify
from nostro.database import Database
from recon import arrived_files, ingest_files, reconcile
from sandbox.bank import Bank
from sandbox.bank_behaviour import BankBehaviour
from sandbox.setup_reader import read_setup
from settlement import (
    FileState,
    approve,
    approve_recall,
    cancel,
    poll,
    propose,
    reject,
    release,
    release_hold,
    request_recall,
    seal,
    send_recalls,
)
from settlement.business_days import Calendar
from tests.ledger_books import fresh_database
from tests.settlement_world import DAY, PayeeRow, World, make_world, moment

DAYS = int(os.environ.get("NOSTRO_PAYOUT_DAYS", "9"))
EXAMPLES = int(os.environ.get("NOSTRO_PAYOUT_EXAMPLES", "2"))
TARGET = Calendar("ECB", "Europe/Berlin")
ACCOUNT = "eur-payouts"

rules = st.fixed_dictionaries(
    {
        "minimum": st.sampled_from(["", "", "5.00"]),
        "maximum": st.sampled_from(["", "", "30.00"]),
        "delay_days": st.sampled_from(["", "1", "2"]),
        "timing": st.sampled_from(
            [("", ""), ("", ""), ("weekly", "tue fri"), ("monthly", "5 15 last"), ("manual", "")]
        ),
        "roll": st.sampled_from(["", "preceding", "modified_following"]),
        "rolling": st.sampled_from([("", ""), ("10", "3"), ("2.5", "1")]),
        "reserve_fixed": st.sampled_from(["", "", "10.00"]),
        "negative": st.sampled_from(["", "offset", "debit"]),
    }
)


def payee(number: int, drawn: dict[str, object]) -> PayeeRow:
    (schedule, anchors), (percent, days) = drawn["timing"], drawn["rolling"]  # type: ignore[misc]
    return PayeeRow(
        code=f"P{number}",
        minimum=str(drawn["minimum"]),
        maximum=str(drawn["maximum"]),
        delay_days=str(drawn["delay_days"]),
        schedule=schedule,
        anchors=anchors,
        roll=str(drawn["roll"]) if anchors else "",
        reserve_percent=percent,
        reserve_days=days,
        reserve_fixed=str(drawn["reserve_fixed"]),
        negative=str(drawn["negative"]),
        mandate=f"M-{number}/2025-01-01/CORE/RCUR" if drawn["negative"] == "debit" else "",
    )


class Story:
    """A company and its bank, day by day; `owed` is what the test itself posted for each payee."""

    def __init__(self, world: World, bank: Bank, chance: random.Random) -> None:
        self.world, self.bank, self.chance = world, bank, chance
        self.owed: Counter[str] = Counter()

    def day(self, date: dt.date) -> None:
        self._trade(date)
        for _ in range(self.chance.choice((1, 1, 2))):  # some days have two cycles
            self._night(date)
        self._recall(date)
        self.bank.receive()
        self.bank.close_day(date)
        poll(self.world.app, home=self.world.home, book_id=self.world.book_id)
        arrived = arrived_files(self.world.app, book_id=self.world.book_id, home=self.world.home)
        ingest_files(self.world.app, book_id=self.world.book_id, paths=arrived)
        run = reconcile(self.world.app, book_id=self.world.book_id, business_date=date, home=self.world.home)
        assert run.breaks == (), "the bank did what the books say, and nothing else"
        for (posting,) in self.world.rows("SELECT posting_id FROM settlement.hold_active"):
            if self.chance.random() < 0.4:
                release_hold(self.world.bob, posting_id=int(str(posting)), reason="account confirmed")
        self.check()

    def _trade(self, date: dt.date) -> None:
        for row in self.world.payees:
            for _ in range(self.chance.randrange(4)):
                minor = self.chance.randint(100, 4_000) * (-1 if self.chance.random() < 0.25 else 1)
                self.world.owe(row.code, minor, day=date)
                self.owed[row.code] += minor

    def _night(self, date: dt.date) -> None:
        world, now = self.world, moment(date)
        some = [row.code for row in world.payees if self.chance.random() < 0.3]
        payees = some if some and self.chance.random() < 0.2 else None  # an ad-hoc run
        for file in propose(world.alice, book_id=world.book_id, business_date=date, now=now, payees=payees):
            fate = self.chance.random()
            if fate < 0.1:
                reject(world.bob, file.file_id, reason="not tonight")
                continue
            approve(world.bob, file.file_id)
            if fate < 0.2 and seal(world.app, file.file_id, now=now).state is FileState.SEALED:
                cancel(world.alice, file.file_id, reason="not tonight")
                continue
            if fate < 0.9:  # else it is approved and forgotten: void after its cut-off
                release(world.alice, file.file_id, home=world.home, now=now)

    def _recall(self, date: dt.date) -> None:
        """Two people ask one of the payments back, executed or not."""
        world = self.world
        sent = world.rows(
            "SELECT i.end_to_end_id, i.file_id FROM settlement.instruction_current i"
            " LEFT JOIN settlement.recall_request q USING (instruction_id) WHERE i.direction = 'pay'"
            " AND i.state IN ('sent', 'accepted', 'executed', 'partly_returned') AND q.instruction_id IS NULL"
            " ORDER BY 1"
        )
        if not sent or self.chance.random() > 0.3:
            return
        name, file_id = self.chance.choice(sent)
        request_recall(world.alice, end_to_end_id=str(name), reason_code="DUPL", reason="paid by hand too")
        approve_recall(world.bob, int(str(file_id)), now=moment(date))
        send_recalls(world.alice, int(str(file_id)), home=world.home)

    def check(self) -> None:
        """The sentence of this file, from three sources: the test's own sums, the bank's book, the program's."""
        at_bank, times = self._bank_paid()
        assert max(times.values(), default=1) == 1, "the bank, which has no duplicate check, executed nothing twice"
        sealed, open_items, came_back, reserved = self._books()
        paid: Counter[str] = Counter()
        in_transit: Counter[str] = Counter()
        for name, (code, minor, back) in sealed.items():
            side = 1 if minor > 0 else -1
            if name in at_bank:
                assert at_bank[name] == abs(minor) - back, (name, "what is owed again was not paid, or came back")
                paid[code] += side * at_bank[name]
            else:
                in_transit[code] += minor - side * back
        for row in self.world.payees:
            code = row.code
            parts = {
                "paid": paid[code],
                "in transit": in_transit[code],
                "returned and open": came_back[code],
                "reserved": reserved[code],
                "carried": open_items[code] - came_back[code],
            }
            assert self.owed[code] == sum(parts.values()), (code, self.owed[code], parts)
        twice = self.world.one(
            "SELECT count(*) FROM (SELECT m.posting_id FROM settlement.clearing_group g"
            " JOIN settlement.proposal_member m ON m.obligation_id = g.group_id"
            " GROUP BY m.posting_id HAVING count(*) > 1) t"
        )
        assert twice == 0, "no posting is in two instructions"

    def _bank_paid(self) -> tuple[dict[str, int], Counter[str]]:
        """By EndToEndId: what the bank moved and has not moved back; and how often it executed the payment."""
        with sqlite3.connect(self.world.home / "sandbox" / "bank.sqlite") as book:
            rows = book.execute(
                "SELECT p.end_to_end_id, p.amount_minor - coalesce((SELECT sum(l.amount_minor *"
                " CASE l.kind WHEN 'return' THEN 1 ELSE -1 END) FROM later l"
                " WHERE l.payment_id = p.payment_id AND l.done), 0)"
                " FROM payment p JOIN batch b USING (batch_id)"
                " WHERE b.closed_on IS NOT NULL AND p.reject_reason IS NULL"
            ).fetchall()
        return {str(name): int(minor) for name, minor in rows}, Counter(str(name) for name, _ in rows)

    def _books(
        self,
    ) -> tuple[dict[str, tuple[str, int, int]], Counter[str], Counter[str], Counter[str]]:
        """By EndToEndId what was sealed (negative: collected) and what of it is back; by payee what is open,
        what of that came back, and what is reserved."""
        world = self.world
        sealed = {
            str(name): (str(code), int(str(minor)), int(str(back)))
            for name, code, minor, back in world.rows(
                "SELECT end_to_end_id, payee_code, CASE direction WHEN 'pay' THEN 1 ELSE -1 END * amount_minor,"
                "       back_minor"
                "  FROM settlement.instruction_current WHERE transit_posting_id IS NOT NULL"
            )
        }
        items: Counter[str] = Counter()
        back: Counter[str] = Counter()
        for code, minor, returned in world.rows(
            "SELECT i.payee, i.owed_minor, r.instruction_id IS NOT NULL FROM settlement.open_item i"
            " LEFT JOIN settlement.reopening r ON r.payable_posting_id = i.posting_id"
        ):
            items[str(code)] += int(str(minor))
            back[str(code)] += int(str(minor)) if returned else 0
        reserved: Counter[str] = Counter()
        for code, minor in world.rows("SELECT payee, sum(left_minor) FROM settlement.reserve_open GROUP BY 1"):
            reserved[str(code)] = int(str(minor))
        kept = int(
            str(
                world.one(
                    "SELECT coalesce(-sum(posted_minor), 0) FROM ledger.account_balance"
                    " WHERE starts_with(code, 'liabilities:payout-reserve:')"
                )
            )
        )
        assert kept == sum(reserved.values()), "reserve accounts hold what the reserves say"
        return sealed, items, back, reserved


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=EXAMPLES < 10,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # a smaller story takes as long again; the seed tells it
)
@given(drawn=st.lists(rules, min_size=4, max_size=8), seed=st.integers(0, 2**32))
def test_every_payee_is_paid_what_it_is_owed(template: Database, drawn: list[dict[str, object]], seed: int) -> None:
    payees = [payee(number, each) for number, each in enumerate(drawn)]
    behaviour = BankBehaviour(
        rejects_per_mille=60,
        returns_per_mille=120,
        late_returns_per_mille=250,
        partial_returns_per_mille=350,
        taken_back_per_mille=250,
        recalls_refused_per_mille=300,
        announces_returns=True,
        return_charge_minor=7,
    )
    with fresh_database(template, "nostro_test_payouts") as db, tempfile.TemporaryDirectory() as folder:
        world = make_world(db, Path(folder), payees, accounts=("eur",), collects=True)
        try:
            with Bank(world.home, read_setup(world.home / "setup.yaml"), seed=seed % 1000, behaviour=behaviour) as bank:
                story, date = Story(world, bank, random.Random(seed)), DAY
                for _ in range(DAYS):
                    story.day(date)
                    date = TARGET.next_open(date)
            assert verify(world.app, book_id=world.book_id) == ()
        finally:
            world.close()
