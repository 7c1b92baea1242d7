"""MT940 and MT942: fields, statements, the structures of :86:, and what is set aside."""

from __future__ import annotations

from datetime import date

import pytest

from recon.accounts import BankAccount
from recon.errors import ReconCheckError
from recon.formats import StatementRefused, read_statement_file
from recon.ingest import is_named
from recon.line_schema import StatementLines
from recon.model import ProofState, StatementFile
from recon.verifier_texts import read_raw_mt940
from settlement.business_days import Calendar

HEAD = ":20:STARTUMS\n:25:DE89370400440532013000\n:28C:00012/001\n:60F:C261119EUR1000,00\n"
TAIL = ":62F:C261120EUR1000,00\n-\n"


def read(text: str | bytes) -> StatementFile:
    data = text.encode() if isinstance(text, str) else text
    file = read_statement_file(data, name="statement.txt")
    StatementLines.validate(file.lines)
    return file


def one(entry: str, *, closing: str = TAIL) -> dict[str, object]:
    (row,) = read(HEAD + entry + "\n" + closing).lines.to_dicts()
    return row


def test_a_statement_with_its_proof() -> None:
    file = read(HEAD + ":61:2611201120C5,50NTRFNONREF//B1\n:86:hello\n:62F:C261120EUR1005,50\n-\n")
    (statement,) = file.statements
    assert (statement.iban, statement.electronic_sequence, statement.page) == ("DE89370400440532013000", 12, 1)
    assert (statement.id, statement.message_id) == ("00012/001 2026-11-20", "STARTUMS")
    assert statement.proof.state is ProofState.PROVEN
    (row,) = file.lines.to_dicts()
    assert (row["amount_minor"], row["booking_date"], row["account_servicer_ref"]) == (550, date(2026, 11, 20), "B1")
    assert (row["remittance"], row["end_to_end_id"]) == ("hello", None)


@pytest.mark.parametrize(
    ("mark", "amount", "reversal"),
    [
        ("C", 550, False),
        ("D", -550, False),
        ("RC", -550, True),
        ("RD", 550, True),
        ("CR", 550, False),
        ("RCR", -550, True),
    ],
)
def test_the_mark_gives_the_sign(mark: str, amount: int, reversal: bool) -> None:
    row = one(f":61:2611201120{mark}5,5NTRFX1")
    assert (row["amount_minor"], row["is_reversal"], row["end_to_end_id"]) == (amount, reversal, "X1")


@pytest.mark.parametrize(
    ("head", "minor"),
    [
        ("C5,NTRF", 500),
        ("C5,5 NTRF", 550),
        ("C0000005,50N051", 550),
        ("CR5NOV ", 500),
        ("C,5NTRF", 50),
        ("C5.25NTRF", 525),
        ("CN5,25//", 525),
        ("CD5,25", 525),
        ("C5,25N", 525),
    ],
)
def test_how_banks_write_amounts(head: str, minor: int) -> None:
    assert one(f":61:261120{head}NONREF")["amount_minor"] == minor


@pytest.mark.parametrize("amount", ["1.001,50", "1,001.50", "1'001,50", "1 001,50", "5,5,5"])
def test_an_amount_is_never_cut_at_a_separator(amount: str) -> None:
    (statement,) = read(f"{HEAD}:61:2611201120C{amount}NTRFX\n{TAIL}").statements
    assert [bad.rule for bad in statement.quarantined] == ["entry-garbled"]


@pytest.mark.parametrize(
    ("rest", "kind", "own", "bank"),
    [
        ("NTRF1004688128      //6128", "NTRF", "1004688128", "6128"),
        ("//19239782213", None, None, "19239782213"),
        ("NONREF", None, None, None),
        ("NIC MARF", "NIC", None, None),
        ("NMSCKREF+", "NMSC", None, None),
        ("NOVBDE89370400440532013000", "NOVB", None, None),
    ],
)
def test_what_stands_behind_the_amount(rest: str, kind: str | None, own: str | None, bank: str | None) -> None:
    row = one(f":61:2611201120D5,{rest}")
    assert (row["proprietary_code"], row["instruction_id"], row["account_servicer_ref"]) == (kind, own, bank)


