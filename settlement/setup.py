"""Applying a setup file: book, chart rules, banks, bank accounts with opening balances, payees.

Lives here: turning a checked setup into calls of the declaring SQL functions, in one transaction.
Must not live here: reading and checking (`setup_check`), rules about money (Postgres).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from psycopg.types.json import Jsonb

from ledger import Connection, ModeOf, set_account_modes, transaction
from settlement.setup_check import CheckedSetup, minor, payee_schedule, rail_limits, read_setup
from settlement.setup_model import AccountRule, AccountType, ApprovalTerms, Payee, Setup


@dataclass(frozen=True, slots=True, kw_only=True)
class SetupReport:
    """What was declared and what of it is new. Applying the same file again: nothing is new."""

    book_id: int
    book: str
    banks: int
    bank_accounts: int
    payees: int
    new_payees: int
    changed_payees: int
    changed: bool


@dataclass(frozen=True, slots=True)
class _Account:
    code: str
    type: AccountType
    currency: str
    settleable: bool = False
    control: str | None = None
    floor_minor: int | None = None
    ceiling_minor: int | None = None


def apply_setup(conn: Connection, path: Path) -> SetupReport:
    """Declare everything a setup file says, or nothing.

    A change of a payee's details or of a bank profile is recorded as a new version; what never changes
    (accounts, a payee's account, a bank account's IBAN and opening balance) is refused when it differs.
    Raises `SetupError` with every fault of the file, and the ledger's errors (closed period, conflict).
    """
    checked = read_setup(path)
    setup = checked.setup
    with transaction(conn):
        book_id = _int(conn, "SELECT ledger.define_book(%s, %s)", setup.book.name, setup.book.functional_currency)
        _define_rules(conn, book_id, [rule for rule in setup.accounts if rule.control is None])
        _open_accounts(conn, book_id, _accounts(checked))
        changed = _declare_banks(conn, book_id, setup)
        new_payees, versions = _declare_payees(conn, book_id, checked.payees)
        modes = [ModeOf(rule.code, rule.mode, rule.shards) for rule in setup.accounts if rule.mode is not None]
        modes_changed = set_account_modes(conn, book_id=book_id, modes=modes)  # last: posts wait from here on
    return SetupReport(
        book_id=book_id,
        book=setup.book.name,
        banks=len(setup.banks),
        bank_accounts=len(setup.bank_accounts),
        payees=len(checked.payees),
        new_payees=new_payees,
        changed_payees=versions - new_payees,
        changed=changed or versions > 0 or modes_changed > 0,
    )


def _int(conn: Connection, query: str, *values: object) -> int:
    row = conn.execute(query, values).fetchone()
    assert row is not None
    return int(str(row[0]))


def _bool(conn: Connection, query: str, *values: object) -> bool:
    row = conn.execute(query, values).fetchone()
    return row is not None and bool(row[0])


def _limit(limit: str | None, currency: str | None) -> int | None:
    """A floor or ceiling in minor units; without a currency it can only be zero."""
    if limit is None:
        return None
    return minor(limit, currency) if currency is not None else 0


def _define_rules(conn: Connection, book_id: int, rules: Sequence[AccountRule]) -> None:
    conn.execute(
        "SELECT ledger.define_account_rules(%s, %s, %s, %s, %s, %s::bigint[], %s::bigint[])",
        (
            book_id,
            [rule.code for rule in rules],
            [rule.type.value for rule in rules],
            [rule.currency for rule in rules],
            [rule.settleable for rule in rules],
            [_limit(rule.floor, rule.currency) for rule in rules],
            [_limit(rule.ceiling, rule.currency) for rule in rules],
        ),
    )


def _accounts(checked: CheckedSetup) -> list[_Account]:
    """Every account the setup opens itself: controls, N and T, opening equity, bank costs, payees'."""
    setup = checked.setup
    accounts = [
        _Account(
            *(rule.code, rule.type, rule.currency, rule.settleable, rule.control),
            *(_limit(rule.floor, rule.currency), _limit(rule.ceiling, rule.currency)),
        )
        for rule in setup.accounts
        if (rule.control is not None or rule.mode is not None) and rule.currency is not None
    ]
    for own in setup.bank_accounts:
        floor = None if own.overdraft is None else -minor(own.overdraft, own.currency)
        accounts.append(
            _Account(f"assets:bank:{own.code}", AccountType.ASSET, own.currency, control="nostro", floor_minor=floor)
        )
        transit = f"assets:transit:{own.code}"
        accounts.append(_Account(transit, AccountType.ASSET, own.currency, control="cash_in_transit"))
    for code in sorted({own.currency for own in setup.bank_accounts}):
        end = code.lower()
        accounts.append(_Account(f"equity:opening-balances:{end}", AccountType.EQUITY, code))
        accounts.append(_Account(f"expenses:bank-fees:{end}", AccountType.EXPENSE, code))
        accounts.append(_Account(f"expenses:acquirer-fees:{end}", AccountType.EXPENSE, code))
        accounts.append(_Account(f"income:interest:{end}", AccountType.INCOME, code))
    for payee, rule in zip(checked.payees, checked.payee_rules, strict=True):
        limits = _limit(rule.floor, payee.currency), _limit(rule.ceiling, payee.currency)
        accounts.append(_Account(payee.account, rule.type, payee.currency, rule.settleable, None, *limits))
        if payee.reserves:
            accounts.append(
                _Account(payee.reserve_account, AccountType.LIABILITY, payee.currency, control="reserve", floor_minor=0)
            )
    return accounts


