"""Payees as people work with them: what is recorded of one, new bank details, holds and their release.

Lives here: the calls and what they give back. Must not live here: who may, and what a hold stops (Postgres).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

from psycopg.rows import class_row

from ledger import Connection, transaction, translate_errors
from settlement.errors import NotKnownError
from settlement.iso20022 import Rail
from settlement.setup_check import checked_details
from settlement.setup_model import Bank


@dataclass(frozen=True, slots=True, kw_only=True)
class PayeeVersion:
    """One recorded version of a payee: details and rules. Amounts in minor units of its currency."""

    version: int
    name: str
    iban: str
    bic: str | None
    country: str | None
    town: str | None
    street: str | None
    postcode: str | None
    pay_from: str
    schedule: str
    delay_days: int
    minimum_minor: int
    maximum_minor: int | None
    reserve_bps: int
    reserve_days: int
    reserve_fixed_minor: int
    negative: str
    mandate_id: str | None
    recorded_at: dt.datetime
    recorded_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreeningRow:
    """A verdict that was kept."""

    hook: str
    moment: str
    version: int
    verdict: str
    list_version: str | None
    detail: str | None
    checked_at: dt.datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PayeeView:
    """A payee with its versions (last first), why it is held, what it is owed and what is reserved."""

    payee: str
    currency: str
    account: str
    open_minor: int
    reserved_minor: int
    held: tuple[str, ...]
    versions: tuple[PayeeVersion, ...]
    screenings: tuple[ScreeningRow, ...]


_HEAD = """
SELECT p.payee_id, c.code, a.code, -l.posted_minor,
       coalesce((SELECT sum(o.left_minor) FROM settlement.reserve_open o WHERE o.payee_id = p.payee_id), 0)::bigint
  FROM settlement.payee p
  JOIN ledger.currency c USING (currency_id)
  JOIN ledger.account a USING (account_id)
  JOIN ledger.account_balance l USING (account_id)
 WHERE p.book_id = %s AND p.code = %s
"""
_VERSIONS = """
SELECT v.version, v.name, v.iban, v.bic, v.country, v.town, v.street, v.postcode, b.code AS pay_from, v.schedule,
       v.delay_days, v.minimum_minor, v.maximum_minor, v.reserve_bps, v.reserve_days, v.reserve_fixed_minor,
       v.negative, v.mandate_id, v.recorded_at, settlement.person(v.recorded_by) AS recorded_by
  FROM settlement.payee_version v JOIN settlement.bank_account_root b USING (bank_account_id)
 WHERE v.payee_id = %s ORDER BY v.version DESC
"""
_SCREENINGS = """
SELECT s.hook, s.moment, v.version, s.verdict, s.list_version, s.detail, s.checked_at
  FROM settlement.screening s JOIN settlement.payee_version v USING (payee_version_id)
 WHERE v.payee_id = %s ORDER BY s.screening_id DESC LIMIT 20
"""
_PROFILE = """
SELECT f.body, b.rail, y.name, y.iban, y.bic, y.country, y.town, y.street, y.postcode
  FROM settlement.payee_current y
  JOIN settlement.bank_account b USING (bank_account_id)
  JOIN settlement.bank_profile f ON f.profile_id = b.profile_id
 WHERE y.book_id = %s AND y.code = %s
"""
DETAILS = ("name", "iban", "bic", "country", "town", "street", "postcode")


def payee_view(conn: Connection, *, book_id: int, payee: str, now: dt.datetime) -> PayeeView:
    """Everything recorded of a payee, and why it would not be paid at `now`. Raises `NotKnownError`."""
    with transaction(conn):
        head = conn.execute(_HEAD, (book_id, payee)).fetchone()
        if head is None:
            raise _not_known(payee)
        payee_id, currency, account, open_minor, reserved_minor = head
        held = conn.execute(
            "SELECT reason FROM settlement.blocked_payees(%s, %s) WHERE payee_id = %s", (book_id, now, payee_id)
        ).fetchall()
        with conn.cursor(row_factory=class_row(PayeeVersion)) as cursor:
            versions = cursor.execute(_VERSIONS, (payee_id,)).fetchall()
        with conn.cursor(row_factory=class_row(ScreeningRow)) as cursor:
            screenings = cursor.execute(_SCREENINGS, (payee_id,)).fetchall()
    return PayeeView(
        payee=payee,
        currency=str(currency),
        account=str(account),
        open_minor=int(str(open_minor)),
        reserved_minor=int(str(reserved_minor)),
        held=tuple(str(row[0]) for row in held),
        versions=tuple(versions),
        screenings=tuple(screenings),
    )


def change_payee(conn: Connection, *, book_id: int, payee: str, details: Mapping[str, str | None]) -> bool:
    """Record new details of a payee as a new version; what is not given stays, None takes away.

    False when nothing differs. Name, IBAN or BIC that are new wait as the setup's `payee_changes` says. Only members
    of the preparer and approver groups may. Raises `SetupError` with every fault, `NotKnownError`.
    """
    if unknown := sorted(set(details) - set(DETAILS)):
        raise ValueError(f"{unknown[0]} is not a detail of a payee")
    with transaction(conn):
        row = conn.execute(_PROFILE, (book_id, payee)).fetchone()
        if row is None:
            raise _not_known(payee)
        recorded = {name: None if value is None else str(value) for name, value in zip(DETAILS, row[2:], strict=True)}
        bank, rail = Bank.model_validate(row[0]), Rail(str(row[1]))
        new = checked_details(bank, rail, recorded | dict(details), f"payee {payee}")
        done = conn.execute(
            "SELECT settlement.change_payee(%s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (book_id, payee, *(getattr(new, name) for name in DETAILS)),
        ).fetchone()
    return done is not None and bool(done[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class GoingOn:
    """A payment that a hold of its payee comes too late for: its file is sealed, and goes to the bank or is there."""

    end_to_end_id: str
    file_id: int
    state: str


_GOING_ON = """
SELECT i.end_to_end_id, i.file_id, f.state
  FROM settlement.file_standing f JOIN settlement.instruction i USING (file_id)
  JOIN settlement.payee y USING (payee_id)
 WHERE y.book_id = %s AND y.code = %s AND f.state IN ('sealed', 'failed', 'sending', 'unknown', 'sent')
 ORDER BY i.file_id
"""


def hold_payee(conn: Connection, *, book_id: int, payee: str, reason: str) -> list[GoingOn]:
    """Stop paying a payee until an approver releases it; what of it goes on all the same. Raises `NotKnownError`."""
    with transaction(conn):
        conn.execute("SELECT settlement.hold_payee(%s, %s, %s)", (book_id, payee, reason))
        with conn.cursor(row_factory=class_row(GoingOn)) as cursor:
            return cursor.execute(_GOING_ON, (book_id, payee)).fetchall()


def release_payee(conn: Connection, *, book_id: int, payee: str, reason: str) -> int:
    """Release every hold of a payee, and new details that another person recorded; how many there were.

    Only approvers may. Cooling off is not shortened. Raises `FourEyesError`, `NotKnownError`.
    """
    with translate_errors(), transaction(conn):
        row = conn.execute("SELECT settlement.release_payee(%s, %s, %s)", (book_id, payee, reason)).fetchone()
    return 0 if row is None else int(str(row[0]))


def _not_known(payee: str) -> NotKnownError:
    return NotKnownError(f"there is no payee {payee}; payees are declared by `nostro setup`.")
