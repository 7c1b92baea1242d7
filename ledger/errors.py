"""Every way the books can refuse, one class a cause.

    NostroError
    ├── RefusedError            the request breaks a rule; repeating it unchanged is pointless
    │   ├── UnbalancedEntryError    ├── ClosedPeriodError      ├── ControlAccountError
    │   ├── IdempotencyConflictError├── FloorError             ├── AppendOnlyError
    │   ├── UnknownAccountError     ├── UnknownCurrencyError   ├── AmountError
    │   ├── AlreadyReversedError    ├── NotCertifiedError      ├── JournalFileError
    │   ├── CeilingError            ├── HoldError              ├── CertifiedDayError
    │   ├── RateError              ├── RateFileError
    │   └── AccessError
    ├── UnavailableError        not now; safe to retry
    ├── OutcomeUnknownError     the commit's answer was lost; ask for the idempotency key
    └── CheckFailedError        a proof did not hold

Postgres names the broken rule (`CONSTRAINT = …`); `translate_errors` finds the class by that name.
Other packages add their constraints with `register_constraint_errors`. No message is parsed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import psycopg


class NostroError(Exception):
    """Base of every refusal. `retryable` says whether the same request may succeed later."""

    retryable = False

    def __init__(self, message: str, *, constraint: str | None = None, hint: str | None = None) -> None:
        super().__init__(message if hint is None else f"{message} {hint}")
        self.constraint = constraint
        self.hint = hint


class RefusedError(NostroError):
    """The request breaks a rule of the books."""


class UnbalancedEntryError(RefusedError):
    """Postings of an entry do not sum to zero, or an entry has fewer than two."""


class IdempotencyConflictError(RefusedError):
    """The key is taken by an entry with other content."""


class ClosedPeriodError(RefusedError):
    """The effective date lies in a closed period."""


class ControlAccountError(RefusedError):
    """Only the owning module posts to this account."""


class FloorError(RefusedError):
    """The account would fall below its floor."""


class AppendOnlyError(RefusedError):
    """Books are never changed or deleted; post a reversal."""


class UnknownAccountError(RefusedError):
    """No such account, or it belongs to another book."""


class UnknownCurrencyError(RefusedError):
    """Neither of ISO 4217 nor defined, or not the account's currency, or defined otherwise."""


class AmountError(RefusedError):
    """The amount is not exact in the currency's minor units."""


class CeilingError(RefusedError):
    """The account would rise above its ceiling."""


class HoldError(RefusedError):
    """The hold does not exist, is resolved already, has expired, or its entry does not draw what it posts."""


class CertifiedDayError(RefusedError):
    """Cash of a certified bank day does not change any more."""


class AlreadyReversedError(RefusedError):
    """The entry has a full reversal already."""


class NotCertifiedError(RefusedError):
    """A bank account is not certified through the period's last day."""


class AccessError(RefusedError):
    """This login has no right to do that."""


class JournalFileError(RefusedError):
    """A journal file was refused whole; `faults` lists every one with its line."""

    def __init__(self, message: str, faults: tuple[str, ...]) -> None:
        super().__init__(message)
        self.faults = faults


class RateError(RefusedError):
    """There is no exchange rate for that date, the newest is too old, or it is none."""


class RateFileError(RefusedError):
    """A file of rates was refused whole; `faults` lists every one with its line."""

    def __init__(self, message: str, faults: tuple[str, ...]) -> None:
        super().__init__(message)
        self.faults = faults


class UnavailableError(NostroError):
    """Not available now; safe to retry."""

    retryable = True


class OutcomeUnknownError(NostroError):
    """The server may or may not have committed; look the idempotency key up before anything else."""


class CheckFailedError(NostroError):
    """A proof did not hold; the report says where."""


