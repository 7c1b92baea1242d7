"""The clearing rules, as data.

Lives here: the ordered list of rules with their versions and the DuckDB query that finds their sets.
Must not live here: the queries themselves (one `.sql` file a pass) or the code that runs them.

A rule's version goes up whenever its query could decide differently on the same rows; the version is
stored with every set, and the digest of all rules is part of a run's input.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources


@dataclass(frozen=True, slots=True)
class Rule:
    """One pass of the cascade. `code` is stored with the sets it clears; `query` names its `.sql` file."""

    code: str
    version: int
    query: str
    evidence: str

    @property
    def is_routine(self) -> bool:
        """Sets of a routine rule are explained items: posted by approved policy, listed apart."""
        return self.code.startswith("routine-")


RULES: tuple[Rule, ...] = (
    Rule("own-reject", 1, "pass_own_reject", "The bank's reject undoes our own instruction."),
    Rule("routine-return", 1, "pass_routine", "The returned payment re-opened its payable."),
    Rule("routine-charge", 1, "pass_routine", "A charge of the agreed tariff, posted to bank fees."),
    Rule("routine-interest", 1, "pass_routine", "Interest credited, posted to interest income."),
    Rule("exact-end-to-end", 1, "pass_end_to_end", "EndToEndId and amount agree, within the window."),
    Rule("exact-uetr", 1, "pass_uetr", "UETR and amount agree, within the window."),
    Rule("batch-sum", 1, "pass_batch", "One batch line equals all open instructions of its file."),
    Rule("receipt-reference", 1, "pass_receipt", "The payout id and the amount agree, within the window."),
    Rule("receipt-sum", 1, "pass_receipt_sum", "Several lines of one payout id add up to what we expect."),
    Rule("amount-party", 1, "pass_amount_party", "Amount, date and the other party's account are unique."),
    Rule("prefix-end-to-end", 1, "pass_prefix", "A truncated EndToEndId fits one open item, amount equal."),
)


def rule_sql(name: str) -> str:
    """Text of a query of this folder, e.g. ``rule_sql('pass_batch')``."""
    return resources.files("recon.matching").joinpath(f"{name}.sql").read_text(encoding="utf-8")


def rules_sha256(codes: tuple[str, ...] = ()) -> str:
    """Digest of every rule, its version and its query, plus `codes` (the taxonomy's own version marks)."""
    digest = hashlib.sha256()
    for rule in RULES:
        digest.update(f"{rule.code}\x1f{rule.version}\x1f{rule_sql(rule.query)}\x1e".encode())
    for code in codes:
        digest.update(code.encode() + b"\x1e")
    return digest.hexdigest()
