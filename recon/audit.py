"""Audit samples of cleared sets, and what reviews say about days and rules.

Lives here: drawing (by the database), reviewing, reading, demoting rules on evidence. Must not live here: the
arithmetic of bounds (`recon.precision`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass

from ledger import Connection, currency, format_amount, transaction
from recon.errors import SignOffError
from recon.precision import Reviewed, false_value_bound, precision_bounds

TARGET_PPM = 998_000


@dataclass(frozen=True, slots=True)
class SampledSet:
    """One set of a sample; `false_minor` None until somebody reviewed it."""

    match_set_id: int
    rule: str
    value_minor: int
    weight: int
    hits: int
    false_minor: int | None
    reviewed_by: str | None
    note: str | None


@dataclass(frozen=True, slots=True)
class AuditSample:
    """A day's sample. `bound_minor`: with 95 % confidence no more was falsely cleared; None until all is reviewed."""

    sample_id: int
    bank_account: str
    business_date: dt.date
    certificate_sha256: str
    currency: str
    population_count: int
    population_minor: int
    interval_size: int
    sets: tuple[SampledSet, ...]
    bound_minor: int | None

    def render(self) -> Iterator[str]:
        """The sample as text lines."""

        def money(minor: int) -> str:
            return f"{format_amount(minor, currency(self.currency).exponent)} {self.currency}"

        yield (
            f"Sample {self.sample_id} of {self.bank_account} on {self.business_date}: {len(self.sets)} of"
            f" {self.population_count} sets, {money(self.population_minor)} cleared"
        )
        for each in self.sets:
            said = "to be reviewed"
            if each.false_minor is not None:
                said = (
                    f"{'right' if each.false_minor == 0 else 'false ' + money(each.false_minor)} ({each.reviewed_by})"
                )
            yield f"  set {each.match_set_id:<10} {each.rule:<22} {money(each.value_minor):>20}  {said}"
        if self.bound_minor is None:
            yield "The bound is known once every set is reviewed: nostro recon review SET --right|--false AMOUNT"
        else:
            yield f"With 95 % confidence no more than {money(self.bound_minor)} was falsely cleared"


@dataclass(frozen=True, slots=True)
class RulePrecision:
    """What is known about a rule: sets, reviewed or taken back, wrong; 95 % bounds in millionths; auto or suggest."""

    rule: str
    sets: int
    reviewed: int
    wrong: int
    lower_ppm: int
    upper_ppm: int
    status: str
    reason: str | None


def draw_sample(
    conn: Connection, *, book_id: int, business_date: dt.date, bank_account: str, wanted: int = 60
) -> AuditSample:
    """Draw the day's sample, or read the one that was drawn. Raises `SignOffError` when there is nothing."""
    with transaction(conn):
        row = conn.execute(
            "SELECT recon.draw_sample(%s, %s, %s, %s)", (book_id, bank_account, business_date, wanted)
        ).fetchone()
        if row is None or row[0] is None:
            raise SignOffError(f"nothing cleared on {bank_account} on {business_date}; there is nothing to sample.")
        return _sample(conn, int(str(row[0])))


def review_set(
    conn: Connection, *, book_id: int, sample_id: int, match_set_id: int, false_minor: int, note: str | None = None
) -> AuditSample:
    """Say how much of a sampled set was cleared falsely (0: it is right); the sample with it."""
    with transaction(conn):
        conn.execute(
            "SELECT recon.review_set(%s, %s, %s, %s, %s)", (book_id, sample_id, match_set_id, false_minor, note)
        )
        return _sample(conn, sample_id)


