"""What refuses a whole file, by which rule, on which line, with one sentence."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from recon.formats import ENTRY_RULES, FILE_RULES, FINDING_RULES, StatementRefused, read_statement_file, safe_xml
from tests.unit.recon.camt_files import balance, details, document, entry, read, read_one, statement

ISO = "urn:iso:std:iso:20022:tech:xsd:"
GOOD = document(statement(entry()))
BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'
XXE = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'

REFUSED = [
    ("empty-file", 1, b""),
    ("empty-file", 1, b"\xef\xbb\xbf \n\t"),
    ("empty-file", 1, b"\xff\xfe"),
    ("not-xml", 1, b"only a text\n:61:2601020102C500,00"),
    ("cut-short", 2, b"01,BANK,US,260102,0800,1,,,2/\n02,US,BANK,1,260102,,USD,2/\n"),
    ("not-xml", 1, b"PK\x03\x04 zipped"),
    ("not-xml", 1, b"\x00\x01\x02\x03"),
    ("not-xml", 1, b"%PDF-1.7 a statement on paper"),
    ("not-xml", 1, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 100),
    ("layout-unknown", 1, b'"Date","Label","Amount"\r\n"12/15/2026","x","5.00"\r\n'),
    ("layout-unknown", 1, "Buchungstag;Text;Betrag;Saldo\n1.2.2026;x;5,00;6,00\n".encode("utf-16")),
    ("xml-not-well-formed", 1, b"<"),
    ("xml-not-well-formed", 2, b"<!-- only\na comment -->"),
    ("xml-not-well-formed", 3, b"\n\n" + GOOD.encode()[:-20]),
    ("xml-not-well-formed", 1, GOOD.encode() + b"<more/>"),
    ("xml-not-well-formed", 1, GOOD.replace("10.00", "10.00&unknown;").encode()),
    ("xml-not-well-formed", 1, GOOD.replace("S1", "S\x01").encode()),
    ("xml-not-well-formed", 1, GOOD.replace("S1", "S\xfc").encode("latin-1")),
    ("xml-not-well-formed", 1, b'<?xml version="1.0" encoding="no-such-code"?>' + GOOD.encode()),
    ("xml-not-well-formed", 1, b'<?xml version="1.0" encoding="UTF-16"?>' + GOOD.encode()),
    ("xml-doctype", 1, b"<!DOCTYPE Document>" + GOOD.encode()),
    ("xml-doctype", 2, b"<?xml version='1.0'?>\n" + XXE.encode() + GOOD.replace("S1", "&a;").encode()),
    ("xml-doctype", 1, BOMB.encode() + GOOD.replace("S1", "&b;").encode()),
    ("xml-doctype", 2, ('<?xml version="1.0" encoding="UTF-16"?>\n' + XXE + GOOD).encode("utf-16")),
    ("xml-doctype", 1, ("\ufeff" + XXE + GOOD).encode("utf-16-be")),
    ("xml-doctype", 1, ("\ufeff" + BOMB + GOOD).encode("utf-8")),
    ("xml-doctype", 1, b"<!-- " + b"x" * 200_000 + b" --><!DOCTYPE x>" + GOOD.encode()),
    ("too-deep", 1, GOOD.replace("<Ntry>", "<Ntry>" + "<a>" * 300 + "</a>" * 300).encode()),
    ("resource-limit", 1, GOOD.replace("S1", "S" * 11_000_000).encode()),
    ("namespace-unknown", 1, GOOD.replace(f' xmlns="{ISO}camt.053.001.08"', "").encode()),
    ("namespace-unknown", 1, GOOD.replace(ISO, "urn:bank:").encode()),
    ("namespace-unknown", 1, f"<Envelope>{GOOD.replace(ISO, 'urn:bank:')}</Envelope>".encode()),
    ("not-a-camt-report", 1, GOOD.replace("camt.053.001.08", "pain.001.001.09").encode()),
    ("not-a-camt-report", 1, GOOD.replace("camt.053.001.08", "camt.060.001.05").encode()),
    ("not-a-camt-report", 2, b"<!-- a page -->\n<html><body/></html>"),
    ("not-a-camt-report", 1, f'<Document xmlns="{ISO}camt.053.001.08"><Other/></Document>'.encode()),
    ("not-a-camt-report", 1, GOOD.replace("Document", "Papers").encode()),
    ("message-contradicts-namespace", 1, GOOD.replace("camt.053.001.08", "camt.052.001.08").encode()),
    ("foreign-namespace", 1, GOOD.replace("<Ntry>", '<Ntry xmlns="urn:x">').encode()),
    ("foreign-namespace", 1, GOOD.replace("<Stmt>", '<Stmt xmlns="urn:x">').encode()),
    ("entry-misplaced", 1, GOOD.replace("<Ntry>", "<Part><Ntry>").replace("</Ntry>", "</Ntry></Part>").encode()),
    ("entry-misplaced", 1, GOOD.replace("Stmt>", "Rpt>").encode()),
    ("entry-misplaced", 1, f"<Envelope>{entry()}{GOOD}</Envelope>".encode()),
    ("no-statement", 1, document().encode()),
]


@pytest.mark.parametrize(("rule", "line", "data"), REFUSED)
def test_refused_by_rule_at_line(rule: str, line: int, data: bytes) -> None:
    with pytest.raises(StatementRefused) as caught:
        read_statement_file(data, name="bad.xml")
    refused = caught.value
    assert (refused.rule, refused.line) == (rule, line)
    assert "\n" not in refused.message and len(refused.message) < 220
    assert str(refused) == f"line {line}: {refused.message} [{rule}]"


def test_every_file_rule_is_shown_above() -> None:
    shown = {rule for rule, _, _ in REFUSED}
    # Archives: test_reports; what is no table: test_layout_finder.
    assert shown | {"file-unreadable", "archive-damaged", "archive-unsafe", "not-a-table"} == set(FILE_RULES)


@pytest.mark.parametrize("where", ["missing.xml", "."])
def test_a_path_that_cannot_be_read(tmp_path: Path, where: str) -> None:
    with pytest.raises(StatementRefused) as caught:
        read_statement_file(tmp_path / where, name="x")
    assert caught.value.rule == "file-unreadable"


def test_a_file_that_shows_no_statement_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safe_xml, "SILENCE_BYTES_MAX", 100_000)
    with pytest.raises(StatementRefused) as caught:
        read("<Envelope>" + "<Junk>x</Junk>" * 50_000 + GOOD + "</Envelope>")
    assert caught.value.rule == "not-a-camt-report"
    assert read(document(statement(*[entry()] * 2_000))).entry_count == 2_000


def test_the_version_is_known_once_the_document_was_seen() -> None:
    for cut in (120, len(GOOD) - 30):
        with pytest.raises(StatementRefused) as caught:
            read(GOOD[:cut])
        assert caught.value.message_version == "camt.053.001.08"


QUARANTINED = [
    ("entry-amount-missing", entry("")),
    ("entry-amount-missing", "<Ntry><CdtDbtInd>CRDT</CdtDbtInd></Ntry>"),
    ("entry-amount-garbled", entry("12..34")),
    ("entry-amount-garbled", entry("1,234.50")),
    ("entry-amount-garbled", entry("1e3")),
    ("entry-amount-garbled", entry("NaN")),
    ("entry-amount-garbled", entry("１２")),
    ("entry-amount-garbled", entry("12<b/>34")),
    ("entry-amount-negative", entry("-5.00")),
    ("entry-amount-decimals", entry("5.001")),
    ("entry-amount-decimals", entry("5.5", ccy="JPY")),
    ("entry-amount-too-large", entry("92233720368547758.08")),
    ("entry-amount-too-large", entry("9" * 5_000)),
    ("entry-currency-missing", "<Ntry><Amt>5.00</Amt><CdtDbtInd>CRDT</CdtDbtInd></Ntry>"),
    ("entry-currency-unknown", entry(ccy="EURO")),
    ("entry-currency-unknown", entry(ccy="eur")),
    ("entry-currency-differs", entry(ccy="USD")),
    ("entry-sign-missing", entry(sign=None)),
    ("entry-sign-unknown", entry(sign="C")),
    ("entry-status-unknown", entry(status="<Sts>DONE</Sts>")),
    ("entry-status-unknown", entry(status="<Sts><Prtry>X</Prtry></Sts>")),
    ("entry-date-garbled", entry(booked="<BookgDt><Dt>2026-02-30</Dt></BookgDt>")),
    ("entry-date-garbled", entry(booked="<ValDt><DtTm>20.11.2026</DtTm></ValDt>")),
    ("entry-date-garbled", entry(booked=f"<BookgDt><Dt>{'2' * 5_000}</Dt></BookgDt>")),
    ("entry-field-repeated", entry(inside='<Amt Ccy="EUR">1.00</Amt>')),
    ("entry-field-repeated", entry(inside="<CdtDbtInd>DBIT</CdtDbtInd>")),
    ("entry-field-repeated", entry(inside="<Sts>PDNG</Sts>")),
    ("balance-amount-missing", balance("OPBD", "")),
    ("balance-amount-garbled", balance("OPBD", "1.0.0")),
    ("balance-amount-negative", balance("CLBD", "-1.00")),
    ("balance-amount-decimals", balance("CLBD", "1.001")),
    ("balance-amount-too-large", balance("CLBD", "9" * 30)),
    ("balance-currency-missing", balance("PRCD", "1.00").replace(' Ccy="EUR"', "")),
    ("balance-currency-unknown", balance("ITBD", "1.00", ccy="XXQ")),
    ("balance-sign-unknown", balance("OPBD", "1.00", sign="HABEN")),
    ("balance-field-repeated", balance("OPBD", "1.00").replace("<CdtDbtInd>", '<Amt Ccy="EUR">2.00</Amt><CdtDbtInd>')),
]


@pytest.mark.parametrize(("rule", "part"), QUARANTINED)
def test_quarantined_by_rule(rule: str, part: str) -> None:
    """The bad part is set aside, the rest is read, the statement is unproven although its balances would tie."""
    parts = [part, entry("3.00", ref="GOOD")]
    if part.startswith("<Ntry"):
        parts = [balance("OPBD", "1.00"), balance("CLBD", "4.00"), *parts]
    file = read(document(statement(*parts)))
    found = file.statements[0]
    assert [bad.rule for bad in found.quarantined] == [rule]
    assert file.lines["account_servicer_ref"].to_list() == ["GOOD"]
    assert found.proof.state == "unproven"
    assert found.quarantined[0].line_ordinal == (1 if part.startswith("<Ntry") else 0)
    assert "\n" not in found.quarantined[0].message and len(found.quarantined[0].message) < 220


def test_every_entry_rule_is_shown_above() -> None:
    # The rules of the text formats are shown in test_mt940 and test_bai2.
    elsewhere = {"entry-garbled", "balance-total-differs", "balance-control-missing", "balance-not-original"}
    assert {rule for rule, _ in QUARANTINED} | elsewhere == set(ENTRY_RULES)


def test_all_faults_of_an_entry_are_told_with_its_reference() -> None:
    bad = entry("x", "Y", status="<Sts>Z</Sts>", booked="<BookgDt><Dt>never</Dt></BookgDt>", ref="B7")
    found = read_one(bad)
    assert [fault.rule for fault in found.quarantined] == [
        "entry-amount-garbled",
        "entry-sign-unknown",
        "entry-status-unknown",
        "entry-date-garbled",
    ]
    assert {fault.reference for fault in found.quarantined} == {"B7"}
    assert found.quarantined_entry_count == 1


def test_a_second_currency_is_documented_by_book_balances_of_its_own() -> None:
    usd = [balance("OPBD", "0.00", ccy="USD"), balance("CLBD", "10.00", ccy="USD")]
    assert read_one(*usd, entry(ccy="USD")).quarantined == ()
    late = read(document(statement(entry(ccy="USD"), *usd)))
    assert late.statements[0].quarantined == () and late.lines.height == 1
    available = [balance("CLAV", "10.00", ccy="USD")]
    assert [bad.rule for bad in read_one(*available, entry(ccy="USD")).quarantined] == ["entry-currency-differs"]


def test_foreign_entries_leave_no_row_wherever_the_currency_is_stated() -> None:
    other = statement(entry(ccy="USD", ref="U"), id_="T", ccy="USD")
    mixed = statement(entry(ref="A"), entry(ccy="USD", ref="B"), entry(ref="C"), id_="S", ccy=None) + ""
    mixed = mixed.replace("</Stmt>", balance("OPBD", "0.00") + "</Stmt>")
    file = read(document(mixed, other))
    assert file.lines["account_servicer_ref"].to_list() == ["A", "C", "U"]
    assert [file.lines_of(s).height for s in file.statements] == [2, 1]
    assert [bad.reference for bad in file.statements[0].quarantined] == ["B"]
    assert file.entry_count == 4


@pytest.mark.parametrize(
    ("rule", "parts"),
    [
        ("status-missing", [entry(status="")]),
        ("booking-date-missing", [entry(booked="")]),
        ("reversal-unreadable", [entry(inside="<RvslInd>maybe</RvslInd>")]),
        ("details-do-not-sum", [entry(inside=details(*['<Amt Ccy="EUR">1.00</Amt>'] * 2))]),
        ("detail-amount-missing", [entry(inside=details("", ""))]),
        (
            "detail-sign-opposite",
            [entry("2.00", inside=details(*['<Amt Ccy="EUR">1.00</Amt><CdtDbtInd>DBIT</CdtDbtInd>'] * 2))],
        ),
        ("batch-count-differs", [entry(inside=details("", batch="<NbOfTxs>2</NbOfTxs>"))]),
        ("charges-unreadable", [entry(inside='<Chrgs><Amt Ccy="USD">1.00</Amt></Chrgs>')]),
        (
            "instructed-amount-unreadable",
            [entry(inside='<AmtDtls><InstdAmt><Amt Ccy="JPY">1.5</Amt></InstdAmt></AmtDtls>')],
        ),
        ("balance-sign-missing", [balance("CLBD", "1.00", sign=None)]),
        ("balance-unreadable", [balance("CLAV", "x")]),
        ("date-unreadable", [balance("CLBD", "1.00", day="soon")]),
        ("opening-differs-from-previous", [balance("OPBD", "1.00"), balance("PRCD", "2.00")]),
        ("summary-count-differs", ["<TxsSummry><TtlNtries><NbOfNtries>3</NbOfNtries></TtlNtries></TxsSummry>"]),
        ("summary-count-differs", ["<TxsSummry><TtlCdtNtries><Sum>9.00</Sum></TtlCdtNtries></TxsSummry>", entry()]),
        ("sequence-unreadable", ["<ElctrncSeqNb>7a</ElctrncSeqNb>"]),
    ],
)
def test_findings_name_their_rule_and_set_nothing_aside(rule: str, parts: list[str]) -> None:
    file = read(document(statement(*parts)))
    assert [finding.rule for finding in file.statements[0].findings] == [rule]
    assert file.entry_count == sum(part.startswith("<Ntry") for part in parts)
    assert file.statements[0].quarantined == ()
    assert rule in FINDING_RULES


def test_a_statement_without_names_is_named_after_its_content() -> None:
    found = read(document(statement(account="").replace("<Id>S1</Id>", ""))).statements[0]
    assert [finding.rule for finding in found.findings] == ["account-missing", "statement-id-missing"]
    assert found.id == f"unnamed-{found.content_sha256[:12]}"
    assert (found.account, found.iban) == (None, None)


def test_a_rule_is_counted_not_repeated() -> None:
    (finding,) = read(document(statement(*[entry(status="")] * 3))).statements[0].findings
    assert (finding.rule, finding.count, finding.source_line) == ("status-missing", 3, 1)


def test_documented_rules_are_the_rules() -> None:
    text = (Path(__file__).resolve().parents[3] / "docs" / "statement-rules.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\| `([a-z-]+)` \|", text, re.MULTILINE))
    assert documented == {*FILE_RULES, *ENTRY_RULES, *FINDING_RULES, "statement-repeated"}
