"""docs/invariants.md against the code: every constraint, error and test that it names exists, and none is left out."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import ledger
import settlement.errors
from ledger import constraint_errors
from tests.integration.test_ledger_catalogue import SCHEMAS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "invariants.md").read_text(encoding="utf-8")
_CODE = re.compile(r"`([^`]+)`")


def rows() -> list[list[str]]:
    """The table: number, rule, constraints, errors, tests."""
    lines = [line for line in PAGE.splitlines() if re.match(r"\| \d+ \|", line)]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def named(cell: str) -> list[str]:
    return _CODE.findall(cell)


def test_every_rule_has_a_row_and_the_planned_ones_say_so() -> None:
    numbers = [int(row[0]) for row in rows()]
    assert numbers == sorted(numbers) and set(numbers) == set(range(1, 13))
    assert {int(row[0]) for row in rows() if "*planned*" in row[2]} == set()
    for row in rows():
        assert "*planned*" in row[2] or ((named(row[2]) or "durability" in row[2]) and named(row[3]) and named(row[4]))


def test_constraints_are_registered_and_mean_the_named_errors() -> None:
    known = constraint_errors()
    for row in rows():
        errors = set(named(row[3]))
        for name in named(row[2].replace("`held_minor`", "")):
            if name in known:
                assert known[name].__name__ in errors, f"{name} in row {row[0]}"
            else:
                assert _is_function(name), f"{name} in row {row[0]}"


def _is_function(name: str) -> bool:
    """Whether some .sql file of the packages creates a function of that name."""
    pattern = re.compile(rf"CREATE FUNCTION \w+\.{re.escape(name)}\b")
    files = [path for schema in SCHEMAS for path in (ROOT / schema / "sql").glob("*.sql")]
    return any(pattern.search(path.read_text(encoding="utf-8")) for path in files)


def test_errors_exist() -> None:
    for row in rows():
        for name in named(row[3]):
            assert hasattr(ledger, name) or hasattr(settlement.errors, name), name


def test_tests_exist() -> None:
    for row in rows():
        for path, _, function in (name.partition("::") for name in named(row[4])):
            tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
            functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
            assert function in functions, f"{path}::{function}"


def test_no_rule_of_the_ledger_is_left_out() -> None:
    """Every constraint that the ledger raises about books is on the page (set-up and look-up faults are not rules)."""
    not_rules = {"book_same", "book_known", "account_same", "entry_known", "batch_shape"}
    ours = {name for name, error in constraint_errors().items() if error.__module__ == "ledger.errors"}
    mentioned = {name for row in rows() for name in named(row[2])}
    of_ledger = {name for name in ours if name in _ledger_sql()}
    assert of_ledger - not_rules - mentioned == set()


def _ledger_sql() -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "ledger" / "sql").glob("*.sql"))
