"""Whatever the bytes: a file is read or refused by a named rule, and never says more than it was given."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from recon.formats import (
    ENTRY_RULES,
    FILE_RULES,
    PspReportRefused,
    StatementRefused,
    read_psp_report,
    read_statement_file,
)
from recon.line_schema import StatementLines
from recon.model import StatementFile
from tests.unit.recon.camt_files import balance, details, document, entry, statement

FILE = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    + document(
        statement(
            balance("OPBD", "100.00"),
            balance("CLBD", "70.00", moment="2026-11-20T23:00:00+01:00"),
            entry("10.00", "CRDT", ref="B1", inside="<RvslInd>false</RvslInd>"),
            entry(
                "40.00",
                "DBIT",
                ref="B2",
                inside=details(
                    *[
                        '<Refs><EndToEndId>E1</EndToEndId></Refs><Amt Ccy="EUR">20.00</Amt>'
                        "<RltdPties><Cdtr><Nm>Ädä</Nm></Cdtr></RltdPties>"
                    ]
                    * 2,
                    batch="<NbOfTxs>2</NbOfTxs>",
                ),
            ),
            head="<ElctrncSeqNb>7</ElctrncSeqNb>",
        )
    )
).encode()
ENCODED = [FILE, FILE.decode().replace("UTF-8", "UTF-16").encode("utf-16")]


def outcome(data: bytes) -> StatementFile | None:
    """The file, checked for its contract; None when it is refused by a named rule."""
    try:
        file = read_statement_file(data, name="x")
    except StatementRefused as refused:
        assert refused.rule in FILE_RULES and refused.line >= 1 and refused.message
        return None
    StatementLines.validate(file.lines)
    assert file.statements
    for found in file.statements:
        assert file.lines_of(found).height == found.row_count
        assert all(bad.rule in ENTRY_RULES for bad in found.quarantined)
        assert found.proofs
        assert not (found.quarantined and found.proof.state == "proven")
    return file


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(ENCODED), st.data())
def test_flipped_bytes(base: bytes, data: st.DataObject) -> None:
    damaged = bytearray(base)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(base) - 1))] = data.draw(st.integers(0, 255))
    outcome(bytes(damaged))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(ENCODED), st.data())
def test_cut_and_spliced_bytes(base: bytes, data: st.DataObject) -> None:
    start, end = sorted((data.draw(st.integers(0, len(base))), data.draw(st.integers(0, len(base)))))
    outcome(base[:start] + base[end:])
    outcome(base[:start] + base[start:end] * 2 + base[end:])


def test_every_truncation_is_refused() -> None:
    for length in range(len(FILE)):
        assert outcome(FILE[:length]) is None


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    outcome(data)
    outcome(b"<" + data)


PIECES = st.sampled_from(
    [
        "<Stmt>", "</Stmt>", "<Ntry>", "</Ntry>", "<Bal>", "</Bal>", '<Amt Ccy="EUR">', "</Amt>", "1.00", "CRDT",
        "<CdtDbtInd>", "</CdtDbtInd>", "<Id>", "</Id>", "<NtryDtls>", "</NtryDtls>", "<TxDtls>", "</TxDtls>", "<Sts>",
        "</Sts>", "<GrpHdr>", "</GrpHdr>", "<Document>", "</Document>", "<Cd>OPBD</Cd>", "<Dt>x</Dt>", "<Acct/>",
        "<!-- -->", "<?pi?>", "<![CDATA[1]]>", "&#x20;", '<Ntry xmlns="">', "<BkToCstmrStmt>", "</BkToCstmrStmt>",
    ]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES, max_size=12))
def test_elements_in_any_order(pieces: list[str]) -> None:
    outcome(document(statement(*pieces)).encode())
    outcome(document(*pieces).encode())


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 2**62), st.sampled_from(["CRDT", "DBIT"]), st.sampled_from(["BOOK", "PDNG", "INFO"])),
        max_size=6,
    ),
    st.integers(-(2**62), 2**62),
    st.integers(-5, 5),
)
def test_the_equation_is_exact(entries: list[tuple[int, str, str]], opening: int, error: int) -> None:
    booked = sum(minor if sign == "CRDT" else -minor for minor, sign, status in entries if status == "BOOK")
    closing = opening + booked + error
    if abs(closing) >= 2**63:
        return
    text = document(
        statement(
            *(balance(kind, amount(abs(minor)), sign="DBIT" if minor < 0 else "CRDT")
              for kind, minor in (("OPBD", opening), ("CLBD", closing))),
            *(entry(amount(minor), sign, status=f"<Sts><Cd>{status}</Cd></Sts>") for minor, sign, status in entries),
        )
    )  # fmt: skip
    file = outcome(text.encode())
    assert file is not None
    proof = file.statements[0].proof
    assert proof.state == ("violated" if error else "proven")
    assert (proof.difference_minor, proof.booked_minor, proof.opening_minor) == (error, booked, opening)


def amount(minor: int) -> str:
    return f"{Decimal(minor).scaleb(-2):.2f}" if minor < 10**20 else str(minor)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 10**9), min_size=2, max_size=6), st.integers(-1, 1))
def test_a_batch_is_split_exactly_when_it_sums(parts: list[int], error: int) -> None:
    whole = max(sum(parts) + error, 0)
    inside = details(*(f'<Amt Ccy="EUR">{amount(part)}</Amt>' for part in parts))
    file = outcome(document(statement(entry(amount(whole), "DBIT", inside=inside))).encode())
    assert file is not None
    expected = [-part for part in parts] if whole == sum(parts) else [-whole]
    assert file.lines["amount_minor"].to_list() == expected


PSP = (
    b"payout_id,acquirer,bank_account,currency,payout_date,gross,refunds,chargebacks,fees,net,line_count\n"
    b"P1,cardia,eur-main,EUR,2026-11-20,100.00,10.00,5.00,1.55,83.45,7\n"
    b"P2,cardia,eur-main,EUR,2026-11-20,9.00,0.00,0.00,0.00,9.00,1\n"
)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(PSP) - 1), st.binary(max_size=3))
def test_a_damaged_psp_report_is_read_or_refused_with_lines(at: int, noise: bytes) -> None:
    try:
        report = read_psp_report(PSP[:at] + noise + PSP[at + 1 :], name="x")
    except PspReportRefused as refused:
        assert refused.faults and all(fault.line >= 1 for fault in refused.faults)
    else:
        for payout in report.payouts:
            parts = payout.refunds_minor + payout.chargebacks_minor + payout.fees_minor
            assert payout.net_minor == payout.gross_minor - parts