@pytest.mark.parametrize(
    ("stated", "iban", "account"),
    [
        ("COBADEFFXXX/DE89370400440532013000", "DE89370400440532013000", None),
        ("/DE89 3704 0044 0532 0130 00", "DE89370400440532013000", None),
        ("DE89370400440532013000EUR", "DE89370400440532013000", None),
        ("DE00370400440532013000 EUR", "DE00370400440532013000", None),
        ("37040044/532013000EUR", None, "37040044/532013000"),
        ("DABADKKK/1111.11.11111", None, "DABADKKK/1111.11.11111"),
        ("ACCOUNT", None, "ACCOUNT"),
    ],
)
def test_how_banks_name_an_account(stated: str, iban: str | None, account: str | None) -> None:
    (statement,) = read(HEAD.replace("DE89370400440532013000", stated) + TAIL).statements
    assert (statement.iban, statement.other_account_id) == (iban, account)


@pytest.mark.parametrize("codec", ["utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("end", ["\r\n", "\r", "\n", "@@", "\n "])
def test_line_ends_and_encodings_do_not_matter(end: str, codec: str) -> None:
    text = f"\n{HEAD}:61:2611201120C5,50NTRFX\n:86:Zürich\n:62F:C261120EUR1005,50\n-\n".replace("\n", end)
    file = read(text.encode(codec))
    assert file.statements[0].proof.state is ProofState.PROVEN
    assert file.lines["remittance"].to_list() == ["Zürich"]
    raw = read_raw_mt940(text.encode(codec), ordinal=1, exponent=2)
    assert (raw.opening_minor, raw.lines_minor, raw.closing_minor) == (100_000, 550, 100_550)


def test_statements_without_a_reference_or_an_end_mark_are_told_apart() -> None:
    first = HEAD.replace(":20:STARTUMS\n", "") + TAIL.replace("-\n", "")
    second = first.replace("00012", "00013").replace("C261120", "C261121").replace("C261119", "C261120")
    file = read(first + second)
    assert [statement.proof.state for statement in file.statements] == [ProofState.PROVEN] * 2
    assert [read_raw_mt940((first + second).encode(), ordinal=n, exponent=2).booked_count for n in (1, 2)] == [0, 0]


@pytest.mark.parametrize(
    ("information", "column", "text", "party"),
    [
        ("166+20RENT +32BUYER INC", "remittance", "RENT", "BUYER INC"),
        ("166~20RENT ~32BUYER INC ~", "remittance", "RENT", "BUYER INC"),
        ("EREF+E-1 SVWZ+RENT", "remittance", "RENT", None),
        ("/BENM/300000/BUYER INC/RENT", "additional_info", "/BENM/300000/BUYER INC/RENT", None),
        ("+49 30 1234 RENT", "remittance", "+49 30 1234 RENT", None),
        ("A" * 65 + "\nB 1\nC", "remittance", "A" * 65 + "B 1 C", None),
    ],
)
def test_nothing_a_bank_writes_is_lost(information: str, column: str, text: str, party: str | None) -> None:
    row = one(f":61:2611201120D5,NTRFX\n:86:{information}")
    assert (row[column], row["party_name"]) == (text, party)


@pytest.mark.parametrize(
    ("value", "entry", "booked"),
    [
        ("261231", "0102", date(2027, 1, 2)),
        ("270101", "1231", date(2026, 12, 31)),
        ("261120", "1119", date(2026, 11, 19)),
    ],
)
def test_the_entry_date_is_in_the_year_nearest_to_the_value_date(value: str, entry: str, booked: date) -> None:
    assert one(f":61:{value}{entry}C5,NTRFNONREF")["booking_date"] == booked


def test_without_an_entry_date_the_value_date_counts_inside_the_statement_only() -> None:
    assert one(":61:261120C5,NTRFNONREF")["booking_date"] == date(2026, 11, 20)
    assert one(":61:260101C5,NTRFNONREF")["booking_date"] == date(2026, 11, 20)


def test_german_subfields_across_wrapped_lines() -> None:
    row = one(
        ":61:2611201120D12,35NDDTKREF+//B2\n/OCMT/EUR11,85//CHGS/EUR0,50/\n"
        ":86:109?00RETOURE?109075/629?20EREF+A1.200?21.4961 KREF+RUN-1?\n22 MREF+M7 SVWZ+Sonstige G?23ruende"
        "?30CSDBDE71XXX?31DE50712345600200691329?32TESTER EL?33 GMBH"
    )
    assert (row["end_to_end_id"], row["payment_information_id"], row["mandate_id"]) == ("A1.200.4961", "RUN-1", "M7")
    assert (row["remittance"], row["party_name"]) == ("Sonstige Gruende", "TESTER EL GMBH")
    assert (row["party_account"], row["return_reason"]) == ("DE50712345600200691329", "NARR")
    assert (row["charges_minor"], row["instructed_amount_minor"], row["instructed_currency"]) == (50, 1185, "EUR")
    assert (row["proprietary_code"], row["additional_info"]) == ("NDDT+109+9075/629", "RETOURE")


def test_code_words_between_slashes() -> None:
    row = one(
        ":61:2611201120C12,35N100EREF\nNL08DEUT0319809633\n:86:/EREF/E-1/MARF/M1/CNTP/NL71RABO0123456789/RABONL2U/"
        "J. DE VR\nIES///REMI/USTD//Factuur 12/RTRN/MS03/"
    )
    assert (row["end_to_end_id"], row["mandate_id"], row["return_reason"]) == ("E-1", "M1", "MS03")
    assert (row["party_account"], row["party_name"]) == ("NL71RABO0123456789", "J. DE VRIES")
    assert row["remittance"] == "Factuur 12"
    assert (
        one(":61:2611201120C1,N100EREF\n:86:/EREF/E/REMI/STRD/CUR/9001000000000000/")["structured_ref"]
        == "9001000000000000"
    )


def test_a_line_that_only_looks_like_a_tag_or_an_end_belongs_to_its_text() -> None:
    file = read(
        HEAD + ":61:2611201120C5,NTRFNONREF\n:86:at 12\n:26:37 and\n:KO:NR\n-\n:61:2611201120D5,NTRFNONREF\n" + TAIL
    )
    assert file.entry_count == 2 and file.statements[0].proof.state is ProofState.PROVEN
    assert file.lines["remittance"][0] == "at 12 :26:37 and :KO:NR"


def test_swift_blocks_transport_lines_and_control_characters_carry_no_meaning() -> None:
    blocks = "\x01{1:F01BANKDEFFAXXX0000000000}{2:O9400000}{3:{108:REF}}{4:\r\n"
    text = "BANKDEFF\r\n940\r\n" + blocks + HEAD.replace("\n", "\r\n") + ":62F:C261120EUR1000,00\r\n-}{5:{MAC:0}}\x03"
    (statement,) = read(text).statements
    assert statement.proof.state is ProofState.PROVEN and statement.message_version == "mt940"
    assert statement.content_sha256 == read(HEAD + TAIL).statements[0].content_sha256


def test_pages_that_follow_each_other_are_one_statement() -> None:
    first = HEAD + ":61:2611201120C5,NTRFNONREF\n:62M:C261120EUR1005,00\n-\n"
    second = HEAD.replace("/001", "/002").replace("60F:C261119EUR1000,00", "60M:C261120EUR1005,00")
    file = read(first + second + ":61:2611201120C7,NTRFNONREF\n:62F:C261120EUR1012,00\n-\n")
    (statement,) = file.statements
    assert (statement.proof.state, statement.entry_count) == (ProofState.PROVEN, 2)
    assert file.lines["line_ordinal"].to_list() == [1, 2]


def test_a_missing_page_is_not_joined() -> None:
    first = HEAD + ":62M:C261120EUR1000,00\n-\n"
    third = HEAD.replace("/001", "/003").replace("60F:C261119EUR1000,00", "60M:C261120EUR999,00")
    assert len(read(first + third + TAIL).statements) == 2


def test_an_interim_report_informs_and_compares_its_sums() -> None:
    text = (
        ":20:R1\n:25:DE89370400440532013000\n:28C:1/1\n:34F:EURD0,\n:34F:EURC0,\n:13D:2611201430+0100\n"
        ":61:2611201120C5,NTRFX\n:61:2611201120EC7,NTRFY\n:90D:0EUR0,\n:90C:2EUR12,\n-}"
    )
    file = read(text)
    assert file.message_version == "mt942"
    assert file.lines["status"].to_list() == ["PDNG", "FUTR"]
    assert file.statements[0].findings == () and file.statements[0].created_at is not None
    wrong = read(text.replace(":90C:2EUR12,", ":90C:2EUR13,")).statements[0]
    assert [finding.rule for finding in wrong.findings] == ["summary-count-differs"]


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("entry-garbled", HEAD + ":61:no entry\n" + TAIL),
        ("entry-date-garbled", HEAD + ":61:261320C5,NTRFX\n" + TAIL),
        ("entry-amount-decimals", HEAD + ":61:261120C5,001NTRFX\n" + TAIL),
        ("entry-currency-missing", (HEAD + ":61:261120C5,NTRFX\n" + TAIL).replace("EUR", "EUU")),
        ("balance-currency-unknown", HEAD.replace("EUR", "EUU") + TAIL),
        ("balance-amount-garbled", HEAD + ":62F:C261120EUR1,0,0\n-"),
        ("balance-currency-missing", HEAD.replace("EUR", "") + "-"),
    ],
)
def test_what_cannot_be_read_leaves_the_statement_unproven(rule: str, text: str) -> None:
    (statement,) = read(text).statements
    assert rule in {bad.rule for bad in statement.quarantined}
    assert statement.proof.state is ProofState.UNPROVEN


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("encoding-assumed", (HEAD + ":61:261120C5,NTRFX\n:86:Müller\n" + TAIL).encode("cp1252")),
        ("thirtieth-of-february", HEAD + ":61:2602300301C5,NTRFX\n" + TAIL),
        ("field-misplaced", HEAD + ":61:261120C5,NTRFX\n:25:other\n" + TAIL),
        ("balance-currency-assumed", HEAD + ":62F:C2611201000,00\n-"),
        ("balance-unreadable", HEAD + TAIL.replace("-\n", ":65:Dnullnull7,3\n-")),
        ("sequence-unreadable", HEAD.replace("00012/001", "twelve") + TAIL),
        ("booking-date-missing", HEAD + ":61:261120C5,NTRFX\n" + TAIL),
        ("account-missing", HEAD.replace(":25:DE89370400440532013000\n", "") + TAIL),
    ],
)
def test_what_is_noted(rule: str, text: str | bytes) -> None:
    assert rule in {finding.rule for finding in read(text).statements[0].findings}


