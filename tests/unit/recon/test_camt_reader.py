"""What the reader makes of well-formed files: rows, references, splits, statements."""

from __future__ import annotations

from datetime import date

import pytest

from recon.formats import read_statement_file
from recon.line_schema import StatementLines
from recon.model import STATEMENT_LINES
from tests.unit.recon.camt_files import IBAN, balance, details, document, entry, read, read_one, statement

OTHER = "FR7630006000011234567890189"


def rows(*entries: str, version: str = "camt.053.001.08") -> list[dict[str, object]]:
    lines = read(document(statement(*entries, kind=version[:8]), version=version)).lines
    StatementLines.validate(lines)
    return lines.to_dicts()


def row(one: str, version: str = "camt.053.001.08") -> dict[str, object]:
    found = rows(one, version=version)
    assert len(found) == 1
    return found[0]


def test_columns_are_the_contract_even_without_entries() -> None:
    lines = read(document(statement())).lines
    assert lines.schema == STATEMENT_LINES
    assert lines.height == 0
    StatementLines.validate(lines)


def test_entry_becomes_one_row_with_everything() -> None:
    inside = (
        "<NtryRef>N1</NtryRef><RvslInd>true</RvslInd><ValDt><DtTm>2026-11-21T01:00:00Z</DtTm></ValDt>"
        "<BkTxCd><Domn><Cd>PMNT</Cd><Fmly><Cd>ICDT</Cd><SubFmlyCd>ESCT</SubFmlyCd></Fmly></Domn>"
        "<Prtry><Cd>NTRF+166</Cd></Prtry></BkTxCd>"
        + details(
            "<Refs><MsgId>M9</MsgId><AcctSvcrRef>inner</AcctSvcrRef><PmtInfId>P9</PmtInfId><InstrId>I9</InstrId>"
            "<EndToEndId>E9</EndToEndId><UETR>4E0A6D4F-6A6B-4C1E-9B0A-0B6B9A3F0C11</UETR><TxId>T9</TxId>"
            "<MndtId>D9</MndtId></Refs>"
            '<Amt Ccy="EUR">10.00</Amt><CdtDbtInd>DBIT</CdtDbtInd>'
            '<AmtDtls><InstdAmt><Amt Ccy="USD">11.00</Amt></InstdAmt></AmtDtls>'
            '<Chrgs><Rcrd><Amt Ccy="EUR">0.30</Amt><CdtDbtInd>DBIT</CdtDbtInd></Rcrd></Chrgs>'
            f"<RltdPties><Dbtr><Pty><Nm>Us</Nm></Pty></Dbtr><DbtrAcct><Id><IBAN>{IBAN}</IBAN></Id></DbtrAcct>"
            f"<Cdtr><Pty><Nm>Ada</Nm></Pty></Cdtr><CdtrAcct><Id><IBAN>{OTHER}</IBAN></Id></CdtrAcct></RltdPties>"
            "<RmtInf><Ustrd>first</Ustrd><Ustrd>second</Ustrd>"
            "<Strd><CdtrRefInf><Ref>RF18539007547034</Ref></CdtrRefInf></Strd></RmtInf>"
            "<RtrInf><Rsn><Cd>AC04</Cd></Rsn></RtrInf><AddtlTxInf>inner info</AddtlTxInf>"
        )
        + "<AddtlNtryInf>outer info</AddtlNtryInf>"
    )
    assert row(entry("10.00", "DBIT", ref="B1", inside=inside)) == {
        "statement_ordinal": 1,
        "line_ordinal": 1,
        "detail_ordinal": 0,
        "amount_minor": -1000,
        "entry_amount_minor": -1000,
        "currency": "EUR",
        "status": "BOOK",
        "is_reversal": True,
        "booking_date": date(2026, 11, 20),
        "value_date": date(2026, 11, 21),
        "account_servicer_ref": "B1",
        "entry_ref": "N1",
        "msg_id": "M9",
        "payment_information_id": "P9",
        "instruction_id": "I9",
        "end_to_end_id": "E9",
        "uetr": "4e0a6d4f-6a6b-4c1e-9b0a-0b6b9a3f0c11",
        "transaction_id": "T9",
        "mandate_id": "D9",
        "structured_ref": "RF18539007547034",
        "remittance": "first second",
        "party_name": "Ada",
        "party_account": OTHER,
        "bank_tx_code": "PMNT/ICDT/ESCT",
        "proprietary_code": "NTRF+166",
        "return_reason": "AC04",
        "charges_minor": 30,
        "instructed_amount_minor": 1100,
        "instructed_currency": "USD",
        "batch_count": None,
        "additional_info": "outer info",
        "source_line": 1,
    }


