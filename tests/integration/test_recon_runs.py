"""A day reconciled: routine postings, sets, breaks, certificates, and what the database refuses."""

from __future__ import annotations

import datetime as dt
import json
import sys

import psycopg
import pytest

from ledger import NostroError
from ledger.errors import error_from_postgres
from recon import (
    BreakUnknownError,
    ExclusiveLegError,
    NoRunError,
    ReconCheckError,
    SetNotZeroError,
    break_explain,
    break_show,
    breaks_list,
    run_report,
)
from recon.statements import stored_bytes
from settlement import file_content, poll
from tests.recon_world import ACCOUNT, OPENING, BankBook, Line
from tests.settlement_world import DAY, World, pain002
from tests.support import table_hashes

TUESDAY = DAY + dt.timedelta(days=1)


def paid(world: World) -> dict[str, str]:
    """Pays both payees 100.00 and 250.00; EndToEndId by payee."""
    world.owe("P1", 10_000)
    world.owe("P2", 25_000)
    world.pay()
    rows = world.rows("SELECT payee_code, end_to_end_id FROM settlement.instruction ORDER BY 1")
    return {str(payee): str(e2e) for payee, e2e in rows}


def rules(run: object) -> dict[str, int]:
    return {rule.rule: rule.set_count for rule in run.rules}  # type: ignore[attr-defined]


def test_payments_clear_and_the_day_is_certified(world: World, bank: BankBook) -> None:
    e2e = paid(world)
    bank.ingest(
        bank.statement(
            [
                Line(amount_minor=-10_000, ref="B1", end_to_end_id=e2e["P1"]),
                Line(amount_minor=-25_000, ref="B2", end_to_end_id=e2e["P2"]),
            ]
        )
    )
    run = bank.reconcile()
    assert (run.is_new, rules(run), run.breaks) == (True, {"exact-end-to-end": 2}, ())
    assert world.one("SELECT state FROM settlement.file_current") == "reconciled"
    path = world.home / "certificates" / ACCOUNT / f"{DAY}.json"
    body = json.loads(path.read_bytes())
    assert (body["residual_minor"], body["closing_minor"], body["nostro_minor"]) == (
        0,
        OPENING - 35_000,
        OPENING - 35_000,
    )
    assert body["cleared"] == [{"legs": 4, "rule": "exact-end-to-end", "rule_version": 4, "sets": 2}]
    assert world.one("SELECT through_date FROM ledger.certified_through") == DAY
    content = path.read_bytes()
    before = table_hashes(world.app)
    world.app.rollback()
    again = bank.reconcile()
    assert (again.is_new, again.run_id) == (False, run.run_id)
    assert table_hashes(world.app) == before
    assert path.read_bytes() == content
    assert world.one("SELECT count(*) FROM recon.run_attempt") == 2


def test_friday_is_certified_through_sunday(world: World, bank: BankBook) -> None:
    friday = DAY + dt.timedelta(days=4)
    for day in (DAY, TUESDAY, DAY + dt.timedelta(days=2), DAY + dt.timedelta(days=3), friday):
        bank.ingest(bank.statement([], day=day), name=f"{day}.xml")
    assert len(bank.reconcile(friday).certified) == 1
    assert world.one("SELECT max(through_date) FROM ledger.certified_through") == friday + dt.timedelta(days=2)
    saturday = bank.reconcile(friday + dt.timedelta(days=1))
    assert (saturday.certified, saturday.uncertified) == ((), ())


def test_no_statement_no_certificate(world: World, bank: BankBook) -> None:
    paid(world)
    run = bank.reconcile()
    assert [s.reason for s in run.uncertified] == [f"no proven statement of {ACCOUNT} closes on {DAY}"]
    assert [(row.item_count, row.amount_minor) for row in run.in_flight] == [(2, -35_000)]


def test_reject_clears_its_instruction(world: World, bank: BankBook) -> None:
    e2e = paid(world)
    msg_id = str(world.one("SELECT msg_id FROM settlement.payment_file"))
    world.answer("status.xml", pain002(msg_id, statuses=[(e2e["P1"], "RJCT", "AC04"), (e2e["P2"], "ACSC", "")]))
    poll(world.app, home=world.home, book_id=world.book_id)
    bank.ingest(bank.statement([Line(amount_minor=-25_000, ref="B2", end_to_end_id=e2e["P2"])]))
    run = bank.reconcile()
    assert (rules(run), run.breaks) == ({"exact-end-to-end": 1, "own-reject": 1}, ())


