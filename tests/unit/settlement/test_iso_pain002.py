from __future__ import annotations

import io
import itertools
from pathlib import Path

import pytest

from settlement.iso20022 import (
    PaymentStatus,
    Reason,
    StatusReportRefusedError,
    advance,
    contradicts,
    read_pain002,
)

NAMESPACE = "urn:iso:std:iso:20022:tech:xsd:pain.002.001."
REASON = "<StsRsnInf><Rsn><Cd>AC04</Cd></Rsn><AddtlInf>Account </AddtlInf><AddtlInf>closed</AddtlInf></StsRsnInf>"


def report(body: str, *, version: str = "10", header: str = "<MsgId>BANK-1</MsgId>", prolog: str = "") -> bytes:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>{prolog}<Document xmlns="{NAMESPACE}{version}">'
        f"<CstmrPmtStsRpt><GrpHdr>{header}<CreDtTm>2026-11-02T19:00:00Z</CreDtTm></GrpHdr>"
        f"{body}</CstmrPmtStsRpt></Document>"
    ).encode()


def file_status(status: str | None, *, reasons: str = "") -> str:
    tag = "" if status is None else f"<GrpSts>{status}</GrpSts>"
    return (
        "<OrgnlGrpInfAndSts><OrgnlMsgId>MSG</OrgnlMsgId><OrgnlMsgNmId>pain.001.001.09</OrgnlMsgNmId>"
        f"{tag}{reasons}</OrgnlGrpInfAndSts>"
    )


def group_status(status: str | None, *payments: str, reasons: str = "") -> str:
    tag = "" if status is None else f"<PmtInfSts>{status}</PmtInfSts>"
    return f"<OrgnlPmtInfAndSts><OrgnlPmtInfId>PMT</OrgnlPmtInfId>{tag}{reasons}{''.join(payments)}</OrgnlPmtInfAndSts>"


def payment_status(end_to_end_id: str, status: str | None, *, reasons: str = "") -> str:
    tag = "" if status is None else f"<TxSts>{status}</TxSts>"
    return (
        f"<TxInfAndSts><OrgnlInstrId>I-{end_to_end_id}</OrgnlInstrId>"
        f"<OrgnlEndToEndId>{end_to_end_id}</OrgnlEndToEndId>{tag}{reasons}</TxInfAndSts>"
    )


def test_file_group_and_payments_are_read() -> None:
    got = read_pain002(
        report(
            file_status("PART")
            + group_status("PART", payment_status("E1", "ACSC"), payment_status("E2", "RJCT", reasons=REASON))
        )
    )
    assert (got.message_version, got.message_id) == ("pain.002.001.10", "BANK-1")
    assert got.created_at == "2026-11-02T19:00:00Z"
    assert (got.group.original_message_id, got.group.original_message_name) == ("MSG", "pain.001.001.09")
    assert [(p.payment_information_id, p.status) for p in got.payment_informations] == [("PMT", "PART")]
    first, second = got.transactions
    assert (first.instruction_id, first.end_to_end_id, first.effective_status) == ("I-E1", "E1", "ACSC")
    assert first.payment_information_id == second.payment_information_id == "PMT"
    assert second.effective_status == "RJCT"
    assert second.reasons == (Reason("AC04", None, ("Account", "closed")),)
    assert str(second.reasons[0]) == "AC04: Account closed"


def test_a_payment_without_a_status_inherits_its_groups_then_its_files() -> None:
    from_group = read_pain002(
        report(file_status("ACTC") + group_status("RJCT", payment_status("E1", None), reasons=REASON))
    )
    assert from_group.transactions[0].status is None
    assert from_group.transactions[0].effective_status == "RJCT"
    assert from_group.transactions[0].reasons[0].code == "AC04"
    from_file = read_pain002(
        report(file_status("RJCT", reasons=REASON) + group_status(None, payment_status("E1", None)))
    )
    assert from_file.transactions[0].effective_status == "RJCT"
    assert from_file.transactions[0].reasons[0].code == "AC04"
    own = read_pain002(report(file_status("ACTC") + group_status("ACCP", payment_status("E1", "RJCT"))))
    assert own.transactions[0].effective_status == "RJCT"
    assert own.transactions[0].reasons == ()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (file_status("RJCT"), "RJCT"),
        (file_status("ACCP") + group_status("RJCT"), "RJCT"),
        (file_status("ACCP") + group_status(None), "ACCP"),
        (file_status(None), None),
        (file_status("PART"), None),
        (file_status("ACCP") + group_status("PART", payment_status("E1", "RJCT")), None),
    ],
)
def test_a_payment_the_report_does_not_list_is_covered_by_its_group_or_file(body: str, status: str | None) -> None:
    assert read_pain002(report(body)).covering_status("PMT")[0] == status


@pytest.mark.parametrize("version", [f"{number:02d}" for number in range(3, 15)])
def test_versions_03_to_14_are_read(version: str) -> None:
    got = read_pain002(report(file_status("ACCP"), version=version))
    assert got.message_version == f"pain.002.001.{version}"


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b"", "xml-well-formed"),
        (b"not xml", "xml-well-formed"),
        (report(file_status("ACCP"))[:-30], "xml-well-formed"),
        (report(file_status("ACCP")) + b"<more/>", "xml-well-formed"),
        (report("", prolog="<!DOCTYPE Document>"), "doctype"),
        (
            report(
                "",
                prolog='<!DOCTYPE Document [<!ENTITY x SYSTEM "file:///etc/hostname">]>',
                header="<MsgId>&x;</MsgId>",
            ),
            "doctype",
        ),
        (report("", version="01"), "namespace"),
        (report(file_status("ACTC") + file_status("RJCT").replace("MSG", "OTHER")), "message"),
        (report("", version="15"), "namespace"),
        (report("").replace(b"pain.002.001.10", b"pain.001.001.09"), "namespace"),
        (report("").replace(b"CstmrPmtStsRpt", b"BkToCstmrStmt"), "message"),
        (b"<Report/>", "message"),
        (report("", header=""), "message-id"),
        (report("", header="<MsgId> </MsgId>"), "message-id"),
    ],
)
def test_what_is_no_status_report_is_refused_by_a_named_rule(content: bytes, rule: str) -> None:
    with pytest.raises(StatusReportRefusedError) as refused:
        read_pain002(content)
    assert refused.value.rule == rule
    assert str(refused.value).endswith(".")


