"""An unknown report: what is proposed for it, what is asked, and never a guess that nobody is told of.

All files are written here. The law: whatever a generated statement looks like, the proposal either reads every amount,
day and currency as they were meant, or it asks.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recon.formats import StatementRefused
from recon.formats.report_layout import Layout
from recon.formats.report_reader import read_report
from recon.layout_finder import LayoutProposal, Strength, Value, propose_layout
from tests.unit.recon.test_workbooks import workbook

BANK = """Konto;DE89370400440532013000
Zeitraum;01.03.2026 - 31.03.2026

Buchungstag;Valuta;Auftraggeber;Verwendungszweck;Betrag;Währung;Saldo
31.03.2026;31.03.2026;Müller GmbH;Rechnung 4711;1.250,00;EUR;3.250,00
15.03.2026;15.03.2026;Stadtwerke;Abschlag März;-120,50;EUR;2.000,00
02.03.2026;02.03.2026;Bank;Gebühr;-9,90;EUR;2.120,50
"""


def proposed(text: str | bytes, *, name: str = "report.csv", **said: Value) -> LayoutProposal:
    data = text if isinstance(text, bytes) else text.encode()
    return propose_layout(data, file_name=name, said=said)


def open_keys(proposal: LayoutProposal) -> set[str]:
    return {question.key for question in proposal.questions if question.blocks}


def strength(proposal: LayoutProposal, key: str) -> Strength:
    return next(choice.strength for choice in proposal.choices if choice.key == key)


def test_a_running_balance_proves_column_sign_and_order() -> None:
    found = proposed(BANK)
    assert found.is_complete
    assert found.layout["net"] == {"column": "Betrag"} and found.layout["balance"] == "Saldo"
    assert strength(found, "net") is Strength.PROVEN
    assert found.layout["account_is"] == "DE89370400440532013000"
    assert found.layout["references"] == {"party_name": "Auftraggeber", "remittance": "Verwendungszweck"}
    assert found.trial is not None and found.trial.proven == 1 and found.trial.sums[0].in_minor == 125000


def test_the_written_layout_is_the_proposal() -> None:
    import yaml

    found = proposed(BANK)
    assert yaml.safe_load(found.yaml) == dict(found.layout)


def test_day_and_month_that_nothing_tells_apart_are_asked() -> None:
    text = "Date,Description,Amount,Currency\n02/03/2026,A,-5.00,EUR\n04/03/2026,B,7.50,EUR\n"
    found = proposed(text)
    assert open_keys(found) == {"date_format"} and found.trial is None and not found.is_complete
    question = next(each for each in found.questions if each.key == "date_format")
    assert set(question.candidates) == {"%d/%m/%Y", "%m/%d/%Y"}
    said = proposed(text, date_format="%d/%m/%Y")
    assert said.is_complete and strength(said, "date_format") is Strength.SAID
    assert said.trial is not None and said.trial.from_date == date(2026, 3, 2)


def test_what_speaks_for_both_ways_decides_nothing() -> None:
    """Sorted by text, not by date: month first looks sorted by chance, the days lie near each other day first."""
    text = "Date;Text;Amount;Ccy\n05/01/2026;A;-1,00;EUR\n05/02/2026;A;-1,00;EUR\n10/01/2026;B;-2,00;EUR\n"
    assert "date_format" in open_keys(proposed(text))


def test_a_date_before_the_header_tells_day_from_month() -> None:
    text = "From 01/03/2026 to 31/03/2026\nDate,Text,Amount,Ccy\n02/03/2026,A,-5.00,EUR\n04/03/2026,B,7.50,EUR\n"
    assert proposed(text).layout["date_format"] == "%d/%m/%Y"


def test_marks_before_three_digits_only_are_asked() -> None:
    text = "Date,Text,Amount,Ccy\n2026-03-02,A,1.250,EUR\n2026-03-04,B,7.500,EUR\n"
    assert "decimal" in open_keys(proposed(text))


def test_whole_numbers_may_be_minor_units_and_are_asked() -> None:
    text = "Date,Text,Amount,Ccy\n2026-03-02,A,1250,EUR\n2026-03-04,B,-750,EUR\n"
    assert open_keys(proposed(text)) == {"minor_units"}
    assert proposed(text.replace("EUR", "JPY")).is_complete


def test_two_amounts_and_no_proof_are_asked() -> None:
    text = "Date,Text,Shop amount,Card amount,Ccy\n2026-03-02,A,-12.50,-14.00,EUR\n2026-03-04,B,7.50,8.10,EUR\n"
    assert "net" in open_keys(proposed(text))


def test_an_indicator_of_words_nobody_knows_is_proven_by_the_balance() -> None:
    text = (
        "Date;Text;Amount;Side;Balance;Ccy\n"
        "2026-03-02;A;10,00;XA;110,00;EUR\n2026-03-03;B;25,00;XB;85,00;EUR\n"
        "2026-03-04;C;5,00;XB;80,00;EUR\n2026-03-05;D;7,00;XA;87,00;EUR\n"
    )
    found = proposed(text)
    assert found.layout["net"] == {"column": "Amount", "indicator": "Side", "debits": ["XB"], "credits": ["XA"]}
    assert found.is_complete and strength(found, "net") is Strength.PROVEN


def test_rows_that_call_themselves_a_balance_are_asked() -> None:
    text = "Date,Text,Amount,Ccy\n2026-03-01,Saldo anterior,100.00,EUR\n2026-03-02,A,-5.00,EUR\n"
    found = proposed(text)
    assert "informs" in open_keys(found)
    assert proposed(text, informs=[]).is_complete


def test_pending_rows_inform_and_the_balance_passes_over_them() -> None:
    text = (
        "Started,Completed Date,Text,Amount,Fee,Ccy,State,Balance\n"
        "2026-03-01,2026-03-02,A,100.00,0.00,EUR,COMPLETED,100.00\n"
        "2026-03-02,2026-03-03,B,-20.00,1.00,EUR,COMPLETED,79.00\n"
        "2026-03-03,2026-03-03,C,-10.00,0.50,EUR,COMPLETED,68.50\n"
        "2026-03-04,,D,-7.00,0.00,EUR,PENDING,\n"
    )
    found = proposed(text)
    assert found.layout["status"] == {"column": "State", "informs": ["PENDING"]}
    assert found.layout["parts"] == [{"column": "Amount"}, {"column": "Fee", "sign": -1, "code": "fee"}]
    assert found.layout["date"] == ["Completed Date", "Started"]
    assert found.trial is not None and found.trial.proven == 1 and found.trial.informing == 1 and found.is_complete


def test_gross_fee_and_net_that_add_up_choose_the_net() -> None:
    text = (
        "Created,Type,Amount,Fee,Net,Currency,Payout ID\n"
        "2026-03-01,charge,45.00,1.61,43.39,USD,po_1\n2026-03-01,refund,-10.00,0.00,-10.00,USD,po_1\n"
        "2026-03-02,payout,-33.39,0.00,-33.39,USD,po_1\n"
    )
    found = proposed(text)
    assert found.layout["net"] == {"column": "Net"}
    assert found.layout["parts"] == [{"column": "Amount"}, {"column": "Fee", "sign": -1, "code": "fee"}]
    assert found.layout["statement"] == "Payout ID" and found.layout["payout"] == ["payout"]
    assert found.trial is not None and found.trial.proven == 1


def test_a_net_that_adds_up_is_taken_before_an_amount_in_another_currency() -> None:
    text = (
        "Order,Date,Currency,Amount,Settlement Currency,Gross Settlement Amount,Commission,Net Settlement Amount\n"
        "O-1,2026-03-02,USD,100.00,EUR,90.00,1.80,88.20\nO-2,2026-03-02,EUR,50.00,EUR,50.00,0.75,49.25\n"
    )
    found = proposed(text)
    assert found.layout["net"] == {"column": "Net Settlement Amount"}
    assert found.layout["currency"] == "Settlement Currency"


def test_a_kind_of_row_is_no_sign() -> None:
    """A column in which every row says `payment` does not make all of them debits."""
    text = (
        "entity,type,debit,credit,amount,currency,fee,tax,settled_at\n"
        "pay_1,payment,0,97.64,100.00,INR,2.00,0.36,2026-10-05\npay_2,payment,0,98.00,100.00,INR,2.00,0.00,2026-10-05\n"
    )
    found = proposed(text)
    assert found.layout["net"] == {"credit": "credit", "debit": "debit"}
    assert [part["column"] for part in found.layout["parts"]] == ["amount", "fee", "tax"]  # type: ignore[union-attr,call-overload,index]


def test_a_row_that_states_the_total_of_a_settlement_proves_it() -> None:
    text = (
        "settlement-id\tcurrency\ttotal-amount\tposted-date\ttype\tprice-amount\tfee-amount\tother-amount\n"
        "77\tGBP\t31.98\t\t\t\t\t\n77\t\t\t2026-03-02\tOrder\t29.99\t\t\n"
        "77\t\t\t2026-03-02\tOrder\t\t-2.00\t\n77\t\t\t2026-03-03\tOrder\t3.99\t\t\n"
    )
    found = proposed(text)
    assert found.layout["total"] == "total-amount" and found.layout["statement"] == "settlement-id"
    assert [part["column"] for part in found.layout["parts"]] == ["price-amount", "fee-amount", "other-amount"]  # type: ignore[union-attr,call-overload,index]
    assert found.trial is not None and (found.trial.entries, found.trial.proven) == (3, 1) and found.is_complete


def test_opening_and_closing_rows_that_tie_are_used_and_totals_skipped() -> None:
    text = (
        "Anfangssaldo;;100,00\nDatum;Text;Betrag (EUR)\n01.03.2026;A;10,00\n16.03.2026;B;-30,00\n"
        "Summe;;-20,00\nEndsaldo;;80,00\n"
    )
    found = proposed(text)
    assert (found.layout["opening"], found.layout["closing"]) == ("Anfangssaldo", "Endsaldo")
    assert found.layout["skip"] == ["Summe"] and found.layout["currency_is"] == "EUR"
    assert found.trial is not None and found.trial.proven == 1 and found.is_complete


def test_an_encoding_is_known_by_the_words_of_the_header() -> None:
    text = (
        "Datum;Částka;Měna;Zpráva;Zůstatek\n27.05.2026;-1,50;CZK;Platba za říjen;98,50\n28.05.2026;1,00;CZK;x;99,50\n"
    )
    found = proposed(text.encode("cp1250"))
    assert found.layout["encoding"] == "cp1250" and found.is_complete
    lines = read_report(text.encode("cp1250"), Layout.model_validate(found.layout), name="x").lines
    assert lines["remittance"].to_list() == ["Platba za říjen", "x"]


def test_columns_without_a_name_of_their_own_are_called_by_their_place() -> None:
    text = (
        "Datum;Text;Umsatz;;Saldo\n01.03.2026;A;10,00;H;110,00\n02.03.2026;B;30,00;S;80,00\n03.03.2026;C;5,00;S;75,00\n"
    )
    found = proposed(text, currency_is="EUR")
    assert found.layout["net"] == {"column": "Umsatz", "indicator": "#4", "debits": ["S"], "credits": ["H"]}
    assert found.is_complete


def test_a_file_without_a_header_is_read_by_numbered_columns() -> None:
    text = '02/04/2026,-60.00,"CAFE",940.00\n16/04/2026,-60.00,"FUEL",880.00\n24/04/2026,1000.00,"PAY",1880.00\n'
    found = proposed(text, currency_is="AUD")
    assert found.layout["columns"] == ["c1", "c2", "c3", "c4"] and found.layout["net"] == {"column": "c2"}
    assert found.is_complete


def test_a_workbook_is_looked_at_as_it_is_shown() -> None:
    rows = [(date(2026, 3, 2), 10.25, 110.25), (date(2026, 3, 3), -5, 105.25), (date(2026, 3, 4), -5.1, 100.15)]
    book = workbook(["Statement"], ["Date", "Amount", "Balance", "Ccy"], *([*row, "EUR"] for row in rows))
    found = proposed(book, name="report.xlsx")
    assert found.layout["net"] == {"column": "Amount"} and found.layout["balance"] == "Balance"
    assert found.trial is not None and found.trial.sums[0].in_minor == 1025 and found.is_complete


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b" \n", "empty-file"),
        (b"<Document/>", "not-a-table"),
        (b":20:X\n:25:1\n:28C:1\n:60F:C260101EUR1,00\n:62F:C260101EUR1,00\n", "not-a-table"),
        (b"%PDF-1.7", "not-xml"),
        (b"just words\nand more\n", "layout-unknown"),
    ],
)
def test_what_is_no_table_is_refused_with_its_reason(data: bytes, rule: str) -> None:
    with pytest.raises(StatementRefused) as refused:
        proposed(data)
    assert refused.value.rule == rule


@dataclass(frozen=True)
class Look:
    """How a generated statement is written."""

    delimiter: str
    decimal: str
    date_format: str
    form: str
    newest_first: bool
    with_balance: bool


LOOKS = st.builds(
    Look,
    delimiter=st.sampled_from(";\t,|"),
    decimal=st.sampled_from(".,"),
    date_format=st.sampled_from(["%d.%m.%Y", "%Y-%m-%d", "%d/%m/%Y", "%m/%d/%Y", "%Y%m%d", "%d %b %Y", "%d-%m-%y"]),
    form=st.sampled_from(["single", "pair", "negative debit", "indicator", "turned"]),
    newest_first=st.booleans(),
    with_balance=st.booleans(),
)
ROWS = st.lists(st.tuples(st.integers(0, 9), st.integers(-500_000, 500_000).filter(bool)), min_size=2, max_size=12)


@given(look=LOOKS, rows=ROWS)
@settings(max_examples=60, deadline=None)
def test_a_proposal_reads_what_was_meant_or_asks(look: Look, rows: list[tuple[int, int]]) -> None:
    day, balance = date(2026, 2, 20), 1_000_000
    meant, written = [], []
    for ahead, minor in rows:
        day += timedelta(days=ahead)
        balance += minor
        meant.append((day, minor))
        written.append(_cells(look, day, minor, balance))
    names = {"single": ["Amount"], "turned": ["Amount"], "indicator": ["Amount", "Debit/Credit"]}
    header = [
        "Date",
        "Text",
        *names.get(look.form, ["Credit", "Debit"]),
        "Currency",
        *(["Balance"] if look.with_balance else []),
    ]
    lines = [header, *(written[::-1] if look.newest_first else written)]
    text = "".join(look.delimiter.join(f'"{cell}"' for cell in line) + "\n" for line in lines)
    found = proposed(text)
    if look.form == "turned" and not look.with_balance:
        return  # nothing in such a file says that positive means out; the sign is as it stands
    if not found.is_complete:
        assert open_keys(found), found.trial
        return
    read = read_report(text.encode(), Layout.model_validate(found.layout), name="x").lines
    got = sorted(zip(read["booking_date"].to_list(), read["entry_amount_minor"].to_list(), strict=True))
    assert got == sorted(meant)


def _cells(look: Look, day: date, minor: int, balance: int) -> list[str]:
    amount = {
        "single": [_number(minor, look)],
        "turned": [_number(-minor, look)],
        "pair": [_number(max(minor, 0), look), _number(max(-minor, 0), look)],
        "negative debit": [_number(max(minor, 0), look), _number(min(minor, 0), look)],
        "indicator": [_number(abs(minor), look), "CR" if minor > 0 else "DR"],
    }[look.form]
    return [
        day.strftime(look.date_format), f"Invoice {abs(minor) % 97}", *amount, "EUR",
        *([_number(balance, look)] if look.with_balance else []),
    ]  # fmt: skip


def _number(minor: int, look: Look) -> str:
    whole, cents = divmod(abs(minor), 100)
    grouped = f"{whole:,}".replace(",", "." if look.decimal == "," else ",")
    return f"{'-' if minor < 0 else ''}{grouped}{look.decimal}{cents:02d}"