def test_the_oldest_version_says_the_same_in_its_own_shape() -> None:
    inside = (
        '<Chrgs><Amt Ccy="EUR">0.20</Amt><CdtDbtInd>DBIT</CdtDbtInd></Chrgs>'
        '<Chrgs><Amt Ccy="EUR">0.05</Amt><CdtDbtInd>CRDT</CdtDbtInd></Chrgs>'
        + details(
            "<Refs><EndToEndId>NOTPROVIDED</EndToEndId></Refs>"
            '<AmtDtls><TxAmt><Amt Ccy="EUR">10.00</Amt></TxAmt></AmtDtls>'
            "<RltdPties><Dbtr><Nm>Ada</Nm></Dbtr><DbtrAcct><Id><Othr><Id>12 34</Id></Othr></Id></DbtrAcct></RltdPties>"
            "<RtrInf><AddtlInf>closed</AddtlInf></RtrInf>"
        )
    )
    found = row(entry(status="<Sts>BOOK</Sts>", inside=inside), version="camt.053.001.02")
    assert (found["status"], found["end_to_end_id"], found["charges_minor"]) == ("BOOK", None, 15)
    assert (found["party_name"], found["party_account"], found["return_reason"]) == ("Ada", "1234", "NARR")


@pytest.mark.parametrize("reversal", ["true", "false", "1"])
@pytest.mark.parametrize(("indicator", "sign"), [("CRDT", 1), ("DBIT", -1)])
def test_the_sign_is_the_indicator_alone(indicator: str, sign: int, reversal: str) -> None:
    found = row(entry("7.00", indicator, inside=f"<RvslInd>{reversal}</RvslInd>"))
    assert found["amount_minor"] == sign * 700
    assert found["is_reversal"] is (reversal != "false")


@pytest.mark.parametrize(
    ("text", "ccy", "minor"),
    [
        ("10", "EUR", 1000),
        ("010.5", "EUR", 1050),
        (" 10.50\n", "EUR", 1050),
        (".5", "EUR", 50),
        ("5.", "EUR", 500),
        ("+5.00", "EUR", 500),
        ("0.00", "EUR", 0),
        ("10.50000", "EUR", 1050),
        ("1.234", "KWD", 1234),
        ("1500", "JPY", 1500),
        ("92233720368547758.07", "EUR", 2**63 - 1),
    ],
)
def test_amounts_are_exact_minor_units(text: str, ccy: str, minor: int) -> None:
    found = read_one(entry(text, ccy=ccy), ccy=ccy)
    assert found.quarantined == ()
    assert found.proofs[0].booked_minor == minor


def test_a_comment_inside_an_amount_does_not_cut_it() -> None:
    assert row(entry("12<!-- hidden -->34.00"))["amount_minor"] == 123400


