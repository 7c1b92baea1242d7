"""What becomes of a statement file: booked, waiting, refused, repeated, revised; and nothing by halves."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger import close_period, request_close_override
from nostro.database import Database
from recon import ingest_files
from tests.recon_world import ACCOUNT, IBAN, OPENING, BankBook, Line
from tests.settlement_world import DAY, PayeeRow, World, make_world
from tests.support import table_hashes
from tests.unit.recon.camt_files import balance, document, entry, statement

TUESDAY = DAY + dt.timedelta(days=1)
WEDNESDAY = DAY + dt.timedelta(days=2)


@pytest.fixture
def world(db: Database, tmp_path: Path) -> Iterator[World]:
    made = make_world(db, tmp_path, [PayeeRow(code="P1")], accounts=("eur",))
    yield made
    made.close()


def findings(world: World) -> list[tuple[object, ...]]:
    return world.rows("SELECT code, item_ref FROM recon.findings_at(%s, '2026-12-31')", world.book_id)


def test_proven_statement_books_every_line_once(world: World, bank: BankBook) -> None:
    lines = [Line(amount_minor=-500, ref="B1"), Line(amount_minor=700, ref="B2")]
    report = bank.ingest(bank.statement(lines))
    assert [(f.outcome, [s.state for s in f.statements]) for f in report.files] == [("accepted", ["booked"])]
    assert report.booked_lines == 2
    assert world.balance(f"assets:bank:{ACCOUNT}") == OPENING + 200
    assert world.balance(f"assets:transit:{ACCOUNT}") == -200
    keys = world.rows(
        "SELECT idempotency_key, effective_date FROM ledger.entry WHERE idempotency_key LIKE 'line:%%' ORDER BY 1"
    )
    assert [str(key).split(":")[1:2] + str(key).split(":")[3:] for key, _ in keys] == [
        [ACCOUNT, "1", "0"],
        [ACCOUNT, "2", "0"],
    ]
    assert {date for _, date in keys} == {DAY}


def test_the_same_file_again_changes_nothing(world: World, bank: BankBook) -> None:
    text = bank.statement([Line(amount_minor=-500, ref="B1")])
    bank.ingest(text)
    before = table_hashes(world.app)
    world.app.rollback()
    again = bank.ingest(text, name="other-name.xml")
    assert [f.outcome for f in again.files] == ["duplicate"]
    assert table_hashes(world.app) == before


def test_same_statement_in_another_file_is_a_break_and_books_nothing(world: World, bank: BankBook) -> None:
    text = bank.statement([Line(amount_minor=-500, ref="B1")])
    bank.ingest(text)
    report = bank.ingest(text, name="again.xml", message_id="M2")
    assert [(f.outcome, f.statements[0].state) for f in report.files] == [("redelivered", "repeated")]
    assert findings(world) == [("STATEMENT_DUP", "S20261102")]
    assert world.balance(f"assets:bank:{ACCOUNT}") == OPENING - 500
    run = bank.reconcile()
    assert ("STATEMENT_DUP", "S20261102") in [(b.code, b.item_ref) for b in run.breaks]
    assert len(run.certified) == 1


def test_revised_statement_blocks_sign_off(world: World, bank: BankBook) -> None:
    bank.ingest(bank.statement([Line(amount_minor=-500, ref="B1")]))
    revised = bank.statement([Line(amount_minor=-600, ref="B1")], opening_minor=OPENING, number=1)
    report = bank.ingest(revised, name="revised.xml")
    assert report.files[0].statements[0].state == "revised"
    assert findings(world) == [("STATEMENT_REVISED", "S20261102")]
    assert world.balance(f"assets:bank:{ACCOUNT}") == OPENING - 500
    run = bank.reconcile()
    assert run.certified == ()
    assert "STATEMENT_REVISED" in str(run.uncertified[0].reason)


def test_imbalance_books_nothing_and_blocks_sign_off(world: World, bank: BankBook) -> None:
    report = bank.ingest(bank.statement([Line(amount_minor=-500)], error_minor=1))
    (result,) = report.files[0].statements
    assert result.state == "unproven"
    assert "by 1 minor units" in str(result.message)
    assert findings(world) == [("STATEMENT_IMBALANCE", "S20261102")]
    assert world.balance(f"assets:bank:{ACCOUNT}") == OPENING
    run = bank.reconcile()
    assert [b.code for b in run.breaks] == ["STATEMENT_IMBALANCE"]
    assert [s.is_expected for s in run.uncertified] == [True]


def test_corrected_statement_closes_the_imbalance(world: World, bank: BankBook) -> None:
    bank.ingest(bank.statement([Line(amount_minor=-500)], error_minor=1))
    right = bank.statement([Line(amount_minor=-500)], opening_minor=OPENING, number=1)
    assert bank.ingest(right, name="right.xml").files[0].statements[0].state == "booked"
    assert findings(world) == []


def test_quarantined_entry_leaves_the_statement_unproven(world: World, bank: BankBook) -> None:
    bad = entry("1.234", "DBIT", booked=f"<BookgDt><Dt>{DAY}</Dt></BookgDt>")
    text = statement(
        balance("OPBD", "1000000.00", day=str(DAY)), balance("CLBD", "1000000.00", day=str(DAY)), bad, id_="SQ"
    )
    report = bank.ingest(text)
    assert report.files[0].statements[0].state == "unproven"
    assert world.one("SELECT count(*) FROM recon.quarantine") == 1
    assert world.balance(f"assets:bank:{ACCOUNT}") == OPENING


def test_first_statement_must_start_at_the_opening_balance(world: World, bank: BankBook) -> None:
    report = bank.ingest(bank.statement([], opening_minor=OPENING + 5))
    assert report.files[0].statements[0].state == "waiting"
    assert findings(world) == [("STATEMENT_GAP", "S20261102")]
    assert world.one("SELECT count(*) FROM recon.statement_booking") == 0


def test_statements_in_the_wrong_order_book_when_the_gap_closes(world: World, bank: BankBook) -> None:
    first = bank.statement([Line(amount_minor=-500)])
    second = bank.statement([Line(amount_minor=-300)], day=TUESDAY)
    third = bank.statement([Line(amount_minor=-200)], day=WEDNESDAY)
    assert bank.ingest(third, name="3.xml").files[0].statements[0].state == "waiting"
    assert bank.ingest(first, name="1.xml").files[0].statements[0].state == "booked"
    assert findings(world) == [("STATEMENT_GAP", "S20261104")]
    bank.ingest(second, name="2.xml")
    assert findings(world) == []
    assert world.balance(f"assets:bank:{ACCOUNT}") == OPENING - 1000


@pytest.mark.parametrize("number", [1, 3])
def test_statement_number_must_be_the_next(world: World, bank: BankBook, number: int) -> None:
    bank.ingest(bank.statement([]))
    bank.ingest(bank.statement([], day=TUESDAY, number=number), name="2.xml")
    assert findings(world) == [("STATEMENT_GAP", "S20261103")]


def test_without_numbers_a_missing_business_day_is_a_gap(world: World, bank: BankBook) -> None:
    bank.ingest(bank.statement([], numbered=False))
    bank.ingest(bank.statement([], day=WEDNESDAY, numbered=False), name="3.xml")
    assert findings(world) == [("STATEMENT_GAP", "S20261104")]


def test_weekend_is_no_gap(world: World, bank: BankBook) -> None:
    friday = DAY + dt.timedelta(days=4)
    for day in (DAY, TUESDAY, WEDNESDAY, DAY + dt.timedelta(days=3), friday, DAY + dt.timedelta(days=7)):
        bank.ingest(bank.statement([], day=day, numbered=False), name=f"{day}.xml")
    assert findings(world) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (document(statement(account="<IBAN>DE02120300000000202051</IBAN>")), "not one of ours"),
        (document(statement(ccy="USD", id_="S1")), "currency"),
        ("<Document xmlns='urn:iso:std:iso:20022:tech:xsd:camt.053.001.08'>", "xml-not-well-formed"),
        ("<!DOCTYPE x><Document/>", "DOCTYPE"),
    ],
)
def test_refused_file_is_kept_with_its_reason(world: World, bank: BankBook, text: str, said: str) -> None:
    report = bank.ingest_text(text, "bad.xml")
    (refused,) = report.refused
    assert said in str(refused.reason)
    assert world.rows("SELECT outcome FROM recon.file_status") == [("refused",)]
    before = table_hashes(world.app)
    world.app.rollback()
    assert len(bank.ingest_text(text, "bad.xml").refused) == 1
    assert table_hashes(world.app) == before


def test_notification_informs_and_books_nothing(world: World, bank: BankBook) -> None:
    text = document(statement(entry("5.00"), kind="camt.054", id_="N1"), version="camt.054.001.08")
    assert bank.ingest_text(text, "n.xml").files[0].outcome == "informative"
    assert world.balance(f"assets:bank:{ACCOUNT}") == OPENING


def test_line_of_a_closed_period_posts_late_and_keeps_its_booking_date(world: World, bank: BankBook) -> None:
    request_close_override(world.alice, book_id=world.book_id, through=DAY, reason="month end, statement late")
    world.alice.commit()
    close_period(world.bob, book_id=world.book_id, through=DAY)
    world.bob.commit()
    bank.ingest(bank.statement([Line(amount_minor=-500, ref="B1")]))
    rows = world.rows(
        "SELECT l.booking_date, p.effective_date FROM recon.statement_line l"
        " JOIN ledger.posting p ON p.posting_id = l.t_posting_id"
    )
    assert rows == [(DAY, TUESDAY)]
    assert findings(world) == [("LATE_CHANGE", "S20261102")]
    run = bank.reconcile()
    assert {b.code for b in run.breaks} == {"LATE_CHANGE", "UNAUTHORISED_DEBIT"}
    assert len(run.certified) == 1


REPORT_HEADER = "payout_id,acquirer,bank_account,currency,payout_date,gross,refunds,chargebacks,fees,net,line_count\n"


def test_psp_report_becomes_an_expected_receipt(world: World, bank: BankBook) -> None:
    text = REPORT_HEADER + f"PO-1,cardia,{ACCOUNT},EUR,2026-11-02,100.00,5.00,1.00,2.00,92.00,7\n"
    assert bank.ingest_text(text, "psp.csv").receipts == 1
    assert world.balance(f"assets:transit:{ACCOUNT}") == 9200
    assert world.balance("expenses:acquirer-fees:eur") == 200
    assert world.balance("assets:receivable:cardia:eur") == -9400
    bank.ingest(bank.statement([Line(amount_minor=9200, ref="B1", end_to_end_id="PO-1")]))
    run = bank.reconcile()
    assert [(rule.rule, rule.set_count) for rule in run.rules] == [("receipt-reference", 1)]
    assert run.breaks == ()


def test_psp_report_with_other_figures_is_refused_whole(world: World, bank: BankBook) -> None:
    row = f"cardia,{ACCOUNT},EUR,2026-11-02,100.00,0,0,2.00,98.00,7\n"
    bank.ingest_text(REPORT_HEADER + "PO-1," + row, "psp.csv")
    other = REPORT_HEADER + "PO-2," + row + f"PO-1,cardia,{ACCOUNT},EUR,2026-11-02,90.00,0,0,2.00,88.00,7\n"
    (refused,) = bank.ingest_text(other, "psp2.csv").refused
    assert "PO-1 was reported before" in str(refused.reason)
    assert world.one("SELECT count(*) FROM recon.expected_receipt") == 1


def test_psp_report_of_an_unknown_acquirer_is_refused(world: World, bank: BankBook) -> None:
    text = REPORT_HEADER + f"PO-1,nobody,{ACCOUNT},EUR,2026-11-02,100.00,0,0,2.00,98.00,7\n"
    (refused,) = bank.ingest_text(text, "psp.csv").refused
    assert "acquirer nobody" in str(refused.reason)


def mt940(day: dt.date, *entries: str, opening: str, closing: str, number: int, account: str) -> str:
    before = day - dt.timedelta(days=1)
    lines = [":20:STARTUMS", f":25:{account}", f":28C:{number}/1", f":60F:C{before:%y%m%d}EUR{opening}", *entries]
    return "\n".join([*lines, f":62F:C{day:%y%m%d}EUR{closing}", "-"])


def test_mt940_statements_book_and_chain(world: World, tmp_path: Path) -> None:
    opening, after = (f"{minor // 100},{minor % 100:02d}" for minor in (OPENING, OPENING - 500))
    entry_line = f":61:{DAY:%y%m%d}{DAY:%m%d}D5,00NTRFE2E-1//B1\n:86:fee"
    first = tmp_path / "monday"
    first.write_text(mt940(DAY, entry_line, opening=opening, closing=after, number=7, account=IBAN))
    third = tmp_path / "wednesday"
    third.write_text(mt940(WEDNESDAY, opening=after, closing=after, number=9, account=f"{IBAN[4:12]}/{IBAN[12:]}"))
    second = tmp_path / "tuesday"
    second.write_text(mt940(TUESDAY, opening=after, closing=after, number=8, account=IBAN))
    taken = ingest_files(world.app, book_id=world.book_id, paths=[first, third])
    assert [s.state for file in taken.files for s in file.statements] == ["booked", "waiting"]
    assert [code for code, _ in findings(world)] == ["STATEMENT_GAP"]
    assert [s.state for s in ingest_files(world.app, book_id=world.book_id, paths=[second]).files[0].statements] == [
        "booked"
    ]
    assert world.balance(f"assets:bank:{ACCOUNT}") == OPENING - 500
    assert world.rows("SELECT count(*) FROM recon.statement_booking")[0][0] == 3


def test_an_interim_report_books_nothing(world: World, tmp_path: Path) -> None:
    path = tmp_path / "interim"
    path.write_text(f":20:R\n:25:{IBAN}\n:28C:1/1\n:34F:EUR0,\n:13D:{DAY:%y%m%d}1430+0100\n:61:{DAY:%y%m%d}C5,NTRFX\n-")
    (file,) = ingest_files(world.app, book_id=world.book_id, paths=[path]).files
    assert (file.outcome, [s.state for s in file.statements]) == ("informative", ["informative"])