@pytest.mark.parametrize(
    ("namespace", "version"),
    [
        ("urn:iso:std:iso:20022:tech:xsd:pain.002.003.03", "pain.002.003.03"),
        ("http://www.six-interbank-clearing.com/de/pain.002.001.10.ch.03.xsd", "pain.002.001.10"),
    ],
)
def test_national_variants_are_read(namespace: str, version: str) -> None:
    content = report(file_status("RJCT", reasons=REASON)).replace(f"{NAMESPACE}10".encode(), namespace.encode())
    got = read_pain002(content)
    assert (got.message_version, got.group.status) == (version, "RJCT")


@pytest.mark.parametrize("kind", ["pain.002.001.02", "pacs.002.001.02"])
def test_the_first_versions_have_names_of_their_own(kind: str) -> None:
    told = payment_status("E1", "RJCT", reasons=REASON).replace("<Rsn>", "<StsRsn>").replace("</Rsn>", "</StsRsn>")
    body = file_status(None) + told.replace("AddtlInf>", "AddtlStsRsnInf>").replace(
        "<OrgnlInstrId>", "<OrgnlPmtInfId>PMT</OrgnlPmtInfId><OrgnlInstrId>"
    )
    content = report(body).replace(f"{NAMESPACE}10".encode(), f"{NAMESPACE[:-13]}{kind}".encode())
    got = read_pain002(content.replace(b"CstmrPmtStsRpt", kind.encode()))
    (payment,) = got.transactions
    assert (got.message_version, got.kind) == (kind, kind[:8])
    assert (payment.payment_information_id, payment.end_to_end_id, payment.status) == ("PMT", "E1", "RJCT")
    assert payment.reasons == (Reason(code="AC04", proprietary=None, additional=("Account", "closed")),)


def test_prefixes_byte_order_marks_and_other_encodings_do_not_matter() -> None:
    plain = report(file_status("RJCT", reasons=REASON.replace("closed", "geschlössen")))
    expected = read_pain002(plain)
    text = plain.decode()
    for variant in (
        b"\xef\xbb\xbf" + plain,
        text.replace("UTF-8", "ISO-8859-1").encode("latin-1"),
        text.replace("UTF-8", "UTF-16").encode("utf-16"),
        text.replace("<", "<p:").replace("<p:/", "</p:").replace("<p:?", "<?").replace("xmlns=", "xmlns:p=").encode(),
    ):
        assert read_pain002(io.BytesIO(variant)) == expected


def test_every_sample_of_a_bank_is_read(shared: Path) -> None:
    paths = sorted((shared / "samples" / "pain.002").glob("*.xml"))
    if not paths:
        pytest.skip("no pain.002 samples beside the project")
    for path in paths:
        with path.open("rb") as file:
            got = read_pain002(file)
        spoken = [got.group.status, *(p.status for p in got.payment_informations)]
        assert any([*spoken, *(t.effective_status for t in got.transactions)]), path.name


def test_thirty_thousand_payments_are_read_in_order() -> None:
    count = 30_000
    content = report(file_status("PART") + group_status(None, *(payment_status(f"E{n}", "ACSP") for n in range(count))))
    got = read_pain002(content)
    assert [t.end_to_end_id for t in got.transactions] == [f"E{n}" for n in range(count)]


FORWARD = ["RCVD", "ACTC", "ACCP", "ACSP", "ACSC", "ACCC"]


@pytest.mark.parametrize(("first", "second"), [*itertools.combinations(FORWARD, 2)])
def test_a_status_only_moves_forward(first: str, second: str) -> None:
    assert advance(PaymentStatus(first), second) == second
    assert advance(PaymentStatus(second), first) == second


def test_refusals_are_final_and_information_changes_nothing() -> None:
    for status in FORWARD:
        assert advance(PaymentStatus(status), "RJCT") is PaymentStatus.RJCT
        assert advance(PaymentStatus.RJCT, status) is PaymentStatus.RJCT
        assert advance(PaymentStatus.CANC, status) is PaymentStatus.CANC
        for information in ("PDNG", "PART", "ACWC", "PATC", "RVNM", "????"):
            assert advance(PaymentStatus(status), information) == status
    assert advance(PaymentStatus.RJCT, "CANC") is PaymentStatus.RJCT
    assert advance(PaymentStatus.CANC, "RJCT") is PaymentStatus.CANC
    assert advance(None, "PDNG") is None
    assert advance(None, "ACSP") is PaymentStatus.ACSP


def test_settled_and_refused_contradict_in_either_order() -> None:
    assert contradicts(PaymentStatus.ACSC, "RJCT")
    assert contradicts(PaymentStatus.RJCT, "ACSC")
    assert contradicts(PaymentStatus.CANC, "ACCC")
    assert not contradicts(PaymentStatus.ACSP, "RJCT")
    assert not contradicts(PaymentStatus.RJCT, "ACSP")
    assert not contradicts(None, "RJCT")
    assert not contradicts(PaymentStatus.ACSC, "PDNG")