class TestBatches:
    """An entry is split only when its transactions explain it to the cent."""

    def test_split_when_all_amounts_sum_to_the_entry(self) -> None:
        found = rows(
            entry(
                "30.00",
                "DBIT",
                ref="B1",
                inside=details(
                    '<Refs><EndToEndId>E1</EndToEndId></Refs><Amt Ccy="EUR">10.00</Amt><CdtDbtInd>DBIT</CdtDbtInd>',
                    '<Refs><EndToEndId>E2</EndToEndId></Refs><Amt Ccy="EUR">20.00</Amt><CdtDbtInd>DBIT</CdtDbtInd>',
                    batch="<PmtInfId>P1</PmtInfId><NbOfTxs>2</NbOfTxs>",
                ),
            )
        )
        assert [(r["detail_ordinal"], r["end_to_end_id"], r["amount_minor"]) for r in found] == [
            (1, "E1", -1000),
            (2, "E2", -2000),
        ]
        assert {r["entry_amount_minor"] for r in found} == {-3000}
        assert {(r["payment_information_id"], r["account_servicer_ref"], r["batch_count"]) for r in found} == {
            ("P1", "B1", 2)
        }

    def test_transactions_over_several_groups_are_one_batch(self) -> None:
        one = details('<AmtDtls><TxAmt><Amt Ccy="EUR">4.00</Amt></TxAmt></AmtDtls>')
        found = rows(entry("8.00", inside=one + one))
        assert [r["detail_ordinal"] for r in found] == [1, 2]

    def test_a_debit_inside_a_credit_keeps_its_own_sign(self) -> None:
        inside = details(
            '<Amt Ccy="EUR">12.00</Amt><CdtDbtInd>CRDT</CdtDbtInd>',
            '<Amt Ccy="EUR">2.00</Amt><CdtDbtInd>DBIT</CdtDbtInd>',
        )
        assert [r["amount_minor"] for r in rows(entry("10.00", inside=inside))] == [1200, -200]

    def test_opposite_signs_throughout_are_the_entrys(self) -> None:
        one = '<Amt Ccy="EUR">5.00</Amt><CdtDbtInd>CRDT</CdtDbtInd>'
        file = read(document(statement(entry("10.00", "DBIT", inside=details(one, one)))))
        assert file.lines["amount_minor"].to_list() == [-500, -500]
        assert [finding.rule for finding in file.statements[0].findings] == ["detail-sign-opposite"]

    @pytest.mark.parametrize(
        ("second", "rule"),
        [
            ('<Amt Ccy="EUR">7.00</Amt>', "details-do-not-sum"),
            ("<Refs><EndToEndId>E2</EndToEndId></Refs>", "detail-amount-missing"),
            ('<Amt Ccy="USD">5.00</Amt>', "detail-amount-missing"),
            ('<Amt Ccy="EUR">5..00</Amt>', "detail-amount-missing"),
        ],
    )
    def test_otherwise_one_row_with_what_all_agree_on(self, second: str, rule: str) -> None:
        first = '<Refs><PmtInfId>P1</PmtInfId><EndToEndId>E1</EndToEndId></Refs><Amt Ccy="EUR">5.00</Amt>'
        second = second.replace("<Refs>", "<Refs><PmtInfId>P1</PmtInfId>")
        second = second if "Refs" in second else f"<Refs><PmtInfId>P1</PmtInfId></Refs>{second}"
        file = read(document(statement(entry("10.00", inside=details(first, second)))))
        assert file.lines.select(
            "detail_ordinal", "amount_minor", "end_to_end_id", "payment_information_id"
        ).rows() == [(0, 1000, None, "P1")]
        assert rule in [finding.rule for finding in file.statements[0].findings]

    def test_one_transaction_shown_of_many_lends_no_reference(self) -> None:
        inside = details(
            '<Refs><EndToEndId>E1</EndToEndId></Refs><Amt Ccy="EUR">1.00</Amt>',
            batch="<MsgId>M7</MsgId><NbOfTxs>86</NbOfTxs>",
        )
        file = read(document(statement(entry("100.00", inside=inside))))
        assert file.lines.select("end_to_end_id", "msg_id", "batch_count").rows() == [(None, "M7", 86)]
        assert [finding.rule for finding in file.statements[0].findings] == ["batch-count-differs"]

    def test_a_single_transaction_net_of_charges_keeps_its_references(self) -> None:
        inside = details('<Refs><EndToEndId>E1</EndToEndId></Refs><Amt Ccy="EUR">101.50</Amt>')
        found = row(entry("100.00", inside=inside))
        assert (found["end_to_end_id"], found["amount_minor"]) == ("E1", 10000)