def test_return_reopens_the_payable_and_the_original_set_stays(world: World, bank: BankBook) -> None:
    e2e = paid(world)
    debits = [
        Line(amount_minor=-10_000, ref="B1", end_to_end_id=e2e["P1"]),
        Line(amount_minor=-25_000, ref="B2", end_to_end_id=e2e["P2"]),
    ]
    bank.ingest(bank.statement(debits))
    bank.reconcile()
    back = Line(amount_minor=10_000, ref="B3", end_to_end_id=e2e["P1"], returned="AC04")
    bank.ingest(bank.statement([back], day=TUESDAY), name="2.xml")
    run = bank.reconcile(TUESDAY)
    assert (rules(run), run.breaks) == ({"routine-return": 1}, ())
    assert [(x.rule, x.reference, x.payee) for x in run.explained] == [("routine-return", "B3", "P1")]
    assert world.balance("liabilities:payable:P1") == -10_000
    assert world.one("SELECT count(*) FROM recon.live_leg") == 6


def test_second_return_of_the_same_payment_is_a_break(world: World, bank: BankBook) -> None:
    e2e = paid(world)
    back = {"amount_minor": 10_000, "end_to_end_id": e2e["P1"], "returned": "AC04"}
    bank.ingest(bank.statement([Line(ref="B1", **back), Line(ref="B2", **back)]))  # type: ignore[arg-type]
    run = bank.reconcile()
    assert rules(run) == {"routine-return": 1}
    assert [(b.code, b.item_ref) for b in run.breaks] == [("DUP_BANK", "B2")]


@pytest.mark.parametrize(
    ("line", "rule", "account", "balance_minor"),
    [
        (Line(amount_minor=-250, ref="B1", code="PMNT/ICDT/CHRG"), "routine-charge", "expenses:bank-fees:eur", 250),
        (Line(amount_minor=77, ref="B1", code="ACMT/MCOP/INTR"), "routine-interest", "income:interest:eur", -77),
    ],
)
def test_policy_posts_tariff_and_interest(
    world: World, bank: BankBook, line: Line, rule: str, account: str, balance_minor: int
) -> None:
    bank.ingest(bank.statement([line]))
    run = bank.reconcile()
    assert (rules(run), run.breaks) == ({rule: 1}, ())
    assert world.balance(account) == balance_minor
    assert world.balance(f"assets:transit:{ACCOUNT}") == 0


def test_charge_off_the_tariff_is_a_break_with_a_proposal(world: World, bank: BankBook) -> None:
    bank.ingest(bank.statement([Line(amount_minor=-251, ref="B1", code="PMNT/ICDT/CHRG")]))
    run = bank.reconcile()
    (found,) = breaks_list(world.app, book_id=world.book_id)
    assert (found.code, found.item_ref, found.amount_minor) == ("BANK_ORIGINATED", "B1", 251)
    detail = break_show(world.app, book_id=world.book_id, break_id=found.break_id)
    assert [(leg.account, leg.amount_minor) for leg in detail.legs] == [
        (f"assets:transit:{ACCOUNT}", -251),
        ("expenses:bank-fees:eur", 251),
    ]
    assert [item.reference for item in detail.items] == ["B1"]
    assert "tariff" in break_explain(world.app, book_id=world.book_id, break_id=found.break_id)
    assert any("BANK_ORIGINATED" in text for text in run.render())
    assert breaks_list(world.app, book_id=world.book_id, code="ROUNDING") == []
    with pytest.raises(BreakUnknownError, match="no break 'B0'"):
        break_show(world.app, book_id=world.book_id, break_id="B0")
    with pytest.raises(NoRunError, match="has not been reconciled"):
        run_report(world.app, book_id=world.book_id, business_date=TUESDAY)


def test_break_keeps_its_id_and_ages(world: World, bank: BankBook) -> None:
    bank.ingest(bank.statement([Line(amount_minor=-251, ref="B1")]))
    (monday,) = bank.reconcile().breaks
    bank.ingest(bank.statement([], day=TUESDAY), name="2.xml")
    (tuesday,) = bank.reconcile(TUESDAY).breaks
    assert (tuesday.break_id, tuesday.age_days, monday.age_days) == (monday.break_id, 1, 0)


