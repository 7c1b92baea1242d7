"""The reader's paths against ISO's schemas: none is a slip of the pen, and no version lacks what a proof needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from recon.formats.camt_shape import BALANCE, ENTRY, HEADER, STATEMENT, Take
from tests.conftest import SHARED

XS = "{http://www.w3.org/2001/XMLSchema}"
SCHEMAS = sorted((SHARED / "xsd").glob("camt.05[234].001.*.xsd"))
ROOTS = {
    "camt.052": "BkToCstmrAcctRpt/Rpt",
    "camt.053": "BkToCstmrStmt/Stmt",
    "camt.054": "BkToCstmrDbtCdtNtfctn/Ntfctn",
}


@cache
def _children(schema: Path) -> dict[str, dict[str, str]]:
    """Complex type -> element -> type of the element."""
    root = etree.parse(str(schema)).getroot()
    return {
        kind.get("name"): {found.get("name"): found.get("type") for found in kind.iter(f"{XS}element")}
        for kind in root.iter(f"{XS}complexType")
    }


def _has(schema: Path, path: str) -> bool:
    types = _children(schema)
    at: str | None = "Document"
    for name in path.split("/"):
        at = types.get(at or "", {}).get(name)
        if at is None:
            return False
    return True


def _paths(table: Mapping[str, tuple[Any, ...]], above: str) -> Iterator[str]:
    for path, what in table.items():
        yield f"{above}{path}"
        if what[0] is Take.RECORD:
            yield from _paths(what[3], f"{above}{path}/")


PATHS = sorted({*_paths(STATEMENT, ""), *_paths(ENTRY, "Ntry/"), *_paths(BALANCE, "Bal/")})


@pytest.fixture(autouse=True)
def _needs_schemas() -> None:
    if not SCHEMAS:
        pytest.skip("schemas not found; put them beside the project or set NOSTRO_SHARED")


@pytest.mark.parametrize("path", PATHS)
def test_every_path_exists_in_some_version(path: str) -> None:
    assert any(_has(schema, f"{ROOTS[schema.name[:8]]}/{path}") for schema in SCHEMAS)


@pytest.mark.parametrize("path", sorted(HEADER))
def test_every_header_path_exists(path: str) -> None:
    assert any(_has(schema, f"{ROOTS[schema.name[:8]].split('/')[0]}/GrpHdr/{path}") for schema in SCHEMAS)


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda path: path.stem)
def test_every_version_gives_what_a_row_and_a_proof_need(schema: Path) -> None:
    root = ROOTS[schema.name[:8]]
    needed = [
        "Ntry/Amt",
        "Ntry/CdtDbtInd",
        "Ntry/Sts",
        "Ntry/BookgDt/Dt",
        "Ntry/AcctSvcrRef",
        "Acct/Ccy",
        "Acct/Id/IBAN",
    ]
    needed += ["Ntry/NtryDtls/TxDtls/Refs/EndToEndId", "Ntry/BkTxCd/Domn/Fmly/SubFmlyCd"]
    if not schema.name.startswith("camt.054"):
        needed += ["Bal/Amt", "Bal/CdtDbtInd", "Bal/Tp/CdOrPrtry/Cd", "Bal/Dt/Dt"]
    for path in needed:
        assert path in PATHS and _has(schema, f"{root}/{path}"), path
    detail = "Ntry/NtryDtls/TxDtls"
    for one_of in (
        [f"{detail}/Amt", f"{detail}/AmtDtls/TxAmt/Amt"],
        [f"{detail}/RltdPties/Dbtr/Nm", f"{detail}/RltdPties/Dbtr/Pty/Nm"],
        ["Ntry/Chrgs/Amt", "Ntry/Chrgs/Rcrd/Amt"],
    ):
        assert any(path in PATHS and _has(schema, f"{root}/{path}") for path in one_of), one_of