class TestOtherSide:
    """The party is the one that is not the account holder."""

    PARTIES = (
        f"<RltdPties><Dbtr><Nm>Us</Nm></Dbtr><DbtrAcct><Id><IBAN>{IBAN}</IBAN></Id></DbtrAcct>"
        f"<Cdtr><Nm>Ada</Nm></Cdtr><CdtrAcct><Id><IBAN>{OTHER}</IBAN></Id></CdtrAcct></RltdPties>"
    )

    @pytest.mark.parametrize("indicator", ["CRDT", "DBIT"])
    def test_a_return_keeps_the_roles_of_the_payment(self, indicator: str) -> None:
        assert row(entry("1.00", indicator, inside=details(self.PARTIES)))["party_name"] == "Ada"

    def test_without_accounts_the_sign_decides(self) -> None:
        parties = "<RltdPties><Dbtr><Nm>D</Nm></Dbtr><Cdtr><Nm>C</Nm></Cdtr></RltdPties>"
        assert row(entry("1.00", "CRDT", inside=details(parties)))["party_name"] == "D"
        assert row(entry("1.00", "DBIT", inside=details(parties)))["party_name"] == "C"

    def test_the_only_party_given_is_taken_unless_it_is_us(self) -> None:
        creditor = "<RltdPties><Cdtr><Nm>C</Nm></Cdtr></RltdPties>"
        assert row(entry("1.00", "CRDT", inside=details(creditor)))["party_name"] == "C"
        own = f"<RltdPties><CdtrAcct><Id><IBAN>{IBAN}</IBAN></Id></CdtrAcct></RltdPties>"
        assert row(entry("1.00", "CRDT", inside=details(own)))["party_account"] is None

    def test_the_ultimate_party_lends_its_name(self) -> None:
        parties = "<RltdPties><UltmtDbtr><Pty><Nm>Payer</Nm></Pty></UltmtDbtr></RltdPties>"
        assert row(entry(inside=details(parties)))["party_name"] == "Payer"


class TestStatements:
    """Several statements, headers, wrappers."""

    def test_several_statements_keep_their_own_lines(self) -> None:
        file = read(
            document(
                statement(entry("1.00"), entry("2.00"), id_="A"),
                statement(id_="B", account="<Othr><Id>123 456</Id></Othr>", ccy="USD"),
                statement(entry("4.00", ccy="CHF"), id_="C", ccy="CHF"),
            )
        )
        assert [(s.ordinal, s.id, s.account, s.currency, s.entry_count) for s in file.statements] == [
            (1, "A", IBAN, "EUR", 2),
            (2, "B", "123 456", "USD", 0),
            (3, "C", IBAN, "CHF", 1),
        ]
        assert [file.lines_of(s)["amount_minor"].to_list() for s in file.statements] == [[100, 200], [], [400]]

    def test_head_of_a_statement(self) -> None:
        head = (
            "<StmtPgntn><PgNb>2</PgNb><LastPgInd>false</LastPgInd></StmtPgntn><ElctrncSeqNb>0070</ElctrncSeqNb>"
            "<LglSeqNb>1000.00</LglSeqNb><FrToDt><FrDtTm>2026-11-01T00:00:00</FrDtTm><ToDtTm>2026-11-20T23:59:59</ToDtTm>"
            "</FrToDt>"
        )
        found = read(document(statement(head=head), message_id="MSG")).statements[0]
        assert (found.page, found.is_last_page, found.electronic_sequence, found.legal_sequence) == (2, False, 70, 1000)
        assert (found.from_date, found.to_date) == (date(2026, 11, 1), date(2026, 11, 20))
        assert found.message_id == "MSG"

    def test_the_messages_page_is_the_statements_when_it_is_alone(self) -> None:
        page = "<MsgPgntn><PgNb>3</PgNb><LastPgInd>true</LastPgInd></MsgPgntn>"
        alone = read(document(statement(), page=page)).statements
        assert [(s.page, s.is_last_page) for s in alone] == [(3, True)]
        two = read(document(statement(id_="A"), statement(id_="B"), page=page)).statements
        assert [s.page for s in two] == [None, None]

    def test_missing_booking_date_is_the_closing_balances(self) -> None:
        found = read(
            document(
                statement(
                    balance("OPBD", "0.00"),
                    balance("CLBD", "10.00", day="2026-11-19"),
                    entry(booked=""),
                    entry("5.00", booked="", status="<Sts><Cd>PDNG</Cd></Sts>"),
                )
            )
        )
        assert found.lines["booking_date"].to_list() == [date(2026, 11, 19), None]
        assert [finding.rule for finding in found.statements[0].findings] == ["booking-date-missing"]

    @pytest.mark.parametrize(("kind", "status"), [("camt.052", "PDNG"), ("camt.053", "BOOK"), ("camt.054", "PDNG")])
    def test_missing_status_is_booked_only_in_a_statement(self, kind: str, status: str) -> None:
        file = read(document(statement(entry(status=""), kind=kind), version=f"{kind}.001.08"))
        assert file.lines["status"].to_list() == [status]
        assert "status-missing" in [finding.rule for finding in file.statements[0].findings]

    def test_a_wrapper_and_prefixes_change_nothing(self) -> None:
        plain = document(statement(balance("OPBD", "1.00"), balance("CLBD", "11.00"), entry(ref="B1")))
        body = plain.replace('xmlns="', 'xmlns:c="').replace("</", "</c:").replace("<", "<c:").replace("<c:/c:", "</c:")
        wrapped = (
            '<BizMsg><h:AppHdr xmlns:h="urn:iso:std:iso:20022:tech:xsd:head.001.001.02">'
            f"<h:MsgDefIdr>camt.053.001.08</h:MsgDefIdr></h:AppHdr>{body}</BizMsg>"
        )
        one, two = read(plain), read(wrapped)
        assert one.lines.equals(two.lines)
        assert one.statements == two.statements
        assert two.findings == ()

    def test_a_header_that_names_another_message_is_noted(self) -> None:
        text = f"<Envelope><MsgDefIdr>pacs.008.001.08</MsgDefIdr>{document(statement())}</Envelope>"
        assert [finding.rule for finding in read(text).findings] == ["header-names-other-message"]

    @pytest.mark.parametrize(
        "raw",
        [
            pytest.param(lambda text: b"\xef\xbb\xbf" + text.encode(), id="utf-8-bom"),
            pytest.param(
                lambda text: ('<?xml version="1.0" encoding="ISO-8859-1"?>' + text).encode("latin-1"), id="latin-1"
            ),
            pytest.param(lambda text: ('<?xml version="1.0" encoding="UTF-16"?>' + text).encode("utf-16"), id="utf-16"),
            pytest.param(
                lambda text: ('<?xml version="1.0" encoding="windows-1252"?>' + text).encode("cp1252"), id="cp1252"
            ),
        ],
    )
    def test_encodings(self, raw) -> None:  # type: ignore[no-untyped-def]
        inside = details("<RltdPties><Dbtr><Nm>Jürgen Groß</Nm></Dbtr></RltdPties>")
        data = raw(document(statement(entry(inside=inside))))
        assert read_statement_file(data, name="x").lines["party_name"].to_list() == ["Jürgen Groß"]

    def test_versions_newer_than_any_tested_are_read_with_a_note(self) -> None:
        file = read(document(statement(entry()), version="camt.053.001.21"))
        assert (file.message_version, file.lines.height) == ("camt.053.001.21", 1)
        assert [finding.rule for finding in file.findings] == ["version-untested"]