_CONSTRAINT_ERRORS: dict[str, type[NostroError]] = {
    "posting_balances": UnbalancedEntryError,
    "posting_amount_not_zero": UnbalancedEntryError,
    "posting_currency": UnknownCurrencyError,
    "posting_account": UnknownAccountError,
    "posting_entry": UnbalancedEntryError,
    "entry_postings": UnbalancedEntryError,
    "entry_posting_count": UnbalancedEntryError,
    "entry_book_key": IdempotencyConflictError,
    "idempotency_conflict": IdempotencyConflictError,
    "entry_period_open": ClosedPeriodError,
    "entry_reversal_negates": UnbalancedEntryError,
    "entry_reverses_once": AlreadyReversedError,
    "posting_control_account": ControlAccountError,
    "balance_floor": FloorError,
    "append_only": AppendOnlyError,
    "balance_by_posting": AppendOnlyError,
    "block_by_posting": AppendOnlyError,
    "period_certified": NotCertifiedError,
    "period_second_person": AccessError,
    "account_same": IdempotencyConflictError,
    "book_same": IdempotencyConflictError,
    "period_order": ClosedPeriodError,
    "entry_text_with_entry": AppendOnlyError,
    "entry_reverses_earlier": RefusedError,
    "entry_batch": RefusedError,
    "posting_batch": RefusedError,
    "read_committed": RefusedError,
    "batch_shape": RefusedError,
    "book_known": RefusedError,
    "entry_known": RefusedError,
    "balance_ceiling": CeilingError,
    "account_limits": RefusedError,
    "account_mode_shards": RefusedError,
    "balance_hot_unconstrained": RefusedError,
    "balance_range": AmountError,
    "balance_row": CheckFailedError,
    "batch_source": RefusedError,
    "hold_book_key": IdempotencyConflictError,
    "hold_conflict": IdempotencyConflictError,
    "hold_key_given": HoldError,
    "hold_amount_positive": HoldError,
    "hold_on_account": HoldError,
    "hold_exists": HoldError,
    "hold_resolved_once": HoldError,
    "hold_posted_within": HoldError,
    "hold_posted_by_entry": HoldError,
    "hold_expired": HoldError,
    "hold_not_due": HoldError,
    "hold_posting": HoldError,
    "entry_period_soft_closed": ClosedPeriodError,
    "period_reopen_reason": RefusedError,
    "period_reopen_once": RefusedError,
    "period_reopen_requested": AccessError,
    "period_is_closed": RefusedError,
    "cash_day_certified": CertifiedDayError,
    "entry_moved_with_entry": AppendOnlyError,
    "seal_size": RefusedError,
    "seal_complete": CheckFailedError,
    "seal_chain": AppendOnlyError,
    "seal_once": AppendOnlyError,
    "seal_link": AppendOnlyError,
    "seal_range": AppendOnlyError,
    "seal_start": AppendOnlyError,
    "seal_digest": AppendOnlyError,
    "seal_leaves_pairs": AppendOnlyError,
    "book_granted": AccessError,
    "book_grant_every": RefusedError,
    "consumer_forward": RefusedError,
    "consumer_published": RefusedError,
    "consumer_moved": RefusedError,
    "currency_code": UnknownCurrencyError,
    "currency_exponent": AmountError,
    "currency_same": UnknownCurrencyError,
    "rate_positive": RateError,
    "rate_pair": RateError,
    "rate_known": RateError,
    "rate_stale": RateError,
    "exchange_once": IdempotencyConflictError,
    "exchange_conflict": IdempotencyConflictError,
    "exchange_amounts": AmountError,
    "exchange_pair": RefusedError,
    "exchange_rate": RateError,
    "exchange_rounding": RateError,
    "exchange_realised": RefusedError,
    "exchange_known": RefusedError,
    "revaluation_once": RefusedError,
}


def register_constraint_errors(classes: Mapping[str, type[NostroError]]) -> None:
    """Add constraint names of another package; a name means one class for ever."""
    for name, cls in classes.items():
        if _CONSTRAINT_ERRORS.setdefault(name, cls) is not cls:
            raise ValueError(f"constraint {name} is registered twice")


def constraint_errors() -> Mapping[str, type[NostroError]]:
    """Every registered constraint name (compared with pg_constraint and the triggers by a test)."""
    return dict(_CONSTRAINT_ERRORS)


def error_from_postgres(error: psycopg.Error) -> NostroError:
    """The domain error of a Postgres error, by constraint name first, then by SQLSTATE class."""
    diag = error.diag
    message = diag.message_primary or str(error).strip() or type(error).__name__
    name = diag.constraint_name
    if name in _CONSTRAINT_ERRORS:
        return _CONSTRAINT_ERRORS[name](message, constraint=name, hint=diag.message_hint)
    if isinstance(error, psycopg.errors.NumericValueOutOfRange):
        return AmountError(
            f"an amount or a balance does not fit in 64 bits of minor units: {message}; "
            "keep it in several entries and accounts, or in a currency with fewer decimals."
        )
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return AccessError(f"this login may not do that: {message}.", constraint=name)
    if isinstance(
        error,
        psycopg.errors.SerializationFailure
        | psycopg.errors.DeadlockDetected
        | psycopg.errors.LockNotAvailable
        | psycopg.errors.OperatorIntervention
        | psycopg.errors.InsufficientResources,
    ):
        return UnavailableError(f"the database is busy: {message}; try again.", constraint=name)
    if isinstance(error, psycopg.OperationalError):
        return UnavailableError(f"the database does not answer: {message}", constraint=name)
    return RefusedError(message, constraint=name, hint=diag.message_hint)


@contextmanager
def translate_errors() -> Iterator[None]:
    """Turn Postgres errors of the enclosed statements into the classes above."""
    try:
        yield
    except psycopg.Error as error:
        raise error_from_postgres(error) from error
