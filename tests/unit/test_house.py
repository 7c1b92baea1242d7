"""The rules of the house that tools do not check: who imports whom, what is public, how SQL and money are written."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import ledger

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("ledger", "settlement", "recon", "dagster_project", "nostro", "sandbox", "benchmarks")
MONEY = ("ledger", "settlement", "recon")
LINES_MAX = 500
GENERATED = ROOT / "settlement" / "iso20022" / "generated"  # by `make iso-classes`, from a published schema

LEDGER_API = """
AccessError AccountBalance AccountMode AlreadyReversedError AmountError AppendOnlyError Batcher CURRENCIES
CeilingError CertifiedDayError CheckFailedError ClosedPeriodError Connection ControlAccountError Conversion Currency
EntryOutcome EntryStatus Event EventPosting Exchange Export ExportFormat ExportReport Fault FloorError
FunctionalBalance FunctionalTrialBalance Hold HoldError HoldPosting HoldState HotAccount IdempotencyConflictError
ImportReport JournalFileError JournalRow Knowledge ModeOf Money NewEntry NewHold NewPosting NewRate NostroError
NotCertifiedError OutcomeUnknownError PeriodEvent PeriodStatus PlacedHold Position PostedEntry Proof Rate RateError
RateFileError RateImport RefusedError RestatedBalance Restatement RestatingPosting Revaluation Seal SealReport
StatementCursor StatementPage StatementRow TrialBalance UnavailableError UnbalancedEntryError UnknownAccountError
UnknownCurrencyError account_code account_ids add_rates advance_consumer anchor_to_file balance beancount_account
book_id close_period committed connect constraint_errors consumer_offset conversion currencies currency
define_currency events exchange exchanges expire_due export_audit export_journal export_parquet export_text
fold_deferred format_amount functional_trial_balance hot_accounts import_journal import_rates import_rows
knowledge_at list_holds list_seals parse_amount_minor period_status place_holds post_batch post_holds
post_independent prove publish published_through rates_on read_seal_lines register_constraint_errors reopen_period
request_close_override request_reopen restatement revaluation revalue reverse reverse_exchange seal
set_account_modes soft_close_period statement statement_page take_events transaction translate_errors trial_balance
verify verify_after verify_seals void_holds
"""


def tracked(*suffixes: str) -> list[Path]:
    """Files under version control (and new ones not ignored) with one of these endings."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    return [ROOT / name for name in listed if name.endswith(suffixes) and (ROOT / name).is_file()]


def modules(*packages: str) -> Iterator[tuple[Path, ast.Module]]:
    """Every module of these packages, parsed."""
    for package in packages:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path, ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def place(path: Path, node: ast.AST) -> str:
    return f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"


def test_imports_go_one_way() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_public_api_of_the_ledger() -> None:
    assert sorted(ledger.__all__) == sorted(LEDGER_API.split())
    assert all(hasattr(ledger, name) for name in ledger.__all__)


def test_no_float_near_money() -> None:
    """`float(` and float annotations do not occur where amounts live; durations are in dagster_project and sandbox."""
    found = [
        place(path, node)
        for path, tree in modules(*MONEY)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "float"
    ]
    assert found == []


_SQL = re.compile(
    r"^\s*(SELECT|INSERT\s+INTO|UPDATE\s+\S+\s+SET|DELETE\s+FROM|WITH\s+\w+|CREATE\s+(TABLE|VIEW|ROLE|DATABASE|FUNCTION)"
    r"|ALTER\s+(TABLE|ROLE)|DROP\s+|GRANT\s+|COPY\s+|TRUNCATE\s+|MERGE\s+)\b",
)


# DuckDB takes no identifier as a parameter; these few paste a name of our own (never a value), each read by a person.
_NAMES_PASTED = {"recon/matching/engine.py": 1, "recon/runs.py": 1, "recon/warehouse.py": 2}


def _is_constant(node: ast.expr) -> bool:
    """A literal, or the name of a module's constant, or several of these put together."""
    if isinstance(node, ast.BinOp):
        return _is_constant(node.left) and _is_constant(node.right)
    return isinstance(node, ast.Constant) or (isinstance(node, ast.Name) and node.id.isupper())


def _pasted_text(node: ast.AST) -> object:
    """The first literal of a string built from parts that are not constants, else None."""
    first: ast.AST | None = None
    if isinstance(node, ast.JoinedStr) and any(isinstance(part, ast.FormattedValue) for part in node.values):
        first = node.values[0]
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod | ast.Add) and not _is_constant(node):
        first = node.left
        while isinstance(first, ast.BinOp):
            first = first.left
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
        first = node.func.value  # "…".format(…) pastes; sql.SQL("…").format(…) composes
    return first.value if isinstance(first, ast.Constant) else None


def test_no_sql_is_made_of_strings() -> None:
    """No f-string, `%`, `+` or `.format` builds SQL: values are parameters, names go through psycopg.sql."""
    found: dict[str, set[int]] = {}
    for path, tree in modules(*PACKAGES):
        for node in ast.walk(tree):
            text = _pasted_text(node)
            if isinstance(text, str) and _SQL.match(text):
                found.setdefault(path.relative_to(ROOT).as_posix(), set()).add(getattr(node, "lineno", 0))
    assert {path: len(lines) for path, lines in found.items() if len(lines) > _NAMES_PASTED.get(path, 0)} == {}, found


def test_files_stay_readable() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in tracked(".py", ".sql")
        if GENERATED not in path.parents and (lines := len(path.read_text(encoding="utf-8").splitlines())) > LINES_MAX
    }
    assert long == {}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_module_says_what_lives_in_it(package: str) -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path, tree in modules(package)
        if tree.body and not ast.get_docstring(tree) and GENERATED not in path.parents
    ]
    assert silent == []


# Written in two parts, so that this file does not contain what it looks for.
_FOREIGN = re.compile(
    "|".join(
        [
            "/" + "work/",
            "/" + "root/",
            "/" + r"home/\w+/",
            "pypi" + r"\.org",
            "files" + r"\.pythonhosted",
            "--" + "index-url",
            "--" + "extra-index-url",
            "registry" + r"\.npmjs",
        ]
    )
)


def test_no_machine_path_and_no_registry_address() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in tracked(".py", ".sql", ".md", ".toml", ".txt", ".in", ".yaml", ".yml", ".sh", "Makefile", "run")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if _FOREIGN.search(line)
    ]
    assert found == []