class TestContentHash:
    """A second delivery of a statement is recognised; any change of content is not."""

    BASE = statement(balance("OPBD", "1.00"), entry(ref="B1"))

    def hash_of(self, text: str) -> str:
        return read(text).statements[0].content_sha256

    def test_delivery_does_not_count(self) -> None:
        first = self.hash_of(document(self.BASE))
        later = self.BASE.replace("2026-11-20T22", "2026-11-21T05").replace(
            "<Acct>", "<CpyDplctInd>DUPL</CpyDplctInd><Acct>"
        )
        assert self.hash_of(document(later, message_id="M2")) == first
        assert self.hash_of(document(statement(id_="X"), later).replace(statement(id_="X"), "")) == first
        assert self.hash_of(document(self.BASE).replace("><", ">\n  <")) == first

    def test_content_counts(self) -> None:
        first = self.hash_of(document(self.BASE))
        for old, new in (("B1", "B2"), (">S1<", ">S2<"), (">1.00<", ">1.01<"), (IBAN, OTHER)):
            assert self.hash_of(document(self.BASE.replace(old, new))) != first


@pytest.mark.parametrize("above", [0, 80_000])
def test_source_lines_of_entries_and_transactions(above: int) -> None:
    """Beyond line 65,535 the parser's own count may be a line off; up to there it is exact."""
    inside = details('<Amt Ccy="EUR">1.00</Amt>', '<Amt Ccy="EUR">1.00</Amt>').replace("<TxDtls>", "\n<TxDtls>")
    lines = read(document("\n" * above + statement("\n" + entry("2.00", inside=inside), "\n\n" + entry()))).lines
    expected = [above + 3, above + 4, above + 6]
    found = lines["source_line"].to_list()
    assert all(abs(a - b) <= (1 if above else 0) for a, b in zip(found, expected, strict=True)), found