def test_a_cut_statement_is_never_proven() -> None:
    whole = HEAD + ":61:2611201120C5,NTRFX\n:61:2611201120D5,NTRFX\n:62F:C261120EUR1000,00\n-"
    for end in range(len(":20:STARTUMS\n:25:"), len(whole) - len("0,00\n-")):
        try:
            file = read(whole[:end])
        except StatementRefused:
            continue
        assert all(statement.proof.state is not ProofState.PROVEN for statement in file.statements), whole[:end]


@pytest.mark.parametrize(
    ("stated", "ours"),
    [
        ("DE89370400440532013000", True),
        ("DE89 3704 0044 0532 0130 00", True),
        ("37040044/532013000", True),
        ("COBADEFFXXX/0532013000", True),
        ("COBADEFF/53.201-3000", True),
        ("532013000", True),
        ("COBADEFFXXX/0532013001", False),
        ("37040045/532013000", False),
        ("13000", False),
        (None, False),
    ],
)
def test_which_account_of_ours_is_named(stated: str | None, ours: bool) -> None:
    calendar = Calendar("ECB", "Europe/Berlin")
    account = BankAccount(1, "main", "DE89370400440532013000", "EUR", 2, 1, 2, date(2026, 1, 1), 0, calendar)
    assert is_named(account, stated) is ours


