"""Every answer in the samples of banks is read in full, and every code in it has a policy."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from settlement import is_answer
from settlement.iso20022 import (
    ASKED_OF_US,
    STATUS_KINDS,
    AnswerKind,
    Reason,
    StatusReport,
    answer_kind,
    read_camt029,
    read_pacs004,
    read_pain002,
)

SQL = Path(__file__).resolve().parents[3] / "settlement" / "sql"
KINDS = tuple(AnswerKind)
LISTS = {"s": "status", "r": "return", "c": "cancellation", "v": "reversal"}
POLICIES = {"none", "fix_data", "re_date", "retry", "human", "stop"}
_CODE = re.compile(r"[A-Z0-9]{4}")


def policies() -> dict[tuple[str, str], str]:
    """Policy by list and code, from the file that the migration loads."""
    with (SQL / "reason_policies.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    found = {(LISTS[letter], row["code"]): row["policy"] for row in rows for letter in row["lists"]}
    assert len(found) == sum(len(row["lists"]) for row in rows), "a code stands twice in a list"
    assert all(row["meaning"].endswith(".") and len(row["meaning"]) < 120 for row in rows)
    return found


def status_codes() -> dict[str, str]:
    """Policy by status code, from the table's own rows."""
    text = (SQL / "030_events.sql").read_text().split("INSERT INTO settlement.status_code VALUES")[1].split(";\n")[0]
    return dict(re.findall(r"\('(\w{4})', (?:'\w+'|NULL), '(\w+)'", text))


def recall_codes() -> set[str]:
    text = (SQL / "102_policies.sql").read_text().split("INSERT INTO settlement.recall_outcome VALUES")[1]
    return set(re.findall(r"\('(\w{4})', '(?:agreed|refused|pending|person)'", text.split(";\n")[0]))


def test_every_published_reason_code_has_a_policy(shared: Path) -> None:
    known = policies()
    assert set(known.values()) == POLICIES
    for name in LISTS.values():
        path = shared / "codes" / f"external_{name}_reason_code.json"
        if not path.exists():
            pytest.skip("no code lists beside the project")
        published = set(json.loads(path.read_text())["codes"])
        assert published == {code for listed, code in known if listed == name}, name


def test_every_published_status_code_has_a_policy(shared: Path) -> None:
    known = status_codes()
    assert set(known.values()) <= POLICIES
    published: set[str] = set()
    for name in ("transaction", "group"):
        path = shared / "codes" / f"external_payment_{name}_status_code.json"
        if not path.exists():
            pytest.skip("no code lists beside the project")
        published |= set(json.loads(path.read_text())["codes"])
    assert published - set(known) == set()


def samples(shared: Path) -> list[tuple[AnswerKind, Path]]:
    found = [(kind, path) for kind in KINDS for path in sorted((shared / "samples" / kind).glob("*.xml"))]
    if not found:
        pytest.skip("no samples of answers beside the project")
    return found


def elements(path: Path, *names: str) -> list[str]:
    """Texts of elements by local name, found without any reader of ours."""
    text = re.sub(r"<!--.*?-->|<!\[CDATA\[.*?\]\]>", "", path.read_text("utf-8-sig"), flags=re.DOTALL)
    return re.findall(rf"<(?:\w+:)?(?:{'|'.join(names)})>\s*([^<]+?)\s*</", text)


def test_every_sample_is_known_by_its_first_bytes_in_every_encoding(shared: Path) -> None:
    for kind, path in samples(shared):
        content = path.read_bytes()
        assert answer_kind(content) is kind, path.name
        text = re.sub(r"<\?xml[^>]*\?>", "", content.decode("utf-8-sig"), count=1).strip()
        for encoding in ("utf-8-sig", "utf-16", "utf-32"):
            assert answer_kind(text.encode(encoding)) is kind, (path.name, encoding)


def test_every_status_report_is_read_in_full_and_every_code_has_a_policy(shared: Path) -> None:
    known, reasons = status_codes(), policies()
    read = 0
    for kind, path in samples(shared):
        if kind not in STATUS_KINDS:
            continue
        report = read_pain002(path.read_bytes())
        assert report.kind is kind
        assert report.message_version or "Xmlns=" in path.read_text(), f"{path.name} (two banks misspell xmlns)"
        assert sorted(said(report)) == sorted(elements(path, "GrpSts", "PmtInfSts", "TxSts")), path.name
        ids = [t.end_to_end_id for t in report.transactions if t.end_to_end_id]
        assert ids == elements(path, "OrgnlEndToEndId"), path.name
        for status in said(report):
            assert status in known or not _CODE.fullmatch(status), (path.name, status)
        told = list(given_reasons(report))
        wanted = re.findall(r"<(?:\w+:)?Rsn>\s*<(?:\w+:)?(?:Cd|Prtry)>([^<]+)<", path.read_text("utf-8-sig"))
        assert {r.code or r.proprietary for r in told} >= set(wanted), path.name
        for reason in told:
            assert is_decided(reason, "status", reasons), (path.name, reason)
        read += 1
    assert read >= 20


def said(report: StatusReport) -> Iterator[str]:
    for status in (
        report.group.status,
        *(g.status for g in report.payment_informations),
        *(t.status for t in report.transactions),
    ):
        if status is not None:
            yield status


def given_reasons(report: StatusReport) -> Iterator[Reason]:
    yield from report.group.reasons
    for information in report.payment_informations:
        yield from information.reasons
    for transaction in report.transactions:
        yield from transaction.reasons


def is_decided(reason: Reason, name: str, known: dict[tuple[str, str], str]) -> bool:
    """A published code has its policy; the bank's own, and placeholders of a sample, are for a person."""
    code = reason.code
    return code is None or (name, code) in known or not _CODE.fullmatch(code)


def test_every_return_and_recall_answer_is_read_in_full(shared: Path) -> None:
    reasons = policies()
    for kind, path in samples(shared):
        if kind is AnswerKind.RETURN:
            report = read_pacs004(path.read_bytes())
            assert report.message_version and report.message_id
            uetrs = [payment.uetr for payment in report.returns if payment.uetr]
            assert uetrs and uetrs == elements(path, "OrgnlUETR")[: len(uetrs)], path.name
            for payment in report.returns:
                assert payment.amount and payment.currency and payment.reasons, path.name
                assert all(is_decided(reason, "return", reasons) for reason in payment.reasons), path.name
        elif kind is AnswerKind.RECALL_ANSWER:
            answer = read_camt029(path.read_bytes())
            assert answer.message_version and answer.original_message_id and answer.payments
            assert {payment.status for payment in answer.payments} <= recall_codes()
        elif kind in ASKED_OF_US:
            assert ASKED_OF_US[kind], f"{path.name} asks us; it is kept and a person answers"


def test_statements_are_no_answers(shared: Path, tmp_path: Path) -> None:
    for name in ("camt.052", "camt.053", "camt.054", "pain.001", "pain.008"):
        for path in sorted((shared / "samples" / name).glob("*.xml")):
            assert not is_answer(path), path.name
    quoting = tmp_path / "statement.xml"
    quoting.write_text(
        "<Document><BkToCstmrStmt><Ustrd><![CDATA[<CstmrPmtStsRpt>]]></Ustrd></BkToCstmrStmt></Document>"
    )
    assert not is_answer(quoting)
