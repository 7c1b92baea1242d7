"""Every way reconciliation can refuse, one class a cause.

ReconError
├── FileRefusedError         a file was refused whole; the original is kept
├── StatementChainError      a statement does not follow the one before it
├── ExclusiveLegError        a posting is in a live set already (another run was faster; retryable)
├── SetNotZeroError          a set does not add up to zero, or is not whole
├── ReconCheckError          a proof did not hold: conservation, certificate, lines against postings
├── NoRunError               this day has not been reconciled
├── BreakUnknownError        no such break
└── TraceUnknownError        nothing to trace by this name
"""

from __future__ import annotations

from ledger import (
    CheckFailedError,
    NostroError,
    RefusedError,
    UnavailableError,
    register_constraint_errors,
)


class ReconError(NostroError):
    """Base of everything reconciliation refuses."""


class FileRefusedError(ReconError, RefusedError):
    """A bank's or acquirer's file was refused whole; nothing of it is booked."""


class StatementChainError(ReconError, RefusedError):
    """A statement does not start where the one before it ended, or is booked already."""


class ExclusiveLegError(ReconError, UnavailableError):
    """A posting is in a live set already: another run published first. Run again."""


class SetNotZeroError(ReconError, RefusedError):
    """A set does not add up to zero in one currency, is not whole, or has a leg that cannot clear."""


class ReconCheckError(ReconError, CheckFailedError):
    """A proof did not hold; the message says which, where and by how much."""


class NoRunError(ReconError, RefusedError):
    """This book and day have not been reconciled."""


class BreakUnknownError(ReconError, RefusedError):
    """The run has no break of this id."""


class TraceUnknownError(ReconError, RefusedError):
    """No posting, payment or bank line of the book has this name."""


register_constraint_errors(
    {
        "source_file_once": RefusedError,
        "statement_once": StatementChainError,
        "statement_chain": StatementChainError,
        "statement_one_successor": StatementChainError,
        "statement_one_first": StatementChainError,
        "statement_first_opening": StatementChainError,
        "statement_booking_pkey": StatementChainError,
        "statement_proves": ReconCheckError,
        "statement_currency": FileRefusedError,
        "statement_line_postings": ReconCheckError,
        "receipt_known": FileRefusedError,
        "receipt_conflict": FileRefusedError,
        "expected_receipt_net": FileRefusedError,
        "expected_receipt_once": FileRefusedError,
        "match_leg_exclusive": ExclusiveLegError,
        "match_leg_generation": SetNotZeroError,
        "match_leg_transit": SetNotZeroError,
        "match_set_zero": SetNotZeroError,
        "unmatch_whole_set": SetNotZeroError,
        "unmatch_leg": SetNotZeroError,
        "run_once": ExclusiveLegError,
        "run_conserves": ReconCheckError,
        "open_item_one_code": ReconCheckError,
        "certificate_residual": ReconCheckError,
        "certificate_statement": ReconCheckError,
        "certificate_hash": ReconCheckError,
    }
)