def test_earlier_day_run_again_later_is_the_same_run(world: World, bank: BankBook) -> None:
    e2e = paid(world)
    bank.ingest(bank.statement([Line(amount_minor=-25_000, ref="B2", end_to_end_id=e2e["P2"])]))
    first = bank.reconcile()
    bank.ingest(
        bank.statement([Line(amount_minor=-10_000, ref="B1", end_to_end_id=e2e["P1"])], day=TUESDAY), name="2.xml"
    )
    bank.reconcile(TUESDAY)
    again = bank.reconcile()
    assert (again.is_new, again.run_id, again.in_flight) == (False, first.run_id, first.in_flight)


def test_late_news_of_an_earlier_day_makes_a_new_run_that_respects_later_sets(world: World, bank: BankBook) -> None:
    e2e = paid(world)
    bank.ingest(bank.statement([Line(amount_minor=-25_000, ref="B2", end_to_end_id=e2e["P2"])]))
    bank.reconcile()
    bank.ingest(
        bank.statement([Line(amount_minor=-10_000, ref="B1", end_to_end_id=e2e["P1"])], day=TUESDAY), name="2.xml"
    )
    bank.reconcile(TUESDAY)
    text = "payout_id,acquirer,bank_account,currency,payout_date,gross,refunds,chargebacks,fees,net,line_count\n"
    bank.ingest_text(text + f"PO-1,cardia,{ACCOUNT},EUR,{DAY},100.00,0,0,2.00,98.00,7\n", "psp.csv")
    again = bank.reconcile()
    assert again.is_new
    assert len(again.certified) == 1
    assert [(row.item_count, row.amount_minor) for row in again.in_flight] == [(2, -200)]


def cleared(world: World, bank: BankBook) -> tuple[int, int]:
    """A cleared pair; one of its postings and its set."""
    e2e = paid(world)
    bank.ingest(bank.statement([Line(amount_minor=-10_000, ref="B1", end_to_end_id=e2e["P1"])]))
    bank.reconcile()
    row = world.rows("SELECT posting_id, match_set_id FROM recon.live_leg ORDER BY 1 LIMIT 1")[0]
    return int(str(row[0])), int(str(row[1]))


def refused(conn: psycopg.Connection[tuple[object, ...]], query: str, *values: object) -> NostroError:
    with pytest.raises(psycopg.Error) as caught, conn.transaction():
        conn.execute(query, values)
    conn.rollback()
    return error_from_postgres(caught.value)


def test_a_posting_is_in_at_most_one_live_set(world: World, bank: BankBook) -> None:
    posting, _ = cleared(world, bank)
    with world.db.owner() as owner:
        new_set = (
            "WITH s AS (INSERT INTO recon.match_set (book_id, run_id, set_ordinal, rule, rule_version, leg_count,"
            " as_of_date, bank_minor, books_minor, rivals, is_fungible)"
            " SELECT 1, max(run_id), 99, 'x', 1, 2, '2026-11-02', 5, -5, 0, false FROM recon.run"
            " RETURNING match_set_id)"
            " INSERT INTO recon.match_leg (book_id, posting_id, generation, match_set_id, row_sha256)"
            " SELECT 1, %s, %s, match_set_id, sha256('') FROM s"
        )
        assert isinstance(refused(owner, new_set, posting, 0), ExclusiveLegError)
        assert isinstance(refused(owner, new_set, posting, 1), SetNotZeroError)


def test_a_set_adds_up_to_zero_on_transit_accounts_only(world: World, bank: BankBook) -> None:
    cleared(world, bank)
    open_posting = world.one("SELECT posting_id FROM recon.open_item LIMIT 1")
    nostro = world.one("SELECT n_posting_id FROM recon.statement_line LIMIT 1")
    with world.db.owner() as owner:
        owner.execute(
            "INSERT INTO recon.match_set (book_id, run_id, set_ordinal, rule, rule_version, leg_count, as_of_date,"
            " bank_minor, books_minor, rivals, is_fungible)"
            " SELECT 1, max(run_id), 98, 'x', 1, 2, '2026-11-02', 5, -5, 0, false FROM recon.run"
        )
        owner.commit()
        add = (
            "INSERT INTO recon.match_leg (book_id, posting_id, match_set_id, row_sha256)"
            " SELECT 1, %s, max(match_set_id), sha256('') FROM recon.match_set"
        )
        unbalanced = refused(owner, add, open_posting)
        assert isinstance(unbalanced, SetNotZeroError)
        assert unbalanced.constraint == "match_set_zero"
        assert refused(owner, add, nostro).constraint == "match_leg_transit"