def test_the_verifier_passes_over_expected_entries_and_names_what_is_no_amount() -> None:
    text = HEAD + ":61:2611201120EC7,NTRFX\n:61:261120    C5,50NTRFX\n:62F: C261120EUR1005,50\n-\n"
    assert read(text).statements[0].proof.state is ProofState.PROVEN
    raw = read_raw_mt940(text.encode(), ordinal=1, exponent=2)
    assert (raw.lines_minor, raw.booked_count, raw.closing_minor) == (550, 1, 100_550)
    with pytest.raises(ReconCheckError, match="not an amount"):
        read_raw_mt940(text.replace("1005,50", "1.005,50").encode(), ordinal=1, exponent=2)


@pytest.mark.parametrize(
    ("damage", "sound"),
    [
        (":62F:C261120EUR1005,50\n", ":62F:C261120EUR1005,50\n:62F:C261120EUR1005,50\n"),  # stated twice
        (":61:261120", "\x1a:61:261120"),  # a control character before a tag, and within one
        (":60F:", ":60\x18:"),
        (":20:", "{1:F01XXXXXXXXXXXX0000000000}:20:"),  # a block before the first field
        (":20:", ":62F:C261120EUR98,5\n:20:"),  # the end of something else before it
        (":61:261120C5,50", ":62F:C261119EUR9,00\n:61:261120C5,50"),  # an earlier day's among the entries
    ],
)
def test_the_verifier_reads_a_damaged_statement_as_the_reader_does(damage: str, sound: str) -> None:
    text = (HEAD + ":61:261120C5,50NTRFX\n:62F:C261120EUR1005,50\n-\n").replace(damage, sound)
    (statement,) = read(text).statements
    raw = read_raw_mt940(text.encode(), ordinal=1, exponent=2)
    assert statement.proof.state is ProofState.PROVEN
    assert (raw.opening_minor, raw.lines_minor, raw.closing_minor) == (100_000, 550, 100_550)


def test_a_page_that_cannot_be_read_shifts_no_other_statement_for_the_verifier() -> None:
    pages = [
        HEAD.replace("00012", "1/1").replace("EUR1000,00", "EUR1000,00S051") + ":62M:C2611201000,00\n",
        HEAD.replace("00012", "1/2").replace(":60F:", ":60M:") + ":61:261120C5,50NTRFX\n:62F:C261120EUR1005,50\n-\n",
        HEAD.replace("00012", "2/1").replace("EUR1000,00", "EUR1005,50") + ":62F:C261121EUR1005,50\n-\n",
    ]
    file = read("".join(pages))
    proven = [each for each in file.statements if each.proof.state is ProofState.PROVEN]
    assert [each.ordinal for each in proven] == [2, 3]
    for each in proven:
        raw = read_raw_mt940("".join(pages).encode(), ordinal=each.ordinal, exponent=2)
        assert (raw.opening_minor, raw.closing_minor) == (each.proof.opening_minor, each.proof.closing_minor)