_HEAD = """
SELECT s.sample_id, a.code, s.business_date, s.certificate_sha256, c.code, s.population_count, s.population_minor,
       s.interval_size, s.lightest_weight
  FROM recon.audit_sample s JOIN settlement.bank_account_root a USING (bank_account_id)
  JOIN ledger.currency c USING (currency_id) WHERE s.sample_id = %s
"""
_SETS = """
SELECT i.match_set_id, i.rule, i.value_minor, i.weight, i.hits, r.false_minor, settlement.person(r.reviewed_by), r.note
  FROM recon.audit_item i LEFT JOIN recon.audit_review r USING (sample_id, match_set_id)
 WHERE i.sample_id = %s ORDER BY i.match_set_id
"""


_TRUST = "SELECT recon.trust_rule(%s, %s, %s, %s, %s, %s, %s, %s)"
_SUGGEST = "SELECT recon.suggest_rule(%s, %s, %s, %s, %s, %s, %s, %s)"


def _sample(conn: Connection, sample_id: int) -> AuditSample:
    row = conn.execute(_HEAD, (sample_id,)).fetchone()
    if row is None:
        raise SignOffError(f"there is no sample {sample_id}.")
    *head, lightest = row
    sets = tuple(SampledSet(*row) for row in conn.execute(_SETS, (sample_id,)).fetchall())  # type: ignore[arg-type]
    interval, population = int(str(head[7])), int(str(head[6]))
    reviewed = [Reviewed(s.value_minor, s.weight, s.false_minor) for s in sets if s.false_minor is not None]
    bound = None
    if len(reviewed) == len(sets):
        bound = false_value_bound(reviewed, interval=interval, population_minor=population, lightest=int(str(lightest)))
    return AuditSample(*head, sets, bound)  # type: ignore


def rule_precision(conn: Connection, *, book_id: int) -> list[RulePrecision]:
    """Every rule that cleared something, with what people found about it."""
    with transaction(conn):
        rows = conn.execute(
            "SELECT e.rule, e.sets::int, e.reviewed::int, e.wrong::int, coalesce(s.status, 'auto'), s.reason"
            " FROM recon.rule_evidence e LEFT JOIN recon.rule_status_current s USING (book_id, rule)"
            " WHERE e.book_id = %s ORDER BY e.rule",
            (book_id,),
        ).fetchall()
    found = []
    for rule, sets, reviewed, wrong, status, reason in rows:
        lower, upper = precision_bounds(int(str(reviewed)), int(str(wrong)))
        found.append(RulePrecision(rule, sets, reviewed, wrong, lower, upper, status, reason))  # type: ignore[arg-type]
    return found


def demote_rules(
    conn: Connection, *, book_id: int, target_ppm: int = TARGET_PPM, only_new: bool = False
) -> list[RulePrecision]:
    """Make every rule suggest whose precision is below the target with 95 % confidence; which ones fell back now.

    `only_new`: look only when people reviewed or took back a set since the last run, as every night does.
    """
    if only_new:
        with transaction(conn):
            row = conn.execute("SELECT recon.has_new_evidence(%s)", (book_id,)).fetchone()
        if row is None or not row[0]:
            return []
    fallen = []
    for found in rule_precision(conn, book_id=book_id):
        if found.status == "auto" and found.reviewed and found.upper_ppm < target_ppm:
            reason = f"{found.wrong} of {found.reviewed} reviewed sets were wrong; the precision is below the target"
            if set_rule_status(
                conn, book_id=book_id, found=found, status="suggest", reason=reason, target_ppm=target_ppm
            ):
                fallen.append(found)
    return fallen


def set_rule_status(
    conn: Connection, *, book_id: int, found: RulePrecision, status: str, reason: str, target_ppm: int = TARGET_PPM
) -> bool:
    """Let a rule only `suggest`, or clear by itself (`auto`, an approver); False when it is so already."""
    with transaction(conn):
        row = conn.execute(
            _TRUST if status == "auto" else _SUGGEST,
            (book_id, found.rule, reason, found.reviewed, found.wrong, found.lower_ppm, found.upper_ppm, target_ppm),
        ).fetchone()
    return row is not None and bool(row[0])