def _open_accounts(conn: Connection, book_id: int, accounts: Sequence[_Account]) -> None:
    conn.execute(
        "SELECT ledger.open_accounts(%s, %s, %s, %s, %s, %s, %s::bigint[], %s::bigint[])",
        (
            book_id,
            [account.code for account in accounts],
            [account.type.value for account in accounts],
            [account.currency for account in accounts],
            [account.settleable for account in accounts],
            [account.control for account in accounts],
            [account.floor_minor for account in accounts],
            [account.ceiling_minor for account in accounts],
        ),
    )


def _declare_banks(conn: Connection, book_id: int, setup: Setup) -> bool:
    body = setup.model_dump(
        mode="json", include={"policies", "tolerances", "acquirers", "payee_changes", "screening"}
    ) | {"approvals": {terms.currency: _approval_terms(terms) for terms in setup.approvals}}
    changed = _bool(conn, "SELECT settlement.declare_setup(%s, %s)", book_id, Jsonb(body))
    for code, bank in setup.banks.items():
        profile = Jsonb(bank.model_dump(mode="json"))
        changed |= _bool(conn, "SELECT settlement.declare_bank(%s, %s, %s)", book_id, code, profile)
    for own in setup.bank_accounts:
        minimum, maximum = rail_limits(setup.banks[own.bank], own)
        changed |= _bool(
            conn,
            "SELECT settlement.declare_bank_account(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            book_id,
            own.code,
            own.bank,
            own.iban,
            own.currency,
            own.rail.value,
            Jsonb(own.holder.model_dump(mode="json")),
            minimum,
            maximum,
            own.opening.date,
            minor(own.opening.balance, own.currency),
        )
    return changed


def _approval_terms(terms: ApprovalTerms) -> dict[str, object]:
    def amount(text: str | None) -> int | None:
        return None if text is None else minor(text, terms.currency)

    return {
        "limit_minor": amount(terms.limit),
        "dual_above_minor": amount(terms.dual_above),
        "approvers": {name: amount(text) for name, text in terms.approvers.items()},
    }


_PAYEES_PER_CALL = 20_000


def _declare_payees(conn: Connection, book_id: int, payees: Sequence[Payee]) -> tuple[int, int]:
    made = versions = 0
    for start in range(0, len(payees), _PAYEES_PER_CALL):
        share = [_payee_row(n, payee) for n, payee in enumerate(payees[start : start + _PAYEES_PER_CALL])]
        row = conn.execute(
            "SELECT new_payees, new_versions FROM settlement.declare_payees(%s, %s)", (book_id, Jsonb(share))
        ).fetchone()
        assert row is not None
        made, versions = made + int(str(row[0])), versions + int(str(row[1]))
    return made, versions


def _payee_row(n: int, payee: Payee) -> dict[str, object]:
    def amount(text: str | None) -> int | None:
        return None if text is None else minor(text, payee.currency)

    same = ("account", "name", "iban", "bic", "country", "town", "street", "postcode", "pay_from")
    mandate = ("mandate_id", "mandate_scheme", "mandate_sequence")
    told = (
        "intermediary_bic",
        "purpose",
        "creditor_reference",
        *(f"regulatory_{of}" for of in ("country", "code", "text")),
        "charge_bearer",
    )
    return {
        **{name: getattr(payee, name) for name in (*same, *mandate, *told)},
        "n": n,
        "code": payee.payee_id,
        "minimum_minor": amount(payee.minimum) or 0,
        "maximum_minor": amount(payee.maximum),
        "delay_days": payee.delay_days or 0,
        "hold": bool(payee.hold),
        "schedule": payee_schedule(payee),
        "reserve_bps": payee.reserve_bps,
        "reserve_days": payee.reserve_days or 0,
        "reserve_fixed_minor": amount(payee.reserve_fixed) or 0,
        "reserve_account": payee.reserve_account if payee.reserves else None,
        "negative": payee.negative or "carry",
        "mandate_signed": None if payee.mandate_signed is None else payee.mandate_signed.isoformat(),
    }
