"""The clearing rules: declared in `rules.yaml`, in order, with their versions.

Lives here: reading the declaration, the digest of everything that decides. Must not live here: the queries (one
`.sql` file a pass), the searches (`recon.matching.search`) or the code that runs them.

A rule's version goes up whenever it could decide differently on the same rows; the version is stored with every
set, and the digest of all rules is part of a run's input.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Final

import yaml

from recon.matching.stock import Stock

MARGIN: Final = 20  # points of evidence ahead of the next best, for the line and for the expectation


@dataclass(frozen=True, slots=True)
class Rule:
    """One pass of the cascade.

    `code` is stored with the sets it clears; `query` names its `.sql` file or search. `key` is the column that all
    members of a set share, None when amount and date are all they need to share. `wide` is the kind of expectation
    whose sets of this rule are found by the first pass over everything at once. A set of a fungible rule could as
    well have been paired otherwise, with the same effect. It finds nothing unless one word of `needs` is true.
    """

    code: str
    version: int
    query: str
    evidence: str
    key: str | None = None
    parameters: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    wide: str | None = None
    is_fungible: bool = False
    is_explained: bool = False
    needs: tuple[Stock, ...] = ()

    @property
    def is_routine(self) -> bool:
        """Sets of a routine rule are explained items: posted by approved policy, listed apart."""
        return self.code.startswith("routine-")

    @property
    def is_search(self) -> bool:
        """Whether it is found by a search rather than by one query."""
        return self.query.startswith("search_")


def read_rules(text: str) -> tuple[Rule, ...]:
    """Rules from their declaration (YAML). Raises `KeyError`, `TypeError` or `ValueError` if one is not complete."""
    entries = yaml.safe_load(text)
    rules = tuple(Rule(**entry | {"needs": tuple(Stock(word) for word in entry["needs"])}) for entry in entries)
    if len({rule.code for rule in rules}) != len(rules):
        raise ValueError("two rules have one code")
    return rules


@cache
def rule_sql(name: str) -> str:
    """Text of a query of this folder, e.g. ``rule_sql('pass_batch')``."""
    return resources.files("recon.matching").joinpath(f"{name}.sql").read_text(encoding="utf-8")


def declared_rules() -> list[dict[str, str | int | bool | None]]:
    """What a verifier needs to know of each rule, in order: kept with every result."""
    return [
        {"code": rule.code, "version": rule.version, "key": rule.key, "is_fungible": rule.is_fungible} for rule in RULES
    ]


def _declaration() -> str:
    return resources.files("recon.matching").joinpath("rules.yaml").read_text(encoding="utf-8")


RULES: tuple[Rule, ...] = read_rules(_declaration())
SHARED: tuple[str, ...] = (
    "source",
    "exact",
    "unpaired",
    "residual",
    "residual_left",
    "residual_item",
    "views",
    "views_keys",
    "views_known",
    "views_named",
    "other_names",
    "known_names",
    "spoken_against",
    "scored_candidates",
    "party_names",
    "subset_pools",
    "provable",
    "open_references",
    "stock",
    "stock_pairs",
)
SEARCH_MODULES: tuple[str, ...] = (
    "search.py",
    "differences.py",
    "likeness.py",
    "other_names.py",
    "parties.py",
    "subsets.py",
    "stock.py",
)


def rules_sha256(codes: tuple[str, ...] = ()) -> str:
    """Digest of the declaration and of every query, plus `codes` (the taxonomy's own version marks)."""
    digest = hashlib.sha256(_declaration().encode())
    queries = {rule.query for rule in RULES if not rule.is_search}
    for name in (*SHARED, *sorted(queries)):
        digest.update(f"{name}\x1f{rule_sql(name)}\x1e".encode())
    for name in SEARCH_MODULES:
        digest.update(resources.files("recon.matching").joinpath(name).read_bytes() + b"\x1e")
    for code in codes:
        digest.update(code.encode() + b"\x1e")
    return digest.hexdigest()
