"""docs/accounting.md on money that comes back, executed: net of charges, in parts, taken back, late, unknown, recalled.

Each ```back``` block is an entry that the program posts when a statement shows the event; a bank's lines are all that
happens, and reconciliation ends with nothing open but what the document says is open.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger import (
    NewEntry,
    NewPosting,
    NostroError,
    close_period,
    import_journal,
    parse_amount_minor,
    post_batch,
    request_close_override,
    reverse,
    verify,
)
from nostro.database import Database
from nostro.payout_page import ReportedPayout, payout_html
from recon import (
    AdjustmentError,
    BreakCode,
    RunReport,
    Wish,
    approve_policy,
    approve_proposal,
    bank_entries,
    declare_policy,
    post_routine_breaks,
    request_unmatch,
    suspense_buckets,
    suspense_items,
    trace,
)
from recon import propose as propose_closing
from settlement import apply_setup, payout_report, recalls, release_hold, request_recall
from tests.integration.test_accounting import DOCUMENT, MONDAY, SETUP, Company, money, statement, write_journal
from tests.integration.test_accounting import documented as documented_sales

TUESDAY, WEDNESDAY, LATE = MONDAY + dt.timedelta(1), MONDAY + dt.timedelta(2), dt.date(2026, 11, 24)
FIRST, SECOND = "P000001", "P000002"
Entry = tuple[dt.date, str, list[tuple[str, int]]]


def documented(fence: str = "back") -> dict[str, Entry]:
    """Every ```back``` block: date, key, legs in the order of their accounts."""
    blocks = {}
    for name, body in re.findall(rf"^```{fence} (\S+)\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL):
        head, *rest = body.strip().splitlines()
        day, key = head.split()
        legs = [(code, parse_amount_minor(amount, 2)) for code, amount, _ in (line.split() for line in rest)]
        blocks[name] = (dt.date.fromisoformat(day), key, sorted(legs))
    return blocks


def line(
    ref: str, day: dt.date, minor: int, end_to_end: str, *, returned: str = "", charges: int = 0, code: str = "ESCT"
) -> str:
    """A booked line about one payment; `charges` is what the bank kept of it."""
    kept = f"<Chrgs><Rcrd>{money(-charges)}<ChrgInclInd>true</ChrgInclInd></Rcrd></Chrgs>" if charges else ""
    reason = f"<RtrInf><Rsn><Cd>{returned}</Cd></Rsn></RtrInf>" if returned else ""
    return (
        f"<Ntry>{money(minor)}<Sts><Cd>BOOK</Cd></Sts><BookgDt><Dt>{day}</Dt></BookgDt><ValDt><Dt>{day}</Dt></ValDt>"
        f"<AcctSvcrRef>{ref}</AcctSvcrRef><BkTxCd><Domn><Cd>PMNT</Cd><Fmly><Cd>ICDT</Cd><SubFmlyCd>{code}</SubFmlyCd></Fmly>"
        f"</Domn></BkTxCd><NtryDtls><TxDtls><Refs><EndToEndId>{end_to_end}</EndToEndId></Refs>{money(minor)}{kept}{reason}"
        "</TxDtls></NtryDtls></Ntry>"
    )


class Bank:
    """The statements of one account; the balance goes on from day to day."""

    def __init__(self, company: Company) -> None:
        self.company, self.balance, self.number = company, 1000_00, 0

    def day(self, day: dt.date, *lines: tuple[str, int, str, dict[str, object]]) -> RunReport:
        """Book the lines, each (reference, amount, EndToEndId, what `line` takes beside), and reconcile."""
        opening = self.balance
        self.balance += sum(minor for _, minor, _, _ in lines)
        self.number += 1
        written = [line(ref, day, minor, e2e, **more) for ref, minor, e2e, more in lines]  # type: ignore[arg-type]
        path = statement(self.company.home, self.number, day, opening, self.balance, written)
        return self.company.prove(day, path)


@pytest.fixture
def company(db: Database, tmp_path: Path) -> Iterator[Company]:
    path = tmp_path / "setup.yaml"
    path.write_text(SETUP)
    with db.app() as app, db.login("alice") as alice, db.login("bob") as bob:
        made = Company(app, alice, bob, apply_setup(app, path).book_id, tmp_path)
        sales = [block for name, block in documented_sales().items() if name in ("sale", "sale-other")]
        file = write_journal(tmp_path / "sales.csv", sales)
        import_journal(app, book_id=made.book_id, path=file)
        yield made
        assert verify(app, book_id=made.book_id) == ()


def booked(company: Company, key: str) -> Entry:
    day, legs = company.booked(key)
    assert day is not None, f"nothing is booked as {key}"
    return day, key, [(code, minor) for code, minor, _ in legs]


def tie(company: Company, run: RunReport, payment: str) -> None:
    """Two people say that the one return of the last run which nobody knows is of this payment."""
    (found,) = (b for b in run.breaks if b.code == "RETURN")
    wish = Wish(payment=payment)
    made = propose_closing(
        company.alice, book_id=company.book_id, break_id=found.break_id, wish=wish, reason="by phone"
    )
    assert made.dry_run.closes and made.adjustment_id is not None
    assert approve_proposal(company.bob, book_id=company.book_id, adjustment_id=made.adjustment_id)
    after = company.prove(made.plan.effective_date)
    assert [b.code for b in after.breaks] == ["LATE_CHANGE"]


def test_every_block_is_what_the_program_posts(company: Company) -> None:
    blocks = documented()
    bank, paid = Bank(company), company.pay(MONDAY)
    first, second = paid[FIRST], paid[SECOND]
    bank.day(MONDAY, ("A1", -97_00, first, {}), ("A2", -48_50, second, {}))
    bank.day(
        TUESDAY,
        ("NET", 47_00, second, {"returned": "AC04", "charges": 150}),
        ("PART", 30_00, first, {"returned": "AM09"}),
    )
    bank.day(WEDNESDAY, ("MORE", 20_00, first, {"returned": "AM09"}), ("BACK", -20_00, first, {"returned": "AM09"}))
    # Three weeks later: a statement of a day that is closed by then.
    closed = LATE + dt.timedelta(days=1)
    request_close_override(company.alice, book_id=company.book_id, through=closed, reason="the bank is on strike")
    close_period(company.bob, book_id=company.book_id, through=closed)
    run = bank.day(LATE, ("LATE", 15_00, first, {"returned": "AC04"}))
    # Two days later more comes back, and the bank names a payment of somebody else's.
    tied = bank.day(closed + dt.timedelta(days=2), ("X", 12_00, "NOT-OURS", {"returned": "AC04"}))
    tie(company, tied, first)
    names = {"net": "NET", "part": "PART", "late": "LATE", "back": "BACK"}
    e2e = {name: second if "net" in name else first for name in blocks}
    seen = {}
    for name, (_, key, _) in blocks.items():
        stand_ins = {
            n: e2e[name] if n == "EndToEndId" else company.line_key(names[n]) for n in re.findall(r"{(\w+)}", key)
        }
        day, _, legs = booked(company, key.format_map(stand_ins))
        seen[name] = (day, key, legs)
    assert seen == blocks
    assert [b.code for b in run.breaks] == ["LATE_CHANGE"]
    states = company.rows("SELECT payee_code, state, back_minor FROM settlement.instruction_current ORDER BY 1")
    assert states == [(FIRST, "partly_returned", 57_00), (SECOND, "returned", 48_50)]
    held = company.rows("SELECT payee, sum(owed_minor)::int FROM settlement.open_item WHERE held GROUP BY 1 ORDER BY 1")
    assert held == [(FIRST, 57_00), (SECOND, 48_50)], "open again, and nobody is paid it yet"

    # The trace shows every part to its line and back; the payout report ties each to the bank's entry.
    steps = trace(company.app, book_id=company.book_id, key=first).steps
    company.app.rollback()
    shown = {(s.step, s.kind, s.amount_minor) for s in steps if s.step % 100 == 80}
    assert shown == {
        (80, "statement line", -97_00),
        (180, "statement line", 30_00),
        (280, "statement line", 20_00),
        (380, "statement line", -20_00),
        (480, "statement line", 15_00),
        (580, "statement line", 12_00),
    }
    by_line = trace(company.app, book_id=company.book_id, key="MORE")
    assert len(by_line.payments) == 1
    company.app.rollback()
    assert [p.state for p in payout_report(company.app, book_id=company.book_id)] == ["partly_returned", "returned"]
    company.app.rollback()

    # The merchant's page says each amount that came back, and that one was taken again.
    payouts = payout_report(company.app, book_id=company.book_id)
    shown_at = bank_entries(company.app, book_id=company.book_id, instruction_ids=[p.instruction_id for p in payouts])
    company.app.rollback()
    page = payout_html([ReportedPayout(p, tuple(shown_at.get(p.instruction_id, ()))) for p in payouts])
    facts = [("Came back", "30.00"), ("Came back", "47.00"), ("Taken again", "20.00")]
    for fact in (f"<dt>{name}</dt><dd>{amount} EUR" for name, amount in facts):
        assert fact in page
    assert "a part came back" in page and "part of an entry" not in page

    returns_are_not_taken_back(company, first)

    # Released, both are paid again, and the report says that it is money that came back.
    for reference in (first, second):
        assert release_hold(company.bob, end_to_end_id=reference, reason="asked by phone, the account is right")
    again = company.pay(closed + dt.timedelta(days=5))
    report = {p.end_to_end_id: p for p in payout_report(company.app, book_id=company.book_id)}
    assert report[again[FIRST]].reopened_minor == report[again[FIRST]].net_minor == 57_00
    assert report[again[SECOND]].reopened_minor == report[again[SECOND]].net_minor == 48_50
    company.app.rollback()


def returns_are_not_taken_back(company: Company, payment: str) -> None:
    """Neither the set of a return by policy, nor of one that people tied, nor of one taken back; whoever tries."""
    sets = company.rows(
        "SELECT DISTINCT l.match_set_id, l.rule FROM recon.live_leg l"
        " JOIN settlement.reopening r ON r.transit_posting_id = l.posting_id"
        " JOIN settlement.instruction i USING (instruction_id) WHERE i.end_to_end_id = %s ORDER BY 1",
        payment,
    )
    assert {str(rule) for _, rule in sets} == {"routine-return", "adjustment"} and len(sets) == 5
    for match_set, _ in sets:
        with pytest.raises(
            NostroError, match=f"Set {match_set} is the return of payment {payment}, which is owed again"
        ):
            request_unmatch(company.alice, match_set_id=int(str(match_set)), reason="not this one")


def test_a_return_under_one_bank_reference_counts_once(company: Company) -> None:
    bank, paid = Bank(company), company.pay(MONDAY)
    bank.day(MONDAY, ("A1", -97_00, paid[FIRST], {}), ("A2", -48_50, paid[SECOND], {}))
    twice = ("PART", 30_00, paid[FIRST], {"returned": "AM09"})
    run = bank.day(TUESDAY, twice, twice)
    assert [b.amount_minor for b in run.breaks] == [-30_00]
    assert company.rows("SELECT amount_minor FROM settlement.reopening") == [(30_00,)]


def test_a_return_of_a_payment_nobody_knows_goes_to_suspense_by_two_people(company: Company) -> None:
    bank, paid = Bank(company), company.pay(MONDAY)
    run = bank.day(
        MONDAY,
        ("A1", -97_00, paid[FIRST], {}),
        ("A2", -48_50, paid[SECOND], {}),
        ("X", 12_00, "NOT-OURS", {"returned": "AC04"}),
    )
    (found,) = run.breaks
    assert (found.code, found.amount_minor) == ("RETURN", -12_00)
    ((legs,),) = company.rows("SELECT proposal_legs FROM recon.break_run WHERE code = 'RETURN'")
    assert "assets:transit:eur-main" in str(legs) and "liabilities:unallocated:eur" in str(legs)
    assert "do not know" in found.explanation

    # It is no payment's that could come back with so much; by policy it goes to suspense.
    def tied_to(payment: str) -> None:
        wish = Wish(payment=payment)
        propose_closing(company.alice, book_id=company.book_id, break_id=found.break_id, wish=wish, reason="a guess")

    with pytest.raises(AdjustmentError, match="no sealed payment NOT-OURS"):
        tied_to("NOT-OURS")
    policy = declare_policy(
        company.alice,
        book_id=company.book_id,
        code=BreakCode.RETURN,
        template="unallocated",
        currency="EUR",
        maximum_minor=20_00,
        reason="small strangers' returns wait in suspense",
    )
    approve_policy(company.bob, book_id=company.book_id, policy_id=policy)
    (posted,) = post_routine_breaks(company.alice, book_id=company.book_id)
    assert company.prove(posted.plan.effective_date).breaks == ()
    held = company.rows("SELECT posted_minor FROM ledger.account_balance WHERE code = 'liabilities:unallocated:eur'")
    assert held == [(-12_00,)]

    # It waits there, item by item, until an entry with its reference takes it on.
    def waiting(day: dt.date) -> list[tuple[str, str, str | None, int, int, str]]:
        found = suspense_items(company.app, book_id=company.book_id, as_of=day)
        company.app.rollback()
        return [(i.account, i.reference, i.code, i.amount_minor, i.age_days, i.bucket) for i in found]

    account, ref = "liabilities:unallocated:eur", found.break_id
    assert waiting(posted.plan.effective_date) == [(account, ref, "RETURN", -12_00, 0, "0-1")]
    assert waiting(posted.plan.effective_date - dt.timedelta(1)) == []
    move(company, "found-1", TUESDAY, 5_00, reference=ref, account=account)
    move(company, "other", LATE - dt.timedelta(5), 1_00, reference="B-OTHER", account=account)
    assert waiting(LATE) == [
        (account, ref, "RETURN", -7_00, 15, "11-30"),
        (account, "B-OTHER", None, 1_00, 3, "2-5"),
    ]
    buckets = suspense_buckets(suspense_items(company.app, book_id=company.book_id, as_of=LATE))
    assert [(b.bucket, b.item_count, b.amount_minor) for b in buckets] == [("11-30", 1, -7_00), ("2-5", 1, 1_00)]
    move(company, "found-2", TUESDAY, 7_00, reference=ref, account=account)
    reverse(company.app, book_id=company.book_id, key="other", effective_date=LATE, reason="it was not ours")
    company.app.commit()
    assert waiting(LATE) == [], "what sums to zero is closed; a reversal counts with what it reverses"


def move(company: Company, key: str, day: dt.date, minor: int, *, reference: str, account: str) -> None:
    """Take an amount from suspense to income."""
    legs = (NewPosting(account, minor), NewPosting("income:fees:eur", -minor))
    post_batch(company.app, book_id=company.book_id, entries=[NewEntry(key, day, legs, reference=reference)])
    company.app.commit()


def test_money_that_comes_back_as_asked_is_tied_to_the_recall(company: Company) -> None:
    bank, paid = Bank(company), company.pay(MONDAY)
    bank.day(MONDAY, ("A1", -97_00, paid[FIRST], {}), ("A2", -48_50, paid[SECOND], {}))
    assert request_recall(company.alice, end_to_end_id=paid[FIRST], reason_code="DUPL", reason="paid by hand")
    run = bank.day(
        TUESDAY,
        ("R1", 92_00, paid[FIRST], {"returned": "FOCR", "charges": 500}),
        ("R2", 48_50, paid[SECOND], {"returned": "FOCR"}),
    )
    assert run.breaks == ()
    assert [(r.payee, r.state) for r in recalls(company.app, book_id=company.book_id)] == [(FIRST, "returned")]
    company.app.rollback()
    tied = company.rows(
        "SELECT i.payee_code, r.part FROM settlement.recall_return r"
        " JOIN settlement.instruction i USING (instruction_id)"
    )
    assert tied == [(FIRST, 1)], "what nobody had asked for is tied to nothing, and stopped"
    policies = company.rows(
        "SELECT i.payee_code, p.policy FROM settlement.hold h JOIN settlement.hold_policy p USING (hold_id)"
        " JOIN settlement.instruction i USING (instruction_id) ORDER BY 1"
    )
    assert policies == [(FIRST, "stop"), (SECOND, "stop")]


def test_no_more_is_tied_to_a_payment_than_it_paid(company: Company) -> None:
    bank, paid = Bank(company), company.pay(MONDAY)
    bank.day(MONDAY, ("A1", -97_00, paid[FIRST], {}), ("A2", -48_50, paid[SECOND], {}))
    run = bank.day(
        TUESDAY, ("X", 48_00, "NOT-OURS", {"returned": "AC04"}), ("Y", 1_00, "NOR-THIS", {"returned": "AC04"})
    )
    large, small = sorted(run.breaks, key=lambda b: b.amount_minor)
    made = []
    for found in (large, small):
        wish = Wish(payment=paid[SECOND])
        made.append(
            propose_closing(
                company.alice, book_id=company.book_id, break_id=found.break_id, wish=wish, reason="by phone"
            )
        )
    assert approve_proposal(company.bob, book_id=company.book_id, adjustment_id=made[0].adjustment_id or 0)
    with pytest.raises(NostroError, match="has not that much left to come back"):
        approve_proposal(company.bob, book_id=company.book_id, adjustment_id=made[1].adjustment_id or 0)
    assert company.rows("SELECT amount_minor, reason FROM settlement.reopening") == [(48_00, "AC04 by phone")]
    policies = company.rows("SELECT p.policy FROM settlement.hold h JOIN settlement.hold_policy p USING (hold_id)")
    assert policies == [("fix_data",)], "held under the policy of the bank's reason"
