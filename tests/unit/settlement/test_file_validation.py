"""Every usual profile and every message through readers that are not ours; docs/file-validation.md shows the result.

NOSTRO_WRITE_GOLDEN=1 make test ARGS=tests/unit/settlement/test_file_validation.py   writes the table
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import MISSING, fields, replace
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any, TypeVar

import pytest
from iso_profiles import bank_of, file_of, limits_of, other_file
from lxml import etree
from typer.testing import CliRunner
from xsdata.formats.dataclass.context import XmlContext
from xsdata.formats.dataclass.parsers import XmlParser
from xsdata.formats.dataclass.parsers.config import ParserConfig
from xsdata.formats.dataclass.serializers import XmlSerializer

from nostro.cli.app import app
from settlement import Calendar, read_setup, usual_profiles
from settlement.iso20022 import (
    FileLimits,
    MessageVersion,
    Rail,
    SequenceType,
    Totals,
    check_business_rules,
    gate_file,
    render,
)
from settlement.iso20022.iso_objects import document_class

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "file-validation.md"
START, END = "<!-- table: who accepts which file -->\n", "<!-- end of table -->"
PROFILES = list(usual_profiles())
OTHERS = [version for version in MessageVersion if version.family != "pain.001"]
Case = str | MessageVersion
T = TypeVar("T")
_CONTEXT = XmlContext()  # what xsdata learns of a class, once


def _made(case: Case) -> tuple[Any, list[Any], FileLimits]:
    if isinstance(case, MessageVersion):
        limits = FileLimits(rail=Rail.SEPA, calendar=Calendar("ECB", "UTC"), uetr=case.carries_uetr)
        return *other_file(case), limits
    profile = usual_profiles()[case]
    return *file_of(profile), limits_of(bank_of(profile))


def _in_groups(file: Any, payments: list[Any]) -> tuple[Any, Totals]:
    """The same payments in three groups, as a bank takes them that allows several."""
    (group,) = file.groups
    name = group.payment_information_id
    groups = [replace(group, payment_information_id=f"{name}-B{n}") for n in (1, 2, 3)]
    if hasattr(group, "sequence_type"):
        groups[1] = replace(groups[1], sequence_type=SequenceType.FRST)
    totals = Totals.of_groups([payments[:7], payments[7:8], payments[8:]])
    return replace(file, groups=tuple(groups)), totals


@pytest.mark.parametrize("case", [*PROFILES, *OTHERS], ids=str)
def test_it_passes_our_own_gates(case: Case) -> None:
    file, payments, limits = _made(case)
    assert check_business_rules(file, payments, limits) == []
    assert gate_file(render(file, payments), file, payments, Totals.of(payments)) == []
    several, totals = _in_groups(file, payments)
    assert check_business_rules(several, payments, limits, totals) == []
    assert gate_file(render(several, payments, totals), several, payments, totals) == []


@pytest.mark.parametrize("case", [*PROFILES, *OTHERS], ids=str)
def test_pyiso20022_reads_it_whole_and_writes_the_same(case: Case) -> None:
    """Nothing is unknown to the classes, nothing mandatory is missing, and nothing is lost on the way."""
    file, payments, _ = _made(case)
    several, totals = _in_groups(file, payments)
    for content in (render(file, payments), render(several, payments, totals)):
        _read_and_written(file.message_version, content)


def _read_and_written(version: MessageVersion, content: bytes) -> None:
    config = ParserConfig(class_factory=_complete, fail_on_unknown_properties=True)
    document = XmlParser(config=config, context=_CONTEXT).from_bytes(content, document_class(version))
    again = XmlSerializer(context=_CONTEXT).render(document, ns_map={None: version.namespace})
    assert again.encode() == content


def _complete(cls: type[T], params: dict[str, object]) -> T:
    missing = [
        f.name
        for f in fields(cls)  # type: ignore[arg-type]
        if f.name not in params and f.default is MISSING and f.default_factory is MISSING
    ]
    assert not missing, f"{cls.__name__} lacks {missing}"
    return cls(**params)


def test_the_page_shows_who_accepts_which_file(shared: Path, tmp_path: Path) -> None:
    xmllint, cbpr = shutil.which("xmllint"), Path(sys.executable).with_name("cbpr-validate")
    if xmllint is None or not cbpr.exists():
        pytest.skip("xmllint or cbpr-validate is not installed")
    lines = [
        "| Profile or file | Message | xmllint, published schema | pyiso20022 reads, writes the same "
        "| sepaxml's schema | cbpr-validate, year 2026 |",
        "|---|---|---|---|---|---|",
    ]
    for case in (*PROFILES, *OTHERS):
        file, payments, _ = _made(case)
        path = tmp_path / f"{case}.xml"
        path.write_bytes(render(file, payments))
        version = file.message_version.value
        several, totals = _in_groups(file, payments)
        path_of_several = tmp_path / f"{case}-several.xml"
        path_of_several.write_bytes(render(several, payments, totals))
        schema = str(shared / "xsd" / f"{version}.xsd")
        command = [xmllint, "--noout", "--schema", schema, str(path), str(path_of_several)]
        checked = subprocess.run(command, capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stderr
        name = _KINDS[case.family] if isinstance(case, MessageVersion) else f"`{case}`"
        reads = "yes" if file.message_version is not MessageVersion.PAIN_008_001_08 else "yes, our generated classes"
        lines.append(f"| {name} | {version} | accepts | {reads} | {_sepaxml(path, version)} | {_cbpr(cbpr, path)} |")
    table = "\n".join(lines) + "\n"
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(START)
    old, after = rest.split(END)
    if os.environ.get("NOSTRO_WRITE_GOLDEN"):
        PAGE.write_text(before + START + table + END + after, encoding="utf-8")
        old = table
    assert old == table


_KINDS = {"pain.007": "reversals", "pain.008": "direct debits", "camt.055": "requests to cancel"}


def _sepaxml(path: Path, version: str) -> str:
    schema = package_files("sepaxml") / "schemas" / f"{version}.xsd"
    if not schema.is_file():
        return "has none"
    etree.XMLSchema(etree.fromstring(schema.read_bytes())).assertValid(etree.parse(str(path)))
    return "accepts"


def _cbpr(program: Path, path: Path) -> str:
    command = [str(program), str(path), "--year", "2026", "--format", "compact"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"VALID: 0 violations \((\d+) rules\)", done.stdout)
    assert done.returncode == 0 and found is not None, done.stdout
    return f"accepts ({found.group(1)} rules)"


def test_cbpr_validate_would_say_what_is_wrong(tmp_path: Path) -> None:
    cbpr = Path(sys.executable).with_name("cbpr-validate")
    if not cbpr.exists():
        pytest.skip("cbpr-validate is not installed")
    file, payments, _ = _made("sepa-sct")
    path = tmp_path / "wrong.xml"
    path.write_bytes(render(file, payments).replace(b"NL91ABNA0417164300", b"NL92ABNA0417164300"))
    with pytest.raises(AssertionError, match="VAL-IBAN"):
        _cbpr(cbpr, path)


def test_of_a_file_of_several_groups_cbpr_validate_says_r8_alone(tmp_path: Path) -> None:
    cbpr = Path(sys.executable).with_name("cbpr-validate")
    if not cbpr.exists():
        pytest.skip("cbpr-validate is not installed")
    file, payments, _ = _made("sepa-sct")
    several, totals = _in_groups(file, payments)
    path = tmp_path / "several.xml"
    path.write_bytes(render(several, payments, totals))
    with pytest.raises(AssertionError) as refused:
        _cbpr(cbpr, path)
    assert set(re.findall(r"\b(R\d+|VAL-[A-Z]+)\b", str(refused.value))) == {"R8"}


def test_the_register_on_the_command_line() -> None:
    done = CliRunner().invoke(app, ["bank", "profiles", "--json"])
    assert done.exit_code == 0
    listed = json.loads(done.stdout)["profiles"]
    assert [profile["code"] for profile in listed] == PROFILES
    assert {rail for profile in listed for rail in profile["rails"]} == {rail.value for rail in Rail}


def test_the_sample_setup_uses_every_profile_and_has_no_fault() -> None:
    checked = read_setup(ROOT / "data" / "fixtures" / "profiles" / "setup.yaml")
    assert set(checked.setup.banks) == set(PROFILES)
    for code, bank in checked.setup.banks.items():
        usual = usual_profiles()[code]
        assert (bank.message, bank.charset, bank.holidays) == (usual.message, usual.charset, usual.holidays)
        assert bank.uetr is usual.uetr and bank.batch_booking is usual.batch_booking