@pytest.mark.parametrize(
    "query",
    [
        "UPDATE recon.match_leg SET generation = 5",
        "DELETE FROM recon.match_leg",
        "DELETE FROM recon.source_file",
        "UPDATE recon.statement_line SET amount_minor = 1",
        "TRUNCATE recon.certificate",
        "DELETE FROM recon.open_item",
    ],
)
def test_nothing_is_changed_or_deleted_by_owner_or_app(world: World, bank: BankBook, query: str) -> None:
    cleared(world, bank)
    with world.db.owner() as owner:
        assert refused(owner, query).constraint == "append_only"
    assert "may not do that" in str(refused(world.app, query))


@pytest.mark.parametrize("table", ["match_set", "match_leg", "statement", "statement_line", "certificate", "run"])
def test_app_cannot_insert_into_the_record(world: World, table: str) -> None:
    with world.db.app() as app:
        error = refused(app, "INSERT INTO recon." + table + " DEFAULT VALUES")
        assert "may not do that" in str(error)


def test_statement_chain_is_a_foreign_key(world: World, bank: BankBook) -> None:
    bank.ingest(bank.statement([]))
    bank.ingest(bank.statement([], day=TUESDAY, opening_minor=OPENING + 1), name="2.xml")
    with world.db.owner() as owner:
        error = refused(
            owner,
            "INSERT INTO recon.statement_booking (statement_id, bank_account_id, previous_id, opening_minor,"
            " closing_minor, closing_date, booked_count, booked_minor)"
            " SELECT s.statement_id, s.bank_account_id, b.statement_id,"
            " s.opening_minor, s.closing_minor, s.closing_date, 0, 0 FROM recon.statement s, recon.statement_booking b"
            " WHERE s.statement_id <> b.statement_id",
        )
    assert error.constraint == "statement_chain"


def test_certificate_with_a_residual_is_impossible(world: World, bank: BankBook) -> None:
    cleared(world, bank)
    body = "{}"
    with world.db.owner() as owner:
        error = refused(
            owner,
            "INSERT INTO recon.certificate (bank_account_id, business_date, sha256, book_id, run_id, statement_id,"
            " opening_minor, lines_minor, closing_minor, nostro_minor, transit_minor, open_minor, body)"
            " SELECT bank_account_id, '2026-11-30', encode(sha256(%s), 'hex'), book_id, run_id, statement_id,"
            " opening_minor, lines_minor, closing_minor, nostro_minor + 1, transit_minor, open_minor, '{}'"
            " FROM recon.certificate LIMIT 1",
            body.encode(),
        )
    assert isinstance(error, ReconCheckError)


def test_half_a_set_cannot_be_unmatched(world: World, bank: BankBook) -> None:
    posting, match_set = cleared(world, bank)
    world.alice.execute("SELECT recon.request_unmatch(%s, 'half of it')", (match_set,))
    world.alice.commit()
    with world.db.owner() as owner:
        error = refused(
            owner,
            "INSERT INTO recon.unmatch (book_id, posting_id, generation, request_id)"
            " SELECT 1, %s, 0, max(request_id) FROM recon.unmatch_request",
            posting,
        )
    assert error.constraint == "unmatch_whole_set"


def test_a_run_that_leaves_something_out_is_refused(world: World, bank: BankBook) -> None:
    cleared(world, bank)
    error = refused(world.app, "SELECT recon.publish_run(1, '2026-11-02', 'x', 'x', 0, 0, NULL)")
    assert isinstance(error, ReconCheckError)
    assert error.constraint == "run_conserves"


def test_recon_opens_no_file_of_the_sandbox(world: World, bank: BankBook) -> None:
    opened: list[str] = []
    watching = True

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if watching and event == "open":
            opened.append(str(arguments[0]))

    truth = world.home / "sandbox" / "truth.jsonl"
    truth.parent.mkdir()
    truth.write_text("{}\n")
    e2e = paid(world)
    sys.addaudithook(hook)
    bank.ingest(bank.statement([Line(amount_minor=-10_000, ref="B1", end_to_end_id=e2e["P1"])]))
    bank.reconcile()
    watching = False
    assert any(name.endswith("statement.xml") for name in opened)
    assert [name for name in opened if "sandbox" in name or "truth" in name] == []


def test_original_bytes_are_kept(world: World, bank: BankBook) -> None:
    paid(world)
    assert file_content(world.app, 1)
    bank.ingest(bank.statement([]))
    name, content = stored_bytes(world.app, 1)
    assert (name, content) == ("statement.xml", (world.home / "in" / "statement.xml").read_bytes())
